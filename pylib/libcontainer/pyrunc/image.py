# SPDX-License-Identifier: Apache-2.0
"""All modules of the command in one file, so that its start opens one file and not sixty.

The image is a cache beside the .pyc files, trusted and made anew as they are: an index of modules,
each with its source's time and size, and their code. One whose source has changed is not used.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec, spec_from_loader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType
    from typing import Any

__all__ = ["install", "save"]

_PACKAGES = ("libcontainer", "nsenter")
_PATH = os.path.join(
    os.path.dirname(__file__), "__pycache__", f"pyrunc.{sys.implementation.cache_tag}.image"
)
_MAGIC = b"pyrunc image 2\n" + sys.version.encode() + b"\n"
_SIZE_BYTES = 8
_NO_DOCSTRINGS = 2


class _Image:
    """Finds and loads the modules of the image; the last but one on sys.meta_path.

    Args:
        fd: of the file; -1: there is none.
        index: by name: source, its time in ns, its size, whether it is a package, and where the
            code is.
    """

    def __init__(self, fd: int, index: dict[str, Any]) -> None:
        self._fd = fd
        self.index = index
        self.missed: list[str] = []

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        entry = self.index.get(name)
        if entry is None or _identity(entry[0]) != entry[1:3]:
            if name.partition(".")[0] in _PACKAGES:
                self.missed.append(name)
            return None
        loader: Any = self
        # Not "has a location": the import system would work out where a .pyc of it would be.
        spec = spec_from_loader(name, loader, origin=entry[0], is_package=entry[3])
        if spec is not None and entry[3]:
            spec.submodule_search_locations = [os.path.dirname(entry[0])]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        module.__file__ = self.index[name][0]
        exec(marshal.loads(self.code(name)), module.__dict__)

    def code(self, name: str) -> bytes:
        """The marshalled code of a module."""
        offset, size = self.index[name][4:]
        return os.pread(self._fd, size, offset)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


_image: _Image | None = None


def install() -> None:
    """Have imports look into the image, behind the built-in and the frozen modules."""
    global _image
    _image = _load()
    sys.meta_path.insert(2, _image)


def _load() -> _Image:
    """The image; an empty one where there is none of this version that is ours."""
    try:
        fd = os.open(_PATH, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _Image(-1, {})
    status = os.fstat(fd)
    ours = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
    head = os.read(fd, len(_MAGIC) + _SIZE_BYTES) if ours else b""
    if not head.startswith(_MAGIC):
        os.close(fd)
        return _Image(-1, {})
    size = int.from_bytes(head[len(_MAGIC) :], "little")
    return _Image(fd, marshal.loads(os.read(fd, size)))


def save() -> None:
    """Write the image anew where a module was imported that it did not have."""
    if _image is None or sys.flags.dont_write_bytecode:
        return
    found = {name: _compiled(name) for name in _image.missed}
    new = {name: entry for name, entry in found.items() if entry}
    if not new:
        return
    modules = {name: (*_image.index[name][:4], _image.code(name)) for name in _image.index}
    _write(_packed(modules | new))


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


def _packed(modules: dict[str, tuple[Any, ...]]) -> bytes:
    """Head, index, code."""

    def index(start: int) -> bytes:
        table, offset = {}, start
        for name, (*facts, code) in modules.items():
            table[name] = (*facts, offset, len(code))
            offset += len(code)
        return marshal.dumps(table)

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
