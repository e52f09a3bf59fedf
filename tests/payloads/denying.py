# SPDX-License-Identifier: Apache-2.0
"""Run a command behind a filter that refuses system calls, as the filter of an outer container.

As a program: `denying.py NUMBER:ERRNO[,NUMBER:ERRNO...] COMMAND...`.
"""

from __future__ import annotations

import os
import struct
import sys

# Those that are younger than the profiles which are still in use, or left out of them.
CALLS = {
    "pidfd_send_signal": 424,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "openat2": 437,
    "faccessat2": 439,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    **(
        {"seccomp": 317, "memfd_create": 319, "execveat": 322, "statx": 332}
        if os.uname().machine == "x86_64"
        else {"seccomp": 277, "memfd_create": 279, "execveat": 281, "statx": 291}
    ),
}
_LOAD_NUMBER = (0x20, 0, 0, 0)
_ALLOW = (0x06, 0, 0, 0x7FFF0000)
_REFUSE = 0x00050000


def prefix(*refused: tuple[str, int]) -> list[str]:
    """The words before a command that is to be refused calls, each with an errno."""
    words = ",".join(f"{CALLS[name]}:{number}" for name, number in refused)
    return [sys.executable, "-I", __file__, words]


def _program(words: str) -> bytes:
    steps = [_LOAD_NUMBER]
    for word in words.split(","):
        number, errno = map(int, word.split(":"))
        steps += [(0x15, 0, 1, number), (0x06, 0, 0, _REFUSE | errno)]
    return b"".join(struct.pack("=HBBI", *step) for step in [*steps, _ALLOW])


def _main() -> None:
    # By prctl(2): seccomp(2) may be what is refused next.
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(_program(sys.argv[1]))
    count = (len(code) - 1) // 8
    fprog = struct.pack("=HxxxxxxQ", count, ctypes.addressof(code))
    if libc.prctl(22, 2, fprog) != 0:
        libc.prctl(38, 1, 0, 0, 0)  # it takes CAP_SYS_ADMIN or no_new_privs
        if libc.prctl(22, 2, fprog) != 0:
            raise OSError(ctypes.get_errno(), "prctl PR_SET_SECCOMP")
    os.execvp(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    _main()
