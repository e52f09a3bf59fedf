# SPDX-License-Identifier: Apache-2.0
"""What a process has used, as the kernel tells its parent when it has ended (wait4(2))."""

from __future__ import annotations

import os
import sys
from errno import ECHILD

from nsenter._host import syscalls
from nsenter._host.records import Value
from nsenter._host.syscalls import Failure
from nsenter._nsexec import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsenter._cgroups.limited import Figures
else:
    Figures = object  # what typing.get_type_hints finds

__all__ = ["Usage", "wait_for"]

_SIGINFO_SIZE = 128
_RUSAGE_SIZE = 256  # struct rusage has 144 bytes
_CODE_AT, _STATUS_AT = 8, 24  # si_code and si_status, where a long has 8 bytes


class Usage(Value):
    """The resources that a process has used, with all its descendants that were waited for.

    If there is a PID 1 (`Options.init`), these are all processes of its PID namespace. The fields
    from `peak_memory` on require `Options.limits`; the times then also include processes that
    nobody has waited for. A field is None if the kernel does not count it.

    Args:
        user_time, system_time: processor time in seconds, in programs and in the kernel. With
            limits on cgroup v1, the kernel counts these two in steps of its timer; `cpu_time` is
            exact.
        max_rss: the largest amount of memory, in bytes, that one process had. None if the process
            was started without stages, because the kernel then includes the memory of the caller.
        cpu_time: processor time in seconds, in programs and in the kernel together.
        peak_memory: the largest amount of memory, in bytes, that all of them had together.
        peak_pids: the largest number of processes and threads, with an init of `Options.init`.
        read_bytes, written_bytes: the bytes that block devices have read and written for them.
        oom_kills: how many of them the kernel killed because the limit of memory was reached.
        refused_forks: how often the limit of processes refused them another process or thread.
    """

    user_time: float
    system_time: float
    max_rss: int | None
    cpu_time: float | None = None
    peak_memory: int | None = None
    peak_pids: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    oom_kills: int | None = None
    refused_forks: int | None = None

    def with_figures(self, figures: Figures) -> Usage:
        """Return this together with what a cgroup has counted."""
        found = {name: n for name, n in figures.__dict__.items() if n is not None}
        return self.replace(**found)


def wait_for(pidfd: int, *, has_own_peak: bool) -> tuple[int, int, Usage]:
    """Wait for a child: `si_code` and `si_status` of its end (waitid(2)), and what it has used.

    Raises:
        ChildProcessError: somebody else has waited for it.
        Failure: the call failed.
    """
    info, usage = bytearray(_SIGINFO_SIZE), bytearray(_RUSAGE_SIZE)
    words = os.P_PIDFD, pidfd, info, os.WEXITED, usage
    try:
        syscalls.uninterrupted("waitid", "", lib.SYS_waitid, *words)
    except Failure as failure:
        if failure.errno == ECHILD:
            raise ChildProcessError(ECHILD, os.strerror(ECHILD)) from None
        raise
    code, status = (_number(info, at, 4) for at in (_CODE_AT, _STATUS_AT))
    user, user_us, kernel, kernel_us, peak = (_number(usage, 8 * n, 8) for n in range(5))
    max_rss = peak * 1024 if has_own_peak else None
    user_time, system_time = user + user_us / 1e6, kernel + kernel_us / 1e6
    return code, status, Usage(user_time, system_time, max_rss, user_time + system_time)


def _number(memory: bytearray, at: int, size: int) -> int:
    return int.from_bytes(memory[at : at + size], sys.byteorder, signed=True)
