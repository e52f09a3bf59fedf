# SPDX-License-Identifier: Apache-2.0
"""What is different in a workspace.

Either the upper layer of an overlay is read (docs.kernel.org/filesystems/overlayfs.html: a deleted
file is a whiteout, a directory that replaces another is opaque), or two trees are compared. Both
may change while they are read: what has gone in between is passed over.
"""

from __future__ import annotations

import os
import stat
from errno import EACCES, ELOOP, ENAMETOOLONG, ENODATA, ENOENT, ENOTDIR, ENOTSUP, EPERM

from nsenter._host.cleanup import close
from nsenter._host.records import Value
from nsenter._sandbox.safe_files import UnsafeFile, open_folder, open_regular, type_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Change", "between_trees", "in_upper_layer"]

_CHUNK = 1 << 20
_LONGEST_PATH = 4095
_OPAQUE = ("user.overlay.opaque", "trusted.overlay.opaque")
_WHITEOUT = ("user.overlay.whiteout", "trusted.overlay.whiteout")
# A directory that holds whiteouts in the form of extended attributes has this value.
_HOLDS_WHITEOUTS = b"x"
_GONE = (ENOENT, ENOTDIR, ELOOP, EACCES)


class Change(Value):
    """One path that is different in a workspace.

    Args:
        kind: "added", "modified" (content, type, permissions or target of a link) or "deleted".
        path: the path in the workspace.
        type: what it is: "file", "directory", "symbolic link", "pipe", "socket" or "device".
        size: the size in bytes of a file, otherwise None.
    """

    kind: str
    path: str
    type: str
    size: int | None = None


def in_upper_layer(upper: int, lower: int, only: str = ".") -> Iterator[Change]:
    """Yield the changes that the upper layer of an overlay holds.

    Args:
        upper, lower: descriptors of the top directories of the layers.
        only: the path that is looked at, with everything below it.

    Raises:
        UnsafeFile: the path of a directory is too long.
    """
    return _walk(_Layers(upper, lower), only)


def between_trees(new: int, old: int, only: str = ".") -> Iterator[Change]:
    """Yield the changes from one tree to another.

    Args:
        new, old: descriptors of their top directories.
        only: the path that is looked at, with everything below it.

    Raises:
        UnsafeFile: the path of a directory is too long.
    """
    return _walk(_Trees(new, old), only)


class _Trees:
    """A tree that shows everything that is there."""

    def __init__(self, new: int, old: int) -> None:
        self.new = new
        self.old = old

    def entries(self, path: str, is_new: bool) -> tuple[dict[str, os.stat_result], bool, set[str]]:
        """Return what a directory holds, whether it hides the old one, and what it has deleted."""
        found = _listed(self.new, path)
        return found, True, set()


class _Layers(_Trees):
    """An upper layer, which shows the differences."""

    def entries(self, path: str, is_new: bool) -> tuple[dict[str, os.stat_result], bool, set[str]]:
        found = _listed(self.new, path)
        fd = _opened(self.new, path)
        if fd < 0:
            return found, False, set()
        try:
            opaque = _attribute(fd, _OPAQUE)
            whiteouts = {
                name
                for name, status in found.items()
                if _is_whiteout(status)
                or (opaque == _HOLDS_WHITEOUTS and _is_marked(self.new, _join(path, name), status))
            }
        finally:
            close(fd)
        return found, opaque == b"y" or is_new, whiteouts


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_marked(root: int, path: str, status: os.stat_result) -> bool:
    """Return whether an empty file is a whiteout, by an extended attribute."""
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        return False
    try:
        fd = open_regular(root, path)
    except OSError:
        return False
    try:
        return _attribute(fd, _WHITEOUT) is not None
    finally:
        close(fd)


def _attribute(fd: int, names: tuple[str, ...]) -> bytes | None:
    for name in names:
        try:
            return os.getxattr(fd, name)
        except OSError as error:
            if error.errno not in (ENODATA, ENOTSUP, EPERM):
                raise
    return None


def _opened(root: int, path: str) -> int:
    """Open a directory; -1 if it is gone or must not be read."""
    try:
        return open_folder(root, path)
    except OSError as error:
        if error.errno == ENAMETOOLONG:
            why = f"its path has more bytes than the {_LONGEST_PATH} that the kernel takes"
            raise UnsafeFile(path, why, ENAMETOOLONG) from None
        if error.errno not in _GONE:
            raise
        return -1


def _listed(root: int, path: str) -> dict[str, os.stat_result]:
    fd = _opened(root, path)
    if fd < 0:
        return {}
    try:
        found = {}
        for name in sorted(os.listdir(fd)):
            status = _status(fd, name)
            if status is not None:
                found[name] = status
        return found
    finally:
        close(fd)


def _status(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _walk(trees: _Trees, only: str) -> Iterator[Change]:
    pending = [(".", False)]
    while pending:
        folder, is_new = pending.pop()
        inner: list[tuple[str, bool]] = []
        for change in _of_folder(trees, folder, is_new, inner, only):
            if _is_below(change.path, only):
                yield change
        pending += reversed(inner)


def _is_below(path: str, only: str) -> bool:
    """Return whether a path is `only`, or below it."""
    return only == "." or f"{path}/".startswith(f"{only}/")


def _of_folder(
    trees: _Trees, folder: str, is_new: bool, inner: list[tuple[str, bool]], only: str
) -> Iterator[Change]:
    """Yield the changes of one directory.

    Args:
        folder: its path.
        is_new: there is no old directory of that path.
        inner: gets the directories in it that are to be looked at, and whether they are new.
        only: the path that is looked at.
    """
    found, hides, whiteouts = trees.entries(folder, is_new)
    before = {} if is_new else _listed(trees.old, folder)
    for name in sorted(found.keys() | (before.keys() if hides else whiteouts)):
        path, now, then = _join(folder, name), found.get(name), before.get(name)
        if not _is_below(path, only) and not f"{only}/".startswith(f"{path}/"):
            continue  # it is not on the way either
        if now is None or name in whiteouts:
            if then is not None:
                yield from _deleted(trees.old, path, then)
        else:
            yield from _of_one(trees, path, now, then)
            if stat.S_ISDIR(now.st_mode):
                inner.append((path, then is None or not stat.S_ISDIR(then.st_mode)))


def _of_one(
    trees: _Trees, path: str, now: os.stat_result, then: os.stat_result | None
) -> Iterator[Change]:
    size = now.st_size if stat.S_ISREG(now.st_mode) else None
    if then is None:
        yield Change("added", path, type_name(now.st_mode), size)
        return
    if stat.S_ISDIR(then.st_mode) and not stat.S_ISDIR(now.st_mode):
        yield from _deleted(trees.old, path, then, besides=path)
    if _differs(trees, path, now, then):
        yield Change("modified", path, type_name(now.st_mode), size)


def _deleted(old: int, path: str, then: os.stat_result, besides: str = "") -> Iterator[Change]:
    """Yield a deleted file, or a deleted directory with everything in it."""
    pending = [(path, then)]
    while pending:
        current, status = pending.pop()
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
        if current != besides:
            yield Change("deleted", current, type_name(status.st_mode), size)
        if stat.S_ISDIR(status.st_mode):
            inner = _listed(old, current)
            pending += [(_join(current, name), inner[name]) for name in reversed(inner)]


def _differs(trees: _Trees, path: str, now: os.stat_result, then: os.stat_result) -> bool:
    if now.st_mode != then.st_mode:
        return True
    if stat.S_ISLNK(now.st_mode):
        return _target(trees.new, path) != _target(trees.old, path)
    if not stat.S_ISREG(now.st_mode):
        return False
    return now.st_size != then.st_size or not _same_content(trees, path)


def _target(root: int, path: str) -> str:
    """Return the target of a symbolic link; "" if it is none any more."""
    folder, _, name = path.rpartition("/")
    fd = _opened(root, folder or ".")
    try:
        return os.readlink(name, dir_fd=fd) if fd >= 0 else ""
    except OSError:
        return ""
    finally:
        if fd >= 0:
            close(fd)


def _same_content(trees: _Trees, path: str) -> bool:
    """Compare two files of the same size; one that cannot be read is different."""
    fds: list[int] = []
    try:
        fds += (open_regular(trees.new, path),)
        fds += (open_regular(trees.old, path),)
        while True:
            one, other = (os.read(fd, _CHUNK) for fd in fds)
            if one != other:
                return False
            if not one:
                return True
    except OSError:
        return False
    finally:
        close(*fds)
