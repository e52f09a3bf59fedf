# SPDX-License-Identifier: Apache-2.0
"""A prebooted interpreter: it has booted and imported its modules before its parent needs it.

A command that starts one process, such as an OCI runtime, starts it beside its own interpreter
(csrc/products/pyrunc.c). A process that runs already starts it in advance. The prebooted
interpreter waits for its init config, goes through the stages, and imports nothing after that. It
is not a fork, so it has none of its parent's memory.
"""

from __future__ import annotations

import marshal
import os
import sys
from _signal import SIGKILL
from errno import ECANCELED, ECONNRESET, EPIPE

from nsenter._host.cleanup import close
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import (
    POLLIN,
    Failure,
    move_above,
    pidfd_open,
    poll,
    receive_fds,
    send_fds,
)
from nsenter._inside import boot
from nsenter._launch.process_parent import THIS_PROCESS, end_unstarted
from nsenter._nsexec import lib
from nsenter.errors import BootstrapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from nsenter._launch.process_parent import Parent

__all__ = ["PrebootedInit", "serve"]

# Linux sends no more with one message (SCM_MAX_FD).
_MOST_FDS = 253
_LENGTH_BYTES = 4


class PrebootedInit:
    """A prebooted interpreter, as its launcher sees it. Use it once, or discard it.

    Args:
        pid: the pid of the process.
        channel: the launcher's end of the init pipe; this object owns it.
        status: the launcher's end of the status pipe; this object owns it.
        parent: the parent of the process, if that is not this process.
        pidfd: a pidfd of the process; this object owns it. -1 means that none is open yet.

    Attributes:
        meanwhile: a function that is called with the channel when the init config is sent and the
            process exists in its namespaces. The parent can work there while the init gets ready.
    """

    def __init__(
        self,
        pid: int,
        channel: int,
        status: int,
        *,
        parent: Parent = THIS_PROCESS,
        pidfd: int = -1,
    ) -> None:
        self.parent = parent
        self._pidfd = pidfd
        self.pid = pid
        self.channel = channel
        self.status = status
        self.meanwhile: Callable[[int], None] = lambda channel: None
        for fd in (channel, status):
            os.set_inheritable(fd, False)

    def send_descriptors(self, stdio: tuple[int, int, int], fds: Iterable[int]) -> tuple[int, int]:
        """Send the standard streams, and other descriptors, which keep their numbers.

        Returns:
            The numbers of the two pipes in the new process, which no other descriptor has.

        Raises:
            BootstrapError: the process has ended.
            OSError: there are more descriptors than Linux sends in one message.
        """
        numbers = sorted({*fds} - {0, 1, 2})
        first = max([2, *numbers]) + 1
        ends = first, first + 1
        body = marshal.dumps((*numbers, *ends))
        length = len(body).to_bytes(_LENGTH_BYTES, sys.byteorder)
        try:
            send_fds(self.channel, length + body, (*stdio, *numbers))
        except Failure as failure:
            if failure.errno not in (EPIPE, ECONNRESET):
                raise
            why = "it ended before it got its init config"
            raise BootstrapError("init", "run", why, ECANCELED) from None
        return ends

    def has_ended(self) -> bool:
        """Return whether the process has ended; False if there is no pidfd."""
        return self._pidfd >= 0 and bool(poll({self._pidfd: POLLIN}, 0.0))

    def open_pidfd(self) -> int:
        """Return a pidfd of the process; the caller owns it."""
        if self._pidfd < 0:
            return pidfd_open(self.pid)
        pidfd, self._pidfd = self._pidfd, -1
        return pidfd

    def taken(self) -> tuple[int, int, int]:
        """Return the pid, the channel and the status pipe; the caller owns them from now on."""
        taken = self.pid, self.channel, self.status
        self.pid = self.channel = self.status = -1
        return taken

    def discard(self) -> None:
        """End the process if it was not used."""
        if self.pid < 0:
            return
        pid, *fds = self.taken()
        close(*fds)
        if self._pidfd >= 0:
            end_unstarted(pid, self.open_pidfd(), self.parent)
            return
        with suppress(ProcessLookupError, ChildProcessError):  # there may be no room for a pidfd
            os.kill(pid, SIGKILL)
            os.waitpid(pid, 0)


def start(target: str, extensions: Iterable[str] = (), image: str = "payload") -> PrebootedInit:
    """Start a prebooted interpreter from memory, in the caller's namespaces.

    It ends when this process ends, or when it is discarded.

    Args:
        target: "package.module:function", which it will call. The module is imported at once.
        extensions, image: see `nsenter.launch.PythonInit`.

    Raises:
        BootstrapError: see `nsenter.launch.launch`.
        ModuleNotFoundError: see `nsenter.launch.launch`.
    """
    from nsenter._launch.descriptors import Descriptors, Pipes
    from nsenter.bootstrap import BootstrapData
    from nsenter.launch import PythonInit, launch

    with Descriptors() as owner, Pipes(owner) as pipes:
        ends = pipes.child_channel, pipes.child_status
        module = target.partition(":")[0]
        init = PythonInit(
            f"{__name__}:main", (target, *ends), [module], tuple(extensions), image=image
        )
        child = launch(BootstrapData(), init, env={}, pass_fds=ends)
        child.close()
        return PrebootedInit(child.pid, pipes.detach_channel(), owner.release())


def main(channel: int, target: str, *ends: int) -> None:
    """Run the process that `start` starts."""
    os.close(channel)
    serve(boot.resolve(target), *ends)


def serve(target: Callable[..., object], channel: int, status: int) -> NoReturn:
    """Wait for the init config, then become the init. Call this after all imports.

    Args:
        target: the function to call in the namespaces, with the channel and the arguments of the
            init config.
        channel: this process's end of the init pipe.
        status: this process's end of the status pipe.
    """
    code: object = 1
    try:
        lib.prebooted_reset()
        boot.close_the_file_system({})
        channel, status = _take_descriptors(channel, status)
        lib.prebooted_stages(channel, status)
        os.set_inheritable(channel, False)
        os.set_inheritable(status, False)
        config = boot.receive(channel)
        boot.set_environment(config["environment"])
        lib.prebooted_confine()
        boot.tell_ready(status)
        lib.prebooted_filter()
        os.close(status)
        code = target(channel, *config["args"])
    except SystemExit as ending:
        code = ending.code
    except EOFError:  # the parent is gone, or needs no init
        pass
    except BaseException as error:
        # No traceback: it would show the sources, by names that now are the new root's.
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else int(code is not None))
    raise AssertionError  # os._exit does not return


def _take_descriptors(channel: int, status: int) -> tuple[int, int]:
    """Receive what `PrebootedInit.send_descriptors` sends; return this end of the two pipes."""
    length, fds = receive_fds(channel, _LENGTH_BYTES, _MOST_FDS)
    if len(length) < _LENGTH_BYTES:
        raise EOFError
    numbers = marshal.loads(boot.read(channel, int.from_bytes(length, sys.byteorder)))
    places = [0, 1, 2, *numbers]
    sources = [*fds, channel, status]
    free = max(*places, *sources) + 1
    # First out of the way of one another.
    high = [move_above(fd, free) for fd in sources]
    for fd, place in zip(high, places, strict=True):
        os.dup2(fd, place)
        os.close(fd)
    return numbers[-2], numbers[-1]
