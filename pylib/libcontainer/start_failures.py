# SPDX-License-Identifier: Apache-2.0
"""Why a process could not be started: what its init says, or how it ended, as an exception."""

from __future__ import annotations

from errno import ECANCELED, EINVAL, EPERM, ETIMEDOUT

from nsenter._host.procfs import state_letter_of
from nsenter._host.suppress import suppress
from nsenter.errors import BootstrapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.cgroups import Manager
    from libcontainer.init import sync
    from libcontainer.process import Process
    from libcontainer.record import Record

__all__ = ["Failures"]

_DOING = {"T": "it is stopped", "t": "it is traced", "D": "it waits in the kernel"}
# The field of config.json that asks for a system call, if the name of the call does not tell.
_FIELDS = {"sched_setattr": "process.scheduler", "ioprio_set": "process.ioPriority"}
_REAL_TIME = (1, 2)  # SCHED_FIFO, SCHED_RR
_NODES = "/sys/devices/system/node/has_memory"


class Failures:
    """Makes exceptions of what has happened to an init.

    Args:
        record: the record of the container.
        process: the process that is started.
        manager: the manager of its cgroup.
    """

    def __init__(self, record: Record, process: Process, manager: Manager) -> None:
        self._config = record.config
        self._process = process
        self._manager = manager

    # ---- an init that has ended, or says nothing

    def unclear(self, why: str, heard: str) -> BootstrapError:
        """Return the error for an init that has ended for an unknown reason.

        Args:
            why: what is known.
            heard: the first word of its last message.
        """
        return BootstrapError("init", "run", f"{why}, after {heard!r}", ECANCELED)

    def death(self, code: int, heard: str) -> BootstrapError:
        """Return the error for an init that has ended before it was done.

        Args:
            code: its returncode.
            heard: the first word of its last message.
        """
        if code >= 0:
            return self.unclear(f"it ended early, with exit status {code}", heard)
        death = BootstrapError.killed("init", -code)
        death.subject += f" after {heard!r}"
        if self._manager.has_oom_kills():
            death.hint = "container init was OOM-killed (memory limit too low?)"
        return death

    def silence(self, pid: int, heard: str) -> BootstrapError:
        """Return the error for an init that has not sent its next message in time."""
        doing = _DOING.get(state_letter_of(pid), "it hangs")
        silent = f"silent for {self._process.timeout:g} s after {heard!r}"
        what = f"process {pid}, {silent}: {doing}"
        return BootstrapError("init", "wait for", what, ETIMEDOUT, hint="")

    # ---- an init that has said what failed

    def told(self, message: sync.Error) -> BootstrapError:
        """Return the error that an init has sent."""
        operation, subject, code, why = (
            *(message.operation, message.subject),
            *(message.number, message.why),
        )
        if not why:
            return BootstrapError("init", operation, subject, code)
        from nsenter._host.refused_syscalls import why_refused  # for errors alone

        why += self._addition(operation, code)
        step = why.partition(":")[0].partition(" ")[0]
        refusal = why_refused(step, code) or why_refused(operation, code, subject)
        error = BootstrapError("init", operation, subject, code, hint=refusal)
        # If a filter refused the call, the init was wrong about the cause.
        error.strerror = why.partition(" (")[0] if refusal else why
        return error

    def _addition(self, operation: str, code: int) -> str:
        """Return what an init cannot know about the failure of a system call."""
        real_time = (operation, code) == ("sched_setattr", EPERM)
        if real_time and self._config.cgroups.resources.cpuset_cpus:
            return ": process scheduler can't be used together with AllowedCPUs"
        if real_time and self._has_no_real_time():
            return (
                " (process.scheduler: its cgroup has no time for real-time processes; set "
                "linux.resources.cpu.realtimeRuntime)"
            )
        if (operation, code) == ("set_mempolicy", EINVAL):
            with suppress(OSError), open(_NODES, encoding="ascii") as file:
                nodes = file.read().strip()
                return f" (this machine has the nodes {nodes}, and a cgroup may allow fewer)"
        field = _FIELDS.get(operation)
        return f" ({field})" if field else ""

    def _has_no_real_time(self) -> bool:
        """Return whether the cgroup has no time for the real-time scheduling that is asked for.

        A new cgroup of version 1 has none if the kernel shares that time out
        (CONFIG_RT_GROUP_SCHED).
        """
        scheduler = self._process.config.scheduler or self._config.scheduler
        if scheduler is None or scheduler.policy not in _REAL_TIME:
            return False
        path = self._manager.paths().get("cpu", "")
        with suppress(OSError), open(f"{path}/cpu.rt_runtime_us", encoding="ascii") as file:
            return int(file.read()) == 0
        return False
