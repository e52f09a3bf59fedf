"""A root that is a file system of our own: it is told every name that is looked up in it.

As a script: a process in a mount namespace whose root is that file system. It prints "up" when it
is, and then each name, a line each. Nothing is ever found.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct

_CLONE_NEWNS = 0x20000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18

# linux/fuse.h
_IN_HEADER = struct.Struct("<IIQQIIIHH")  # length, opcode, unique, node, uid, gid, pid, …
_OUT_HEADER = struct.Struct("<IiQ")
_ATTR = struct.Struct("<6Q10I")
_LOOKUP, _FORGET, _GETATTR, _INIT, _INTERRUPT, _BATCH_FORGET = 1, 2, 3, 26, 36, 42
_ROOT = 1
_MODE = stat.S_IFDIR | 0o755

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _mount() -> int:
    """Over the root of a mount namespace of our own. Returns the daemon's end."""
    _check(_libc.unshare(_CLONE_NEWNS))
    _check(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
    fd = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fd},rootmode={_MODE:o},user_id=0,group_id=0,allow_other"
    _check(_libc.mount(b"names", b"/", b"fuse", 0, options.encode()))
    return fd


def _answer(opcode: int, node: int, body: bytes) -> tuple[int, bytes]:
    """errno and what follows the header."""
    if opcode == _INIT:
        return 0, struct.pack("<IIII", 7, 31, 65536, 0).ljust(64, b"\0")
    if opcode == _GETATTR and node == _ROOT:
        attr = _ATTR.pack(_ROOT, 0, 0, 0, 0, 0, 0, 0, 0, _MODE, 2, 0, 0, 0, 4096, 0)
        return 0, struct.pack("<QII", 0, 0, 0) + attr
    if opcode == _LOOKUP:
        print(body.rstrip(b"\0").decode(errors="replace"), flush=True)
        return errno.ENOENT, b""
    return errno.ENOSYS, b""


def main() -> None:
    fd = _mount()
    print("up", flush=True)
    while True:
        request = os.read(fd, 1 << 17)
        _, opcode, unique, node, *_ = _IN_HEADER.unpack_from(request)
        if opcode in (_FORGET, _BATCH_FORGET, _INTERRUPT):
            continue
        number, body = _answer(opcode, node, request[_IN_HEADER.size :])
        os.write(fd, _OUT_HEADER.pack(_OUT_HEADER.size + len(body), -number, unique) + body)


if __name__ == "__main__":
    main()
