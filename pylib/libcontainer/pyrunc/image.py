# SPDX-License-Identifier: Apache-2.0
"""All modules of the command in one file, so that its start opens one file and not eighty.

The image is a cache beside the .pyc files, trusted and made anew as they are: an index of modules,
each with its source's time and size, and their code. One whose source has changed is not used.

What a command used the last time is there before it asks: the import system takes longer over a
module than the module itself.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec, spec_from_loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import ModuleType
    from typing import Any

__all__ = ["install", "save"]

_PACKAGES = ("libcontainer", "nsenter")
_PATH = os.path.join(
    os.path.dirname(__file__), "__pycache__", f"pyrunc.{sys.implementation.cache_tag}.image"
)
_MAGIC = b"pyrunc image 3\n" + sys.version.encode() + b"\n"
_SIZE_BYTES = 8
_NO_DOCSTRINGS = 2


class _Image:
    """Finds and loads the modules of the image.

    Args:
        fd: of the file; -1: there is none.
        index: by name: source, its time in ns, its size, whether it is a package, and where the
            code is.
        used: by command, the modules that it used, each behind those that it imports.
    """

    def __init__(
        self, fd: int, index: Mapping[str, Any], used: Mapping[str, Sequence[str]]
    ) -> None:
        self._fd = fd
        self.index = index
        self.used = used
        self.missed: list[str] = []
        self.made: list[str] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        if not self._is_fresh(name):
            if name.partition(".")[0] in _PACKAGES:
                self.missed.append(name)
            return None
        return self._spec(name)

    def _is_fresh(self, name: str) -> bool:
        entry = self.index.get(name)
        return entry is not None and _identity(entry[0]) == entry[1:3]

    def _spec(self, name: str) -> ModuleSpec | None:
        source, _, _, is_package = self.index[name][:4]
        loader: Any = self
        # Not "has a location": the import system would work out where a .pyc of it would be.
        spec = spec_from_loader(name, loader, origin=source, is_package=is_package)
        if spec is not None and is_package:
            spec.submodule_search_locations = [os.path.dirname(source)]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        module.__file__ = self.index[name][0]
        exec(marshal.loads(self.code(name)), module.__dict__)
        self.made.append(name)

    def code(self, name: str) -> bytes:
        """The marshalled code of a module."""
        offset, size = self.index[name][4:]
        return os.pread(self._fd, size, offset)

    def preload(self, names: Iterable[str]) -> None:
        """Make modules without the import system; none where one of them has changed, as a
        package that is only begun would be left for its real self."""
        names = [name for name in names if name not in sys.modules]
        if not all(map(self._is_fresh, names)):
            return
        begun: dict[str, ModuleType] = {}
        for name in names:
            self.exec_module(self._begin(name, begun))

    def _begin(self, name: str, begun: dict[str, ModuleType]) -> ModuleType:
        """An empty module, in its package, which may be empty yet: it imports from its modules."""
        if name in sys.modules:
            return sys.modules[name]
        spec: Any = self._spec(name)
        module = begun[name] = sys.modules[name] = type(sys)(name)
        module.__spec__, module.__loader__ = spec, spec.loader
        package, _, last = name.rpartition(".")
        module.__package__ = package
        if spec.submodule_search_locations is not None:
            module.__package__, module.__path__ = name, spec.submodule_search_locations
        if package:
            setattr(self._begin(package, begun), last, module)
        return module


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


_image = _Image(-1, {}, {})
_command = ""


def install(words: Sequence[str]) -> None:
    """Have imports look into the image, behind the built-in and the frozen modules.

    Args:
        words: of the command line. Which is the command a parser would know; the first that may be
            is good enough, as a wrong one only costs time.
    """
    global _image, _command
    _image = _load()
    sys.meta_path.insert(2, _image)
    _command = next((word for word in words if word.isalpha()), "")
    _image.preload(_image.used.get(_command, ()))


def _load() -> _Image:
    """The image; an empty one where there is none of this version that is ours."""
    try:
        fd = os.open(_PATH, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _Image(-1, {}, {})
    status = os.fstat(fd)
    ours = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
    head = os.read(fd, len(_MAGIC) + _SIZE_BYTES) if ours else b""
    if not head.startswith(_MAGIC):
        os.close(fd)
        return _Image(-1, {}, {})
    size = int.from_bytes(head[len(_MAGIC) :], "little")
    return _Image(fd, *marshal.loads(os.read(fd, size)))


def save() -> None:
    """Write the image anew where a module was imported that it did not have, or a command was
    given whose modules it does not know."""
    if sys.flags.dont_write_bytecode:
        return
    from libcontainer.pyrunc.options import COMMANDS

    found = {name: _compiled(name) for name in _image.missed}
    new = {name: entry for name, entry in found.items() if entry}
    # Only when all came from the image is it known in which order they have to be made.
    learnt = {} if new or _command not in COMMANDS else {_command: _image.made}
    if new or learnt.keys() - _image.used.keys():
        old = {name: (*_image.index[name][:4], _image.code(name)) for name in _image.index}
        _write(_packed(old | new, {} if new else {**_image.used, **learnt}))


def _compiled(name: str) -> tuple[Any, ...] | None:
    """What is kept of a module; None for what is not Python code."""
    module = sys.modules.get(name)
    spec = module.__spec__ if module else None
    origin = (spec.origin if spec else None) or ""
    identity = _identity(origin)
    if spec is None or identity is None or not origin.endswith(".py"):
        return None
    with open(origin, "rb") as file:
        code = compile(file.read(), origin, "exec", dont_inherit=True, optimize=_NO_DOCSTRINGS)
    is_package = spec.submodule_search_locations is not None
    return origin, *identity, is_package, marshal.dumps(code)


def _packed(modules: Mapping[str, tuple[Any, ...]], used: Mapping[str, Sequence[str]]) -> bytes:
    """Head, index, code. The index is equally long whatever the offsets in it are."""

    def index(start: int) -> bytes:
        table, offset = {}, start
        for name, (*facts, code) in modules.items():
            table[name] = (*facts, offset, len(code))
            offset += len(code)
        # Version 2 has no references between equal objects, which would change its length.
        return marshal.dumps((table, dict(used)), 2)

    start = len(_MAGIC) + _SIZE_BYTES + len(index(0))
    table = index(start)
    size = len(table).to_bytes(_SIZE_BYTES, "little")
    return _MAGIC + size + table + b"".join(entry[-1] for entry in modules.values())


def _write(data: bytes) -> None:
    """Whole or not at all; a folder that cannot be written to has none."""
    temporary = f"{_PATH}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.rename(temporary, _PATH)
    except OSError:
        return
