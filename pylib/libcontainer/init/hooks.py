# SPDX-License-Identifier: Apache-2.0
"""Hooks that run in the container's namespaces, started with nothing but fork and execve."""

from __future__ import annotations

import _signal
import errno
import posix
import time

from libcontainer.init import frames, sync
from libcontainer.runc_messages import errno_text
from nsenter._host.cleanup import close
from nsenter._host.syscalls import (
    POLLIN,
    POLLOUT,
    Failure,
    close_range,
    pidfd_open,
    poll,
    socketpair,
)
from nsenter._inside.exec_steps import ExecSteps, execute

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
_NOT_EXECUTED = "fork/exec "
_LONGEST_COMPLAINT = 2000


def run_hooks(
    kind: str,
    hooks: tuple[Hook, ...],
    state: bytes,
    env: dict[str, str],
    confine: Callable[[], ExecSteps] = ExecSteps,
) -> None:
    """Run each in turn, with the state on its stdin.

    Args:
        env: of those that have none of their own.
        confine: called for each; what is in force for it.

    Raises:
        Failure: one did not end well; names it and gives the end of what it wrote.
    """
    for number, hook in enumerate(hooks):
        code, why = _run(hook, state, env, confine())
        if why:
            raise failed(kind, number, hook, code, why)


def failed(kind: str, number: int, hook: Hook, code: int, why: str) -> Failure:
    """Return the error of a hook in runc's words.

    Args:
        kind: the kind of the hook.
        number: the number of the hook among those of its kind.
        hook: the hook.
        code: the errno.
        why: what went wrong.
    """
    path = "" if why.startswith(_NOT_EXECUTED) else f"{hook.path}: "
    return Failure(f"error running {kind} hook #{number}", "", code, f"{path}{why}")


def not_executed(hook: Hook, code: int) -> tuple[int, str]:
    """Return the errno of a hook that could not be executed, and its error."""
    return code, f"{_NOT_EXECUTED}{hook.path}: {errno_text(code)}"


def timed_out(hook: Hook) -> tuple[int, str]:
    """Return the errno of a hook that took too long, and its error."""
    return errno.ETIMEDOUT, f"hook ran past specified timeout of {hook.timeout or 0:.1f}s"


def _run(hook: Hook, state: bytes, env: dict[str, str], confinement: ExecSteps) -> tuple[int, str]:
    """Run a hook; return an errno and what went wrong, which is "" after a success."""
    (stdin, to_hook), (from_hook, output), (told, tells) = posix.pipe(), posix.pipe(), socketpair()
    pid = posix.fork()
    if pid == 0:
        _become(hook, stdin, output, tells, env, confinement)
    for fd in (stdin, output, tells, confinement.agent_fd):
        if fd >= 0:
            posix.close(fd)
    pipes = _Pipes(to_hook, from_hook, state)
    try:
        status = _wait(pid, pipes, hook.timeout)
        unable = _unable(told) if status else 0
    finally:
        pipes.close()
        close(told)
    if status is None:
        return timed_out(hook)
    if unable:
        return not_executed(hook, unable)
    # Of what it wrote to its two streams the order is known, and not to which it went.
    code = posix.waitstatus_to_exitcode(status)
    return (errno.ECHILD, complaint(code, b"", pipes.said)) if code else (0, "")


def _unable(told: int) -> int:
    """Return the errno of the hook's execve.

    0 means that the program was executed, or that a failed step has reported itself.
    """
    try:
        message = sync.parse(*frames.receive(told, deadline=0))
    except (EOFError, OSError, ValueError):
        return 0
    if isinstance(message, sync.Error) and message.operation == "exec":
        return message.number
    return 0


class _Pipes:
    """The state goes to a hook through one pipe, and what it writes comes back through another.

    Neither waits for the hook, which may read nothing, or write before it reads.

    Attributes:
        watched: the descriptors, and the events that poll(2) is to wait for.
        said: the end of what the hook has written.
    """

    def __init__(self, to_hook: int, from_hook: int, state: bytes) -> None:
        self._to_hook, self._from_hook, self._state = to_hook, from_hook, state
        self.watched = {to_hook: POLLOUT, from_hook: POLLIN}
        self.said = b""
        for fd in self.watched:
            posix.set_blocking(fd, False)

    def serve(self, ready: Mapping[int, int]) -> None:
        """Write and read what can be written and read at once."""
        if self._from_hook in ready:
            self._read()
        if self._to_hook in ready:
            self._write()

    def _read(self) -> None:
        try:
            more = posix.read(self._from_hook, _CHUNK)
        except BlockingIOError:
            return
        self.said = (self.said + more)[-_CHUNK:]
        if not more:
            self._end(self._from_hook)

    def _write(self) -> None:
        try:
            self._state = self._state[posix.write(self._to_hook, self._state) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # the hook does not want to read the state
            self._state = b""
        if not self._state:
            self._end(self._to_hook)

    def _end(self, fd: int) -> None:
        del self.watched[fd]
        posix.close(fd)

    def close(self) -> None:
        """Close what is still open."""
        close(*self.watched)


def complaint(code: int, stdout: bytes, stderr: bytes) -> str:
    """Return how a hook ended, and the end of what it wrote."""
    return f"{in_words(code)}, stdout: {_end(stdout)}, stderr: {_end(stderr)}"


def _end(output: bytes) -> str:
    return output.decode("utf-8", "replace")[-_LONGEST_COMPLAINT:]


def environment_of(hook: Hook, default: Mapping[str, str]) -> Mapping[str, str]:
    """Return the hook's own environment, or the default if it has none."""
    if hook.env is None:
        return default
    return {name: value for name, _, value in (line.partition("=") for line in hook.env)}


def in_words(code: int) -> str:
    """Return how a hook with this returncode ended."""
    if code > 0:
        return f"exit status {code}"
    return f"signal: {_signal.strsignal(-code)}".lower()


def _become(
    hook: Hook,
    stdin: int,
    output: int,
    tells: int,
    env: dict[str, str],
    confinement: ExecSteps,
) -> NoReturn:
    try:
        for fd, stream in ((stdin, 0), (output, 1), (output, 2)):
            posix.dup2(fd, stream)
        close_range(_FIRST_OTHER_FD, _LAST_FD, _CLOSE_RANGE_CLOEXEC)
        args = hook.args or (hook.path,)
        execute(hook.path, args, environment_of(hook, env), confinement, channel=tells)
    except OSError as error:
        posix.write(2, f"{hook.path}: {error.strerror}\n".encode())
    finally:
        posix._exit(127)


def _wait(pid: int, pipes: _Pipes, timeout: int | None) -> int | None:
    """Return the wait status of a hook; None if it took too long and was killed.

    Processes that it leaves running may keep its output open; they are not waited for.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    ended = pidfd_open(pid)
    try:
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                posix.kill(pid, _SIGKILL)
                posix.waitpid(pid, 0)
                return None
            ready = dict(poll({ended: POLLIN, **pipes.watched}, left))
            pipes.serve(ready)
            if ended in ready:
                return posix.waitpid(pid, 0)[1]
    finally:
        close(ended)
