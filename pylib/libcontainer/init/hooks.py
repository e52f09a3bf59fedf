# SPDX-License-Identifier: Apache-2.0
"""Hooks that run in the container's namespaces, started with nothing but fork and execve."""

from __future__ import annotations

import _signal
import errno
import posix
import time

from nsenter.system import Failure, close_range

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

    from libcontainer.configs import Hook

_SIGKILL = 9
_FIRST_OTHER_FD = 3
_LAST_FD = 0xFFFFFFFF
_MOST_FDS = 1 << 16  # all but those of --preserve-fds are close-on-exec
_NAP = 0.001


def run_hooks(kind: str, hooks: tuple[Hook, ...], state: bytes, env: dict[str, str]) -> None:
    """Run each in turn, with the state on its stdin.

    Args:
        env: of those that have none of their own.

    Raises:
        Failure: one did not end well; names it.
    """
    for hook in hooks:
        _run(kind, hook, state, env)


def _run(kind: str, hook: Hook, state: bytes, env: dict[str, str]) -> None:
    reader, writer = posix.pipe()
    pid = posix.fork()
    if pid == 0:
        _become(hook, reader, env)
    posix.close(reader)
    try:
        posix.write(writer, state)
    except BrokenPipeError:  # it does not care for the state
        pass
    finally:
        posix.close(writer)
    status = _wait(pid, hook.timeout)
    if status is None:
        raise Failure(f"error running hook {kind}", hook.path, errno.ETIMEDOUT)
    code = posix.waitstatus_to_exitcode(status)
    if code:
        raise Failure(f"error running hook {kind}", hook.path, errno.ECHILD, in_words(code))


def environment_of(hook: Hook, default: Mapping[str, str]) -> Mapping[str, str]:
    """Its own, or the default where it has none."""
    if hook.env is None:
        return default
    return {name: value for name, _, value in (line.partition("=") for line in hook.env)}


def in_words(code: int) -> str:
    """How a hook ended, for its returncode."""
    if code > 0:
        return f"exit status {code}"
    return f"killed by signal {-code}, {_signal.strsignal(-code)}".lower()


def _become(hook: Hook, stdin: int, env: dict[str, str]) -> NoReturn:
    try:
        posix.dup2(stdin, 0)
        try:
            close_range(_FIRST_OTHER_FD, _LAST_FD)
        except Failure:  # the container's filter denies it
            posix.closerange(_FIRST_OTHER_FD, _MOST_FDS)
        posix.execve(hook.path, list(hook.args or (hook.path,)), environment_of(hook, env))
    except OSError as error:
        posix.write(2, f"{hook.path}: {error.strerror}\n".encode())
    finally:
        posix._exit(127)


def _wait(pid: int, timeout: int | None) -> int | None:
    """Its wait status; None where it took too long, and is killed."""
    if timeout is None:
        return posix.waitpid(pid, 0)[1]
    deadline = time.monotonic() + timeout
    while True:
        ended, status = posix.waitpid(pid, posix.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            posix.kill(pid, _SIGKILL)
            posix.waitpid(pid, 0)
            return None
        time.sleep(_NAP)
