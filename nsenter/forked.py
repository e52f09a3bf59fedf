# SPDX-License-Identifier: Apache-2.0
"""An init that is a fork of the caller: no second interpreter boots.

For a small command that starts one process, such as an OCI runtime. What it costs is that the
init has the caller's memory; a caller with threads, or with something to hide, has its inits
start anew.
"""

from __future__ import annotations

import os
import sys

from nsenter import boot
from nsenter._nsexec import lib
from nsenter.errors import BootstrapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, NoReturn

__all__ = ["check_forkable", "fork_init"]


def check_forkable() -> None:
    """Raises RuntimeError where this process has a second thread, of which a fork has none."""
    with open("/proc/self/stat", "rb") as file:
        threads = int(file.read().rpartition(b")")[2].split()[17])
    if threads > 1:
        raise RuntimeError(f"a forked init takes a process with one thread; this one has {threads}")


def fork_init(
    target: Callable[..., object],
    args: Sequence[object],
    *,
    channel: int,
    status: int,
    stdio: tuple[int, int, int],
    keep: Iterable[int],
    environment: Mapping[bytes, bytes],
) -> tuple[int, int]:
    """Fork stage 0.

    Args:
        target: what is called in stage 2.
        channel, status: its ends of the init pipe and the status pipe.
        stdio: which descriptors are 0, 1 and 2 in it.
        keep: those that the stages need besides.
        environment: of the init.

    Returns:
        its pid and a pidfd, close-on-exec.
    """
    pid = os.fork()
    if pid == 0:
        _be_the_init(target, args, channel, status, stdio, set(keep), dict(environment))
    try:
        os.setpgid(pid, pid)
        return pid, os.pidfd_open(pid)
    except OSError as error:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise BootstrapError("launcher", "fork", "", error.errno or 0) from None


def _be_the_init(
    target: Callable[..., object],
    args: Sequence[object],
    channel: int,
    status: int,
    stdio: tuple[int, int, int],
    keep: set[int],
    environment: dict[bytes, bytes],
) -> NoReturn:
    code: Any = 1
    try:
        os.setpgid(0, 0)
        _reset_signals()
        _place(stdio, keep | {channel, status})
        lib.forked_stages(channel, status)
        boot.forget_the_host(environment)
        os.set_inheritable(channel, False)
        os.set_inheritable(status, False)
        lib.forked_confine()
        boot.tell_ready(status)
        lib.forked_filter()
        os.close(status)
        code = target(channel, *args)
    except SystemExit as ending:
        code = ending.code
    except BaseException as error:
        # No traceback: it would show the sources, by names that now are the new root's.
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))
    raise AssertionError  # os._exit does not return


def _reset_signals() -> None:
    """No handler of the caller's is for its init."""
    import _signal

    for number in range(1, _signal.NSIG):
        handler = _signal.getsignal(number)
        if handler is not None and callable(handler):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def _place(stdio: tuple[int, int, int], keep: set[int]) -> None:
    """Put the streams in place, and close what is neither a stream nor kept."""
    high = [os.dup(fd) for fd in stdio]
    for stream, fd in enumerate(high):
        os.dup2(fd, stream)
    least = 3
    for fd in sorted(keep - {0, 1, 2}):
        os.closerange(least, fd)
        least = fd + 1
    lib.sys_call(lib.SYS_close_range, least, 0xFFFFFFFF, 0, 0, 0, 0)
