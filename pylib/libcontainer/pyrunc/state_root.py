# SPDX-License-Identifier: Apache-2.0
"""Where containers' state is, unless --root says so, and for whom cgroups may be out of reach."""

from __future__ import annotations

import os
import stat

from libcontainer.errors import ContainerError
from nsenter._host.cleanup import close

_ALL_IDS = 2**32 - 1
_OTHERS_WRITE = 0o022
_SYSTEM = "/run/pyrunc"


def in_user_namespace() -> bool:
    """Whether this is another user namespace than the machine's first."""
    try:
        fd = os.open("/proc/self/uid_map", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(fd, 4096).split() != [b"0", b"0", b"%d" % _ALL_IDS]
    finally:
        close(fd)


def may_lack_cgroups(word: str, *, systemd: bool) -> bool:
    """Whether cgroups that cannot be made are passed over; as runc's --rootless.

    Args:
        word: its value.
        systemd: whether systemd makes them.

    Raises:
        ContainerError: the word is none of true, false and auto.
    """
    if word in ("true", "1", "t"):
        return True
    if word in ("false", "0", "f"):
        return False
    if word != "auto":
        raise ContainerError(f"--rootless {word!r}: expected true, false or auto")
    if os.geteuid() != 0:
        return True
    if not in_user_namespace():
        return False
    if not systemd:
        return True
    from nsenter._cgroups.systemd_bus import Bus

    # A user namespace may have a systemd of its own, root's there.
    return Bus(user=True).owner() != 0


def state_root(given: str) -> str:
    """The folder of all containers' state, on a tmpfs as a rule: gone with the machine.

    Args:
        given: the value of --root; "": the default of this user.

    Raises:
        ContainerError: another user has made it, or could change it.
    """
    if given:
        return os.path.abspath(given)
    if not _is_a_users():
        return _SYSTEM
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    root = f"{runtime}/pyrunc" if runtime else f"/tmp/pyrunc-{os.geteuid()}"
    _check(root)
    return root


def make_private(root: str) -> None:
    """Make a user's folder of state. Its sticky bit keeps it from being tidied away, as the XDG
    Base Directory Specification has it.

    Raises:
        ContainerError: somebody else was faster.
    """
    if root == _SYSTEM:
        return
    os.makedirs(root, mode=0o700, exist_ok=True)
    _check(root)
    os.chmod(root, 0o1700)


def _is_a_users() -> bool:
    """A container's root who is a user outside has a user's folder, as in runc's main.go."""
    if os.geteuid() != 0:
        return True
    if not os.environ.get("XDG_RUNTIME_DIR") or not in_user_namespace():
        return False
    return os.environ.get("USER") != "root"


def _check(root: str) -> None:
    """What is in it is believed, so nobody else may have put it there."""
    try:
        status = os.lstat(root)
    except FileNotFoundError:
        return
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if not ours or status.st_mode & _OTHERS_WRITE:
        raise ContainerError(
            f"{root} can be changed by another user: give another directory with --root"
        )
