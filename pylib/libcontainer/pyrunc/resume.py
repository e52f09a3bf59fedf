# SPDX-License-Identifier: Apache-2.0
"""The first Python of a command whose interpreter is from a memory image.

csrc/interpreter/cpython.c imports this module under another name, before sys.path has the package:
so it imports nothing but built-in modules at its top. See csrc/interpreter/command_image.c.
"""

import marshal
import posix
import sys
from _frozen_importlib_external import ExtensionFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

# The variable with the path of a new image that is being tried; csrc/interpreter/command_image.c
# reads it.
TRIAL_VARIABLE = b"_PYRUNC_IMAGE"
READY = b"ready\n"
_SIGINT = 2
_SLACK_NS = 20_000_000  # two ticks: the time of a change can be too early by this much

_script = ""  # pyrunc-start, which is argv[0] of an interpreter that boots


def prepare_image(contents_fd: int) -> None:
    """Import the modules of the image, and remove every trace of the process that makes it."""
    global _script
    import time

    began = time.time_ns()
    contents = _receive(contents_fd)
    _script = contents["script"]
    sys.path[:] = contents["path"]
    for name in contents["modules"]:
        __import__(name)
    _check_extensions(contents["extensions"])
    _tell_files(contents["files_fd"], [*contents["files"], *_sources()], began)
    sys.argv[:] = sys.orig_argv[:] = []
    sys.path_importer_cache.clear()
    for name in ("stdin", "stdout", "stderr"):
        setattr(sys, name, None)
        setattr(sys, f"__{name}__", None)
    _set_environment([])
    import gc

    gc.set_threshold(contents["objects_until_collected"])
    gc.collect()
    gc.freeze()


def _receive(fd: int) -> "dict[str, Any]":
    contents: dict[str, Any] = marshal.loads(posix.read(fd, posix.fstat(fd).st_size))
    posix.close(fd)
    return contents


def _check_extensions(known: "Iterable[str]") -> None:
    """Raise ImportError if an extension is not known to be inert.

    An inert extension keeps no descriptor, no thread and no random numbers.
    """
    for name, module in sys.modules.items():
        loader = getattr(getattr(module, "__spec__", None), "loader", None)
        if isinstance(loader, ExtensionFileLoader) and name not in known:
            raise ImportError(f"the extension {name} is not known to be inert")


def _sources() -> "list[str]":
    """Return the source files of all modules. Frozen modules are part of the interpreter."""
    specs = [getattr(module, "__spec__", None) for module in sys.modules.values()]
    return [spec.origin for spec in specs if spec and str(spec.origin).endswith(".py")]


def _tell_files(fd: int, paths: "list[str]", began: int) -> None:
    """Write the identities of files; raise ImportError if one may have changed meanwhile."""
    from nsenter._interpreter.image_files import identities

    told = memoryview(identities(paths))
    for path in paths:
        if posix.stat(path).st_ctime_ns > began - _SLACK_NS:
            raise ImportError(f"{path} has changed just now")
    while told:
        told = told[posix.write(fd, told) :]


def _set_environment(entries: "Iterable[bytes]") -> None:
    """Set os.environ as an interpreter does when it boots."""
    import os

    found: dict[bytes, bytes] = {}
    for entry in entries:
        name, sign, value = entry.partition(b"=")
        if sign:
            found.setdefault(name, value)
    posix.environ.clear()
    posix.environ.update(found)
    os.environ._data.clear()  # type: ignore[attr-defined]
    os.environ._data.update(found)  # type: ignore[attr-defined]


def resume_image(
    words: "list[bytes]", environment: "list[bytes]", ignores_interrupt: int
) -> "NoReturn":
    """Run the command, in a process that has resumed the image.

    Args:
        words: argv.
        environment: the environment of the process.
        ignores_interrupt: whether this process ignores SIGINT.
    """
    import os
    import time

    from nsenter._inside.boot import open_streams

    sys.orig_argv[:] = map(os.fsdecode, words)
    sys.argv[:] = [_script, *sys.orig_argv[1:]]
    _set_environment(environment)
    time.tzset()
    open_streams()
    if ignores_interrupt:
        import _signal

        _signal.signal(_SIGINT, _signal.SIG_IGN)
    if TRIAL_VARIABLE in posix.environ:
        _be_tried()
    from libcontainer.pyrunc.main import main

    main()


def end_image() -> None:
    """Flush the streams after an interrupt: `main` ends in every other case with os._exit."""
    from nsenter._host.suppress import suppress

    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError):
            stream.flush()


def _be_tried() -> "NoReturn":
    """Write to the memory that every command writes to, then wait until the maker has seen it."""
    from libcontainer.pyrunc.log import Log
    from libcontainer.pyrunc.options import parse_command, parse_globals
    from libcontainer.specconv import config_from_spec
    from libcontainer.specconv.example import example
    from libcontainer.specconv.spelling import respelt
    from nsenter._host import json_text

    Log()
    _, words = parse_globals(["--root", "/nowhere", "run", "--bundle", "/nowhere", "name"])
    parse_command(words[0], words[1:])
    spec, _ = respelt(json_text.loads(json_text.dumps(example())))
    config_from_spec(spec, id="name", bundle="/nowhere")
    posix.write(1, READY)
    posix.read(0, 1)
    posix._exit(0)
