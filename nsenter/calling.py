# SPDX-License-Identifier: Apache-2.0
"""Calling a Python function in namespaces: its value comes back, or its exception.

The interpreter that runs it boots from memory, so the root may be one without Python, without
/proc, without files. What comes back may be an enemy's: see `Caller`.
"""

from __future__ import annotations

import builtins
import os
import select
import sys
import time
from _signal import SIGKILL
from functools import cache, lru_cache

from nsenter._host.base_error import NsenterError
from nsenter._host.cleanup import close, undo
from nsenter._host.records import Same, Value
from nsenter._host.suppress import suppress
from nsenter._inside import multiprocessing_cleanup, worker
from nsenter._interpreter.image import MEMORY, PAYLOAD
from nsenter._interpreter.module_archive import (
    extensions_of,
    is_extension,
    is_found,
    leave_out,
    module_code,
    module_place,
    pythons_own,
)
from nsenter._launch.argument_checks import check_flags, names
from nsenter._remote import safe_data
from nsenter._remote.call_bytes import FOR_PICKLE, pack
from nsenter.errors import BootstrapError, Naming, signal_name
from nsenter.launch import PythonInit
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import IO, Any, ParamSpec, TypeVar

    from nsenter._interpreter.prebooted import WaitingInit
    from nsenter._remote.call_bytes import Parcel
    from nsenter._remote.preload import Preloaded
    from nsenter.launch import Environment

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = [
    "BadAnswer",
    "Caller",
    "RemoteError",
    "RemoteTraceback",
    "Worker",
    "WorkerDied",
    "call",
    "extensions_from_memory",
    "how_it_ended",
    "rebuilt",
]

_MiB = 1 << 20
_PIPE, _STDOUT, _DEVNULL = -1, -2, -3  # subprocess's, which is not imported for them
_CHUNK = _MiB
_SMALL = 1 << 14  # most answers are, and room for a large one takes a while to make
# How long reading an answer may take if the call has no timeout of its own.
_DECODE_SECONDS = 30.0
_DEATH_SECONDS = 1.0
_START_SECONDS = 30.0  # as `launch` has it
_LONGEST_POLL = 86400.0  # poll(2) takes an int of milliseconds
# What one call may have sent to it: names of modules, how many, and of how much code.
_MOST_TEMPLATES = 3  # that die while a fork of theirs is launched
_MOST_NAME = 1024
_MOST_MODULES = 10_000
_MOST_CODE = 256 * _MiB
_MOST_TEXT = 1 << 16  # of what is told of an exception
# What a terminal takes for an order, as Python would write it.
_ORDERS = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160)) if chr(n) not in "\n\t"}

_DEFAULT = Options(new="all", die_with_parent=True)

_EXCEPTIONS = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    # Generators, and futures of asyncio, take these for something else.
    and not issubclass(kind, (StopIteration, StopAsyncIteration))
}
_GROUPS = frozenset(("BaseExceptionGroup", "ExceptionGroup"))


class RemoteError(NsenterError, RuntimeError):
    """An exception in the namespaces whose class is none of Python's own, or no Exception, as
    SystemExit.

    It is of the nearest builtin class that its class is derived from: `except ValueError` catches
    that of a json.JSONDecodeError.

    Attributes:
        kind: the name of its class, with its module.
        text: what it says.
    """

    def __new__(cls, kind: str, text: str, base: str = "") -> RemoteError:
        if cls is not RemoteError:
            return super().__new__(cls)
        mixed: Any = _remote_kind(base)
        builtin: Any = _builtin_base(base)
        made: RemoteError
        try:
            made = builtin.__new__(mixed)  # an OSError is made by that of OSError alone
        except TypeError:  # a MemoryError is not
            made = Exception.__new__(mixed)
        return made

    def __init__(self, kind: str, text: str, base: str = "") -> None:
        Exception.__init__(self, kind, text)
        self.kind = kind
        self.text = text
        self._base = base

    def __reduce__(self) -> tuple[type[RemoteError], tuple[str, str, str], dict[str, Any]]:
        return RemoteError, (self.kind, self.text, self._base), self.__dict__

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}" if self.text else self.kind


class RemoteTraceback(NsenterError):
    """The traceback of an exception in the namespaces: its `__cause__` here."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class WorkerDied(NsenterError, RuntimeError):
    """The process ended before it answered.

    Attributes:
        returncode: its exit status, minus the signal that killed it.
    """

    def __init__(self, returncode: int) -> None:
        super().__init__(returncode)
        self.returncode = returncode

    def __str__(self) -> str:
        return f"the function's process {how_it_ended(self.returncode)} before it answered"


class BadAnswer(NsenterError, RuntimeError):
    """What came back is no answer, or one that is too large."""


class Caller(Value):
    """How functions are called in namespaces. A value: made once, used for any number of calls.

    **What comes back is not trusted.** Only plain data is read: None, bool, int, float, complex,
    str, bytes, bytearray, tuple, list, dict, set and frozenset; and by a fixed table dates and
    times of the datetime module, Decimal, Fraction, paths, UUID, range, Counter, OrderedDict, and
    numbers of numpy, also in arrays. An exception comes as the builtin class of its name, with
    plain arguments, control characters in them as escapes; any other as a `RemoteError` that is of
    its nearest builtin class too. A group comes as an ExceptionGroup of such exceptions. Each has
    its traceback, as text, for its cause.

    **What goes in is disclosed**: the function, its arguments, and with `imports` the code of every
    module that this process can import, with the constants in it, the data files of packages that
    are installed, and where this Python's folders are. Its source lines, and what
    is in the memory of this process, are not.

    Args:
        options: the namespaces; None: new ones of every kind, where the files are the caller's:
            for what is not trusted see `nsenter.presets.sandbox`. A new pid namespace has a
            PID 1 that stays, unless `init` is False. Whatever the options say, the process ends
            when this one does; with that PID 1, everything that the function has started ends
            too.
        timeout: seconds that a call may take, from when its process runs; None: any. Then the
            process is killed. If the function has left something of multiprocessing's, the process
            has 3 seconds more to remove it after the answer.
        trusted: the function, and all that runs with it, may do here what it likes: its answers
            are unpickled.
        max_answer: bytes that an answer may have, as it comes and in memory.
        imports: whether a module that is imported there, and was not sent along, is looked for
            here and its code sent. (Of C extensions there is no code: see `extensions`.)
        files: whether modules are imported from this Python's own files if the root has them; this
            takes `imports`, too. Then everything works as in `python3` there: data files, C
            extensions, threads. The root has them if it is the caller's own, or an empty one into
            which they are bound read-only, as `nsenter.presets.sandbox` does. In any other root,
            and with False, no file is opened, and the next two say what comes along in memory.
        modules: modules to send along, besides the function's own and what they import.
        extensions: C extension modules that can be imported there; None: those that the modules
            sent along import, of Python's own, of the packages of `modules`, and of those that
            this process has imported.
        env: the environment of the process; None: the caller's, which is disclosed then.
        stdout, stderr: where its output goes: a descriptor, a file, or subprocess.DEVNULL; for
            stderr subprocess.STDOUT too. Its input is /dev/null. To have the output of a call, give
            it a file and read that afterwards, as `tempfile.TemporaryFile()`.
    """

    options: Options | None = None
    timeout: float | None = 60.0
    trusted: bool = False
    max_answer: int = 64 * _MiB
    imports: bool = True
    files: bool = True
    modules: Iterable[str] = ()
    extensions: Iterable[str] | None = None
    env: Environment | None = None
    stdout: int | IO[Any] | None = 1
    stderr: int | IO[Any] | None = 2

    def __post_init__(self) -> None:
        if self.options is not None and not isinstance(self.options, Options):
            called = " (call it: it is a function)" if callable(self.options) else ""
            raise TypeError(f"options must be an nsenter.Options, not {self.options!r}{called}")
        if self.timeout is not None and not isinstance(self.timeout, (int, float)):
            raise TypeError(f"timeout must be seconds or None, not {self.timeout!r}")
        if self.timeout is not None and not self.timeout >= 0:
            raise ValueError(f"timeout {self.timeout!r}: must be seconds, at least 0, or None")
        _output("stdout", self.stdout, 0, 1)
        _output("stderr", self.stderr, 0, 2, self.stdout)
        check_flags(self, "trusted", "imports", "files")
        for name in ("modules", "extensions"):
            given = getattr(self, name)
            if given is not None or name == "modules":
                self.__dict__[name] = names(name, given)
        if self.env is not None and not hasattr(self.env, "items"):
            raise TypeError(f"env must be a mapping or None, not {self.env!r}")
        if not isinstance(self.max_answer, int) or isinstance(self.max_answer, bool):
            raise TypeError(f"max_answer must be a number of bytes, not {self.max_answer!r}")
        if self.max_answer < 1:
            raise ValueError(f"max_answer {self.max_answer!r}: must be bytes, at least 1")

    def call(self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a process of its own.

        Raises:
            CannotTravel: the function or an argument cannot be sent; nothing was started.
            BootstrapError, ValueError, OSError: the process could not be started.
            TimeoutError: it took too long. (One that the function raised has a cause.)
            WorkerDied: it ended without an answer: by a signal, or os._exit.
            BadAnswer: its answer is too large, or none.
            RemoteError, Exception: what the function raised.
        """
        parcel = pack(func, args, kwargs, plainly=not self.trusted)
        with Worker(self, parcel.modules) as worker:
            value: T = worker.run(parcel)
            return value


def call(func: Callable[..., T], /, *args: Any, options: Options | None = None, **kwargs: Any) -> T:
    """Call a function in namespaces; its value comes back, or its exception is raised.

    As `Caller(options).call(func, …)`, which has more settings and passes on any keyword.

    Args:
        options: the namespaces; None: as for `Caller`.
    """
    return Caller(options).call(func, *args, **kwargs)


class Worker:
    """A process in namespaces that takes one call after another. As a context manager it is
    killed at the end of the block.

    Args:
        caller: how to call.
        modules: what has to be importable there.
        forks: the process is one of these; None: an interpreter starts.

    Raises:
        BootstrapError, ValueError, OSError: it could not be started.
    """

    def __init__(
        self, caller: Caller, modules: Iterable[str] = (), forks: Preloaded | None = None
    ) -> None:
        self._caller = caller
        self._forks = False
        self.has_files = False
        self._ends_itself = False
        self._buffer = bytearray()
        self._modules_sent = 0
        self._code_sent = 0
        with Naming():
            if forks is None:
                self._start(caller, modules)
            else:
                self._fork(caller, forks)

    def _fork(self, caller: Caller, forks: Preloaded) -> None:
        """From files, if the root has them; else with what is imported already."""
        files = _files(caller)
        for _ in range(_MOST_TEMPLATES):
            waiting = forks.take()
            try:
                self._launch(caller, _forked(_settings(caller, files), waiting))
            finally:
                waiting.discard()  # where it was not used
            # What was an orphan before it asked to die with its parent does not.
            if not waiting.parent.has_ended():
                break
            self.close()
        else:
            raise WorkerDied(-SIGKILL)
        if files is not None:
            self.has_files = self._opened_files(stays=True)

    def _start(self, caller: Caller, modules: Iterable[str]) -> None:
        """From files, if the root has them; else from memory."""
        files = _files(caller)
        if files is not None:
            self._launch(caller, _init(caller, (), files))
            self.has_files = self._opened_files()
        if not self.has_files:
            self._launch_from_memory(caller, modules)

    def _launch_from_memory(self, caller: Caller, modules: Iterable[str]) -> None:
        """Without the C extensions that cannot be loaded, if nobody has named them."""
        while True:
            init = _init(caller, modules)
            try:
                self._launch(caller, init)
            except BootstrapError as error:
                bad = _not_loaded(error, init)
                if caller.extensions is not None or not bad:
                    raise
                leave_out(*bad)
            else:
                return

    def _launch(self, caller: Caller, init: PythonInit) -> None:
        self.extensions = frozenset(() if init.waiting else init.bundle().extensions)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._child = _options(caller).launch(
                init,
                stdin=null,
                stdout=_open_or(null, _output("stdout", caller.stdout, null, 1)),
                stderr=_open_or(null, _output("stderr", caller.stderr, null, 2, caller.stdout)),
                env=caller.env,
                default_init=True,
            )
        finally:
            close(null)
        os.set_blocking(self._child.channel_fd, False)
        self._poller = select.poll()
        self._poller.register(self._child.pidfd, select.POLLIN)

    def _opened_files(self, *, stays: bool = False) -> bool:
        """What a new process says, before anything of the caller's runs in it.

        Args:
            stays: whether it goes on without.
        """
        try:
            kind, why = self._receive(_MOST_TEXT, time.monotonic() + _START_SECONDS)
            if kind != worker.FILES:
                raise BadAnswer(f"an answer of the unknown kind {kind!r} to a start")
        except BaseException:
            self.close()
            raise
        if why and not stays:
            self.close()
        return not why

    def fork_for_each(self) -> None:
        """From now on each call has a fork of the process, which ends with the call."""
        has_init = b"\1" if self._child.verdict_fd >= 0 else b""
        self._send(worker.FORK, has_init, time.monotonic() + _DEATH_SECONDS)
        self._forks = True

    def run(self, parcel: Parcel) -> Any:
        """The value of a call. Errors are those of `Caller.call`; the process is killed by those
        that are not the function's own: see `is_usable`."""
        timeout = self._caller.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        self._modules_sent = self._code_sent = 0
        try:
            self._send(parcel.kind, parcel.body, deadline)
            answer = self._answer(deadline)
            if self._forks and answer[0] != worker.ENDED:
                self._await_the_end(deadline)
            value, error = self._opened(*answer, deadline)
        except BaseException as failure:
            self._ends_itself = False
            undo(failure, self.close)
            raise
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # it has this frame in its traceback

    @property
    def is_usable(self) -> bool:
        """Whether it can take another call: it runs, and has not spoken unasked."""
        if self._child.pidfd < 0:
            return False
        self._poller.register(self._child.channel_fd, select.POLLIN)
        return not self._buffer and not self._poller.poll(0)

    def close(self) -> None:
        """Kill it and wait for it. If it has something to remove, it has a moment for that."""
        if self._child.pidfd >= 0:
            try:
                if self._ends_itself:
                    self._await_its_end()
            finally:
                self._child.__exit__()

    def _await_its_end(self) -> None:
        """It ends when this end of the channel is closed."""
        with suppress(KeyError):
            self._poller.unregister(self._child.channel_fd)
        close(self._child.channel_fd)
        self._child.channel_fd = -1
        self._poller.poll((multiprocessing_cleanup.SECONDS + _DEATH_SECONDS) * 1000)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # ---- the channel

    def _wait(self, events: int, deadline: float | None) -> None:
        """Until there is an event of the channel; raises where its process has ended."""
        channel = self._child.channel_fd
        self._poller.register(channel, events)
        while True:
            left = _LONGEST_POLL if deadline is None else deadline - time.monotonic()
            ready = dict(self._poller.poll(max(0.0, min(left, _LONGEST_POLL)) * 1000))
            if ready and channel not in ready:
                raise self._death()
            if left <= 0:  # whoever sends a byte at a time is always ready
                raise self._timed_out()
            if ready:
                return

    def _timed_out(self) -> TimeoutError:
        return TimeoutError(f"the function took more than {self._caller.timeout} s")

    def _death(self) -> Exception:
        try:
            return WorkerDied(self._child.wait(_DEATH_SECONDS))
        except TimeoutError:
            return BadAnswer("the function's process has closed its end of the channel")
        except ChildProcessError:
            return BadAnswer("the function's process has ended, and somebody else waited for it")

    def _send(self, kind: bytes, body: bytes, deadline: float | None) -> None:
        with Naming():
            self._write(kind, body, deadline)

    def _write(self, kind: bytes, body: bytes, deadline: float | None) -> None:
        rest = memoryview(worker.frame(kind, body))
        while rest:
            try:
                rest = rest[os.write(self._child.channel_fd, rest) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)
            except (BrokenPipeError, ConnectionResetError):
                raise self._death() from None

    def _receive(self, most: int, deadline: float | None) -> tuple[bytes, bytes]:
        """A frame whose body has `most` bytes at most."""
        with Naming():
            return self._read(most, deadline)

    def _read(self, most: int, deadline: float | None) -> tuple[bytes, bytes]:
        header = self._take(worker.HEADER_BYTES, deadline)
        kind, size = header[:1], int.from_bytes(header[1:], sys.byteorder)
        if kind in (worker.IMPORT, worker.DATA, worker.LEFT):
            most = _MOST_NAME
        if size > most:
            raise BadAnswer(f"an answer of {size} bytes: {most} are allowed (max_answer)")
        return kind, self._take(size, deadline)

    def _take(self, size: int, deadline: float | None) -> bytes:
        while len(self._buffer) < size:
            self._wait(select.POLLIN, deadline)
            try:
                missing = size - len(self._buffer)
                data = os.read(self._child.channel_fd, min(max(missing, _SMALL), _CHUNK))
            except ConnectionResetError:
                data = b""
            if not data:
                raise self._death()
            self._buffer += data
        taken = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return taken

    # ---- answers

    def _answer(self, deadline: float | None) -> tuple[bytes, bytes]:
        while True:
            kind, body = self._receive(self._caller.max_answer, deadline)
            if kind == worker.LEFT:
                self._ends_itself = True
                continue
            if kind not in (worker.IMPORT, worker.DATA):
                return kind, body
            self._send(*self._module(kind, body), deadline)

    def _await_the_end(self, deadline: float | None) -> None:
        """The fork that has answered is gone before the next is made."""
        kind, _ = self._receive(_MOST_NAME, deadline)
        if kind != worker.ENDED:
            raise BadAnswer("a second answer")

    def _ended(self, body: bytes, deadline: float | None) -> WorkerDied:
        """The fork has ended; the process that it was one of has not."""
        status = self._decoded(body, deadline)
        if type(status) is not int:
            raise BadAnswer("a status that is no number")
        return WorkerDied(status)

    def _module(self, kind: bytes, name: bytes) -> tuple[bytes, bytes]:
        """The answer to a request for a module or the data of one: a name that anybody may have
        chosen."""
        self._modules_sent += 1
        if self._modules_sent > _MOST_MODULES or self._code_sent > _MOST_CODE:
            raise BadAnswer("the function asks for more modules than there can be")
        try:
            wanted = name.decode()
            if not self._caller.imports:
                advice = "name it in modules=, or send modules that are imported (imports=True)"
                raise ModuleNotFoundError(f"{wanted!r} is not along: {advice}")
            found: Any = self._found(wanted) if kind == worker.IMPORT else self._data(wanted)
        except Exception as error:  # finders and compilers raise what they like
            return worker.NO_MODULE, safe_data.encode(f"{error}"[:_MOST_NAME])
        if found is None:
            return worker.NO_MODULE, safe_data.encode("")
        self._code_sent += len(found) if kind == worker.DATA else len(found[1])
        return worker.MODULE, safe_data.encode(found)

    def _data(self, wanted: str) -> bytes | list[str]:
        from nsenter._interpreter import installed

        package, _, path = wanted.partition("\0")
        return installed.data_of(package, path)

    def _found(self, name: str) -> tuple[Any, ...] | None:
        """A module: see `_Worker._ask` of nsenter/_inside/worker.py. None if there is none."""
        place = module_place(name) if self.has_files else None
        if place is not None:
            is_package, path, folders = place
            at = os.stat(path)
            where = path, at.st_dev, at.st_ino
            code = b"" if is_extension(path) else module_code(name)[0]
            return is_package, code, where, folders
        if not is_found(name):
            return None
        code, is_package = module_code(name)
        return is_package, code, None, []

    def _decoded(self, body: bytes, deadline: float | None) -> Any:
        latest = time.monotonic() + _DECODE_SECONDS if deadline is None else deadline
        try:
            return safe_data.decode(body, memory=self._caller.max_answer, deadline=latest)
        except safe_data.TooSlow as error:
            if deadline is not None:
                raise self._timed_out() from None
            raise BadAnswer(f"the answer cannot be read: {error}") from None
        except safe_data.TooLarge as error:
            raise BadAnswer(f"the answer is too large: {error} (max_answer)") from None
        except safe_data.Malformed as error:
            raise BadAnswer(f"the answer cannot be read: {error}") from None

    def _opened(
        self, kind: bytes, body: bytes, deadline: float | None
    ) -> tuple[Any, Exception | None]:
        """The value of an answer, or its exception."""
        if kind == worker.VALUE:
            return self._decoded(body, deadline), None
        if kind == worker.ERROR:
            return None, rebuilt(self._decoded(body, deadline))
        if kind == worker.ENDED and self._forks:
            return None, self._ended(body, deadline)
        if self._caller.trusted and kind in (worker.PICKLED_VALUE, worker.PICKLED_ERROR):
            return self._unpickled(kind, body)
        raise BadAnswer(f"an answer of the unknown kind {kind!r}")

    def _unpickled(self, kind: bytes, body: bytes) -> tuple[Any, Exception | None]:
        import pickle

        if kind == worker.PICKLED_VALUE:
            return pickle.loads(body), None
        error, told = pickle.loads(body)
        plainly = rebuilt(told)
        if not isinstance(error, Exception):
            return None, plainly
        error.__cause__ = plainly.__cause__
        return None, error


def _output(name: str, given: Any, null: int, own: int, stdout: Any = None) -> int:
    """The descriptor that a stream of a call is.

    Args:
        null: of /dev/null.
        own: this process's own stream, which None is.
        stdout: what that one was given, for a stderr.
    """
    if given is None:
        return own
    if given == _STDOUT and name == "stderr":
        return _output("stdout", stdout, null, 1)
    if given == _DEVNULL:
        return null
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    if hasattr(given, "fileno"):
        if hasattr(given, "flush"):
            given.flush()  # what was written before comes before
        return int(given.fileno())
    words = "a descriptor, a file with one, subprocess.DEVNULL" + " or STDOUT" * (own == 2)
    if given == _PIPE:
        words += "; nobody would read a PIPE meanwhile: give a file, as tempfile.TemporaryFile()"
    raise ValueError(f"{name} of a call must be {words}; not {_shown_stream(given)}")


def _open_or(null: int, stream: int) -> int:
    """Return a descriptor, or that of /dev/null for a stream that this process has closed."""
    if stream > 2:
        return stream
    try:
        os.fstat(stream)
    except OSError:
        return null
    return stream


def _shown_stream(given: Any) -> str:
    return (
        {_PIPE: "PIPE", _STDOUT: "STDOUT"}.get(given, repr(given))
        if isinstance(given, int)
        else repr(given)
    )


def _options(caller: Caller) -> Options:
    """Nobody else can want the answer: the process of a call ends with this one."""
    options = caller.options or _DEFAULT
    return options if options.die_with_parent else _ending_with_us(Same(options))


@lru_cache(8)
def _ending_with_us(options: Same) -> Options:
    ending: Options = options.value.replace(die_with_parent=True)
    return ending


def _files(caller: Caller) -> dict[str, Any] | None:
    """What is said of this Python's files to a process that can have them."""
    if not caller.files or not caller.imports:
        return None
    from nsenter._interpreter import installed

    return installed.orders(_options(caller), _from_files(None).bundle())


def extensions_from_memory(caller: Caller) -> set[str]:
    """Modules that a template imports before it is forked, for a fork whose root may have no files:
    the code of others is sent there when it is imported, but that of C extensions cannot be."""
    if _files(caller) is not None:
        return {*FOR_PICKLE}
    return {*FOR_PICKLE, *(pythons_own() if caller.extensions is None else caller.extensions)}


def _from_files(settings: object) -> PythonInit:
    """A process that needs no more modules than those by which it opens files."""
    return PythonInit("nsenter._inside.worker:main", (settings,), ("nsenter._inside.file_imports",))


def _forked(settings: Mapping[str, Any], waiting: WaitingInit) -> PythonInit:
    """A process that has what it needs. What it is going to call, it knows."""
    return PythonInit(
        "nsenter._inside.template:main", ({**settings, "preloaded": True},), waiting=waiting
    )


def _settings(caller: Caller, files: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"trusted": caller.trusted, "most": caller.max_answer, "files": files}


def _not_loaded(error: BootstrapError, init: PythonInit) -> tuple[str, str] | None:
    """The C extension that a start has failed for, and why."""
    if not error.operation.startswith("dlopen"):
        return None
    for name, path in init.bundle().extensions.items():
        if path in error.subject:
            rest = error.subject.replace(path, "").strip(" :")
            return name, " ".join((error.operation.partition(": ")[2].strip(":"), rest)).strip()
    return None


@cache
def _for_pickle() -> frozenset[str]:
    return extensions_of(FOR_PICKLE)


def _init(
    caller: Caller, modules: Iterable[str], files: dict[str, Any] | None = None
) -> PythonInit:
    settings = _settings(caller, files)
    if files is not None:
        return _from_files(settings)
    extensions = caller.extensions
    if extensions is not None:  # the worker's own are no matter of the caller's
        extensions = sorted({*extensions, *_for_pickle()})
    wanted = {*caller.modules, *modules, *(pythons_own() if extensions is None else ())}
    return PythonInit(
        "nsenter._inside.worker:main",
        (settings,),
        modules=sorted(wanted - {*(extensions or ())}),
        extensions=extensions,
        image=PAYLOAD if extensions is not None else MEMORY,
    )


def how_it_ended(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with exit status {returncode}"
    name = signal_name(-returncode)
    return f"was killed by signal {-returncode}{name and f' ({name})'}"


def _printable(text: str) -> str:
    """Without what a terminal would take for an order."""
    told = text[:_MOST_TEXT]
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in told)


def rebuilt(told: Any) -> Exception:
    """The exception that `nsenter._inside.worker` has told of."""
    if not isinstance(told, tuple) or not 5 <= len(told) <= 6:
        raise BadAnswer("an exception that is none")
    module, name, args, text, traceback, *more = told
    bases = more[0] if more else ()
    if not all(isinstance(word, str) for word in (module, name, text, traceback)):
        raise BadAnswer("an exception whose words are none")
    if not isinstance(bases, tuple) or not all(isinstance(base, str) for base in bases):
        raise BadAnswer("an exception whose bases are none")
    kind = name if module == "builtins" else f"{module}.{name}"
    error = _builtin(name, args) if module == "builtins" else None
    if error is None and not _GROUPS.isdisjoint((kind, *bases)):
        error = _group(kind, args)
    if error is None:
        base = next((base for base in bases if base in _EXCEPTIONS), "")
        error = RemoteError(_printable(kind), _printable(text), base)
        _take_errno(error, args)
    error.__cause__ = RemoteTraceback(_printable(traceback))
    return error


_remote_kinds: dict[str, type[RemoteError]] = {}


def _builtin_base(name: str) -> type[Exception]:
    kind = _EXCEPTIONS.get(name, RuntimeError)
    # A group that has no exceptions in it is none.
    return RuntimeError if kind is Exception or issubclass(kind, BaseExceptionGroup) else kind


def _remote_kind(base: str) -> type[RemoteError]:
    """RemoteError, and that builtin exception's class."""
    builtin = _builtin_base(base)
    if issubclass(RemoteError, builtin):
        return RemoteError
    if base not in _remote_kinds:
        names = {"__module__": __name__, "__doc__": RemoteError.__doc__}
        _remote_kinds[base] = type("RemoteError", (RemoteError, builtin), names)
    return _remote_kinds[base]


def _group(kind: str, args: Any) -> Exception | None:
    """Return a group of the exceptions that `args` tell of; None if they tell of none.

    If the group is of a subclass, the message names it.
    """
    if not isinstance(args, tuple) or len(args) != 2:
        return None
    message, members = args
    if not isinstance(message, str) or not isinstance(members, tuple) or not members:
        return None
    words = message if kind in _GROUPS else f"{kind}: {message}"
    return ExceptionGroup(words.translate(_ORDERS), [rebuilt(member) for member in members])


def _take_errno(error: Exception, args: Any) -> None:
    """An OSError is known by its number."""
    if not isinstance(error, OSError) or not isinstance(args, tuple) or len(args) < 2:
        return
    number, words = args[:2]
    if isinstance(number, int) and isinstance(words, str):
        error.errno, error.strerror = number, words.translate(_ORDERS)


def _without_orders(value: Any) -> Any:
    """What an exception has for arguments: Python prints them where nobody catches it."""
    if isinstance(value, str):
        return value.translate(_ORDERS)
    return tuple(map(_without_orders, value)) if isinstance(value, tuple) else value


def _builtin(name: str, args: Any) -> Exception | None:
    kind = _EXCEPTIONS.get(name)
    if kind is None or name in _GROUPS or not isinstance(args, tuple):
        return None
    try:
        return kind(*_without_orders(args))
    except Exception:  # not what this class takes
        return None
