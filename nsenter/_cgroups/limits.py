# SPDX-License-Identifier: Apache-2.0
"""Limits of a tree of processes, and the files of cgroups that hold them."""

from __future__ import annotations

import os

from nsenter._host.records import Value
from nsenter._host.sizes import in_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    Writes = list[tuple[str, str]]

__all__ = ["RLIMITS", "Limits", "legacy_files", "rlimits_of", "unified_files"]

_PERIOD_US = 100_000
_LEAST_QUOTA_US = 1000  # the kernel takes no less
_MOST_CPUS = 1 << 16
_MOST_PIDS = 1 << 22  # PID_MAX_LIMIT of the kernel
_MOST_BYTES = 1 << 62
UNLIMITED = "unlimited"
# The resource limits of a process that come closest (getrlimit(2)).
RLIMITS = {"memory": "as", "pids": "nproc"}


class Limits(Value):
    """What a process may use together with everything that it starts, however deep.

    The limits are those of a cgroup (cgroups(7)) that the process has for itself. The cgroup is
    removed when the process has ended; processes that are left in it are killed first. It also
    counts what the tree has used, and does so if no limit is set, too.

    Args:
        memory: the largest number of bytes of memory, file systems in memory and buffers of the
            kernel included: a number or a string such as "512M". If the tree needs more, the kernel
            kills its processes. None means no limit.
        swap: how many bytes may be swapped out in addition; "unlimited" means as many as there are.
            None means none if `memory` is given.
        pids: the largest number of processes and threads at a time. The init of a PID namespace,
            which `Options.init` keeps, does not count. None means no limit.
        cpus: how many processors the tree may keep busy at a time, such as 1.5. None means no
            limit.
        required: refuse to start the process if a limit cannot be set for the whole tree. If False,
            resource limits of each single process take the place of the limits (RLIMIT_AS for
            `memory` and RLIMIT_NPROC for `pids`; nothing takes the place of `cpus`);
            `Usage.limits` says so.
        parent: the directory of a cgroup v2 in which the cgroup is made, for example one that a
            service manager has delegated to the caller. No process may be in it. None means a
            suitable place near the caller's own cgroup.

    Raises:
        TypeError, ValueError: a limit is not valid.
    """

    memory: int | str | None = None
    swap: int | str | None = None
    pids: int | None = None
    cpus: float | None = None
    required: bool = True
    parent: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        self.__dict__["memory"] = _bytes("memory", self.memory, 1)
        if self.swap != UNLIMITED:
            self.__dict__["swap"] = _bytes("swap", self.swap, 0)
        if self.swap is not None and self.memory is None:
            raise ValueError(f"swap={self.swap!r} requires a limit of memory")
        _check_pids(self.pids)
        _check_cpus(self.cpus)
        if not isinstance(self.required, bool):
            raise TypeError(f"required must be True or False, not {self.required!r}")
        if self.parent is not None and not isinstance(self.parent, (str, os.PathLike)):
            raise TypeError(f"parent must be the path of a directory, not {self.parent!r}")

    def given(self) -> dict[str, int | float | str]:
        """Return the limits that are set, by name."""
        names = ("memory", "swap", "pids", "cpus")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def rlimits_of(limits: Limits) -> dict[str, Any]:
    """Return the resource limits of a process that come closest."""
    return {RLIMITS[name]: value for name, value in limits.given().items() if name in RLIMITS}


def legacy_files(
    limits: Limits, extra_pids: int, *, has_swap: bool
) -> Iterator[tuple[str, Writes]]:
    """Yield each controller of cgroup v1 with the values of its files.

    Args:
        limits: the limits.
        extra_pids: how many processes are allowed in addition.
        has_swap: whether the kernel can limit swap.
    """
    if isinstance(limits.memory, int):
        writes = [("memory.limit_in_bytes", str(limits.memory))]
        if has_swap and limits.swap != UNLIMITED:
            both = limits.memory + int(limits.swap or 0)
            writes.append(("memory.memsw.limit_in_bytes", str(both)))
        yield "memory", writes
    if limits.pids is not None:
        yield "pids", [("pids.max", str(limits.pids + extra_pids))]
    if limits.cpus is not None:
        period, quota = str(_PERIOD_US), str(_quota(limits.cpus))
        yield "cpu", [("cpu.cfs_period_us", period), ("cpu.cfs_quota_us", quota)]


def unified_files(limits: Limits, extra_pids: int) -> Iterator[tuple[str, str]]:
    """Yield the files of cgroup v2 and their values. The arguments are those of `legacy_files`."""
    if limits.memory is not None:
        yield "memory.max", str(limits.memory)
        yield "memory.swap.max", "max" if limits.swap == UNLIMITED else str(limits.swap or 0)
        # Otherwise the kernel kills one process, and the rest goes on without it.
        yield "memory.oom.group", "1"
    if limits.pids is not None:
        yield "pids.max", str(limits.pids + extra_pids)
    if limits.cpus is not None:
        yield "cpu.max", f"{_quota(limits.cpus)} {_PERIOD_US}"


def _quota(cpus: float) -> int:
    return max(_LEAST_QUOTA_US, round(cpus * _PERIOD_US))


def _bytes(name: str, given: object, least: int) -> int | None:
    if given is None:
        return None
    number = in_bytes(given)
    if number is None:
        raise TypeError(f'{name} must be a number of bytes, also as "512M", not {given!r}')
    if not least <= number <= _MOST_BYTES:
        raise ValueError(f"{name} must be {least} … {_MOST_BYTES} bytes, not {given!r}")
    return number


def _check_pids(given: object) -> None:
    if given is None:
        return
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"pids must be a number of processes, not {given!r}")
    if not 1 <= given <= _MOST_PIDS:
        raise ValueError(f"pids must be 1 … {_MOST_PIDS}, not {given!r}")


def _check_cpus(given: object) -> None:
    if given is None:
        return
    if not isinstance(given, (int, float)) or isinstance(given, bool):
        raise TypeError(f"cpus must be a number of processors, such as 1.5, not {given!r}")
    least = _LEAST_QUOTA_US / _PERIOD_US
    if not least <= given <= _MOST_CPUS:
        raise ValueError(f"cpus must be {least} … {_MOST_CPUS}, not {given!r}")
