# SPDX-License-Identifier: Apache-2.0
"""A copy of a directory of the caller, where there can be no overlay."""

from __future__ import annotations

import os
import stat

from nsenter._host.cleanup import close
from nsenter._host.suppress import suppress
from nsenter._sandbox.safe_files import install, open_folder, open_regular

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["copy_tree"]

_CHUNK = 1 << 20


def copy_tree(source: int, target: int, owner: tuple[int, int] | None) -> None:
    """Copy the regular files, directories and symbolic links of a directory.

    Args:
        source, target: descriptors of the directories.
        owner: the user and group of the copies; None means the caller.

    Raises:
        OSError: a file cannot be read, or there is no room for it.
    """
    owners = owner if owner is not None else (-1, -1)
    _finish_folder(source, target, owners)
    pending = ["."]
    while pending:
        folder = pending.pop()
        pending += _copy_folder(source, target, folder, owners)


def _copy_folder(source: int, target: int, path: str, owners: tuple[int, int]) -> list[str]:
    """Copy what a directory holds; return the paths of the directories in it, which are empty."""
    inner = []
    old, new = open_folder(source, path), -1
    try:
        new = open_folder(target, path)
        for name in os.listdir(old):
            mode = os.stat(name, dir_fd=old, follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                _make_folder(old, new, name, owners)
                inner.append(name if path == "." else f"{path}/{name}")
            elif stat.S_ISLNK(mode):
                os.symlink(os.readlink(name, dir_fd=old), name, dir_fd=new)
                os.chown(name, *owners, dir_fd=new, follow_symlinks=False)
            elif stat.S_ISREG(mode):
                _copy_file(old, new, name, owners)
    finally:
        close(old, *((new,) if new >= 0 else ()))
    return inner


def _make_folder(old: int, new: int, name: str, owners: tuple[int, int]) -> None:
    os.mkdir(name, 0o700, dir_fd=new)
    source, target = open_folder(old, name), -1
    try:
        target = open_folder(new, name)
        _finish_folder(source, target, owners)
    finally:
        close(source, *((target,) if target >= 0 else ()))


def _finish_folder(source: int, target: int, owners: tuple[int, int]) -> None:
    """Give a copy its owner and permissions. Its caller can write to it in any case."""
    os.fchown(target, *owners)
    os.fchmod(target, os.fstat(source).st_mode & 0o1777)


def _copy_file(old: int, new: int, name: str, owners: tuple[int, int]) -> None:
    fd = open_regular(old, name)
    try:
        mode = os.fstat(fd).st_mode
        install(new, name, _pieces(fd), mode, owners)
        with suppress(OSError):
            times = os.fstat(fd)
            os.utime(
                name,
                ns=(times.st_atime_ns, times.st_mtime_ns),
                dir_fd=new,
                follow_symlinks=False,
            )
    finally:
        close(fd)


def _pieces(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, _CHUNK):
        yield piece
