# SPDX-License-Identifier: Apache-2.0
"""Paths of the container, which it may have filled with links to anywhere.

A path is resolved below a descriptor of the root by the kernel itself (openat2(2),
RESOLVE_IN_ROOT), and what was found is used by its descriptor: no name is looked up twice
(CVE-2021-30465, CVE-2019-19921).
"""

from __future__ import annotations

import _stat as stat
import errno
import posix

from nsenter.system import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, Failure, openat2

_O_PATH = 0o10000000
_SAFELY = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
_MOST_LINKS = 40


def open_in(root: int, path: str, flags: int = _O_PATH) -> int:
    """Open what is at `path` in the root that the descriptor `root` is of."""
    return openat2(root, path or ".", flags, resolve=_SAFELY)


def find_in(root: int, path: str, flags: int = _O_PATH) -> int:
    """As `open_in`; -1 where there is nothing."""
    try:
        return open_in(root, path, flags)
    except Failure as failure:
        if failure.errno in (errno.ENOENT, errno.ENOTDIR):
            return -1
        raise


def make_in(root: int, path: str, *, folder: bool, mode: int = 0o755) -> int:
    """Open `path`, having made what of it is missing: folders, and a last file where it is one.

    Every part is made below the descriptor of the one before; a link on the way is followed as it
    is seen from the root, and one that leads nowhere is followed to where it would lead.
    """
    fd = find_in(root, path)
    if fd >= 0:
        return fd
    return _Maker(root, folder, mode).make(path)


class _Maker:
    def __init__(self, root: int, folder: bool, mode: int) -> None:
        self._root = root
        self._folder = folder
        self._mode = mode
        self._links = 0

    def make(self, path: str) -> int:
        names = [name for name in path.split("/") if name not in ("", ".")]
        here = posix.dup(self._root)
        done: list[str] = []
        try:
            while names:
                name = names.pop(0)
                if name == "..":
                    done = done[:-1]
                    here = self._replace(here, open_in(self._root, "/".join(done)))
                    continue
                target = self._dangling(here, name)
                if target is not None:
                    names = [n for n in target.split("/") if n not in ("", ".")] + names
                    if target.startswith("/"):
                        done = []
                        here = self._replace(here, posix.dup(self._root))
                    continue
                done.append(name)
                here = self._replace(here, self._step(here, name, done, last=not names))
        except BaseException:
            posix.close(here)
            raise
        return here

    @staticmethod
    def _replace(old: int, new: int) -> int:
        posix.close(old)
        return new

    def _dangling(self, here: int, name: str) -> str | None:
        """What a link says; None where there is none."""
        try:
            target = posix.readlink(name, dir_fd=here)
        except OSError:
            return None
        self._links += 1
        if self._links > _MOST_LINKS:
            raise Failure("resolve", name, errno.ELOOP)
        return target

    def _step(self, here: int, name: str, done: list[str], *, last: bool) -> int:
        path = "/" + "/".join(done)
        try:
            if last and not self._folder:
                flags = posix.O_CREAT | posix.O_EXCL | posix.O_WRONLY | posix.O_CLOEXEC
                posix.close(posix.open(name, flags | posix.O_NOFOLLOW, 0o644, dir_fd=here))
            else:
                posix.mkdir(name, self._mode, dir_fd=here)
        except FileExistsError:
            pass
        except OSError as error:
            raise Failure("make the mount point", path, error.errno or 0) from None
        flags = _O_PATH | posix.O_NOFOLLOW | posix.O_CLOEXEC
        if not last:
            flags |= posix.O_DIRECTORY
        try:
            fd = posix.open(name, flags, dir_fd=here)
        except OSError as error:
            raise Failure("open the mount point", path, error.errno or 0) from None
        if stat.S_ISLNK(posix.fstat(fd).st_mode):  # put there just now
            posix.close(fd)
            raise Failure("open the mount point", path, errno.ELOOP)
        return fd


def is_folder(fd: int) -> bool:
    """Whether a descriptor is of a directory."""
    return stat.S_ISDIR(posix.fstat(fd).st_mode)


def is_link(root: int, path: str) -> bool:
    """Whether the last part of a path is a symbolic link."""
    folder, _, name = path.rstrip("/").rpartition("/")
    parent = find_in(root, folder or ".")
    if parent < 0:
        return False
    try:
        mode = posix.lstat(name, dir_fd=parent).st_mode if name else 0
    except OSError:
        return False
    finally:
        posix.close(parent)
    return stat.S_ISLNK(mode)
