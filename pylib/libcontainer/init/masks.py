# SPDX-License-Identifier: Apache-2.0
"""What of the container's own root it may not see or change: masks, read-only paths, sysctls."""

from __future__ import annotations

import errno
import posix

from libcontainer.init import paths
from nsenter import system
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_O_PATH = 0o10000000


def make_readonly(root: int, names: tuple[str, ...]) -> None:
    """Bind each path on itself, read-only; what is not there needs no protection."""
    for name in names:
        fd = paths.find_in(root, name)
        if fd < 0:
            continue
        try:
            flags = system.OPEN_TREE_CLONE | system.AT_EMPTY_PATH | system.AT_RECURSIVE
            tree = system.open_tree(fd, "", flags)
            try:
                system.mount_setattr(tree, set=system.MOUNT_ATTR_RDONLY, subject=name)
                system.move_mount(tree, fd, f"read-only {name}")
            finally:
                posix.close(tree)
        finally:
            posix.close(fd)


class Masks:
    """Hides paths: a file behind /dev/null, a folder behind an empty one.

    Args:
        null: a detached mount of the host's /dev/null. The container's own may be anything
            (CVE-2025-31133).
        label: SELinux context of the empty folder.
    """

    def __init__(self, null: int, label: str) -> None:
        self._null = null
        self._label = label
        self._empty = -1

    def hide(self, root: int, names: tuple[str, ...]) -> None:
        """Mask the paths; what is not there needs none."""
        for name in names:
            fd = paths.find_in(root, name)
            if fd < 0:
                continue
            try:
                self._cover(fd, name)
            finally:
                posix.close(fd)
        if self._empty >= 0:
            posix.close(self._empty)

    def _cover(self, fd: int, name: str) -> None:
        tree = self._folder() if paths.is_folder(fd) else self._file()
        try:
            system.move_mount(tree, fd, f"a mask on {name}")
        finally:
            posix.close(tree)

    def _file(self) -> int:
        return _copy(self._null)

    def _folder(self) -> int:
        """One file system serves all: it is empty and stays so."""
        if self._empty >= 0:
            return _copy(self._empty)
        context = system.fsopen("tmpfs")
        try:
            system.fsconfig(context, system.FSCONFIG_SET_STRING, "source", "tmpfs")
            system.fsconfig(context, system.FSCONFIG_SET_FLAG, "ro", None)
            if self._label:
                system.fsconfig(context, system.FSCONFIG_SET_STRING, "context", self._label)
            system.fsconfig(context, system.FSCONFIG_CMD_CREATE, None, None)
            fd = system.fsmount(context, system.MOUNT_ATTR_RDONLY, "the mask of folders")
        finally:
            posix.close(context)
        self._empty = posix.dup(fd)
        return fd


def _copy(mount: int) -> int:
    return system.open_tree(mount, "", system.OPEN_TREE_CLONE | system.AT_EMPTY_PATH)


def write_sysctls(root: int, sysctls: Mapping[str, str]) -> None:
    """Write each value below /proc/sys, having seen that this is the kernel's."""
    if not sysctls:
        return
    proc = paths.find_in(root, "/proc/sys")
    try:
        if proc < 0 or system.file_system_type(proc) != system.PROC_SUPER_MAGIC:
            raise Failure("sysctl", "/proc/sys", errno.ENOENT, "no proc is mounted on /proc")
        for name, value in sysctls.items():
            _write_sysctl(proc, name, value)
    finally:
        if proc >= 0:
            posix.close(proc)


def _write_sysctl(proc: int, name: str, value: str) -> None:
    # "net.ipv4.conf.eth0/1.x": with slashes in it, those are the dots of names (sysctl.d(5)).
    swapped = name.translate({ord("."): "/", ord("/"): "."})
    path = name if "/" in name.partition(".")[0] else swapped
    resolve = system.RESOLVE_BENEATH | system.RESOLVE_NO_SYMLINKS | system.RESOLVE_NO_XDEV
    try:
        fd = system.openat2(proc, path, posix.O_WRONLY, resolve=resolve)
        try:
            posix.write(fd, value.encode())
        finally:
            posix.close(fd)
    except OSError as error:
        raise Failure("sysctl", f"{name}={value}", error.errno or 0) from None
