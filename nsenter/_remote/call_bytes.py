# SPDX-License-Identifier: Apache-2.0
"""Encode a call as bytes, which nsenter/_inside/call_from_bytes.py decodes.

A function or a class is sent by its name if the namespaces can import its module. Any other, such
as a lambda, a function inside another function, or one of a script, is sent by value
(nsenter/_remote/by_value.py). A call is written as plain data if that is possible, otherwise by
pickle.
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

__all__ = ["FOR_PICKLE", "EncodedCall", "SerializationError", "pack"]

# The modules that the C implementation of pickle imports before it reads the first byte.
FOR_PICKLE = ("_pickle", "copyreg", "_compat_pickle", "functools")

# Flags of functions that do not return a value: CO_COROUTINE, CO_ASYNC_GENERATOR and CO_GENERATOR
# of inspect; what they are, and what to call in place of them.
_UNANSWERED = (
    (0x80, "a coroutine function", "call one that runs it there, as asyncio.run does"),
    (
        0x200,
        "an asynchronous generator function",
        "call one that returns a list of it",
    ),
    (0x20, "a generator function", "call one that returns what it yields, as list does"),
)


class SerializationError(NsenterError, TypeError):
    """A function or an argument cannot be sent into namespaces. The error says which, and why."""


class EncodedCall(Value):
    """An encoded call.

    Args:
        kind: the format of `body`.
        body: the bytes.
        modules: the modules that must be importable where the call is decoded.
    """

    kind: bytes
    body: bytes
    modules: frozenset[str]


def pack(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    as_data: bool,
    keeps: bool = False,
) -> EncodedCall:
    """Encode a call.

    Args:
        func: the function.
        args, kwargs: its arguments.
        as_data: encode as plain data if that is possible. For many values, pickle is faster.
        keeps: whether the worker takes other calls as well, and keeps what they leave.

    Raises:
        SerializationError: the function or an argument cannot be sent. The error names it.
    """
    _check_callable(func)
    if as_data and importable_names.has_a_name(func):
        module = func.__module__
        try:
            body = safe_data.encode((module, func.__qualname__, args, dict(kwargs)))
        except (safe_data.NotData, ValueError):
            pass  # pickle may be able to write it
        else:
            return EncodedCall(PLAIN, body, frozenset((module,)))
    modules = set(FOR_PICKLE)
    try:
        body = _pickled((func, args, dict(kwargs)), modules, keeps=keeps)
    except Exception as error:
        raise _explained(func, args, kwargs, error) from error
    return EncodedCall(PICKLED, body, frozenset(modules))


def _check_callable(func: Any) -> None:
    """Refuse what is not callable, or gives no value, before a process is started for it."""
    if not callable(func):
        raise SerializationError(
            f"the function must be callable, not a {safe_data.type_name(type(func))}"
        )
    inner = func
    while isinstance(inner, (partial, MethodType)):
        inner = inner.func if isinstance(inner, partial) else inner.__func__
    flags = getattr(getattr(inner, "__code__", None), "co_flags", 0)
    for flag, kind, advice in _UNANSWERED:
        if flags & flag:
            raise SerializationError(f"{_described(inner)} is {kind}: {advice}")


class _HasNoName(Exception):
    """A part of the call must be sent by value."""


class _ByName(pickle.Pickler):
    """A pickler that accepts only what the namespaces can import.

    Args:
        file: where the pickle is written.
        modules: a set to which the modules are added that are required to read the pickle.
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
    """Return whether pickle may write a value by name, as it does for a function with a cache."""
    if isinstance(value, (FunctionType, ModuleType, type)):
        return value not in _SINGULAR
    name, module = getattr(value, "__qualname__", None), getattr(value, "__module__", None)
    return isinstance(name, str) and isinstance(module, str) and not isinstance(value, MethodType)


# Types that pickle does not write by name.
_SINGULAR = (type(None), type(NotImplemented), type(...))


def _pickled(value: object, modules: set[str], *, keeps: bool = False) -> bytes:
    file, found = io.BytesIO(), set[str]()
    with suppress(Exception):  # pickle raises many types of exceptions for what has no name
        _ByName(file, found).dump(value)
        modules |= found
        return file.getvalue()
    from nsenter._remote import by_value  # imports cloudpickle, which takes a while

    return by_value.dumps(value, modules, keeps=keeps)


# ---- errors for what cannot be sent


def _explained(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception
) -> SerializationError:
    parts = [("the function", func)]
    parts += [(f"argument {number}", value) for number, value in enumerate(args, 1)]
    parts += [(f"argument {name!r}", value) for name, value in kwargs.items()]
    seen: set[int] = set()
    for label, value in parts:
        if why := _culprit(label, value, seen):
            return why
    return SerializationError(f"the call cannot be sent: {error}")


def _culprit(label: str, value: Any, seen: set[int]) -> SerializationError | None:
    """Return the error for the innermost part that cannot be sent; None if all parts can be."""
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
        return SerializationError(f"{label}: {what} cannot be sent into namespaces: {error}")
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
            for part in importable_names.contents_of(cell):
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
