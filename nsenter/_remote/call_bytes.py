# SPDX-License-Identifier: Apache-2.0
"""What is called, as bytes that nsenter/_inside/call_from_bytes.py makes a call of.

A function or a class travels by its name if the namespaces can import its module. Any other, as a
lambda, one inside another function, or one of a script, travels by value
(nsenter/_remote/by_value.py). A plain call is written as plain data; else pickle writes it.
"""

from __future__ import annotations

import io
import pickle
import sys
from functools import partial
from types import FunctionType, MethodType, ModuleType

from nsenter._host.base_error import NsenterError
from nsenter._host.records import Value
from nsenter._host.suppress import suppress
from nsenter._inside.call_from_bytes import PICKLED, PLAIN
from nsenter._remote import importable_names, safe_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

__all__ = ["FOR_PICKLE", "CannotTravel", "Parcel", "pack"]

# What C's pickle imports before it reads the first byte.
FOR_PICKLE = ("_pickle", "copyreg", "_compat_pickle", "functools")

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
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    plainly: bool,
    keeps: bool = False,
) -> Parcel:
    """Write a call.

    Args:
        plainly: as plain data where that can be; pickle is faster for much of it.
        keeps: whether its worker takes other calls as well, and keeps what they leave.

    Raises:
        CannotTravel: something of it cannot; names it.
    """
    _check_callable(func)
    if plainly and importable_names.has_a_name(func):
        module = func.__module__
        try:
            body = safe_data.encode((module, func.__qualname__, args, dict(kwargs)))
        except (safe_data.NotPlain, ValueError):
            pass  # pickle may know it
        else:
            return Parcel(PLAIN, body, frozenset((module,)))
    modules = set(FOR_PICKLE)
    try:
        body = _pickled((func, args, dict(kwargs)), modules, keeps=keeps)
    except Exception as error:
        raise _explained(func, args, kwargs, error) from error
    return Parcel(PICKLED, body, frozenset(modules))


def _check_callable(func: Any) -> None:
    """Before anything is started for it."""
    if not callable(func):
        raise CannotTravel(
            f"the function must be callable, not a {safe_data.type_name(type(func))}"
        )
    inner = func
    while isinstance(inner, (partial, MethodType)):
        inner = inner.func if isinstance(inner, partial) else inner.__func__
    flags = getattr(getattr(inner, "__code__", None), "co_flags", 0)
    for flag, kind, advice in _UNANSWERED:
        if flags & flag:
            raise CannotTravel(f"{_described(inner)} is {kind}: {advice}")


class _HasNoName(Exception):
    """Something of the call must travel by value."""


class _ByName(pickle.Pickler):
    """Pickles what the namespaces can import.

    Args:
        modules: those are noted here that it takes to read it.
    """

    def __init__(self, file: io.BytesIO, modules: set[str]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._modules = modules

    def reducer_override(self, value: Any) -> Any:
        if importable_names.has_a_name(value):
            self._modules.add(value.__module__)
        elif _looks_named(value):
            raise _HasNoName
        return NotImplemented


def _looks_named(value: Any) -> bool:
    """Whether pickle may write a value by a name, as it does a function with a cache."""
    if isinstance(value, (FunctionType, ModuleType, type)):
        return value not in _SINGULAR
    name, module = getattr(value, "__qualname__", None), getattr(value, "__module__", None)
    return isinstance(name, str) and isinstance(module, str) and not isinstance(value, MethodType)


# Types that pickle knows without a name.
_SINGULAR = (type(None), type(NotImplemented), type(...))


def _pickled(value: object, modules: set[str], *, keeps: bool = False) -> bytes:
    file, found = io.BytesIO(), set[str]()
    with suppress(Exception):  # of many kinds: what has no name, pickle does not know
        _ByName(file, found).dump(value)
        modules |= found
        return file.getvalue()
    from nsenter._remote import by_value  # it takes cloudpickle, which takes a while to import

    return by_value.dumps(value, modules, keeps=keeps)


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
    return f"a {safe_data.type_name(type(value))}"


def _parts_of(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, FunctionType) and not importable_names.has_a_name(value):
        for name, part in importable_names.used_globals(value).items():
            yield f"global {name!r}", part
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            for part in importable_names.held(cell):
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
    elif isinstance(value, type):
        yield from ((f"attribute {n!r}", p) for n, p in vars(value).items())
    elif not isinstance(value, ModuleType):
        if type(value).__module__ not in sys.builtin_module_names:
            yield "its class", type(value)
        yield from ((f"attribute {n!r}", p) for n, p in getattr(value, "__dict__", {}).items())
