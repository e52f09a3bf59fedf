# SPDX-License-Identifier: Apache-2.0
"""The launcher's side of templates: interpreters that have imported modules, and are forked.

nsenter/_inside/template.py is the side of the template.
"""

from __future__ import annotations

import errno
import os
import sys
from threading import RLock

from nsenter._host.base_error import NsenterError
from nsenter._host.cleanup import close, undo
from nsenter._host.records import Value
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import POLLIN, Failure, poll, receive_fds, send_fds
from nsenter._inside import template, worker
from nsenter._interpreter.prebooted import PrebootedInit
from nsenter._launch.descriptors import Descriptors, Pipes
from nsenter._launch.process_parent import THIS_PROCESS, Parent
from nsenter._launch.usage import Usage
from nsenter._remote import safe_data
from nsenter.errors import BootstrapError
from nsenter.launch import PythonInit
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from nsenter._launch.child import Child
    from nsenter._launch.process_parent import Ended

__all__ = ["PreloadFailed", "Preloaded", "checked_names"]

_IMPORT_SECONDS = 300.0
_ANSWER_SECONDS = 30.0
_MOST_ANSWER = 1 << 20
_MOST_DEAD = 3  # how many spare forks in a row may have died
# The variables that a template gets: libraries read them on import, to choose their threads.
_KEPT_VARIABLES = tuple(
    f"{name}_NUM_THREADS"
    for name in ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "VECLIB", "GOTO")
)


class PreloadFailed(NsenterError, RuntimeError):
    """The modules to preload could not be imported; `__cause__` says which, and why."""


class _TemplateDied(Exception):
    """The template has ended, or its answer is not valid."""


class Preloaded:
    """The forks of a template.

    The template starts when the first fork is taken. A new one replaces it if it has died, and if
    this process has changed its ids or its root, because the template would keep the old ones.

    Args:
        modules: the names of the modules that the template must import, in this order.
        more: the names of modules that it imports as well, unless that fails.
    """

    def __init__(self, modules: Sequence[str], more: Iterable[str] = ()) -> None:
        self._modules = tuple(modules)
        self._more = tuple(sorted(more))
        self._lock = RLock()
        self._template: _Template | None = None
        self._identity: object = None

    def take(self) -> PrebootedInit:
        """Return a fork that waits for its init config.

        Raises:
            PreloadFailed: the template could not import the modules, or has died again and again.
            BootstrapError, OSError: the template could not be started or forked.
        """
        with self._lock:
            if self._template is not None:
                if self._identity == _identity():
                    with suppress(_TemplateDied):
                        return self._template.take()
                self.close()
            self._identity = _identity()
            self._template = _Template(self._modules, self._more)
            try:
                return self._template.take()
            except _TemplateDied as died:
                self.close()
                raise PreloadFailed(f"the template of {self._named()} {died}") from None

    def fork_ahead(self) -> None:
        """Ask for the next fork ahead of time. If that fails, `take` raises the error."""
        with self._lock, suppress(_TemplateDied, OSError):
            if self._template is not None:
                self._template.fork_ahead()

    def close(self) -> None:
        """End the template, and with it the forks that are running."""
        with self._lock:
            ended, self._template = self._template, None
        if ended is not None:
            ended.close()

    def _named(self) -> str:
        return ", ".join(map(repr, self._modules))


def _identity() -> tuple[object, ...]:
    """Return the ids and the root of this process, which a template inherits."""
    root = os.stat("/")
    return os.getresuid(), os.getresgid(), os.getgroups(), root.st_dev, root.st_ino


class _Ended(Value):
    """The fields of os.waitid_result that are used."""

    si_code: int
    si_status: int


class _Template(Parent):
    """A running template."""

    def __init__(self, modules: tuple[str, ...], more: tuple[str, ...]) -> None:
        self._lock = RLock()
        self._modules = modules
        # The launcher's ends of a fork that was asked for and has not been reported; a spare fork.
        self._asked: tuple[int, int] | None = None
        self._spare: PrebootedInit | None = None
        self._child = _start(modules, more)
        try:
            self._await_the_imports()
        except BaseException as error:
            undo(error, self.close)
            raise

    def _await_the_imports(self) -> None:
        try:
            kind, told, _ = self._answer(_IMPORT_SECONDS)
        except _TemplateDied as died:
            names = ", ".join(map(repr, self._modules))
            raise PreloadFailed(f"the template of {names} {died}") from None
        if kind == template.FAILED:
            from nsenter.calling import rebuilt

            cause = rebuilt(told)
            names = ", ".join(map(repr, self._modules))
            raise PreloadFailed(f"preload {names}: {type(cause).__name__}: {cause}") from cause

    # ---- forks

    def take(self) -> PrebootedInit:
        with self._lock:
            for _ in range(_MOST_DEAD):
                self.fork_ahead()
                self._settle()
                taken, self._spare = self._spare, None
                assert taken is not None
                if not taken.has_ended():
                    return taken
                taken.discard()  # the spare fork was killed, by the OOM killer or by a user
        raise OSError(errno.ECHILD, "each fork of the template ends before it is used")

    def fork_ahead(self) -> None:
        """Ask for a fork if there is none. `_settle` reads the answer later."""
        with self._lock:
            if self.has_ended():
                raise _TemplateDied(self._how_it_ended())
            if self._spare is not None or self._asked is not None:
                return
            with Descriptors() as owner, Pipes(owner) as pipes:
                self._request(template.FORK, None, pipes.child_channel, pipes.child_status)
                self._asked = pipes.detach_channel(), owner.release()

    def _settle(self) -> None:
        """Read the answer about the fork that was asked for."""
        if self._asked is None:
            return
        ends, self._asked = self._asked, None
        try:
            kind, told, fds = self._answer(_ANSWER_SECONDS)
            if kind == template.FAILED:
                raise BootstrapError("template", told[2], "", told[0])
            self._spare = PrebootedInit(told, *ends, parent=self, pidfd=fds[0])
        except BaseException:
            close(*ends)
            raise

    # ---- as a parent

    def waitid(self, which: int, number: int, options: int) -> Ended | None:
        if which == os.P_PIDFD and not options & os.WNOHANG:
            poll({number: POLLIN}, None)  # wait here: the template must be free for other requests
        try:
            told = self._waited(which, number, options, wants_usage=False)
        except _TemplateDied:  # its orphan is a child of this process if that is a subreaper
            return THIS_PROCESS.waitid(which, number, options)
        return None if told is None else _Ended(*told)

    def wait_for(self, pidfd: int, has_own_peak: bool) -> tuple[int, int, Usage]:
        poll({pidfd: POLLIN}, None)
        try:
            code, status, *used = self._waited(os.P_PIDFD, pidfd, os.WEXITED, wants_usage=True)
        except _TemplateDied:
            return THIS_PROCESS.wait_for(pidfd, has_own_peak)
        return code, status, Usage(*used)

    def has_ended(self) -> bool:
        return self._child.pidfd < 0 or bool(poll({self._child.pidfd: POLLIN}, 0.0))

    def _waited(self, which: int, number: int, options: int, *, wants_usage: bool) -> Any:
        fds = (number,) if which == os.P_PIDFD else ()
        with self._lock:
            with suppress(OSError):  # `take` reports that there is no fork
                self._settle()
            self._request(template.WAIT, (which, number, options, wants_usage), *fds)
            kind, told, _ = self._answer(_ANSWER_SECONDS)
        if kind == template.FAILED:
            raise OSError(*told[:2])
        return told

    # ---- the channel

    def _request(self, kind: bytes, value: object, *fds: int) -> None:
        if self._child.channel_fd < 0:
            raise _TemplateDied("has ended")
        try:
            send_fds(self._child.channel_fd, worker.frame(kind, safe_data.encode(value)), fds)
        except Failure as failure:
            self._raise_if_gone(failure)
            raise

    def _answer(self, seconds: float) -> tuple[bytes, Any, list[int]]:
        """Return the kind of an answer, its value, and the descriptors that came with it."""
        fds: list[int] = []
        try:
            header = self._read(worker.HEADER_BYTES, seconds, fds)
            size = int.from_bytes(header[1:], sys.byteorder)
            if size > _MOST_ANSWER:
                raise _TemplateDied("says what makes no sense")
            return header[:1], safe_data.decode(self._read(size, seconds, fds)), fds
        except BaseException as error:  # the next answer would be read as this one
            close(*fds)
            undo(error, self._end)
            raise

    def _read(self, size: int, seconds: float, fds: list[int]) -> bytes:
        data = b""
        while len(data) < size:
            if not poll({self._child.channel_fd: POLLIN}, seconds):
                raise _TemplateDied(f"has not answered for {seconds:g} s")
            part = self._receive(size - len(data), fds)
            if not part:
                raise _TemplateDied(self._how_it_ended())
            data += part
        return data

    def _receive(self, size: int, fds: list[int]) -> bytes:
        try:
            part, more = receive_fds(self._child.channel_fd, size, template.MOST_FDS)
        except Failure as failure:
            self._raise_if_gone(failure)
            raise
        fds += more
        return part

    def _raise_if_gone(self, failure: Failure) -> None:
        if failure.errno in (errno.EPIPE, errno.ECONNRESET):
            raise _TemplateDied(self._how_it_ended()) from None

    def _how_it_ended(self) -> str:
        from nsenter.calling import how_it_ended

        try:
            return how_it_ended(self._child.wait(1.0))
        except (ChildProcessError, TimeoutError):
            return "has ended"

    def _end(self) -> None:
        if self._child.pidfd >= 0:
            self._child.__exit__()

    def close(self) -> None:
        with self._lock:
            with suppress(_TemplateDied, OSError):
                if self._child.channel_fd >= 0:  # a template that has died may have answered before
                    self._settle()
            asked, self._asked = self._asked, None
            spare, self._spare = self._spare, None
            close(*(asked or ()))
            if spare is not None:
                spare.discard()
            self._end()


def _start(modules: tuple[str, ...], more: tuple[str, ...]) -> Child:
    from nsenter._interpreter import installed

    names = ["nsenter._nsexec", "_cffi_backend"]
    bare = PythonInit("nsenter._inside.template:main", (), ("nsenter._inside.file_imports",), names)
    description = installed.describe(Options(), bare.archive())
    init = bare.replace(args=(description, modules, more))
    env = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        options = Options(die_with_parent=True)
        return options.launch(init, stdin=null, stdout=null, stderr=null, env=env)
    finally:
        close(null)


def checked_names(preload: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the modules to preload.

    Raises:
        TypeError, ValueError: a name is not the name of a module.
    """
    if isinstance(preload, (str, bytes)):
        raise TypeError(f"preload must be a sequence of names of modules, not {preload!r}")
    for name in preload:
        if not isinstance(name, str):
            raise TypeError(f"preload must be names of modules, not {name!r}")
        if not name or not all(name.split(".")) or "\0" in name:
            raise ValueError(f"preload: {name!r} is no name of a module")
    return tuple(dict.fromkeys(preload))
