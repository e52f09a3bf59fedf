# SPDX-License-Identifier: Apache-2.0
"""What is called, as bytes that nsenter/unpack.py makes a call of.

A function travels by its name where the namespaces can import its module. Any other, as a
lambda, one inside another function or of a script, travels as its code, with the globals that it
uses and the variables around it. A plain call is written as plain data; else pickle writes it.
"""

from __future__ import annotations

import dis
import io
import pickle
import sys
from functools import lru_cache, partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType

from nsenter import plain, unpack
from nsenter.bundle import imported_by, travels, without_source
from nsenter.error_base import NsenterError
from nsenter.unpack import PICKLED, PLAIN
from nsenter.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

__all__ = ["FOR_PICKLE", "CannotTravel", "Parcel", "pack"]

# What C's pickle imports before it reads the first byte.
FOR_PICKLE = ("_pickle", "copyreg", "_compat_pickle", "functools")
_ATTRIBUTES = ("__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__")
_OF_GLOBALS = {
    *("LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL"),
    *("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"),  # in the bodies of classes
}


# CO_COROUTINE, CO_ASYNC_GENERATOR and CO_GENERATOR of inspect: what is called gives no value.
_UNANSWERED = (
    (0x80, "a coroutine function", "call one that runs it there, as asyncio.run does"),
    (
        0x200,
        "an asynchronous generator function",
        "call one that returns a list of it",
    ),
    (0x20, "a generator function", "call one that returns what it yields, as list does"),
)


class CannotTravel(NsenterError, TypeError):
    """A function or an argument that cannot be sent into namespaces; says which, and why."""


class Parcel(Value):
    """A call to be sent.

    Args:
        kind: how `body` is written.
        modules: what has to be importable where it is opened.
    """

    kind: bytes
    body: bytes
    modules: frozenset[str]


def pack(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, plainly: bool
) -> Parcel:
    """Write a call.

    Args:
        plainly: as plain data where that can be; pickle is faster for much of it.

    Raises:
        CannotTravel: something of it cannot; names it.
    """
    _check_callable(func)
    if plainly and _has_a_name(func):
        module = func.__module__
        try:
            body = plain.encode((module, func.__qualname__, args, dict(kwargs)))
        except (plain.NotPlain, ValueError):
            pass  # pickle may know it
        else:
            return Parcel(PLAIN, body, frozenset((module,)))
    modules = set(FOR_PICKLE)
    try:
        body = _pickled((func, args, dict(kwargs)), modules)
    except Exception as error:
        raise _explained(func, args, kwargs, error) from error
    return Parcel(PICKLED, body, frozenset(modules))


def _check_callable(func: Any) -> None:
    """Before anything is started for it."""
    if not callable(func):
        raise CannotTravel(f"the function must be callable, not a {plain.type_name(type(func))}")
    inner = func
    while isinstance(inner, (partial, MethodType)):
        inner = inner.func if isinstance(inner, partial) else inner.__func__
    flags = getattr(getattr(inner, "__code__", None), "co_flags", 0)
    for flag, kind, advice in _UNANSWERED:
        if flags & flag:
            raise CannotTravel(f"{_described(inner)} is {kind}: {advice}")


def _has_a_name(value: Any) -> bool:
    """Whether it is what its module has under its name, and the namespaces can import that."""
    name = getattr(value, "__qualname__", None)
    module = getattr(value, "__module__", None)
    if not isinstance(name, str) or not isinstance(module, str):
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value and _importable(module)


_known_importable: set[str] = set()


def _importable(module: str) -> bool:
    """__main__ is another there."""
    if module in _known_importable:
        return True
    if module == "__main__" or not travels(module):
        return False
    _known_importable.add(module)
    return True


@lru_cache(maxsize=1024)
def _globals_of(code: CodeType) -> frozenset[str]:
    """The global names that code uses, also in functions within it."""
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


def _used_globals(func: FunctionType) -> dict[str, Any]:
    scope = func.__globals__
    return {name: scope[name] for name in sorted(_globals_of(func.__code__)) if name in scope}


def _held(cell: CellType) -> tuple[Any, ...]:
    """Its value; nothing where it has none yet."""
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _submodules(module: ModuleType, attributes: set[str]) -> Iterator[str]:
    """Those that code with these names reaches by attributes, as xml.etree by "xml"."""
    start = f"{module.__name__}."
    for name in list(sys.modules):
        if name.startswith(start) and attributes.issuperset(name.removeprefix(start).split(".")):
            yield name


class _Packer(pickle.Pickler):
    """Pickles functions as their code, too.

    Args:
        modules: those are noted here that it takes to read it.
    """

    def __init__(self, file: io.BytesIO, modules: set[str]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._modules = modules
        self._scopes: dict[str | None, dict[str, Any]] = {}

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, ModuleType):
            return self._module(value)
        if isinstance(value, CellType):  # its value comes with the functions that share it
            return unpack.make_cell, ()
        if _has_a_name(value):
            self._modules.add(value.__module__)
        elif isinstance(value, FunctionType):
            return self._function(value)
        elif isinstance(value, type) and value.__module__ != "builtins":
            raise CannotTravel("a class travels by its name, and its module cannot be imported")
        return NotImplemented

    def _module(self, module: ModuleType) -> Any:
        if not _importable(module.__name__):
            raise CannotTravel("this module cannot be imported in namespaces")
        self._modules.add(module.__name__)
        return unpack.import_module, (module.__name__,)

    def _function(self, func: FunctionType) -> Any:
        used = _used_globals(func)
        state = {
            "imports": self._imports(func, used),
            "globals": used,
            "dict": func.__dict__,
            "attributes": {name: getattr(func, name) for name in _ATTRIBUTES},
            "contents": tuple(_held(cell) for cell in func.__closure__ or ()),
        }
        # One scope for all functions of a module: what one of them sets, the others see.
        package = func.__globals__.get("__package__")
        own = {"__name__": func.__module__, "__package__": package}
        scope = self._scopes.setdefault(func.__module__, own)
        made = without_source(func.__code__), scope, func.__closure__
        return unpack.make_function, made, state, None, None, unpack.fill_function

    def _imports(self, func: FunctionType, used: dict[str, Any]) -> list[str]:
        """Notes what its code may import; what it has from elsewhere is to be imported before."""
        code = func.__code__
        late = _imported_by(code, func.__globals__.get("__package__") or "")
        self._modules.update(name for name in late if _importable(name))
        attributes = _all_names(code)
        modules = (value for value in used.values() if isinstance(value, ModuleType))
        early = {name for module in modules for name in _submodules(module, attributes)}
        early = {name for name in early if _importable(name)}
        self._modules |= early
        return sorted(early)


def _pickled(value: object, modules: set[str]) -> bytes:
    file = io.BytesIO()
    _Packer(file, modules).dump(value)
    return file.getvalue()


# ---- what cannot travel


def _explained(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception
) -> CannotTravel:
    parts = [("the function", func)]
    parts += [(f"argument {number}", value) for number, value in enumerate(args, 1)]
    parts += [(f"argument {name!r}", value) for name, value in kwargs.items()]
    seen: set[int] = set()
    for label, value in parts:
        if why := _culprit(label, value, seen):
            return why
    return CannotTravel(f"the call cannot be sent: {error}")


def _culprit(label: str, value: Any, seen: set[int]) -> CannotTravel | None:
    """Names the innermost thing that does not let this one travel; None where nothing does."""
    if id(value) in seen:
        return None
    seen.add(id(value))
    try:
        _pickled(value, set())
    except Exception as error:
        for inner, part in _parts_of(value):
            if why := _culprit(f"{label}, {inner}", part, seen):
                return why
        what = _described(value)
        return CannotTravel(f"{label}: {what} cannot be sent into namespaces: {error}")
    return None


def _described(value: Any) -> str:
    if isinstance(value, (type, FunctionType, ModuleType)):
        kind = "function" if isinstance(value, FunctionType) else type(value).__name__
        kind = "class" if isinstance(value, type) else kind
        module = f"{value.__module__}." if not isinstance(value, ModuleType) else ""
        return f"{kind} {module}{getattr(value, '__qualname__', value.__name__)}"
    return f"a {plain.type_name(type(value))}"


def _parts_of(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, FunctionType) and not _has_a_name(value):
        for name, part in _used_globals(value).items():
            yield f"global {name!r}", part
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            for part in _held(cell):
                yield f"variable {name!r} of a function around it", part
        yield "defaults", (value.__defaults__, value.__kwdefaults__)
    elif isinstance(value, MethodType):
        yield "its object", value.__self__
    elif isinstance(value, partial):
        yield "of a partial", (value.func, value.args, value.keywords)
    elif isinstance(value, (tuple, list)):
        yield from ((f"item {index}", part) for index, part in enumerate(value))
    elif isinstance(value, dict):
        yield from ((f"value of {key!r}", part) for key, part in value.items())
    elif not isinstance(value, (type, ModuleType)):
        if type(value).__module__ not in sys.builtin_module_names:
            yield "its class", type(value)
        yield from ((f"attribute {n!r}", p) for n, p in getattr(value, "__dict__", {}).items())
