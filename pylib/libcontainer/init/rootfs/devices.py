# SPDX-License-Identifier: Apache-2.0
"""The container's /dev: its device files, and the links that programs expect there.

A file that has the name of a device but is not that device is removed. Otherwise a link or a
regular file of the container's image would be written to as if it were the device.
"""

from __future__ import annotations

import _stat as stat
import errno
import posix

from libcontainer.init.rootfs import paths
from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

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
_NULL = posix.makedev(1, 3)
_DEV_NULL = "/dev/null"


def make_nodes(root: int, devices: tuple[Device, ...], *, bind: bool) -> None:
    """Make the device nodes.

    Args:
        root: descriptor of the container's root.
        bind: the host's are bound instead, as in a user namespace, where none can be made.
    """
    folders: dict[str, int] = {}
    try:
        for device in devices:
            folder, _, name = device.path.rpartition("/")
            if folder not in folders:
                folders[folder] = paths.make_in(root, folder, folder=True)
            parent = folders[folder]
            if (bind and device.type != "p") or not _make_node(parent, name, device):
                _bind_node(parent, name, device)
    finally:
        for fd in folders.values():
            close(fd)


def _make_node(parent: int, name: str, device: Device) -> bool:
    """Create a device file; return whether that is possible: in a user namespace it is not."""
    number = 0 if device.type == "p" else posix.makedev(device.major, device.minor)
    kind = _KINDS[device.type]
    try:
        posix.mknod(name, kind | device.file_mode, number, dir_fd=parent)
        posix.chown(name, device.uid, device.gid, dir_fd=parent, follow_symlinks=False)
    except FileExistsError:
        # One that is there may be the host's: it stays as it is.
        if not _is_node(parent, name, kind, number):
            why = "something is there that is no such device, and is not replaced: mount a new /dev"
            raise Failure("mknod", device.path, errno.EEXIST, why) from None
    except OSError as error:
        if error.errno == errno.EPERM:
            return False
        raise Failure("mknod", device.path, error.errno or 0) from None
    return True


def _is_node(parent: int, name: str, kind: int, number: int) -> bool:
    status = posix.lstat(name, dir_fd=parent)
    return stat.S_IFMT(status.st_mode) == kind and status.st_rdev == number


def _bind_node(parent: int, name: str, device: Device) -> None:
    try:
        tree = syscalls.open_tree(syscalls.AT_FDCWD, device.path, syscalls.OPEN_TREE_CLONE)
    except Failure as failure:
        why = f"{failure.strerror}, on the host, whose node is bound in a user namespace"
        raise Failure("bind", device.path, failure.errno or 0, why) from None
    try:
        _remove_link(parent, name)
        target = paths.make_below(parent, name, device.path, folder=False)
        try:
            syscalls.move_mount(tree, target, f"{device.path} of the host to {device.path}")
        finally:
            close(target)
    finally:
        close(tree)


def _remove_link(parent: int, name: str) -> None:
    try:
        posix.readlink(name, dir_fd=parent)
    except OSError:
        return
    posix.unlink(name, dir_fd=parent)


def make_links(root: int) -> None:
    """Create /dev/fd and similar links, and /dev/ptmx, which leads to the container's devpts."""
    dev = paths.make_in(root, "/dev", folder=True)
    try:
        for name, target in _LINKS.items():
            _link(dev, name, target)
        if posix.access(_KCORE, posix.F_OK):
            _link(dev, "core", _KCORE)
        _link(dev, "ptmx", "pts/ptmx", replace=True)
    finally:
        close(dev)


def _link(folder: int, name: str, target: str, *, replace: bool = False) -> None:
    try:
        try:
            posix.symlink(target, name, dir_fd=folder)
        except FileExistsError:
            # Another container with the same root may have made it just now.
            if replace and not _is_link(folder, name, target):
                posix.unlink(name, dir_fd=folder)
                posix.symlink(target, name, dir_fd=folder)
    except OSError as error:
        raise Failure("symlink", f"/dev/{name}", error.errno or 0) from None


def _is_link(folder: int, name: str, target: str) -> bool:
    try:
        return posix.readlink(name, dir_fd=folder) == target
    except OSError:
        return False


def open_null(root: int) -> int:
    """Return an O_PATH descriptor of the container's real /dev/null (CVE-2025-31133).

    Raises:
        Failure: there is none, or something else has its name.
    """
    fd = paths.find_in(root, _DEV_NULL, paths.O_PATH | posix.O_NOFOLLOW)
    if fd < 0:
        raise Failure("open", _DEV_NULL, errno.ENOENT, "the container has none: add it to /dev")
    if not is_null(fd):
        posix.close(fd)
        why = "it is not the null device: something else was put there"
        raise Failure("open", _DEV_NULL, errno.ENODEV, why)
    return fd


def is_null(fd: int) -> bool:
    """Return whether a descriptor refers to the null device."""
    status = posix.fstat(fd)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL


def reopen_null(streams: tuple[int, ...] = (0, 1, 2)) -> None:
    """Streams that are the host's /dev/null become the container's."""
    for stream in streams:
        try:
            if not is_null(stream):
                continue
            fd = posix.open(_DEV_NULL, posix.O_RDWR | posix.O_NOFOLLOW | posix.O_CLOEXEC)
        except OSError:  # not open, or the container has none
            continue
        if is_null(fd):
            posix.dup2(fd, stream)
        posix.close(fd)
