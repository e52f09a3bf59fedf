# SPDX-License-Identifier: Apache-2.0
"""The inside of a call: makes a function to call from what nsenter/_remote/call_bytes.py has made.

They come from the caller, who is trusted by this side. Only what is built into the interpreter,
or travels, can be imported; pickle does where it is needed.
"""

from __future__ import annotations

import _imp
import builtins
import marshal
import sys
from types import CellType, CodeType, FunctionType, ModuleType

from nsenter._remote import safe_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = [
    "PICKLED",
    "PLAIN",
    "fill_function",
    "fill_module",
    "import_module",
    "make_cached",
    "make_cell",
    "make_function",
    "make_module",
    "unpack",
]

# Whether the files of sources are the caller's, so that what reads them by name may do so.
has_sources = False

# How a parcel is written.
PLAIN, PICKLED = b"c", b"C"


def unpack(kind: bytes, body: bytes) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """The function of a parcel, and what to call it with."""
    if kind == PICKLED:
        import _pickle

        func, args, kwargs = _pickle.loads(body)
        return func, args, kwargs
    module, name, args, kwargs = safe_data.decode(body)
    func = import_module(module)
    for part in name.split("."):
        func = getattr(func, part)
    return func, args, kwargs


def call_each(func: Callable[..., Any], chunk: list[tuple[Any, ...]]) -> list[Any]:
    """A part of what `map` is given; its results."""
    return [func(*args) for args in chunk]


def import_module(name: str) -> Any:
    """The module of this name, as importlib.import_module."""
    __import__(name)
    return sys.modules[name]


def make_cell() -> CellType:
    """A variable that functions share; its value comes with them."""
    return CellType()


def make_module(name: str) -> ModuleType:
    """One that cannot be imported here; its contents come with `fill_module`."""
    if name not in sys.modules:
        sys.modules[name] = ModuleType(name)
    return sys.modules[name]


def fill_module(module: ModuleType, contents: dict[str, Any]) -> None:
    """Give a module what it has at the caller's."""
    vars(module).update(contents)


def make_cached(func: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """A function with a cache (functools.lru_cache), which is empty."""
    from functools import lru_cache

    return lru_cache(**parameters)(func)


# The globals of functions, by the scope that they came with, as long as this worker runs.
_scopes: dict[tuple[str, int], dict[str, Any]] = {}
# What each global was when it came: its digest, by its scope and its name.
_came_as: dict[tuple[int, str], bytes] = {}


def _scope(name: str, package: str | None, is_whole: bool, number: int) -> dict[str, Any]:
    """The globals of the functions of a module: what one of them sets, the others see, in this call
    and the next.

    Args:
        is_whole: the module cannot be imported here, and these are its globals.
        number: tells scopes apart that have one name, as those of code that was executed.
    """
    key = name, number
    if key not in _scopes:
        # Pickle looks in the module for what it has by name.
        scope: dict[str, Any] = vars(make_module(name)) if is_whole else {"__name__": name}
        scope.update(__package__=package, __builtins__=builtins)
        _scopes[key] = scope
    return _scopes[key]


def make_function(
    code: bytes, scope: tuple[str, str | None, bool, int], cells: tuple[CellType, ...] | None
) -> FunctionType:
    """A function that is still to be filled, as it may refer to itself.

    Args:
        code: marshalled.
        scope: which globals it has, as `_scope` takes it.
        cells: the variables of functions around it.
    """
    loaded: CodeType = marshal.loads(code)
    if has_sources:
        _imp._fix_co_filename(loaded, loaded.co_filename[1:-1])  # type: ignore[attr-defined]
    return FunctionType(loaded, _scope(*scope), closure=cells)


def _is_as_it_came(scope: dict[str, Any], name: str, digest: bytes | None) -> bool:
    """Whether the caller has not changed a global since it was sent before: then it stays, with
    what calls have done to it."""
    key = id(scope), name
    if digest is None:
        _came_as.pop(key, None)
        return False
    stays = name in scope and _came_as.get(key) == digest
    _came_as[key] = digest
    return stays


def fill_function(func: FunctionType, state: Mapping[str, Any]) -> None:
    """Give a function all that is not its code."""
    for name in state["imports"]:
        __import__(name)
    scope = func.__globals__
    for name, value in state["globals"].items():
        if not _is_as_it_came(scope, name, state["digests"].get(name)):
            scope[name] = value
    func.__dict__.update(state["dict"])
    for name, value in state["attributes"].items():
        setattr(func, name, value)
    for cell, contents in zip(func.__closure__ or (), state["contents"], strict=True):
        if contents:
            cell.cell_contents = contents[0]
