# SPDX-License-Identifier: Apache-2.0
"""System calls that the doctor tries in a throw-away process: a filter may kill who makes them.

As a program (`python -m nsenter._host.probe`) it prints what came of each as JSON: `value`, or
`errno`, or `signal` where it was killed. Each is tried in a child of its own, so what one of them
changes is gone with it.
"""

from __future__ import annotations

import os
import sys
from errno import EBADF, EINVAL, ENOSPC, ENOSYS
from functools import partial

from nsenter._host import syscalls
from nsenter._nsexec import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Outcome = dict[str, int]

__all__ = ["CALLS", "TRIALS", "outcomes", "refused"]

# The same on every architecture, as all calls since Linux 5.0.
_SYS_pidfd_open = 434
_SYS_clone3 = 435
_SYS_landlock_create_ruleset = 444

_LANDLOCK_CREATE_RULESET_VERSION = 1
_SECCOMP_GET_ACTION_AVAIL = 2
_SECCOMP_RET_ALLOW = 0x7FFF_0000.to_bytes(4, sys.byteorder)
_MFD_EXEC = 0x10
_NEWUSER, _NEWNS = 0x1000_0000, 0x0002_0000
_DEEPEST = 64  # more than the kernel has of anything that nests

# Calls that change nothing, each with arguments that the kernel refuses in a way of its own:
# another refusal is somebody's who stands before it.
CALLS: dict[str, tuple[int, tuple[object, ...], int]] = {
    "clone3": (_SYS_clone3, (0, 0), EINVAL),
    "unshare": (lib.SYS_unshare, (0,), 0),
    "setns": (lib.SYS_setns, (-1, 0), EBADF),
    "pidfd_open": (_SYS_pidfd_open, (-1, 0), EINVAL),
    "close_range": (lib.SYS_close_range, (2, 1, 0), EINVAL),
    "openat2": (lib.SYS_openat2, (-1, "x", 0, 0), EINVAL),
    "open_tree": (lib.SYS_open_tree, (-1, "x", 0), EBADF),
    "mount_setattr": (lib.SYS_mount_setattr, (-1, "x", 0, 0, 0), EINVAL),
    "seccomp": (lib.SYS_seccomp, (_SECCOMP_GET_ACTION_AVAIL, 0, _SECCOMP_RET_ALLOW), 0),
}


def _call(number: int, arguments: tuple[object, ...], expected: int) -> int:
    try:
        return syscalls.call("probe", "", number, *arguments)
    except syscalls.Failure as failure:
        if failure.errno == expected:
            return 0
        raise


def _memfd() -> int:
    """Try to create an executable memfd, as nsinit requires."""
    try:
        os.close(os.memfd_create("probe", os.MFD_CLOEXEC | _MFD_EXEC))
    except OSError as error:
        if error.errno != EINVAL:  # Linux before 6.3, where all are
            raise
    return 0


def _landlock() -> int:
    """Return the version of Landlock's interface."""
    number, flags = _SYS_landlock_create_ruleset, _LANDLOCK_CREATE_RULESET_VERSION
    return syscalls.call("landlock_create_ruleset", "", number, 0, 0, flags)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _enter_user_namespace(flags: int = 0) -> None:
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(_NEWUSER | flags)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"0 {uid} 1")
    _write("/proc/self/gid_map", f"0 {gid} 1")


def _nesting() -> int:
    """Return how many user namespaces can be nested here."""
    for depth in range(_DEEPEST):
        try:
            _enter_user_namespace()
        except OSError as error:
            if error.errno == ENOSPC:
                return depth
            raise
    return _DEEPEST


def _overlay() -> int:
    """Try to mount an overlay file system in a user namespace."""
    _enter_user_namespace(_NEWNS)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("none", "/tmp", "tmpfs", 0)
    for name in ("lower", "upper", "work", "merged"):
        os.mkdir(f"/tmp/{name}")
    layers = "lowerdir=/tmp/lower,upperdir=/tmp/upper,workdir=/tmp/work,userxattr"
    syscalls.mount("none", "/tmp/merged", "overlay", 0, layers)
    return 0


def _chroot() -> int:
    """Return 1 if the root of this process is not the root of its mount namespace.

    A process that joins the mount namespace gets that other root. The mount id tells the two apart:
    a bind mount of / has the same inode.
    """
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    before = _mount_id()
    syscalls.setns(namespace, _NEWNS)
    return int(_mount_id() != before)


def _mount_id() -> str:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with open(f"/proc/self/fdinfo/{root}", encoding="ascii") as file:
        return next(line for line in file if line.startswith("mnt_id:"))


# What takes more than one call.
TRIALS: dict[str, Callable[[], int]] = {
    "memfd_create": _memfd,
    "landlock": _landlock,
    "nesting": _nesting,
    "overlay": _overlay,
    "chroot": _chroot,
}


def _in_a_child(trial: Callable[[], int]) -> Outcome:
    """Run a trial in a forked child; this process has one thread, so it may fork."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = trial()
        except OSError as error:
            answer = -(error.errno or EINVAL)
        os.write(writer, b"%d" % answer)
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        said = file.read()
    _, status = os.waitpid(pid, 0)
    if not said:
        return {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"errno": EINVAL}
    answer = int(said)
    return {"value": answer} if answer >= 0 else {"errno": -answer}


def outcomes() -> dict[str, Outcome]:
    """Return the outcome of each trial."""
    trials = {name: partial(_call, *call) for name, call in CALLS.items()} | TRIALS
    return {name: _in_a_child(trial) for name, trial in trials.items()}


def refused(outcome: Outcome) -> str:
    """Return why a call cannot be made, for users; "" if it can."""
    if "signal" in outcome:
        return f"killed by signal {outcome['signal']}"
    number = outcome.get("errno", 0)
    if number == ENOSYS:
        return "not there"
    return os.strerror(number).lower() if number else ""


if __name__ == "__main__":
    from nsenter._host import json_text

    print(json_text.dumps(outcomes()))
