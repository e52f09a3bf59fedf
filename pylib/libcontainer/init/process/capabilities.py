# SPDX-License-Identifier: Apache-2.0
"""The five sets of capabilities of a process (capabilities(7))."""

from __future__ import annotations

import errno

from nsenter._host.syscalls import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    PR_CAPBSET_READ,
    Failure,
    capget,
    capset,
    prctl,
)
from nsenter._message.capabilities import NAMES, NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST = 64


def mask_of(names: Iterable[str]) -> int:
    """Return the bits of capabilities; those that the table does not have are left out."""
    mask = 0
    for name in names:
        number = NUMBERS.get(name)
        if number is not None:
            mask |= 1 << number
    return mask


def names_of(mask: int) -> list[str]:
    """Return the names for the bits of a mask; a number if the table has no name."""
    return [
        NAMES[number] if number < len(NAMES) else str(number)
        for number in range(_MOST)
        if mask >> number & 1
    ]


def drop_bounding(keep: int) -> None:
    """Take from the bounding set all that the kernel knows but `keep`.

    Raises:
        Failure: something has to be taken, and CAP_SETPCAP is missing for it.
    """
    for number in range(_MOST):
        if keep >> number & 1:
            continue
        try:
            prctl(f"PR_CAPBSET_DROP {number}", PR_CAPBSET_DROP, number, 0, 0, 0)
        except Failure as failure:
            if failure.errno == errno.EINVAL:  # it knows no more
                return
            # Without the right to, that is what the kernel says before it looks at the number.
            if not _is_in_bounding(number):
                continue
            raise Failure("PR_CAPBSET_DROP", names_of(1 << number)[0], failure.errno or 0) from None


def is_known(number: int) -> bool:
    """Return whether this kernel has a capability with this number."""
    try:
        prctl("PR_CAPBSET_READ", PR_CAPBSET_READ, number, 0, 0, 0)
    except Failure as failure:
        if failure.errno == errno.EINVAL:
            return False
        raise
    return True


def _is_in_bounding(number: int) -> bool:
    """False also for what the kernel does not know."""
    try:
        return prctl("PR_CAPBSET_READ", PR_CAPBSET_READ, number, 0, 0, 0) == 1
    except Failure as failure:
        if failure.errno == errno.EINVAL:
            return False
        raise


def apply(effective: int, permitted: int, ambient: int, inheritable: int = 0) -> None:
    """Set the process's sets, having the ids that it is to have.

    The inheritable set is what is asked for and no more: a program with inheritable capabilities
    in its file would get them (CVE-2022-29162). An ambient capability that the kernel does not
    raise is left out, as by runc; see `not_raised`.

    Args:
        effective, permitted, ambient, inheritable: masks of bits.

    Raises:
        Failure: the process does not have what it is to keep; names it.
    """
    try:
        capset(effective, permitted, inheritable)
    except Failure as failure:
        if failure.errno != errno.EPERM:
            raise
        raise _not_there(effective, permitted, inheritable) from None
    prctl("PR_CAP_AMBIENT", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    raised = ambient & ~not_raised(ambient, permitted, inheritable)
    for number in range(_MOST):
        if raised >> number & 1:
            name = names_of(1 << number)[0]
            prctl(f"PR_CAP_AMBIENT {name}", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number, 0, 0)


def not_raised(ambient: int, permitted: int, inheritable: int) -> int:
    """Return the ambient capabilities that the kernel does not raise.

    It requires them to be in the permitted and in the inheritable set (capabilities(7)).
    """
    return ambient & ~(permitted & inheritable)


def _not_there(effective: int, permitted: int, inheritable: int) -> Failure:
    _, has, inherits = capget()
    missing = names_of((permitted | inheritable & ~inherits) & ~has)
    if missing:
        why = "the runtime does not have them itself"
        return Failure("capset", ", ".join(missing), errno.EPERM, why)
    outside = names_of(effective & ~permitted)
    if outside:
        return Failure("capset", ", ".join(outside), errno.EPERM, "not in the permitted set")
    unbounded = [n for n in names_of(inheritable & ~inherits) if not _is_in_bounding(NUMBERS[n])]
    why = "an inheritable capability must be in the bounding set too"
    return Failure("capset", ", ".join(unbounded), errno.EPERM, why)
