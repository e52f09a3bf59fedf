# SPDX-License-Identifier: Apache-2.0
"""Call a Python function in namespaces: its value is returned, or its exception is raised.

The interpreter that runs the function can boot from memory. Its root therefore needs no Python, no
/proc and no files. The answer may come from hostile code: see `Caller`.
"""

from __future__ import annotations

import builtins
import os
import select
import sys
import time
from _signal import SIGKILL
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache

from nsenter._host.base_error import NsenterError
from nsenter._host.cleanup import close, undo
from nsenter._host.records import ByIdentity, Value
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
from nsenter._remote.call_bytes import FOR_PICKLE, EncodedCall, pack
from nsenter.errors import BootstrapError, Naming, signal_name
from nsenter.launch import Environment, PythonInit
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any, ParamSpec, TypeVar

    from nsenter._interpreter.prebooted import PrebootedInit
    from nsenter._launch.usage import Usage
    from nsenter._remote.preload import Preloaded
    from nsenter._sandbox.result import Verdict

    P = ParamSpec("P")
    T = TypeVar("T")
else:
    from nsenter._remote.call_hints import IO, Any, Callable, P, T

    Usage = Verdict = object

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
_PIPE, _STDOUT, _DEVNULL = -1, -2, -3  # as in subprocess, which takes long to import
_CHUNK = _MiB
_SMALL = 1 << 14  # most answers fit into this; to allocate a larger buffer takes time
# How long the decoding of an answer may take if the call has no timeout.
_DECODE_SECONDS = 30.0
_DEATH_SECONDS = 1.0
_START_SECONDS = 30.0  # the same as in `launch`
_LONGEST_POLL = 86400.0  # poll(2) takes an int of milliseconds
_MOST_TEMPLATES = 3  # how many may die while a fork of theirs is launched
# What one call may request: the length of a name, the number of modules, the bytes of their code.
_MOST_NAME = 1024
_MOST_MODULES = 10_000
_MOST_CODE = 256 * _MiB
_MOST_TEXT = 1 << 16  # characters of a text of an exception
# The characters that control a terminal, each with its escape in Python.
_CONTROL_CHARACTERS = {
    n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160)) if chr(n) not in "\n\t"
}

_DEFAULT = Options(new="all", die_with_parent=True)

_EXCEPTIONS = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type)
    and issubclass(kind, Exception)
    # In generators and in futures of asyncio, these two have a meaning of their own.
    and not issubclass(kind, (StopIteration, StopAsyncIteration))
}
_GROUPS = frozenset(("BaseExceptionGroup", "ExceptionGroup"))


class RemoteError(NsenterError, RuntimeError):
    """The function raised an exception that cannot be raised here with its own class.

    This is so if the class is not builtin, if it is not derived from Exception (for example,
    SystemExit), if it is StopIteration or StopAsyncIteration, or if the arguments of the exception
    are not plain data. The error is also an instance of the nearest builtin class from which the
    original class is derived: `except ValueError` catches the error for a json.JSONDecodeError.

    Attributes:
        kind: the name of the original class, with its module.
        text: the text of the original exception.
    """

    def __new__(cls, kind: str, text: str, base: str = "") -> RemoteError:
        """Create an instance of a subclass that is also of the builtin class `base`."""
        if cls is not RemoteError:
            return super().__new__(cls)
        mixed: Any = _remote_kind(base)
        builtin: Any = _builtin_base(base)
        made: RemoteError
        try:
            made = builtin.__new__(mixed)  # only OSError.__new__ can make an OSError
        except TypeError:  # MemoryError.__new__ cannot make a subclass like this one
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
    """The traceback of an exception in the namespaces, as text. It is the `__cause__` here."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


class WorkerDied(NsenterError, RuntimeError):
    """The process ended before it answered.

    Attributes:
        returncode: the exit status of the process, or -N if signal N killed it.
        verdict: why the process ended, a `Verdict`; None if this is not known.
        usage: what the process used; None if this is not known.
    """

    verdict: Verdict | None = None
    usage: Usage | None = None

    def __init__(self, returncode: int) -> None:
        super().__init__(returncode)
        self.returncode = returncode

    def __str__(self) -> str:
        return f"the function's process {how_it_ended(self.returncode)} before it answered"


class BadAnswer(NsenterError, RuntimeError):
    """The process sent something that is not an answer, or an answer that is too large."""


class Caller(Value):
    """Describe how functions are called in namespaces.

    A Caller is an immutable value, and can be used for any number of calls.

    **The answer is not trusted.** Only plain data is read: None, bool, int, float, complex, str,
    bytes, bytearray, tuple, list, dict, set and frozenset. A fixed table adds the dates and times
    of the datetime module, Decimal, Fraction, paths, UUID, range, Counter, OrderedDict, and the
    numbers of numpy, also in arrays. A builtin exception is raised here as the class of that name,
    with plain arguments, in which control characters are escaped. Any other exception is raised as
    a `RemoteError` that is also an instance of the nearest builtin class. An exception group is
    raised as an ExceptionGroup of such exceptions. The cause of each exception is its traceback, as
    text.

    **The function can read what is sent to it**: itself and its arguments. With `imports`, it can
    also read the code of every module that this process can import, including the constants in that
    code, the data files of the installed packages, and the paths of this Python's folders. It
    cannot read the source lines of modules, nor the memory of this process.

    Args:
        options: the namespaces. None means new namespaces of every type, in which the function sees
            the caller's files; for untrusted code see `nsenter.presets.sandbox`. A new PID
            namespace has a PID 1 that stays, unless `init` is False. Whatever the options say, the
            process ends when the calling process ends. If there is such a PID 1, everything that
            the function has started ends, too.
        timeout: how many seconds a call may take, counted from when its process runs. Then the
            process is killed. None means no limit. If the function has left objects of
            multiprocessing, the process has 3 more seconds to remove them after the answer.
        trusted: unpickle the answers. The function, and all code that runs with it, can then do
            anything in the calling process.
        max_answer: how many bytes an answer may have, both as it is received and in memory.
        imports: if the function imports a module that was not sent, look for it in the calling
            process and send its code. (C extensions have no code to send: see `extensions`.)
        files: import modules from this Python's own files if the root has them. This requires
            `imports`. Everything then works as in `python3` there: data files, C extensions,
            threads. The root has the files if it is the caller's own root, or an empty root into
            which they are bound read-only, as in `nsenter.presets.sandbox`. In any other root, or
            with False, no file is opened, and `modules` and `extensions` say what is sent in
            memory.
        modules: names of modules to send in addition to the function's own module and those that it
            imports.
        extensions: names of the C extension modules that can be imported. None means those that
            belong to Python itself and, of those that the sent modules import, the ones in the
            packages of these modules and the ones that this process has imported.
        env: the environment of the process. None means the caller's, which the function can then
            read.
        stdout, stderr: where the output goes: a descriptor, a file, or subprocess.DEVNULL; for
            stderr also subprocess.STDOUT. None means the caller's stream. The input is /dev/null.
            To get the output of a call, pass a file, such as `tempfile.TemporaryFile()`, and read
            it afterwards.

    Raises:
        TypeError, ValueError: an argument is not valid.
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
            raise ValueError(f"timeout must be at least 0 seconds, or None, not {self.timeout!r}")
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
            raise ValueError(f"max_answer must be at least 1 byte, not {self.max_answer!r}")

    def call(self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function in a new process.

        Args:
            func: the function.
            *args, **kwargs: its arguments.

        Returns:
            The value of the function.

        Raises:
            SerializationError: the function or an argument cannot be sent; nothing was started.
            BootstrapError, ValueError, OSError: the process could not be started.
            TimeoutError: the call took too long. (A TimeoutError of the function has a cause.) It
                has `verdict` and `usage`, as WorkerDied.
            WorkerDied: the process ended before it answered: by a signal, or by os._exit.
            BadAnswer: the answer is too large, or it is not an answer.
            RemoteError, Exception: the function raised this exception.
        """
        encoded = pack(func, args, kwargs, as_data=not self.trusted)
        with Worker(self, encoded.modules) as worker:
            value: T = worker.run(encoded)
            return value


def call(func: Callable[..., T], /, *args: Any, options: Options | None = None, **kwargs: Any) -> T:
    """Call a function in namespaces.

    This is `Caller(options).call(func, …)`. A `Caller` has more settings, and passes on every
    keyword, also one that is called "options".

    Args:
        func: the function.
        *args, **kwargs: its arguments.
        options: the namespaces. None means the same as for `Caller`.

    Returns:
        The value of the function.

    Raises:
        Exception: the same as `Caller.call`, including the exception of the function.
    """
    return Caller(options).call(func, *args, **kwargs)


class Worker:
    """Start a process in namespaces that takes one call after another.

    As a context manager, it kills the process at the end of the block.

    Args:
        caller: how functions are called.
        modules: names of modules that must be importable in the process.
        forks: the source of the process, which is then a fork of a template. None means that a new
            interpreter starts.

    Raises:
        BootstrapError, ValueError, OSError: the process could not be started.
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
        """Start as a fork of a template.

        The process imports from files if the root has them. Otherwise it goes on with the modules
        that the template has imported.
        """
        files = _files(caller)
        for _ in range(_MOST_TEMPLATES):
            prebooted = forks.take()
            try:
                self._launch(caller, _forked(_settings(caller, files), prebooted))
            finally:
                prebooted.discard()  # if it was not used
            # If its parent ended before it asked to die with that parent, the kernel does not kill
            # it: take another fork.
            if not prebooted.parent.has_ended():
                break
            self.close()
        else:
            raise WorkerDied(-SIGKILL)
        if files is not None:
            self.has_files = self._opened_files(stays=True)

    def _start(self, caller: Caller, modules: Iterable[str]) -> None:
        """Start an interpreter from files if the root has them, otherwise from memory."""
        files = _files(caller)
        if files is not None:
            self._launch(caller, _init(caller, (), files))
            self.has_files = self._opened_files()
        if not self.has_files:
            self._launch_from_memory(caller, modules)

    def _launch_from_memory(self, caller: Caller, modules: Iterable[str]) -> None:
        """Start an interpreter from memory.

        A C extension that cannot be loaded is left out, unless the caller has named extensions.
        """
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
        self.extensions = frozenset(() if init.prebooted else init.archive().extensions)
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
        """Return whether a new process could open this Python's files.

        The process tells this before any code of the caller runs in it.

        Args:
            stays: whether the process is kept if it could not open them.
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
        """Make the process fork for each following call. The fork ends with the call."""
        has_init = b"\1" if self._child.verdict_fd >= 0 else b""
        self._send(worker.FORK, has_init, time.monotonic() + _DEATH_SECONDS)
        self._forks = True

    def run(self, encoded: EncodedCall) -> Any:
        """Run a call and return its value.

        Raises:
            Exception: the same as `Caller.call`. If it is not an exception of the function, the
                process has been killed: see `is_usable`.
        """
        timeout = self._caller.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        self._modules_sent = self._code_sent = 0
        try:
            self._send(encoded.kind, encoded.body, deadline)
            answer = self._answer(deadline)
            if self._forks and answer[0] != worker.ENDED:
                self._await_the_end(deadline)
            value, error = self._opened(*answer, deadline)
        except BaseException as failure:
            self._ends_itself = False
            undo(failure, self.close)
            self._add_end(failure)
            raise
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # its traceback refers to this frame, which would make a cycle

    def _add_end(self, failure: BaseException) -> None:
        """Add why the process ended, and what it used, to an exception about its end."""
        if isinstance(failure, (TimeoutError, WorkerDied)):
            from nsenter._sandbox.result import add_end  # only errors need it

            add_end(failure, self._child.returncode, self._child.usage)

    @property
    def is_usable(self) -> bool:
        """Whether the process can take another call: it runs, and has sent nothing unasked."""
        if self._child.pidfd < 0:
            return False
        self._poller.register(self._child.channel_fd, select.POLLIN)
        return not self._buffer and not self._poller.poll(0)

    def close(self) -> None:
        """Kill the process and wait for it.

        If the process has announced that it must remove something, it first gets a few seconds to
        do so.
        """
        if self._child.pidfd >= 0:
            try:
                if self._ends_itself:
                    self._await_its_end()
            finally:
                self._child.__exit__()

    def _await_its_end(self) -> None:
        """Close this end of the channel, which tells the process to end, and wait for that."""
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
        """Wait for an event on the channel. Raise an error if the process has ended."""
        channel = self._child.channel_fd
        self._poller.register(channel, events)
        while True:
            left = _LONGEST_POLL if deadline is None else deadline - time.monotonic()
            ready = dict(self._poller.poll(max(0.0, min(left, _LONGEST_POLL)) * 1000))
            if ready and channel not in ready:
                raise self._death()
            if left <= 0:  # checked also if data is ready: it may come one byte at a time
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
        """Receive a frame. Its body may have at most `most` bytes."""
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
        """Wait until the fork that has answered is gone, before the next one is made."""
        kind, _ = self._receive(_MOST_NAME, deadline)
        if kind != worker.ENDED:
            raise BadAnswer("a second answer")

    def _ended(self, body: bytes, deadline: float | None) -> WorkerDied:
        """Return the error for a fork that has ended. The process that made it still runs."""
        status = self._decoded(body, deadline)
        if type(status) is not int:
            raise BadAnswer("a status that is no number")
        return WorkerDied(status)

    def _module(self, kind: bytes, name: bytes) -> tuple[bytes, bytes]:
        """Return the answer to a request for a module, or for the data of a package.

        Hostile code may have chosen the name that is requested.
        """
        self._modules_sent += 1
        if self._modules_sent > _MOST_MODULES or self._code_sent > _MOST_CODE:
            raise BadAnswer("the function asks for more modules than there can be")
        try:
            wanted = name.decode()
            if not self._caller.imports:
                advice = "name it in modules=, or send modules that are imported (imports=True)"
                raise ModuleNotFoundError(f"{wanted!r} is not along: {advice}")
            found: Any = self._found(wanted) if kind == worker.IMPORT else self._data(wanted)
        except Exception as error:  # finders and compilers can raise any exception
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
        """Return a module in the form that `_Worker._ask` of nsenter/_inside/worker.py describes.

        Return None if there is no such module.
        """
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
        """Return the value of an answer, or its exception."""
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
        remade = rebuilt(told)
        if not isinstance(error, Exception):
            return None, remade
        error.__cause__ = remade.__cause__
        return None, error


def _output(name: str, given: Any, null: int, own: int, stdout: Any = None) -> int:
    """Return the descriptor for a stream of a call.

    Args:
        name: "stdout" or "stderr".
        given: what the user gave for this stream.
        null: the descriptor of /dev/null.
        own: the descriptor of this process's own stream, which None means.
        stdout: what the user gave for stdout, if this stream is stderr.
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
            given.flush()  # text that is still in the buffer comes before the call's output
        return int(given.fileno())
    words = "a descriptor, a file with one, subprocess.DEVNULL" + " or STDOUT" * (own == 2)
    if given == _PIPE:
        words += "; nobody would read a PIPE meanwhile: give a file, as tempfile.TemporaryFile()"
    raise ValueError(f"{name} of a call must be {words}; not {_shown_stream(given)}")


def _open_or(null: int, stream: int) -> int:
    """Return the descriptor of a stream, or that of /dev/null if this process has closed it."""
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
    """Return the options of a call, with die_with_parent: nobody else can receive the answer."""
    options = caller.options or _DEFAULT
    return options if options.die_with_parent else _ending_with_us(ByIdentity(options))


@lru_cache(8)
def _ending_with_us(options: ByIdentity) -> Options:
    ending: Options = options.value.replace(die_with_parent=True)
    return ending


def _files(caller: Caller) -> dict[str, Any] | None:
    """Return what a process is told about this Python's files; None if it must not use them."""
    if not caller.files or not caller.imports:
        return None
    from nsenter._interpreter import installed

    return installed.describe(_options(caller), _from_files(None).archive())


def extensions_from_memory(caller: Caller) -> set[str]:
    """Return the C extensions that a template imports before it is forked.

    The root of a fork may have no files. The code of a Python module can be sent to it when it is
    imported, but a C extension cannot.
    """
    if _files(caller) is not None:
        return {*FOR_PICKLE}
    return {*FOR_PICKLE, *(pythons_own() if caller.extensions is None else caller.extensions)}


def _from_files(settings: object) -> PythonInit:
    """Return an init that is sent only those modules that it needs to open files."""
    return PythonInit("nsenter._inside.worker:main", (settings,), ("nsenter._inside.file_imports",))


def _forked(settings: Mapping[str, Any], prebooted: PrebootedInit) -> PythonInit:
    """Return an init for a fork. It is sent no modules: the template has imported them."""
    return PythonInit(
        "nsenter._inside.template:main", ({**settings, "preloaded": True},), prebooted=prebooted
    )


def _settings(caller: Caller, files: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"trusted": caller.trusted, "most": caller.max_answer, "files": files}


def _not_loaded(error: BootstrapError, init: PythonInit) -> tuple[str, str] | None:
    """Return the C extension that made a start fail, and why; None if none did."""
    if not error.operation.startswith("dlopen"):
        return None
    for name, path in init.archive().extensions.items():
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
    if extensions is not None:  # the worker itself needs these, whatever the user names
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
    """Say how a process with this returncode has ended, as the end of a sentence."""
    if returncode >= 0:
        return f"ended with exit status {returncode}"
    name = signal_name(-returncode)
    return f"was killed by signal {-returncode}{name and f' ({name})'}"


def _printable(text: str) -> str:
    """Return the text with escapes for the characters that control a terminal, cut if too long."""
    told = text[:_MOST_TEXT]
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in told)


def rebuilt(told: Any) -> Exception:
    """Return the exception that `nsenter._inside.worker.tell_of` has described.

    Raises:
        BadAnswer: the description is malformed.
    """
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
    # An exception group cannot be made without exceptions in it.
    return RuntimeError if kind is Exception or issubclass(kind, BaseExceptionGroup) else kind


def _remote_kind(base: str) -> type[RemoteError]:
    """Return a class that is RemoteError and the builtin class of this name."""
    builtin = _builtin_base(base)
    if issubclass(RemoteError, builtin):
        return RemoteError
    if base not in _remote_kinds:
        names = {"__module__": __name__, "__doc__": RemoteError.__doc__}
        _remote_kinds[base] = type("RemoteError", (RemoteError, builtin), names)
    return _remote_kinds[base]


def _group(kind: str, args: Any) -> Exception | None:
    """Return a group of the exceptions that `args` describe; None if they describe none.

    If the class of the group is a subclass, the message names it.
    """
    if not isinstance(args, tuple) or len(args) != 2:
        return None
    message, members = args
    if not isinstance(message, str) or not isinstance(members, tuple) or not members:
        return None
    words = message if kind in _GROUPS else f"{kind}: {message}"
    return ExceptionGroup(
        words.translate(_CONTROL_CHARACTERS), [rebuilt(member) for member in members]
    )


def _take_errno(error: Exception, args: Any) -> None:
    """Set errno and strerror of an OSError from the arguments: callers look at errno."""
    if not isinstance(error, OSError) or not isinstance(args, tuple) or len(args) < 2:
        return
    number, words = args[:2]
    if isinstance(number, int) and isinstance(words, str):
        error.errno, error.strerror = number, words.translate(_CONTROL_CHARACTERS)


def _without_control_characters(value: Any) -> Any:
    """Escape control characters in the arguments of an exception.

    Python prints the arguments to the terminal if nobody catches the exception.
    """
    if isinstance(value, str):
        return value.translate(_CONTROL_CHARACTERS)
    return tuple(map(_without_control_characters, value)) if isinstance(value, tuple) else value


def _builtin(name: str, args: Any) -> Exception | None:
    kind = _EXCEPTIONS.get(name)
    if kind is None or name in _GROUPS or not isinstance(args, tuple):
        return None
    try:
        return kind(*_without_control_characters(args))
    except Exception:  # the class does not accept these arguments
        return None
