# SPDX-License-Identifier: Apache-2.0
"""The first Python code that runs in the namespaces.

The interpreter is started with ``-m``. The module archive has this module under the name ``runpy``,
so the interpreter's main calls `_run_module_as_main` here, and the real runpy with its imports is
not needed. Only built-in modules may be imported: there may be no others, and code from a file of
the new root must never run.

This module closes every way to the file system, receives the init config from the launcher, and
calls the target.
"""

from __future__ import annotations

import marshal
import posix
import sys
from _frozen_importlib import BuiltinImporter, FrozenImporter, ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

# The launcher sets this variable for the boot: "channel,status", two descriptors.
FDS_VARIABLE = b"_NSENTER_FDS"
# The shim sets this variable: "root,cwd", two descriptors.
ROOT_VARIABLE = b"_NSENTER_ROOT"

_LENGTH_BYTES = 8
_STDERR = 2
_CHUNK = 1 << 20


class ArchiveFinder:
    """The last finder on sys.meta_path.

    It finds the extension modules that the shim has loaded, and raises a clear error for others.
    """

    def __init__(self, extensions: Mapping[str, str]) -> None:
        self._extensions = extensions

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec:
        origin = self._extensions.get(name)
        if origin is None:
            message = (
                f"no module named {name!r} in the module archive: name it in "
                "PythonInit(modules=…), a C extension in PythonInit(extensions=…)"
            )
            error = ModuleNotFoundError(message, name=name)
            if sys.version_info >= (3, 15) and name in sys.stdlib_module_names:
                # Tracebacks then show a different text, but they show notes.
                error.add_note(message)
            raise error
        return ModuleSpec(name, ExtensionFileLoader(name, origin), origin=origin)


def close_the_file_system(extensions: Mapping[str, str]) -> None:
    """Stop all imports from files, from now on."""
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    sys.meta_path[:] = [BuiltinImporter, FrozenImporter, ArchiveFinder(extensions)]


def read(fd: int, size: int) -> bytes:
    """Read exactly this number of bytes. Raise EOFError if the launcher closes the pipe first."""
    parts = []
    while size:
        part = posix.read(fd, min(size, _CHUNK))
        if not part:
            raise EOFError("the launcher closed the init pipe")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def pack(config: dict[str, Any]) -> bytes:
    """Encode an init config for `receive`. Raise ValueError if it is not plain data."""
    try:
        body = marshal.dumps(config)
    except ValueError as error:
        why = f"PythonInit args {config['args']!r}: only plain data can travel: {error}"
        raise ValueError(why) from None
    return len(body).to_bytes(_LENGTH_BYTES, sys.byteorder) + body


def receive(channel: int) -> dict[str, Any]:
    """Receive the init config. It is marshalled: this side trusts the launcher."""
    size = int.from_bytes(read(channel, _LENGTH_BYTES), sys.byteorder)
    config: dict[str, Any] = marshal.loads(read(channel, size))
    return config


def _enter_root() -> None:
    """Enter the real root. For the boot, the shim has made an empty directory the root."""
    fds = posix.environ.get(ROOT_VARIABLE)
    if fds is None:  # the root is the caller's own
        return
    root, cwd = map(int, fds.split(b","))
    posix.fchdir(root)
    posix.chroot(".")
    posix.fchdir(cwd)
    posix.close(root)
    posix.close(cwd)


def set_environment(environment: dict[bytes, bytes]) -> None:
    """Replace the environment of the boot, both for C code and in os.environ."""
    for name in posix.environ:
        posix.unsetenv(name)
    for name, value in environment.items():
        posix.putenv(name, value)
    posix.environ.clear()
    posix.environ.update(environment)
    # If os is already imported, it has copied the old environment.
    os = sys.modules.get("os")
    if os is not None:
        os.environ._data.clear()
        os.environ._data.update(environment)


def _json(text: str) -> str:
    """Escape a text for JSON, each byte outside printable ASCII as the C code does."""
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(b) if 0x20 <= b < 0x7F and b not in b'"\\' else f"\\u{b:04x}" for b in raw)


def _fail(status: int, subject: str, number: int) -> NoReturn:
    record = (
        '{"type":"error","stage":"init","operation":"import",'
        f'"subject":"{_json(subject[:300])}","errno":{number}}}\n'
    )
    posix.write(status, record.encode("ascii", "backslashreplace"))
    posix._exit(1)


def resolve(target: str) -> Any:
    """Return the function for "module:function"; for "module", one that runs it as __main__."""
    module, _, function = target.partition(":")
    if function:
        __import__(module)
        return getattr(sys.modules[module], function)
    import _imp

    code = _imp.get_frozen_object(module)

    def run_as_main(channel: int, *args: str) -> None:
        main = sys.modules["__main__"].__dict__
        main["nsenter_channel"] = channel
        exec(code, main)

    return run_as_main


def _run(config: dict[str, Any], channel: int, status: int) -> Any:
    sys.argv[:] = sys.orig_argv[:] = config["argv"]
    sys.executable = sys._base_executable = ""  # type: ignore[attr-defined]
    try:
        target = resolve(config["target"])
    except (ImportError, AttributeError) as error:
        _fail(status, f"{config['target']}: {error}", 2)
    # The shim hears this audit event, and takes the confinement steps if there are any.
    sys.audit("nsenter.confine")
    tell_ready(status)
    sys.audit("nsenter.filter")
    posix.close(status)
    return target(channel, *config["args"])


def tell_ready(status: int) -> None:
    """Tell the launcher that the target is about to be called."""
    try:
        posix.write(status, b'{"type":"ready"}\n')
    except (BrokenPipeError, ConnectionResetError):
        posix._exit(1)  # the launcher has ended, and nobody waits for this init


# ---- from a memory image (csrc/interpreter/dump.c)


def prepare_image(config_fd: int) -> None:
    """Prepare the interpreter from which an image is made.

    Import the modules that the image holds, and remove everything that belongs to this process.
    """
    config = receive(config_fd)
    posix.close(config_fd)
    close_the_file_system(config["extensions"])
    for name in config["modules"]:
        __import__(name)
    sys.argv[:] = sys.orig_argv[:] = []
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, name, None)
        setattr(sys, f"__{name}__", None)
    set_environment({})
    import _io  # noqa: F401
    import atexit  # noqa: F401 - for end_image()
    import gc

    _imported_before.update(sys.modules)
    gc.collect()
    gc.freeze()


# The names of the modules that are in the image.
_imported_before: set[str] = set()


def resume_image(channel: int, status: int) -> int:
    """Run a process that has resumed an image, and return its exit status."""
    posix.set_inheritable(channel, False)
    posix.set_inheritable(status, False)
    open_streams()
    config = receive(channel)
    close_the_file_system(config["extensions"])
    set_environment(config["environment"])
    try:
        return _status_of(_run(config, channel, status))
    except SystemExit as ending:
        return _status_of(ending.code)


def _status_of(code: object) -> int:
    """Return the exit status for the argument of sys.exit, as Python does."""
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    if sys.stderr is not None:
        sys.stderr.write(f"{code}\n")
    return 1


def end_image() -> None:
    """End as an interpreter does, but do not free the objects that are in the image.

    To free them would first copy every page of the image, which takes longer than the start.

    Wait for threads, call the atexit functions, flush the streams, and free the modules and objects
    that were made after the process was resumed.
    """
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    _let_threads_go()
    import atexit

    atexit._run_exitfuncs()
    flush(sys.stdout, sys.stderr)
    for name in ("last_exc", "last_type", "last_value", "last_traceback"):
        sys.__dict__.pop(name, None)
    import _io
    import gc

    # The objects of a cycle are freed in any order: a file could lose data that are still in its
    # buffer.
    written = _io.TextIOWrapper, _io.BufferedWriter, _io.BufferedRandom
    for value in gc.get_objects():
        if type(value) in written:
            flush(value)
    for name in sys.modules.keys() - _imported_before | {"__main__"}:
        del sys.modules[name]
    while gc.collect():  # objects that one collection frees may have held others
        pass
    flush(sys.stdout, sys.stderr)


def _let_threads_go() -> None:
    """Wait a moment until threads have ended completely.

    A thread that has been joined may still hold the objects that it used. Daemon threads go on.
    """
    import _thread
    import time

    for _ in range(20):
        if not _thread._count():
            break
        time.sleep(0.0005)


def flush(*streams: Any) -> None:
    """Write the data that are left in buffers."""
    for stream in streams:
        try:  # noqa: SIM105 - contextlib would have to travel
            stream.flush()
        except (AttributeError, OSError, ValueError):  # the stream is None, or closed
            pass


def open_streams() -> None:
    """Make the standard streams, as an interpreter does that boots in UTF-8 mode."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        stream = _open_stream(fd, name)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _open_stream(fd: int, name: str) -> Any:
    import _io

    mode = "w" if fd else "r"
    try:
        posix.fstat(fd)
        buffer: Any = _io.open(fd, f"{mode}b", closefd=False)
    except OSError:  # the descriptor is closed, or is a directory
        return None
    buffer.raw.name = f"<{name}>"
    stream = _io.TextIOWrapper(
        buffer,
        encoding="utf-8",
        errors="backslashreplace" if fd == _STDERR else "surrogateescape",
        newline="\n",
        line_buffering=fd == _STDERR or buffer.raw.isatty(),
    )
    stream.mode = mode  # type: ignore[misc]
    return stream


def _run_module_as_main(*_: object) -> None:
    channel, status = map(int, posix.environ[FDS_VARIABLE].split(b","))
    posix.set_inheritable(channel, False)
    posix.set_inheritable(status, False)
    close_the_file_system({})
    # The shim hears this audit event if it has left the stages until Python runs: see
    # csrc/products/shim.c.
    sys.audit("nsenter.stages")
    config = receive(channel)
    close_the_file_system(config["extensions"])
    _enter_root()
    set_environment(config["environment"])
    del sys.modules["runpy"]
    sys.exit(_run(config, channel, status))
