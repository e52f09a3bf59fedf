# SPDX-License-Identifier: Apache-2.0
"""Find out which objects the namespaces can import by name, and what a function's code requires."""

from __future__ import annotations

import dis
import sys
from functools import lru_cache
from types import CodeType, ModuleType

from nsenter._interpreter.module_archive import imported_by, travels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CellType, FunctionType
    from typing import Any

__all__ = ["contents_of", "has_a_name", "importable", "imports", "used_globals"]

_OF_GLOBALS = {
    *("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"),
    *("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"),  # in the bodies of classes
}

_known_importable: set[str] = set()


def has_a_name(value: Any) -> bool:
    """Return whether the namespaces can find this very object by its module and name."""
    name = getattr(value, "__qualname__", None)
    module = getattr(value, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value and importable(module)


def importable(module: str) -> bool:
    """Return whether the namespaces can import a module. They have a different __main__."""
    if module in _known_importable:
        return True
    if module == "__main__" or not travels(module):
        return False
    _known_importable.add(module)
    return True


@lru_cache(maxsize=1024)
def _globals_of(code: CodeType) -> frozenset[str]:
    """Return the names of globals that code uses, also in functions inside it."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in _OF_GLOBALS}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _globals_of(constant)
    return frozenset(names)


@lru_cache(maxsize=1024)
def _imported_by(code: CodeType, package: str) -> frozenset[str]:
    return frozenset(imported_by(code, package))


def _all_names(code: CodeType) -> set[str]:
    inner = (_all_names(c) for c in code.co_consts if isinstance(c, CodeType))
    return set(code.co_names).union(*inner)


def used_globals(func: FunctionType) -> dict[str, Any]:
    """Return the globals that a function's code uses, also in functions inside it."""
    scope = func.__globals__
    return {name: scope[name] for name in sorted(_globals_of(func.__code__)) if name in scope}


def contents_of(cell: CellType) -> tuple[Any, ...]:
    """Return a tuple with the value of a cell; an empty tuple if it has none yet."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _submodules(module: ModuleType, attributes: set[str]) -> Iterator[str]:
    """Yield the submodules that code with these names can reach as attributes of a module.

    For example, code that imports only `xml` can use `xml.etree`.
    """
    start = f"{module.__name__}."
    for name in list(sys.modules):
        if name.startswith(start) and attributes.issuperset(name.removeprefix(start).split(".")):
            yield name


def imports(func: FunctionType, used: dict[str, Any]) -> tuple[set[str], set[str]]:
    """Return two sets of modules that a function requires.

    The first must be imported before the function is called. The second are those that its code may
    import itself.

    Args:
        func: the function.
        used: its `used_globals`.
    """
    code = func.__code__
    imported = _imported_by(code, func.__globals__.get("__package__") or "")
    attributes = _all_names(code)
    modules = (value for value in used.values() if isinstance(value, ModuleType))
    early = {name for module in modules for name in _submodules(module, attributes)}
    return set(filter(importable, early)), set(filter(importable, imported))
