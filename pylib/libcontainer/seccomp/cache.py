# SPDX-License-Identifier: Apache-2.0
"""A cache of compiled programs, in a directory of the user.

There are at most 64 files. The name of a file is a hash of the policy, and the file contains what
it was compiled from. A file appears complete, and never needs to be removed.
"""

from __future__ import annotations

import _imp
import marshal
import os
import stat

from nsenter._host.cleanup import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs.seccomp import Seccomp

__all__ = ["folder", "key", "load", "store"]

_MAGIC = b"libcontainer seccomp 1\n"
_PLACES = 64
_NAME = "libcontainer.filters"
_INSTRUCTION = 8
_MOST = 4096 * _INSTRUCTION
# Without references, equal values have equal bytes.
_MARSHAL_VERSION = 2


def folder() -> str | None:
    """Return this user's directory of compiled policies; None if there is no safe place for one.

    It is not in the state directory, because runtimes take everything there for a container. It is
    not in a directory to which others may write, such as /tmp, either.
    """
    places = (os.environ.get("XDG_RUNTIME_DIR", ""), "/run" if os.geteuid() == 0 else "")
    return next((f"{place}/{_NAME}" for place in places if _is_ours_alone(place)), None)


def _is_ours_alone(place: str) -> bool:
    try:
        status = os.stat(place)
    except OSError:
        return False
    return _is_safe(status) and stat.S_ISDIR(status.st_mode) and place.startswith("/")


def key(policy: Seccomp, identity: tuple[int, ...]) -> bytes:
    """Return everything that the program of a policy depends on.

    Args:
        policy: the policy.
        identity: what identifies the compiler.
    """
    rules = [rule.to_data() for rule in policy.syscalls]
    default = (policy.default_action, policy.default_errno_ret)
    return marshal.dumps((identity, default, policy.architectures, rules), _MARSHAL_VERSION)


def load(folder: str, key: bytes) -> bytes | None:
    """Return the program for a key; None if there is none that can be trusted."""
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(f"{folder}/{_place(key)}", flags)
    except OSError:
        return None
    try:
        size = os.fstat(fd).st_size
        if not _is_ours(fd) or size > len(_head(key, 0)) + _MOST:
            return None
        content = os.read(fd, size)
    except OSError:
        return None
    finally:
        close(fd)
    code = content[len(_head(key, 0)) :]
    return code if code and content.startswith(_head(key, len(code))) else None


def _place(key: bytes) -> str:
    # SipHash without a key, the only hash that is built in: a clash costs time alone.
    return f"seccomp-{_imp.source_hash(0, key)[0] % _PLACES:02d}"


def _head(key: bytes, length: int) -> bytes:
    """Return what precedes the `length` bytes of the program in a file."""
    return _MAGIC + b"%08d %08d\n" % (len(key), length) + key


def _is_ours(fd: int) -> bool:
    """Return whether no other user can have written the file of a descriptor."""
    status = os.fstat(fd)
    return stat.S_ISREG(status.st_mode) and _is_safe(status)


def _is_safe(status: os.stat_result) -> bool:
    written_by_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid == os.geteuid() and not written_by_others


def store(folder: str, key: bytes, code: bytes) -> None:
    """Store a program. If that is not possible, the policy is compiled again the next time."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        fd = os.open(folder, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError:
        return
    try:
        rest = _head(key, len(code)) + code
        while rest:
            rest = rest[os.write(fd, rest) :]
        _replace(fd, f"{folder}/{_place(key)}")
    except OSError:
        return
    finally:
        close(fd)


def _replace(fd: int, path: str) -> None:
    """Give a file without a name its name, in place of another file.

    In between, there is no file with that name.
    """
    if os.path.lexists(path):
        os.unlink(path)
    # With a descriptor it is linkat(2), which follows the link (proc(5)).
    os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
