# SPDX-License-Identifier: Apache-2.0
"""Who the process is: ids, groups, working directory, limits of what it may do."""

from __future__ import annotations

import errno
import posix

from libcontainer.init.process import capabilities
from nsenter._host.syscalls import (
    PR_SET_KEEPCAPS,
    PR_SET_NO_NEW_PRIVS,
    Failure,
    capget,
    ioprio_set,
    prctl,
    sched_setattr,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Capabilities, IOPriority, ProcessConfig, Scheduler

_OUTSIDE = (
    "current working directory is outside of container mount namespace root -- possible "
    "container breakout detected"
)
_NULL_DEVICE = posix.makedev(1, 3)
_IOPRIO_CLASS_SHIFT = 13


def set_no_new_privileges() -> None:
    """Set no_new_privs: from now on execve(2) gives no privileges."""
    prctl("PR_SET_NO_NEW_PRIVS", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def become(process: ProcessConfig, caps: Capabilities | None, until_exec: int = 0) -> None:
    """Take on the ids and drop all capabilities but the given ones: all, where none are given.

    Args:
        until_exec: capabilities that are kept beside them, as far as they are there, until the
            program is executed.
    """
    capabilities.drop_bounding(capabilities.mask_of(caps.bounding if caps else ()))
    prctl("PR_SET_KEEPCAPS", PR_SET_KEEPCAPS, 1)
    arrived = _enter(process.cwd)
    _own_streams(process.uid)
    _set_ids(process)
    if not arrived:  # only its user may go there
        _enter(process.cwd, again=True)
    check_cwd()
    prctl("PR_SET_KEEPCAPS", PR_SET_KEEPCAPS, 0)
    effective, permitted, ambient, inheritable = (
        (caps.effective, caps.permitted, caps.ambient, caps.inheritable) if caps else ((),) * 4
    )
    until_exec &= capget()[1]
    capabilities.apply(
        capabilities.mask_of(effective) | until_exec,
        capabilities.mask_of(permitted) | until_exec,
        capabilities.mask_of(ambient),
        capabilities.mask_of(inheritable),
    )


def _enter(path: str, *, again: bool = False) -> bool:
    try:
        posix.chdir(path)
    except PermissionError as error:
        if again:
            raise _no_cwd(path, error) from None
        return False
    except OSError as error:
        raise _no_cwd(path, error) from None
    return True


def _no_cwd(path: str, error: OSError) -> Failure:
    return Failure("chdir to cwd", f'("{path}") set in config.json failed', error.errno or 0)


def check_cwd() -> None:
    """Refuse a working directory that is not below the root of the container.

    Such a directory can be reached through a descriptor that leaked from the host (CVE-2024-21626).

    Raises:
        Failure: the working directory is not inside the container.
    """
    try:
        path = posix.getcwd()
    except FileNotFoundError:
        path = ""
    if not path.startswith("/"):
        raise Failure("chdir", "process.cwd", errno.EXDEV, _OUTSIDE)


def _set_ids(process: ProcessConfig) -> None:
    try:
        _set_groups(process.additional_gids)
        posix.setresgid(process.gid, process.gid, process.gid)
        posix.setresuid(process.uid, process.uid, process.uid)
    except OSError as error:
        who = f"{process.uid}:{process.gid} {list(process.additional_gids)}"
        number = error.errno or 0
        hint = "no id mapping has it" if number == errno.EINVAL else ""
        raise Failure("set the ids of the process", who, number, hint) from None


def _set_groups(groups: tuple[int, ...]) -> None:
    try:
        posix.setgroups(list(groups))
    except PermissionError:
        # Denied in the user namespace of a caller without rights (user_namespaces(7)).
        if groups:
            raise


def _own_streams(uid: int) -> None:
    """Give the standard streams to the user, so that the program can open /dev/stdout."""
    for stream in range(3):
        try:
            status = posix.fstat(stream)
            if status.st_uid != uid and status.st_rdev != _NULL_DEVICE:
                posix.fchown(stream, uid, -1)
        except OSError as error:
            # Not open, not of an id that is mapped, or on what cannot be changed: as it is.
            if error.errno not in (errno.EBADF, errno.EINVAL, errno.EPERM, errno.EROFS):
                raise Failure("fchown", f"descriptor {stream}", error.errno or 0) from None


def set_io_priority(priority: IOPriority) -> None:
    """See ioprio_set(2)."""
    ioprio_set(priority.class_ << _IOPRIO_CLASS_SHIFT | priority.priority)


def set_scheduler(scheduler: Scheduler) -> None:
    """See sched_setattr(2)."""
    sched_setattr(
        policy=scheduler.policy,
        flags=scheduler.flags,
        nice=scheduler.nice,
        priority=scheduler.priority,
        runtime=scheduler.runtime,
        deadline=scheduler.deadline,
        period=scheduler.period,
    )
