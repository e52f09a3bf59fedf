# SPDX-License-Identifier: Apache-2.0
"""Paths in the container, which may have filled its root with links to anywhere.

The kernel itself resolves a path below a descriptor of the root (openat2(2), RESOLVE_IN_ROOT), and
what was found is used through its descriptor. So no name is looked up twice (CVE-2021-30465,
CVE-2019-19921).
"""

from __future__ import annotations

import _stat as stat
import errno
import posix

from nsenter._host.cleanup import close
from nsenter._host.syscalls import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, Failure, openat2

O_PATH = 0o10000000
_SAFELY = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_PLAIN = O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC
_NEW = posix.O_CREAT | posix.O_EXCL | posix.O_WRONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC
_MOST_LINKS = 40
_FOLDER_MODE = 0o755
_FILE_MODE = 0o644


def open_in(root: int, path: str, flags: int = O_PATH) -> int:
    """Open what is at `path` in the root that the descriptor `root` is of."""
    return openat2(root, path or ".", flags, resolve=_SAFELY)


def find_in(root: int, path: str, flags: int = O_PATH) -> int:
    """Open a path as `open_in` does; return -1 if there is nothing."""
    try:
        return open_in(root, path, flags)
    except Failure as failure:
        if failure.errno in (errno.ENOENT, errno.ENOTDIR):
            return -1
        raise


def make_in(root: int, path: str, *, folder: bool) -> int:
    """Open `path`, having made what of it is missing: folders, and a last file where it is one.

    A link is followed as it is seen from the root.
    """
    fd = find_in(root, path)
    return fd if fd >= 0 else create_in(root, path, folder=folder)


def create_in(root: int, path: str, *, folder: bool) -> int:
    """Create a path as `make_in` does, if it is known not to exist.

    Every part is created below the descriptor of the part before it. A link that leads nowhere is
    followed to where it would lead.
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    fd = find_in(root, parent)
    if fd >= 0:  # most often only the last part is missing
        try:
            return make_below(fd, name, path, folder=folder)
        except Failure as failure:
            if failure.errno not in (errno.ELOOP, errno.EINVAL):
                raise
        finally:
            close(fd)
    return _Maker(root, folder).make(path)


def make_plain(root: int, path: str, *, folder: bool) -> int:
    """Create a path as `make_in` does, but refuse a link at its end.

    What is there must be a directory or a file.
    """
    parent, _, name = path.rstrip("/").rpartition("/")
    fd = make_in(root, parent, folder=True)
    try:
        return make_below(fd, name, path, folder=folder)
    finally:
        close(fd)


def make_below(parent: int, name: str, path: str, *, folder: bool) -> int:
    """Open what is in a folder, made where it is missing; a link is refused.

    Args:
        path: for errors.
    """
    if name in ("", ".", ".."):
        raise Failure("make the mount point", path, errno.EINVAL)
    try:
        if folder:
            posix.mkdir(name, _FOLDER_MODE, dir_fd=parent)
        else:
            posix.close(posix.open(name, _NEW, _FILE_MODE, dir_fd=parent))
    except FileExistsError:
        pass
    except OSError as error:
        raise Failure("make the mount point", path, error.errno or 0) from None
    return _open_plain(parent, name, path)


def _open_plain(parent: int, name: str, path: str) -> int:
    try:
        fd = posix.open(name, _PLAIN, dir_fd=parent)
    except OSError as error:
        raise Failure("open the mount point", path, error.errno or 0) from None
    if stat.S_ISLNK(posix.fstat(fd).st_mode):
        posix.close(fd)
        why = f"{path} is a symbolic link in the root, and must be mounted on ordinary directory"
        raise Failure("open the mount point", path, errno.ELOOP, why)
    return fd


class _Maker:
    """Walks along one path.

    Attributes:
        _names: what is left of it.
        _done: where we are, without links.
        _here: a descriptor of it.
    """

    def __init__(self, root: int, folder: bool) -> None:
        self._root = root
        self._folder = folder
        self._links = 0
        self._names: list[str] = []
        self._done: list[str] = []
        self._here = -1

    def make(self, path: str) -> int:
        self._names = _parts(path)
        self._here = posix.dup(self._root)
        try:
            while self._names:
                self._step(self._names.pop(0))
        except BaseException:
            close(self._here)
            raise
        return self._here

    def _step(self, name: str) -> None:
        if name == "..":
            self._done = self._done[:-1]
            self._go(open_in(self._root, "/".join(self._done)))
            return
        link = self._link(name)
        if link is not None:
            self._names[:0] = _parts(link)
            if link.startswith("/"):
                self._done = []
                self._go(posix.dup(self._root))
            return
        self._done.append(name)
        folder = self._folder or bool(self._names)
        self._go(make_below(self._here, name, "/" + "/".join(self._done), folder=folder))

    def _go(self, fd: int) -> None:
        posix.close(self._here)
        self._here = fd

    def _link(self, name: str) -> str | None:
        """Return the target of a link; None if it is not a link."""
        try:
            target = posix.readlink(name, dir_fd=self._here)
        except OSError:
            return None
        self._links += 1
        if self._links > _MOST_LINKS:
            raise Failure("make the mount point", name, errno.ELOOP)
        return target


def _parts(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def is_folder(fd: int) -> bool:
    """Return whether a descriptor refers to a directory."""
    return stat.S_ISDIR(posix.fstat(fd).st_mode)
