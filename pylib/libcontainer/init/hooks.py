# SPDX-License-Identifier: Apache-2.0
"""Hooks that run in the container's namespaces, started with nothing but fork and execve."""

from __future__ import annotations

import _signal
import errno
import posix
import time

from nsenter.execution import Confinement, execute
from nsenter.system import POLLIN, Failure, close_range, pidfd_open, poll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

    from libcontainer.configs import Hook

_SIGKILL = 9
_FIRST_OTHER_FD = 3
_CLOSE_RANGE_CLOEXEC = 4
_LAST_FD = 0xFFFFFFFF
_CHUNK = 1 << 16
_LONGEST_COMPLAINT = 2000


def run_hooks(
    kind: str,
    hooks: tuple[Hook, ...],
    state: bytes,
    env: dict[str, str],
    confine: Callable[[], Confinement] = Confinement,
) -> None:
    """Run each in turn, with the state on its stdin.

    Args:
        env: of those that have none of their own.
        confine: called for each; what is in force for it.

    Raises:
        Failure: one did not end well; names it and gives the end of what it wrote.
    """
    for hook in hooks:
        _run(f"error running hook {kind}", hook, state, env, confine())


def _run(
    what: str, hook: Hook, state: bytes, env: dict[str, str], confinement: Confinement
) -> None:
    (stdin, to_hook), (from_hook, output) = posix.pipe(), posix.pipe()
    pid = posix.fork()
    if pid == 0:
        _become(hook, stdin, output, env, confinement)
    for fd in (stdin, output, confinement.agent_fd):
        if fd >= 0:
            posix.close(fd)
    try:
        posix.set_blocking(from_hook, False)
        _tell(to_hook, state)
        status, said = _wait(pid, from_hook, hook.timeout)
    finally:
        posix.close(from_hook)
    if status is None:
        raise Failure(what, hook.path, errno.ETIMEDOUT, f"it took over {hook.timeout} s")
    code = posix.waitstatus_to_exitcode(status)
    if code:
        raise Failure(what, hook.path, errno.ECHILD, complaint(code, said))


def _tell(fd: int, state: bytes) -> None:
    try:
        while state:
            state = state[posix.write(fd, state) :]
    except BrokenPipeError:  # it does not care for the state
        pass
    finally:
        posix.close(fd)


def complaint(code: int, said: bytes) -> str:
    """How a hook ended, and the end of what it wrote."""
    text = said.decode("utf-8", "replace").strip()
    how = in_words(code)
    return f"{how}, stdout and stderr: {text[-_LONGEST_COMPLAINT:]}" if text else how


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


def _become(
    hook: Hook, stdin: int, output: int, env: dict[str, str], confinement: Confinement
) -> NoReturn:
    try:
        for fd, stream in ((stdin, 0), (output, 1), (output, 2)):
            posix.dup2(fd, stream)
        close_range(_FIRST_OTHER_FD, _LAST_FD, _CLOSE_RANGE_CLOEXEC)
        args = hook.args or (hook.path,)
        execute(hook.path, args, environment_of(hook, env), confinement)
    except OSError as error:
        posix.write(2, f"{hook.path}: {error.strerror}\n".encode())
    finally:
        posix._exit(127)


def _wait(pid: int, output: int, timeout: int | None) -> tuple[int | None, bytes]:
    """Its wait status, None where it took too long and was killed; and the end of its output.

    What it leaves running may keep the output open, and is not waited for.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    said = b""
    ended = pidfd_open(pid)
    watched = {ended: POLLIN, output: POLLIN}
    try:
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                posix.kill(pid, _SIGKILL)
                posix.waitpid(pid, 0)
                return None, said
            ready = dict(poll(watched, left))
            if output in ready:
                more = _read(output)
                said = (said + more)[-_CHUNK:]
                if not more:
                    del watched[output]
            if ended in ready:
                return posix.waitpid(pid, 0)[1], said
    finally:
        posix.close(ended)


def _read(fd: int) -> bytes:
    try:
        return posix.read(fd, _CHUNK)
    except BlockingIOError:
        return b""
