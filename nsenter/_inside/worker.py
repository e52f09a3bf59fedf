# SPDX-License-Identifier: Apache-2.0
"""The init that runs functions. It takes one call after another from its channel.

A frame is a byte for its kind, 8 bytes for the length of its body, and the body. The caller
(nsenter/calling.py) sends calls, and the code of modules that this side requests. This side sends
requests for modules, and one answer to each call. At first, only modules that are built into the
interpreter can be imported.
"""

from __future__ import annotations

import _thread
import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec

from nsenter._host.suppress import suppress
from nsenter._inside import call_from_bytes, multiprocessing_cleanup, package_data
from nsenter._remote import safe_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType, ModuleType, TracebackType
    from typing import Any, NoReturn

__all__ = ["HEADER_BYTES", "frame", "main", "tell_of"]

_LENGTH_BYTES = 8
HEADER_BYTES = 1 + _LENGTH_BYTES
_CHUNK = 1 << 20

# The kinds of frames from the caller, in addition to those of nsenter/_inside/call_from_bytes.py.
MODULE, NO_MODULE = b"m", b"n"
FORK = b"f"  # fork for each following call; the body is a byte if there is a PID 1 that stays
# The kinds of frames to the caller.
# If the caller has named files, the first frame: b"" if they could be opened, otherwise why not.
FILES = b"o"
# An answer, as plain data or as a pickle.
VALUE, ERROR, PICKLED_VALUE, PICKLED_ERROR = b"v", b"e", b"V", b"E"
# The name of a module to send; how the process of a call has ended.
IMPORT, ENDED = b"i", b"d"
# Before an answer: this process must remove something when it is told to end.
LEFT = b"l"
DATA = b"r"  # a request: the name of a package, a NUL, and the path of a file or a folder in it

_SIGKILL = 9
_INTERRUPTED = 70  # EX_SOFTWARE of sysexits.h
_MOST_FRAMES = 200  # of a traceback that is sent
_MOST_TEXT = 1 << 16


def frame(kind: bytes, body: bytes) -> bytes:
    """Return the bytes of a frame."""
    return kind + len(body).to_bytes(_LENGTH_BYTES, sys.byteorder) + body


def main(channel: int, settings: Mapping[str, Any], finders: Sequence[Any] = ()) -> NoReturn:
    """Serve the caller until it closes the channel.

    Args:
        channel: the socket to the caller.
        settings: the other arguments of `_Worker`.
        finders: the finders that modules which are already imported have put on sys.meta_path.
    """
    worker = _Worker(channel, finders, **settings)
    sys.argv[:] = sys.orig_argv[:] = [""]
    while True:
        worker.serve()


def _end_at_once() -> NoReturn:
    posix._exit(0)


class _Worker:
    """The side of the namespaces on the channel.

    Args:
        channel: the socket to the caller.
        finders: as for `main`.
        trusted: pickle the answers.
        most: how many bytes an answer may have.
        files: the argument of nsenter._inside.file_imports.open_files. None means that nothing is
            imported from files.
        preloaded: go on with the modules that are already imported if the files cannot be opened.
    """

    def __init__(
        self,
        channel: int,
        finders: Sequence[Any],
        *,
        trusted: bool,
        most: int,
        files: Mapping[str, Any] | None,
        preloaded: bool = False,
    ) -> None:
        self._channel = channel
        self._trusted = trusted
        self._forks = False
        self._is_alone = False  # whether its PID namespace has no other process, except PID 1
        self._most = most
        self._lock = _thread.allocate_lock()
        self._called_in = 0  # the pid of the process that runs a call, or 0
        source = None if files is None else self._open_files(files, preloaded)
        if source is None:
            archived = _CallersModules(self._ask, self._fetch, archived=sys.meta_path[-1])
            sys.meta_path[1:] = [package_data.ArchivedPackages(self._fetch), archived]
        else:
            sys.meta_path += finders
            sys.meta_path.append(_CallersModules(self._ask, self._fetch, files=source))

    def _open_files(self, description: Mapping[str, Any], preloaded: bool) -> Any:
        """Open the caller's files, and tell the caller whether this was possible.

        If it was not, this process ends and the caller starts another one from memory; but if
        modules were preloaded, this process goes on with them.
        """
        from nsenter._inside import file_imports

        try:
            source = file_imports.open_files(description, again=preloaded)
        except file_imports.ForeignFolderError as error:
            self._send(FILES, f"{error}"[:_MOST_TEXT].encode("utf-8", "replace"))
            if preloaded:
                return None
            posix._exit(0)
        call_from_bytes.has_sources = True
        self._send(FILES, b"")
        return source

    def serve(self) -> None:
        """Receive one frame and carry it out."""
        kind, body = self._receive(self._end)
        if kind == FORK:
            self._forks = True
            self._is_alone = bool(body) or posix.getpid() == 1
            return
        if self._forks:
            self._answer_in_a_fork(kind, body)
        else:
            self._answer(kind, body)
        if posix.getpid() == 1:
            _reap_orphans()

    def _answer_in_a_fork(self, kind: bytes, body: bytes) -> None:
        pid = posix.fork()
        if not pid:
            multiprocessing_cleanup.forget()
            self._answer(kind, body)
            self._end()
        _, status = posix.waitpid(pid, 0)
        if self._is_alone:  # end the processes that the call has left in the PID namespace
            _end_all()
        self._send(ENDED, safe_data.encode(posix.waitstatus_to_exitcode(status)))

    def _answer(self, kind: bytes, body: bytes) -> None:
        self._called_in = posix.getpid()
        try:
            func, args, kwargs = call_from_bytes.unpack(kind, body)
            answer = self._value(func(*args, **kwargs))
        except BaseException as error:
            answer = self._error(error)
        _flush()
        if posix.getpid() != self._called_in:  # the function has forked, and both have returned
            posix._exit(0)
        # A thread that is importing a module gets it before the answer is sent. Imports after that
        # are refused, because no call is running.
        with self._lock:
            self._called_in = 0
            if not self._forks and multiprocessing_cleanup.are_there():
                self._send(LEFT, b"")
            self._send(*answer)

    def _value(self, value: object) -> tuple[bytes, bytes]:
        if self._trusted:
            from nsenter._remote import pickled_answers

            return PICKLED_VALUE, pickled_answers.dumps(value)
        try:
            return VALUE, safe_data.encode(value, self._most, more=True)
        except safe_data.NotData as error:
            advice = "return plain data, or trust the function: Caller(trusted=True)"
            raise TypeError(f"the value{error.where}: {error.reason}: {advice}") from None
        except ValueError as error:
            raise ValueError(f"the value is too large: {error} (max_answer)") from None

    def _error(self, error: BaseException) -> tuple[bytes, bytes]:
        try:
            told = tell_of(error)
            if self._trusted:
                with suppress(Exception):  # its class is not found, or an argument not picklable
                    from nsenter._remote import pickled_answers

                    return PICKLED_ERROR, pickled_answers.dumps((error, told))
            return ERROR, safe_data.encode(told, self._most)
        except BaseException as another:  # no memory, a __str__ that fails, a small max_answer
            names = (type(error).__module__, type(error).__qualname__)
            told = (*names, None, f"(and telling of it failed: {type(another).__name__})", "", ())
            return ERROR, safe_data.encode(told)

    # ---- the channel

    def _ask(self, name: str) -> tuple[Any, ...] | str:
        """Ask the caller for a module.

        Returns:
            A tuple: whether the module is a package, its marshalled code, the place of its file,
            and the folders of its submodules. If the caller does not send it, a string that says
            why; "" if there is no such module.
        """
        kind, answer = self._request(IMPORT, name)
        return tuple(answer) if kind == MODULE else str(answer)

    def _fetch(self, package: str, path: str) -> bytes | list[str]:
        """Ask the caller for a data file of a package, or the names in one of its folders.

        Raises:
            FileNotFoundError: the caller does not send it.
        """
        kind, answer = self._request(DATA, f"{package}\0{path}")
        if kind != MODULE:
            raise FileNotFoundError(2, str(answer), path)
        found: bytes | list[str] = answer
        return found

    def _request(self, kind: bytes, what: str) -> tuple[bytes, Any]:
        """Send a request, and return the kind of the answer and its value."""
        with self._lock:
            if self._called_in != posix.getpid():
                why = "modules come only while a call runs, and only into its own process"
                return NO_MODULE, why
            try:
                self._send(kind, what.encode("utf-8", "surrogatepass"))
                kind, body = self._receive()
            except BaseException:
                # It comes from a signal handler. The rest of the answer would be read as a call.
                posix._exit(_INTERRUPTED)
        return kind, safe_data.decode(body)

    def _receive(self, end: Callable[[], NoReturn] = _end_at_once) -> tuple[bytes, bytes]:
        """Receive a frame, and return its kind and its body.

        Args:
            end: is called if the caller has closed its end of the channel.
        """
        header = self._read(HEADER_BYTES, end)
        size = int.from_bytes(header[1:], sys.byteorder)
        return header[:1], self._read(size)

    def _end(self) -> NoReturn:
        """End this process, between two calls."""
        with suppress(Exception):
            multiprocessing_cleanup.remove()
        _flush()
        posix._exit(0)

    def _read(self, size: int, end: Callable[[], NoReturn] = _end_at_once) -> bytes:
        parts = []
        while size:
            try:
                part = posix.read(self._channel, min(size, _CHUNK))
            except ConnectionResetError:  # the caller ended before it had read everything
                posix._exit(0)
            if not part:  # the caller has closed its end of the channel
                end()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _send(self, kind: bytes, body: bytes) -> None:
        rest = memoryview(frame(kind, body))
        try:
            while rest:
                rest = rest[posix.write(self._channel, rest) :]
        except (BrokenPipeError, ConnectionResetError):
            posix._exit(0)


def _flush() -> None:
    """Flush the output: the process is killed when it is not needed any more."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # it is closed, or None
            stream.flush()


def _end_all() -> None:
    """Kill all other processes of the PID namespace except its init, until there are none."""
    with suppress(ProcessLookupError):
        while True:
            posix.kill(-1, _SIGKILL)
            _reap_orphans()
            posix.sched_yield()


def _reap_orphans() -> None:
    """Reap children that have ended. If this process is PID 1, orphans are its children."""
    with suppress(ChildProcessError):
        while posix.waitpid(-1, posix.WNOHANG)[0]:
            pass


# ---- modules that the caller sends when they are imported


class _CallersModules:
    """The last finder on sys.meta_path: it asks the caller for modules that are not found here.

    Args:
        ask: `_Worker._ask`.
        fetch: `_Worker._fetch`.
        archived: the finder for the modules of the module archive.
        files: the files that can be opened in this root. A module is loaded from its file if this
            file is among them.
    """

    def __init__(
        self,
        ask: Callable[[str], tuple[Any, ...] | str],
        fetch: Callable[[str, str], bytes | list[str]],
        archived: Any = None,
        files: Any = None,
    ) -> None:
        self._ask = ask
        self._fetch = fetch
        self._archived = archived
        self._files = files

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        with suppress(ModuleNotFoundError):
            found: ModuleSpec | None
            found = self._archived and self._archived.find_spec(name, path, target)
            if found is not None:
                return found
        answer = self._ask(name)
        if not answer or (isinstance(answer, str) and sys.meta_path[-1] is not self):
            return None  # a finder after this one, such as that of six.moves, may find it
        if isinstance(answer, str):
            raise ModuleNotFoundError(answer, name=name)
        return self._spec(name, *answer)

    def _spec(
        self, name: str, is_package: bool, code: bytes, place: Any, folders: list[str]
    ) -> ModuleSpec | None:
        if self._files is not None and place is not None and self._files.has(place):
            from _frozen_importlib_external import spec_from_file_location

            locations = folders if is_package else None
            return spec_from_file_location(name, place[0], submodule_search_locations=locations)
        if not code and place is not None:
            why = f"{name!r}, a C extension, is not in this root"
            raise ModuleNotFoundError(why, name=name)
        loader: Any = _Loader(name, self._fetch, marshal.loads(code))
        return ModuleSpec(name, loader, is_package=is_package)


class _Loader(package_data.Data):
    def __init__(self, name: str, fetch: Any, code: Any) -> None:
        super().__init__(name, fetch)
        self._code = code

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._code, module.__dict__)


# ---- describing an exception


def tell_of(
    error: BaseException,
) -> tuple[str, str, tuple[Any, ...] | None, str, str, tuple[str, ...]]:
    """Describe an exception as plain data.

    Returns:
        The module and the name of its class, its arguments (None if they are not plain data), its
        text, its traceback, and the names of its builtin base classes, the nearest first.
    """
    kind = type(error)
    try:
        args = _arguments(error)
        safe_data.encode(args, _MOST_TEXT)
    except (TypeError, ValueError, RecursionError):
        args = None
    text = _traceback(error, set())
    bases = tuple(base.__name__ for base in kind.__mro__ if base.__module__ == "builtins")
    words = str(error)[:_MOST_TEXT], text[:_MOST_TEXT]
    return kind.__module__, kind.__qualname__, args, *words, bases


def _arguments(error: BaseException) -> tuple[Any, ...] | None:
    """Return the arguments that make the exception again.

    For a group, these are its message and the descriptions of its exceptions.
    """
    args = error.args
    if isinstance(error, OSError) and len(args) == 2 and error.filename is not None:
        second = () if error.filename2 is None else (None, error.filename2)
        return (*args, error.filename, *second)
    if isinstance(error, BaseExceptionGroup):
        return error.message, tuple(map(tell_of, error.exceptions))
    return args


def _traceback(error: BaseException, seen: set[int]) -> str:
    """Return the traceback as the traceback module formats it, but without source lines.

    To import the traceback module would take 10 ms.
    """
    seen.add(id(error))
    before = ""
    context = None if error.__suppress_context__ else error.__context__
    if error.__cause__ is not None and id(error.__cause__) not in seen:
        before = _traceback(error.__cause__, seen)
        before += "\nThe above exception was the direct cause of the following exception:\n\n"
    elif context is not None and id(context) not in seen:
        before = _traceback(context, seen)
        before += "\nDuring handling of the above exception, another exception occurred:\n\n"
    lines = _frames(error.__traceback__)
    head = "Traceback (most recent call last):\n" if lines else ""
    text = str(error)
    name = safe_data.type_name(type(error))
    last = f"{name}: {text}\n" if text else f"{name}\n"
    notes = "".join(f"{note}\n" for note in getattr(error, "__notes__", ()))
    return before + head + "".join(lines[-_MOST_FRAMES:]) + last + notes


def _frames(traceback: TracebackType | None) -> list[str]:
    lines = []
    while traceback is not None:
        here: FrameType = traceback.tb_frame
        if here.f_globals is not globals():
            code = here.f_code
            lines.append(
                f'  File "{code.co_filename}", line {traceback.tb_lineno}, in {code.co_qualname}\n'
            )
        traceback = traceback.tb_next
    return lines
