# SPDX-License-Identifier: Apache-2.0
"""An init joins an existing PID namespace after it has made its root.

The processes of that namespace see every process in it. If the init made its root there, a process
with CAP_SYS_PTRACE could open its /proc/PID/root and /proc/PID/fd/N, and reach the host's files. So
the init makes its root outside, where they do not see it, and gives up everything by which the host
can be reached. Then it clones itself, because setns(2) changes only the PID namespace of children.
The first process ends. Its successor, which is also a child of the runtime, continues.
"""

from __future__ import annotations

import errno
import posix

from libcontainer.init import sync
from libcontainer.init.process import capabilities
from nsenter._host.syscalls import (
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    Failure,
    capget,
    capset,
    clone_sibling,
    close_range,
    pidfd_open,
    prctl,
    setns,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from libcontainer.init.config import InitConfig, LateJoin

_CLONE_NEWPID = 0x2000_0000
_SIGKILL = 9
_FAILED = 1
_LAST_FD = 0xFFFFFFFF
_WHY = {
    errno.ENOMEM: "Cannot allocate memory: the first process of the PID namespace has ended",
    errno.EAGAIN: "Resource temporarily unavailable: a limit on processes leaves no room for two: "
    "raise pids.max of the container's cgroup or of one above it, or RLIMIT_NPROC",
}


def succeed(channel: int, init_config: InitConfig, kept: Iterable[int]) -> None:
    """Join the PID namespace; return in the successor, which leads a new session.

    Args:
        kept: the only descriptors that the successor keeps.
    """
    late = init_config.late_join
    assert late is not None
    # The successor inherits the cgroup and the limits that the parent has given to this process.
    sync.ask(channel, sync.Last())
    setns(late.pid_namespace, _CLONE_NEWPID)
    _shed(init_config, late, kept)
    alive, tells = posix.pipe()
    pid, pidfd = _clone()
    if pid:
        sync.send(channel, sync.Successor(pidfd))
        posix.write(tells, b"\0")
        posix._exit(0)
    prctl("PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, _SIGKILL)
    posix.close(tells)
    if not posix.read(alive, 1):
        # The first process was killed. The command fails, but must still wait for this one.
        sync.send(channel, sync.Successor(pidfd_open(posix.getpid())))
        posix._exit(_FAILED)
    posix.close(alive)
    posix.setsid()
    sync.expect(channel, sync.Go)


def _shed(init_config: InitConfig, late: LateJoin, kept: Iterable[int]) -> None:
    """Give up everything that the successor does not need."""
    _close_others(kept)
    sets = init_config.process.capabilities or init_config.config.capabilities
    capabilities.drop_bounding(capabilities.mask_of(sets.bounding if sets else ()))
    held = capabilities.mask_of(late.held) & capget()[1]
    capset(held, held)
    # Then a container without CAP_SYS_PTRACE cannot access the successor (CVE-2016-9962).
    prctl("PR_SET_DUMPABLE", PR_SET_DUMPABLE, 0)


def _close_others(kept: Iterable[int]) -> None:
    first = 0
    for fd in sorted(kept):
        if fd > first:
            close_range(first, fd - 1)
        first = fd + 1
    close_range(first, _LAST_FD)


def _clone() -> tuple[int, int]:
    try:
        return clone_sibling("into the PID namespace")
    except Failure as failure:
        number = failure.errno or 0
        why = _WHY.get(number, str(failure.strerror))
        raise Failure(failure.operation, failure.subject, number, why) from None
