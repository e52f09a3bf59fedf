# SPDX-License-Identifier: Apache-2.0
"""All modules of a command in one file, so that its start opens one file and not sixty.

The image is a cache beside the .pyc files, trusted and made anew as they are: it holds code of
modules by name, each with its source's time and size, and is not used for a source that differs.
"""

from __future__ import annotations

import _imp
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
_MAGIC = b"pyrunc image 1\n"


class _Finder:
    """Finds the modules of the image whose sources have not changed."""

    def __init__(self, modules: dict[str, Any]) -> None:
        self._modules = modules
        self.misses = 0

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        entry = self._modules.get(name)
        if entry is None or _identity(entry[0]) != entry[1:3]:
            self.misses += name.partition(".")[0] in _PACKAGES
            return None
        spec = spec_from_loader(name, _loader(self), origin=entry[0], is_package=entry[3])
        if spec is not None:
            spec.has_location = True
            if entry[3]:
                spec.submodule_search_locations = [os.path.dirname(entry[0])]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(self._modules[module.__name__][4], module.__dict__)


def _loader(finder: _Finder) -> Any:
    """It loads what it finds, with methods that the import system has no type for."""
    return finder


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


_finder: _Finder | None = None


def install() -> None:
    """Have imports look into the image first."""
    global _finder
    _finder = _Finder(_load())
    # Behind the built-in and the frozen ones.
    sys.meta_path.insert(2, _finder)


def _load() -> dict[str, Any]:
    """The modules of the image; none where there is none of this version that is ours."""
    try:
        fd = os.open(_PATH, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        status = os.fstat(fd)
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            return {}
        data = os.read(fd, status.st_size)
    finally:
        os.close(fd)
    head = _MAGIC + sys.version.encode()
    if not data.startswith(head):
        return {}
    try:
        modules: dict[str, Any] = marshal.loads(data[len(head) :])
    except (ValueError, EOFError, TypeError):
        return {}
    return modules


def save() -> None:
    """Write the image anew where a module was imported that it did not have."""
    if _finder is None or not _finder.misses or sys.flags.dont_write_bytecode:
        return
    modules = dict(_finder._modules)
    for name, module in list(sys.modules.items()):
        entry = _entry(name, module)
        if entry:
            modules[name] = entry
    _write(_MAGIC + sys.version.encode() + marshal.dumps(modules))


def _entry(name: str, module: ModuleType) -> tuple[Any, ...] | None:
    """What is kept of a module; None for what is not Python code of ours."""
    spec = module.__spec__
    if spec is None or name.partition(".")[0] not in _PACKAGES or _imp.is_frozen(name):
        return None
    get_code = getattr(spec.loader, "get_code", None)
    identity = _identity(spec.origin or "")
    if get_code is None or identity is None or not (spec.origin or "").endswith(".py"):
        return None
    code = get_code(name)
    origin: str = spec.origin or ""
    return code and (origin, *identity, spec.submodule_search_locations is not None, code)


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
