# SPDX-License-Identifier: Apache-2.0
"""What a tmpfs with the option "tmpcopyup" begins with: a copy of what is below it.

All by descriptors and without following links: those are copied as what they say.
"""

from __future__ import annotations

import _stat as stat
import errno
import posix

from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

_FOLDER = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NOFOLLOW | posix.O_CLOEXEC
_FILE = posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
_CHUNK = 1 << 20


def copy_up(source: int, target: int, path: str) -> None:
    """Copy what is in one directory into another: files, folders, links, modes and owners.

    Args:
        source, target: descriptors; O_PATH is enough.
        path: of the source, for errors.
    """
    here = posix.open(".", _FOLDER, dir_fd=source)
    try:
        for name in posix.listdir(here):
            try:
                _copy(here, target, name, f"{path}/{name}")
            except Failure:
                raise
            except OSError as error:
                raise Failure("tmpcopyup", f"{path}/{name}", error.errno or 0) from None
    finally:
        close(here)


def _copy(source: int, target: int, name: str, path: str) -> None:
    status = posix.lstat(name, dir_fd=source)
    mode = status.st_mode
    if stat.S_ISLNK(mode):
        posix.symlink(posix.readlink(name, dir_fd=source), name, dir_fd=target)
    elif stat.S_ISDIR(mode):
        posix.mkdir(name, 0o700, dir_fd=target)
        _copy_folder(source, target, name, path)
    elif stat.S_ISREG(mode):
        _copy_file(source, target, name)
    else:
        posix.mknod(name, mode, status.st_rdev, dir_fd=target)
    posix.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
    if not stat.S_ISLNK(mode):  # after the owner: a change of him takes the set-user-ID bit off
        posix.chmod(name, stat.S_IMODE(mode), dir_fd=target)


def _copy_folder(source: int, target: int, name: str, path: str) -> None:
    inner = posix.open(name, _FOLDER, dir_fd=source)
    copy = posix.open(name, _FOLDER, dir_fd=target)
    try:
        copy_up(inner, copy, path)
    finally:
        close(inner, copy)


def _copy_file(source: int, target: int, name: str) -> None:
    reader = posix.open(name, posix.O_RDONLY | _FILE, dir_fd=source)
    writer = posix.open(
        name, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | _FILE, 0o600, dir_fd=target
    )
    try:
        if not stat.S_ISREG(posix.fstat(reader).st_mode):  # another one, put there just now
            raise OSError(errno.ELOOP, posix.strerror(errno.ELOOP))
        while posix.sendfile(writer, reader, None, _CHUNK):
            pass
    finally:
        close(reader, writer)
