# SPDX-License-Identifier: Apache-2.0
"""The last steps of every init, from the last of its privileges to the program."""

from __future__ import annotations

import _signal
import errno
import posix

from libcontainer.init import sync
from libcontainer.init.process import affinity, capabilities, identity, labels, mempolicy, program
from libcontainer.runc_messages import errno_text
from nsenter._host.cleanup import close
from nsenter._host.syscalls import (
    PR_SET_PDEATHSIG,
    Failure,
    capget,
    check_seccomp_flags,
    close_range,
    personality,
    prctl,
)
from nsenter._inside.exec_steps import ExecSteps, execute
from nsenter._message.limits import rlimit_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from libcontainer.init.config import InitConfig

_FIRST_OTHER_FD = 3
_CLOSE_RANGE_CLOEXEC = 4
_LAST_FD = 0xFFFFFFFF
_DEFAULT_UMASK = 0o022


class Ending:
    """What is left to do once the place is made.

    Args:
        channel: to the parent.
        init_config: the init config.
    """

    def __init__(self, channel: int, init_config: InitConfig) -> None:
        self._channel = channel
        self._init_config = init_config
        self._process = init_config.process
        config = init_config.config
        asked = self._process.no_new_privileges
        self._no_new_privileges = config.no_new_privileges if asked is None else asked
        self._agents: list[int] = []
        self._agent_message, self._agent_path = b"", ""

    def run(
        self, before_the_program: Callable[[dict[str, str]], None], death_signal: int = 0
    ) -> NoReturn:
        """Become the process, and execute.

        Args:
            before_the_program: done when nobody can fail any more but the program itself, whose
                environment it gets.
            death_signal: of the process when its parent ends.
        """
        init_config, process = self._init_config, self._process
        close_range(_FIRST_OTHER_FD + init_config.preserve_fds, _LAST_FD, _CLOSE_RANGE_CLOEXEC)
        self._be_scheduled()
        self._label()
        umask = process.umask if process.umask is not None else init_config.config.umask
        posix.umask(_DEFAULT_UMASK if umask is None else umask)
        identity.become(
            process,
            process.capabilities or init_config.config.capabilities,
            self._kept_for_the_filter(),
        )
        # Becoming somebody else clears it (prctl(2)).
        prctl("PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, death_signal)
        env = program.environment(process.env, process.uid)
        path = program.find(process.args[0], env)
        if self._no_new_privileges:
            identity.set_no_new_privileges()
        self._check_filter()
        self._ask_for_agents()
        before_the_program(env)
        # Python ignores it; a program is to die of it, as everywhere.
        _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
        _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
        # With a fifo to wait for, the parent has long gone.
        channel = self._channel if init_config.fifo_fd < 0 else -1
        execute(path, process.args, env, self.confinement(), channel=channel, errno_text=errno_text)

    def _be_scheduled(self) -> None:
        init_config, process = self._init_config, self._process
        config = init_config.config
        io_priority = process.io_priority or config.io_priority
        scheduler = process.scheduler or config.scheduler
        final = process.exec_cpu_affinity.get("final", "")
        if final and init_config.type == "setns":
            affinity.set_to(0, final, "final")
        else:
            affinity.reset()
        if io_priority is not None:
            identity.set_io_priority(io_priority)
        if scheduler is not None:
            identity.set_scheduler(scheduler)
        if config.memory_policy is not None:
            mempolicy.apply(config.memory_policy)
        if config.personality is not None:
            personality(config.personality)

    def _label(self) -> None:
        config, process = self._init_config.config, self._process
        profile = process.apparmor_profile or config.apparmor_profile
        label = process.process_label or config.process_label
        if not profile and not label:
            return
        proc = posix.open("/proc", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            if profile:
                labels.set_apparmor_exec(proc, profile)
            if label:
                labels.set_selinux_exec(proc, label)
        finally:
            close(proc)

    # ---- the filter

    def _kept_for_the_filter(self) -> int:
        """Return the capabilities that this process keeps until it executes the program.

        A filter without no_new_privs requires CAP_SYS_ADMIN, and it is installed last. The program
        does not get the capability: execve(2) computes its sets from the inheritable, the ambient
        and the bounding set only.
        """
        if self._init_config.seccomp is None or self._no_new_privileges:
            return 0
        return capabilities.mask_of(("CAP_SYS_ADMIN",))

    def _check_filter(self) -> None:
        """Check that the filter can be installed while an error can be reported to the parent."""
        if self._init_config.seccomp is None:
            return
        if not self._no_new_privileges and not capget()[0] & self._kept_for_the_filter():
            why = "it requires CAP_SYS_ADMIN, or noNewPrivileges"
            raise Failure("seccomp", "set filter", errno.EACCES, why)
        check_seccomp_flags(self._init_config.seccomp[1])

    def _ask_for_agents(self) -> None:
        """Ask for a connection to the agent for each filter that has a listener."""
        if self._init_config.has_listener:
            sync.send(self._channel, sync.Listener())
            agents = sync.expect(self._channel, sync.Agents)
            self._agents = [*agents.fds]
            self._agent_message, self._agent_path = agents.state.encode(), agents.path

    def confinement(self) -> ExecSteps:
        """Return the limits and the filter of the program.

        As in runc, each startContainer hook gets them too.
        """
        init_config = self._init_config
        code, flags = init_config.seccomp or (b"", 0)
        return ExecSteps(
            rlimits=self._rlimits(),
            filter=code,
            filter_flags=flags,
            agent_fd=self._agents.pop() if self._agents else -1,
            agent_message=self._agent_message,
            agent_path=self._agent_path,
        )

    def _rlimits(self) -> tuple[tuple[str, int, int, int], ...]:
        own, config = self._process.rlimits, self._init_config.config
        limits = config.rlimits if own is None else own
        return tuple((rlimit_name(r.type), r.type, r.soft, r.hard) for r in limits)
