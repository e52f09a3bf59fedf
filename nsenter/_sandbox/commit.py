# SPDX-License-Identifier: Apache-2.0
"""Bring changes of a workspace back to the real directory.

The changes come from hostile code. Regular files, directories, and links that stay inside are
brought back; setuid, setgid, extended attributes, owners and times are not. Everything is checked
before the first file is written.
"""

from __future__ import annotations

import os
import stat
from errno import EFBIG, ENOENT

from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter._host.procfs import status_field
from nsenter._host.suppress import suppress
from nsenter._sandbox.safe_files import (
    UnsafeFile,
    install,
    make_folders,
    open_below,
    open_folder,
    open_regular,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nsenter._sandbox.changes import Change

__all__ = ["commit"]

_CHUNK = 1 << 20
_BELOW = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS
_LEAVES = "it is a symbolic link that leads, or may lead, out of the workspace"


def commit(
    source: int, target: int, changes: Iterable[Change], limit: int, owner: int | None
) -> None:
    """Apply changes.

    Args:
        source: a descriptor of the top directory of the workspace.
        target: a descriptor of the real directory.
        changes: what is applied.
        limit: the largest size of a file in bytes.
        owner: the user that the code runs as, as for `open_regular`.

    Raises:
        UnsafeFile: a change must not be applied. Nothing was.
        OSError: the real directory cannot be changed. A part of the changes may have been applied.
    """
    work = _Commit(source, target, limit, owner)
    changes = list(changes)
    for change in changes:
        work.check(change)
    for change in reversed(changes):
        if change.kind == "deleted":
            work.delete(change.path)
    for wanted in ("directory", "file", "symbolic link"):
        for change in changes:
            if change.kind != "deleted" and change.type == wanted:
                work.apply[wanted](change.path)


class _Commit:
    """One commit."""

    def __init__(self, source: int, target: int, limit: int, owner: int | None) -> None:
        self._source = source
        self._target = target
        self._limit = limit
        self._owner = owner
        found = os.fstat(target)
        self._owners = found.st_uid, found.st_gid
        self._umask = int(status_field("Umask") or "22", 8)
        self.apply: dict[str, Callable[[str], None]] = {
            "directory": self._folder,
            "file": self._file,
            "symbolic link": self._link,
        }

    def check(self, change: Change) -> None:
        """Raise UnsafeFile if a change must not be applied."""
        if change.kind == "deleted":
            return
        if change.type == "file":
            close(self._open(change.path))
        elif change.type == "symbolic link":
            self._check_way(change.path, self._checked_link(change.path))
        elif change.type != "directory":
            raise UnsafeFile(change.path, f"it is a {change.type}, which is not brought back")

    def _open(self, path: str) -> int:
        fd = open_regular(self._source, path, self._owner)
        size = os.fstat(fd).st_size
        if size > self._limit:
            close(fd)
            raise UnsafeFile(
                path, f"it has {size} bytes, more than the limit of {self._limit}", EFBIG
            )
        return fd

    def _parent(self, path: str) -> tuple[int, str]:
        """Open the real directory that a path is in; make it if it is missing."""
        folder, _, name = path.rpartition("/")
        return make_folders(self._target, folder, self._owners), name

    def delete(self, path: str) -> None:
        """Remove a real file, or an empty directory."""
        folder, _, name = path.rpartition("/")
        with suppress(FileNotFoundError):
            parent = open_folder(self._target, folder or ".")
            try:
                _remove(parent, name)
            finally:
                close(parent)

    def _folder(self, path: str) -> None:
        parent, name = self._parent(path)
        try:
            found = _status(parent, name)
            if found is not None and not stat.S_ISDIR(found.st_mode):
                os.unlink(name, dir_fd=parent)
            fd = make_folders(parent, name, self._owners)
            try:
                os.fchmod(fd, self._mode(self._status_of(path), found))
            finally:
                close(fd)
        finally:
            close(parent)

    def _file(self, path: str) -> None:
        fd = self._open(path)
        try:
            parent, name = self._parent(path)
            try:
                found = _status(parent, name)
                if found is not None and stat.S_ISDIR(found.st_mode):
                    os.rmdir(name, dir_fd=parent)
                owners = (found.st_uid, found.st_gid) if found is not None else self._owners
                mode = self._mode(os.fstat(fd), found)
                install(parent, name, self._pieces(fd, path), mode, owners)
            finally:
                close(parent)
        finally:
            close(fd)

    def _pieces(self, fd: int, path: str) -> Iterator[bytes]:
        left = self._limit
        while piece := os.read(fd, _CHUNK):
            left -= len(piece)
            if left < 0:
                raise UnsafeFile(path, f"it grew over the limit of {self._limit} bytes", EFBIG)
            yield piece

    def _mode(self, new: os.stat_result, old: os.stat_result | None) -> int:
        """Return the permissions: the old ones, or new ones as far as the umask allows them."""
        mode = new.st_mode & 0o777
        if old is not None and mode == old.st_mode & 0o777:
            return mode
        return mode & ~self._umask

    def _status_of(self, path: str) -> os.stat_result:
        fd = open_below(self._source, path, os.O_PATH)
        try:
            return os.fstat(fd)
        finally:
            close(fd)

    def _link(self, path: str) -> None:
        target = self._checked_link(path)
        parent, name = self._parent(path)
        temporary = f".{os.urandom(12).hex()}.new"
        try:
            found = _status(parent, name)
            if found is not None and stat.S_ISDIR(found.st_mode):
                os.rmdir(name, dir_fd=parent)
            self._check_way(path, target)
            os.symlink(target, temporary, dir_fd=parent)
            try:
                os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
            except OSError:
                os.unlink(temporary, dir_fd=parent)
                raise
        finally:
            close(parent)

    def _checked_link(self, path: str) -> str:
        """Return the target of a link, which goes up first, not too far, and then only down."""
        folder, _, name = path.rpartition("/")
        fd = open_folder(self._source, folder or ".")
        try:
            target = os.readlink(name, dir_fd=fd)
        finally:
            close(fd)
        steps = _steps(target)
        ups = next((i for i, step in enumerate(steps) if step != ".."), len(steps))
        if target.startswith("/") or ".." in steps[ups:] or ups > path.count("/"):
            raise UnsafeFile(path, _LEAVES)
        return target

    def _check_way(self, path: str, target: str) -> None:
        """Raise UnsafeFile if links that are there already lead the target out."""
        way = path.split("/")[:-1]
        for step in _steps(target):
            way = way[:-1] if step == ".." else [*way, step]
        try:
            close(syscalls.openat2(self._target, "/".join(way) or ".", os.O_PATH, resolve=_BELOW))
        except syscalls.Failure as failure:
            if failure.errno != ENOENT:
                raise UnsafeFile(path, _LEAVES) from None


def _steps(target: str) -> list[str]:
    return [step for step in target.split("/") if step not in ("", ".")]


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _remove(parent: int, name: str) -> None:
    found = _status(parent, name)
    if found is None:
        return
    if stat.S_ISDIR(found.st_mode):
        os.rmdir(name, dir_fd=parent)
    else:
        os.unlink(name, dir_fd=parent)
