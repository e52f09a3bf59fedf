# SPDX-License-Identifier: Apache-2.0
"""The CPUs that a process may run on: sched_setaffinity(2), within its cgroup's cpuset."""

from __future__ import annotations

import errno
import posix

from nsenter._host.syscalls import Failure, sched_setaffinity

_EVERY_CPU = b"\xff" * 1024  # the kernel can be built for 8,192 of them
# What a filter of a container around us says.
_REFUSED = (errno.ENOSYS, errno.EPERM)


def reset() -> None:
    """Let this process run wherever its cgroup lets it.

    It would inherit the CPUs of whoever called the runtime, within those of the cgroup. From Linux
    6.2 on the kernel remembers them, whatever becomes of the cpuset.
    """
    try:
        sched_setaffinity(_EVERY_CPU)
    except Failure as failure:
        if failure.errno not in _REFUSED:
            raise


def set_to(pid: int, cpus: str, field: str) -> None:
    """Let a process run on these CPUs alone.

    Args:
        pid: of the process; 0: this one.
        cpus: a list as cpuset(7) has it, "0-2,4".
        field: of config.json, for errors.

    Raises:
        Failure: its cgroup has none of them.
    """
    try:
        posix.sched_setaffinity(pid, numbers(cpus))
    except OSError as error:
        what = f"{cpus} (process.execCPUAffinity.{field})"
        raise Failure("sched_setaffinity", what, error.errno or 0) from None


def numbers(cpus: str) -> set[int]:
    """Return the CPUs of a list such as "0-2,4"."""
    found: set[int] = set()
    for part in filter(None, cpus.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
