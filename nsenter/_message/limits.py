# SPDX-License-Identifier: Apache-2.0
"""Limits of a process as text for csrc/inside/limits.c: resources, file modes, processors."""

from __future__ import annotations

from _collections_abc import Iterable, Mapping  # collections.abc imports all of collections

from nsenter._host.sizes import in_bytes

Limit = int | str | None | tuple[int | str | None, int | str | None]

__all__ = ["RLIMIT_NAMES", "encode_cpus", "encode_rlimits", "encode_umask", "rlimit_name"]

# asm-generic/resource.h, in the order of their numbers; the names are prlimit(1)'s.
RESOURCES = (
    *("cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as"),
    *("locks", "sigpending", "msgqueue", "nice", "rtprio", "rttime"),
)
RLIMIT_NAMES = tuple(f"RLIMIT_{name.upper()}" for name in RESOURCES)  # getrlimit(2)'s
_INFINITY = 2**64 - 1  # RLIM64_INFINITY
_UNLIMITED = (None, -1, "unlimited")
_CPUS_MAX = 8192
_WORD_BITS = 64


def encode_rlimits(rlimits: Mapping[str, Limit]) -> bytes:
    """Return limits as `nofile:7:1024:4096,…`: name, number, soft and hard limit.

    Raises:
        ValueError: a resource is unknown or a value is not valid.
    """
    return ",".join(_one_limit(name, limit) for name, limit in rlimits.items()).encode()


def _one_limit(name: str, limit: Limit) -> str:
    word = name.lower().removeprefix("rlimit_")
    if word not in RESOURCES:
        raise ValueError(f"rlimits: {name!r} is none of {', '.join(RESOURCES)}")
    both = limit if isinstance(limit, tuple) else (limit, limit)
    if len(both) != 2:
        raise ValueError(f"rlimits: {name} must be a limit or a pair (soft, hard), not {limit!r}")
    soft, hard = (_value(name, value) for value in both)
    if soft > hard:
        raise ValueError(f"rlimits: {name}={limit!r}: the soft limit is above the hard one")
    return f"{word}:{RESOURCES.index(word)}:{soft}:{hard}"


def _value(name: str, value: object) -> int:
    if value in _UNLIMITED:
        return _INFINITY
    number = in_bytes(value)
    if number is None or not 0 <= number <= _INFINITY:
        words = 'is neither a number nor "unlimited"; sizes may be as "64M"'
        raise ValueError(f"rlimits: {name}: {value!r} {words}")
    return number


def rlimit_name(number: int) -> str:
    """Return the name of a resource as in getrlimit(2); the number if it is unknown."""
    return RLIMIT_NAMES[number] if number in range(len(RLIMIT_NAMES)) else str(number)


def encode_umask(umask: int) -> int:
    """Raises ValueError where it is none."""
    if not 0 <= umask <= 0o777:
        raise ValueError(f"umask must be 0 … 0o777, not {umask:#o}")
    return umask


def encode_cpus(cpus: Iterable[int]) -> bytes:
    """Return the mask for sched_setaffinity(2).

    Raises:
        ValueError: it is empty, or a number is not valid.
    """
    numbers = set(cpus)
    if not numbers or not all(0 <= number < _CPUS_MAX for number in numbers):
        raise ValueError(f"cpus must be one or more numbers of processors, not {sorted(numbers)}")
    words = max(numbers) // _WORD_BITS + 1
    return sum(1 << number for number in numbers).to_bytes(words * 8, "little")
