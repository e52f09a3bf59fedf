# SPDX-License-Identifier: Apache-2.0
"""What of the container's own root it may not see or change: masks and read-only paths."""

from __future__ import annotations

import posix

from libcontainer.init.rootfs import devices, paths
from libcontainer.init.rootfs.attributes import propagate
from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter._host.syscalls import FSCONFIG_CMD_CREATE, FSCONFIG_SET_FLAG, FSCONFIG_SET_STRING

_CLONE = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH
# Nothing is ever in it, should it be made writable.
_EMPTY = {"source": "tmpfs", "nr_blocks": "1", "nr_inodes": "1"}


def make_readonly(root: int, names: tuple[str, ...], *, is_shared: bool) -> None:
    """Bind each path on itself, read-only; what is not there needs no protection.

    Args:
        is_shared: whether the root is a shared mount. If it is not, what hears of the host's mounts
            goes on to do so.
    """
    for name in names:
        fd = paths.find_in(root, name)
        if fd < 0:
            continue
        try:
            tree = syscalls.open_tree(fd, "", _CLONE | syscalls.AT_RECURSIVE)
            try:
                syscalls.mount_setattr(tree, set=syscalls.MOUNT_ATTR_RDONLY, subject=name)
                _put(tree, fd, f"read-only {name}", apart=is_shared)
            finally:
                close(tree)
        finally:
            close(fd)


def hide(root: int, names: tuple[str, ...], label: str) -> None:
    """Mask paths: a file behind the null device, a folder behind an empty one.

    What is not there needs no mask.

    Args:
        label: SELinux context of the empty folder.
    """
    masks = _Masks(root, label)
    try:
        for name in names:
            fd = paths.find_in(root, name)
            if fd < 0:
                continue
            try:
                masks.cover(fd, name)
            finally:
                close(fd)
    finally:
        masks.close()


def _put(tree: int, target: int, subject: str, *, apart: bool) -> None:
    """Attach a clone.

    Args:
        apart: whether it leaves the peer group of what it was cloned from before: else, below a
            shared root, whatever is mounted on one of them is mounted on all.
    """
    if apart:
        propagate(tree, syscalls.MS_PRIVATE, subject)
    syscalls.move_mount(tree, target, subject)


class _Masks:
    """The two masks, made when the first path asks for one."""

    def __init__(self, root: int, label: str) -> None:
        self._root = root
        self._label = label
        self._null = -1
        self._empty = -1

    def cover(self, fd: int, name: str) -> None:
        tree = self._folder() if paths.is_folder(fd) else self._file()
        try:
            _put(tree, fd, f"a mask on {name}", apart=True)
        finally:
            close(tree)

    def close(self) -> None:
        for fd in (self._null, self._empty):
            if fd >= 0:
                close(fd)

    def _file(self) -> int:
        if self._null < 0:
            self._null = devices.open_null(self._root)
        return syscalls.open_tree(self._null, "", _CLONE)

    def _folder(self) -> int:
        """Return the mount for directories: one empty read-only file system serves all of them."""
        if self._empty < 0:
            tree = self._new()
            # It is attached before the next is asked for: one that is nowhere cannot be cloned,
            # before Linux 6.15.
            self._empty = posix.dup(tree)
            return tree
        return syscalls.open_tree(self._empty, "", _CLONE)

    def _new(self) -> int:
        options = {**_EMPTY, "context": self._label} if self._label else _EMPTY
        context = syscalls.fsopen("tmpfs")
        try:
            for name, value in options.items():
                syscalls.fsconfig(context, FSCONFIG_SET_STRING, name, value)
            syscalls.fsconfig(context, FSCONFIG_SET_FLAG, "ro", None)
            syscalls.fsconfig(context, FSCONFIG_CMD_CREATE, None, None)
            return syscalls.fsmount(context, syscalls.MOUNT_ATTR_RDONLY, "the mask of folders")
        finally:
            close(context)
