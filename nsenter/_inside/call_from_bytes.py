# SPDX-License-Identifier: Apache-2.0
"""Decode a call in the namespaces. nsenter/_remote/call_bytes.py encodes it.

The bytes come from the caller, whom this side trusts. Only modules that are built into the
interpreter, or are sent by the caller, can be imported. If a call requires pickle, its modules are
sent, too.
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

# Whether the caller's source files are in this root, so that code may open them by their names.
has_sources = False

# The formats of an encoded call.
PLAIN, PICKLED = b"c", b"C"


def unpack(kind: bytes, body: bytes) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return the function of an encoded call, and its arguments."""
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
    """Call a function with each of the items in a chunk of `map`, and return the results."""
    return [func(*args) for args in chunk]


def import_module(name: str) -> Any:
    """Import a module and return it, like importlib.import_module."""
    __import__(name)
    return sys.modules[name]


def make_cell() -> CellType:
    """Make a variable that functions share. `fill_function` sets its value."""
    return CellType()


def make_module(name: str) -> ModuleType:
    """Make a module that cannot be imported here. `fill_module` sets its contents."""
    if name not in sys.modules:
        sys.modules[name] = ModuleType(name)
    return sys.modules[name]


def fill_module(module: ModuleType, contents: dict[str, Any]) -> None:
    """Set the contents of a module to those that it has in the caller's process."""
    vars(module).update(contents)


def make_cached(func: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    """Make a function with an empty cache (functools.lru_cache)."""
    from functools import lru_cache

    return lru_cache(**parameters)(func)


# The globals of functions, by the name and the number of their scope, as long as this worker runs.
_scopes: dict[tuple[str, int], dict[str, Any]] = {}
# The digest of each global as it was sent, by the id of its scope and its name.
_came_as: dict[tuple[int, str], bytes] = {}


def _scope(name: str, package: str | None, is_whole: bool, number: int) -> dict[str, Any]:
    """Return the globals for the functions of a module.

    If one function sets a global, the others see it, in this call and in the next.

    Args:
        name: the name of the module.
        package: its `__package__`.
        is_whole: the module cannot be imported here, and the globals are those of the module.
        number: distinguishes scopes that have the same name, such as those of exec().
    """
    key = name, number
    if key not in _scopes:
        # pickle looks up names in the module.
        scope: dict[str, Any] = vars(make_module(name)) if is_whole else {"__name__": name}
        scope.update(__package__=package, __builtins__=builtins)
        _scopes[key] = scope
    return _scopes[key]


def make_function(
    code: bytes, scope: tuple[str, str | None, bool, int], cells: tuple[CellType, ...] | None
) -> FunctionType:
    """Make a function that has only its code. `fill_function` sets the rest.

    There are two steps because a function may refer to itself.

    Args:
        code: the marshalled code.
        scope: the arguments of `_scope`, which say what its globals are.
        cells: the variables of the functions around it.
    """
    loaded: CodeType = marshal.loads(code)
    if has_sources:
        _imp._fix_co_filename(loaded, loaded.co_filename[1:-1])  # type: ignore[attr-defined]
    return FunctionType(loaded, _scope(*scope), closure=cells)


def _is_as_it_came(scope: dict[str, Any], name: str, digest: bytes | None) -> bool:
    """Return whether the caller has sent this global before and has not changed it since.

    The worker then keeps its own value, with the changes that calls have made to it.
    """
    key = id(scope), name
    if digest is None:
        _came_as.pop(key, None)
        return False
    stays = name in scope and _came_as.get(key) == digest
    _came_as[key] = digest
    return stays


def fill_function(func: FunctionType, state: Mapping[str, Any]) -> None:
    """Set everything of a function except its code."""
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
