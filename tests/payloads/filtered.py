# SPDX-License-Identifier: Apache-2.0
"""A process that puts a filter on itself, and then makes system calls.

Run as a program: marshalled (code, flags, calls) on stdin; what each call returned on stdout.
As a module: `calls` starts one.
"""

from __future__ import annotations

import marshal
import subprocess
import sys
from collections.abc import Sequence

Call = tuple[int, Sequence[int]]
_PR_SET_NO_NEW_PRIVS = 38


def message(code: bytes, flags: int, wanted: Sequence[Call]) -> bytes:
    """What such a process reads."""
    return marshal.dumps((code, flags, [(number, tuple(args)) for number, args in wanted]), 2)


def calls(code: bytes, flags: int, wanted: Sequence[Call]) -> list[int]:
    """What system calls return, -errno where they fail, behind a filter.

    Raises:
        subprocess.CalledProcessError: the process was killed.
    """
    done = subprocess.run(
        [sys.executable, __file__],
        input=message(code, flags, wanted),
        stdout=subprocess.PIPE,
        check=True,
    )
    results: list[int] = marshal.loads(done.stdout)
    return results


def with_listener(socket: int, number: int, argument: int) -> None:
    """In such a process: send the listener, and print what one call returns."""
    from nsenter._host import syscalls

    listener, _ = _filtered()
    syscalls.send_fds(socket, b"0", (listener,))
    print(_call(number, (argument,)))


def _filtered() -> tuple[int, list[Call]]:
    """Put the filter on. Returns its listener, and the calls to make."""
    from nsenter._host import syscalls

    code, flags, wanted = marshal.loads(sys.stdin.buffer.read())
    syscalls.prctl("no_new_privs", _PR_SET_NO_NEW_PRIVS, 1)
    return syscalls.seccomp(code, flags), wanted


def _call(number: int, args: Sequence[int]) -> int:
    from nsenter._nsexec import lib

    result: int = lib.sys_call(number, *args, *(0,) * (6 - len(args)))
    return result


def main() -> None:
    from nsenter import _nsexec  # noqa: F401 (no file is opened behind the filter)

    _, wanted = _filtered()
    results = [_call(number, args) for number, args in wanted]
    sys.stdout.buffer.write(marshal.dumps(results, 2))


if __name__ == "__main__":
    main()
