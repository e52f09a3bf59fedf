# SPDX-License-Identifier: Apache-2.0
"""The container's /dev: its nodes, and the links that programs expect there."""

from __future__ import annotations

import _stat as stat
import errno
import posix

from libcontainer.init import paths
from nsenter import system
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Device

_KINDS = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_KCORE = "/proc/kcore"
NULL = posix.makedev(1, 3)


def make_nodes(root: int, devices: tuple[Device, ...], *, bind: bool) -> None:
    """Make the device nodes.

    Args:
        root: descriptor of the container's root.
        bind: the host's are bound instead, as in a user namespace, where none can be made.
    """
    for device in devices:
        folder, _, name = device.path.rpartition("/")
        parent = paths.make_in(root, folder, folder=True)
        try:
            if bind or not _make_node(parent, name, device):
                _bind_node(root, device)
        finally:
            posix.close(parent)


def _make_node(parent: int, name: str, device: Device) -> bool:
    """Whether it could be made; in a user namespace it cannot."""
    number = posix.makedev(device.major, device.minor)
    mode = _KINDS[device.type] | device.file_mode
    try:
        if not _is_node(parent, name, _KINDS[device.type], number):
            posix.mknod(name, mode, number, dir_fd=parent)
        posix.chown(name, device.uid, device.gid, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.EPERM:
            return False
        raise Failure("mknod", device.path, error.errno or 0) from None
    return True


def _is_node(parent: int, name: str, kind: int, number: int) -> bool:
    """Whether the very device is there; what else is there under its name is taken away."""
    try:
        status = posix.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return False
    if stat.S_IFMT(status.st_mode) == kind and status.st_rdev == number:
        return True
    posix.unlink(name, dir_fd=parent)
    return False


def _bind_node(root: int, device: Device) -> None:
    target = paths.make_in(root, device.path, folder=False)
    try:
        tree = system.open_tree(system.AT_FDCWD, device.path, system.OPEN_TREE_CLONE)
        try:
            system.move_mount(tree, target, f"{device.path} of the host to {device.path}")
        finally:
            posix.close(tree)
    finally:
        posix.close(target)


def make_links(root: int) -> None:
    """/dev/fd and its like, and /dev/ptmx, which is the container's own devpts's."""
    dev = paths.make_in(root, "/dev", folder=True)
    try:
        for name, target in _LINKS.items():
            _link(dev, name, target)
        if posix.access(_KCORE, posix.F_OK):
            _link(dev, "core", _KCORE)
        _link(dev, "ptmx", "pts/ptmx", replace=True)
    finally:
        posix.close(dev)


def _link(folder: int, name: str, target: str, *, replace: bool = False) -> None:
    try:
        posix.symlink(target, name, dir_fd=folder)
    except FileExistsError:
        if replace and not _says(folder, name, target):
            posix.unlink(name, dir_fd=folder)
            posix.symlink(target, name, dir_fd=folder)
    except OSError as error:
        raise Failure("symlink", f"/dev/{name}", error.errno or 0) from None


def _says(folder: int, name: str, target: str) -> bool:
    try:
        return posix.readlink(name, dir_fd=folder) == target
    except OSError:
        return False


def reopen_null(streams: tuple[int, ...] = (0, 1, 2)) -> None:
    """Streams that are the host's /dev/null become the container's."""
    for stream in streams:
        try:
            if posix.fstat(stream).st_rdev != NULL:
                continue
            fd = posix.open("/dev/null", posix.O_RDWR | posix.O_NOFOLLOW | posix.O_CLOEXEC)
        except OSError:  # not open, or the container has none
            continue
        if posix.fstat(fd).st_rdev == NULL:
            posix.dup2(fd, stream)
        posix.close(fd)
