# SPDX-License-Identifier: Apache-2.0
"""The state directory if --root does not name one, and who may be unable to use cgroups."""

from __future__ import annotations

import os
import stat

from libcontainer.errors import ContainerError
from nsenter._host.cleanup import close

_ALL_IDS = 2**32 - 1
_OTHERS_WRITE = 0o022
_SYSTEM = "/run/pyrunc"


def in_user_namespace() -> bool:
    """Return whether this process is in another user namespace than the machine's first one."""
    try:
        fd = os.open("/proc/self/uid_map", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.read(fd, 4096).split() != [b"0", b"0", b"%d" % _ALL_IDS]
    finally:
        close(fd)


def may_lack_cgroups(word: str, *, systemd: bool) -> bool:
    """Return whether the command continues if cgroups cannot be created; this is runc's --rootless.

    Args:
        word: the value of the option.
        systemd: whether systemd creates the cgroups.

    Raises:
        ContainerError: the value is not "true", "false" or "auto".
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
    """Return the state directory. It is usually on a tmpfs, so it is empty after a boot.

    Args:
        given: the value of --root; "" means the default of this user.

    Raises:
        ContainerError: another user has created the directory, or could change it.
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
    """Create the state directory of a user.

    Its sticky bit protects it from programs that remove old files, according to the XDG Base
    Directory Specification.

    Raises:
        ContainerError: another process has created the directory meanwhile.
    """
    if root == _SYSTEM:
        return
    os.makedirs(root, mode=0o700, exist_ok=True)
    _check(root)
    os.chmod(root, 0o1700)


def _is_a_users() -> bool:
    """Return whether this process uses the state directory of a user.

    Root of a container who is an ordinary user outside does, as in runc's main.go.
    """
    if os.geteuid() != 0:
        return True
    if not os.environ.get("XDG_RUNTIME_DIR") or not in_user_namespace():
        return False
    return os.environ.get("USER") != "root"


def _check(root: str) -> None:
    """Refuse a directory in which another user may have put files: its content is trusted."""
    try:
        status = os.lstat(root)
    except FileNotFoundError:
        return
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if not ours or status.st_mode & _OTHERS_WRITE:
        raise ContainerError(
            f"{root} can be changed by another user: give another directory with --root"
        )
