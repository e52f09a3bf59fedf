# SPDX-License-Identifier: Apache-2.0
"""Pickle by value, with cloudpickle, what the namespaces cannot import by name.

This is for classes, enums, closures and the like of a script, a notebook or a test module. It is
used only for calls: no answer is ever read with it.

Functions are reduced here and not by cloudpickle, for three reasons. First, closures that share a
variable also share it in the namespaces. Second, what a function of a script leaves in its globals
stays in its worker, as in a ProcessPoolExecutor. Third, a worker that gets only functions need not
import cloudpickle, which takes four times as long as its boot.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import threading
import typing
import weakref
from hashlib import blake2b
from types import CellType, CodeType, FunctionType, ModuleType

import cloudpickle

from nsenter._host.suppress import suppress
from nsenter._inside import call_from_bytes
from nsenter._interpreter.module_archive import without_source
from nsenter._remote import importable_names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["dumps"]

_ATTRIBUTES = (
    *("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__kwdefaults__"),
    *("__annotations__", "__type_params__"),
)
_DATA = (dict, list, set, bytearray)  # the most common mutable types
_lock = threading.RLock()  # for cloudpickle's registry of modules


def dumps(value: object, modules: set[str], *, keeps: bool = False) -> bytes:
    """Pickle a value.

    Args:
        value: the value.
        modules: a set to which the modules are added that are required to read the pickle.
        keeps: whether the worker takes more than one call, and keeps what a call leaves.
    """
    file = io.BytesIO()
    with _lock:
        pickler = _Pickler(file, modules, keeps)
        try:
            pickler.dump(value)
        finally:
            pickler.close()
    return file.getvalue()


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO, modules: set[str], keeps: bool) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._modules = modules
        self._keeps = keeps
        self._registered: list[ModuleType] = []

    def close(self) -> None:
        for module in self._registered:
            cloudpickle.unregister_pickle_by_value(module)

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, ModuleType):
            return self._module(value)
        if isinstance(value, CellType):  # its value is sent with the functions that share it
            return call_from_bytes.make_cell, ()
        if importable_names.has_a_name(value):
            self._modules.add(value.__module__)
            return NotImplemented
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, type):
            self._by_value(value.__module__)
        elif type(value) in _REDUCERS:
            return _REDUCERS[type(value)](value)
        return super().reducer_override(value)

    def _by_value(self, name: str) -> None:
        """Make cloudpickle send this module's objects by value if it cannot be imported there.

        By default cloudpickle assumes that each module that is imported here can be imported there.
        """
        module = sys.modules.get(name)
        if module is None or name == "__main__" or importable_names.importable(name):
            return
        if name not in cloudpickle.list_registry_pickle_by_value():
            cloudpickle.register_pickle_by_value(module)
            self._registered.append(module)

    def _module(self, module: ModuleType) -> Any:
        name = module.__name__
        if name == "__main__":
            return call_from_bytes.import_module, (name,)
        if importable_names.importable(name):
            self._modules.add(name)
            return call_from_bytes.import_module, (name,)
        state = {k: v for k, v in vars(module).items() if k != "__builtins__"}
        return call_from_bytes.make_module, (name,), state, None, None, call_from_bytes.fill_module

    def _function(self, func: FunctionType) -> Any:
        used = importable_names.used_globals(func)
        state = {
            "imports": self._imports(func, used),
            "globals": used,
            "digests": self._digests(used) if self._keeps else {},
            "dict": func.__dict__,
            "attributes": dict(_attributes(func)),
            "contents": tuple(
                importable_names.contents_of(cell) for cell in func.__closure__ or ()
            ),
        }
        made = without_source(func.__code__), _scope(func), func.__closure__
        return call_from_bytes.make_function, made, state, None, None, call_from_bytes.fill_function

    def _imports(self, func: FunctionType, used: dict[str, Any]) -> list[str]:
        """Note the modules that the function's code may import, and return those it uses already.

        The latter must be imported before the function is called.
        """
        early, late = importable_names.imports(func, used)
        self._modules |= early | late
        return sorted(early)

    def _digests(self, used: dict[str, Any]) -> dict[str, bytes]:
        """Return digests of the data among the globals.

        If the caller has not changed a global since the last call, the worker keeps its own value.
        """
        found = {}
        for name, value in used.items():
            if isinstance(value, (FunctionType, ModuleType, type, CodeType)):
                continue
            with suppress(Exception):  # if it cannot be pickled, the error comes when it is sent
                found[name] = blake2b(dumps(value, set()), digest_size=16).digest()
        return found


def _scope(func: FunctionType) -> tuple[str, str | None, bool, int]:
    """Return the argument `scope` of `call_from_bytes.make_function`."""
    scope = func.__globals__
    name = scope.get("__name__")
    name = name if isinstance(name, str) else "__main__"
    is_modules = scope is getattr(sys.modules.get(name), "__dict__", None)
    is_whole = is_modules and not importable_names.importable(name)
    return name, scope.get("__package__"), is_whole, 0 if is_modules else id(scope)


def _attributes(func: FunctionType) -> Iterator[tuple[str, Any]]:
    for name in _ATTRIBUTES:
        # From Python 3.14 on, annotations are evaluated when they are accessed, and may contain
        # names that do not exist.
        with suppress(AttributeError, NameError):
            yield name, getattr(func, name)


# ---- values that neither pickle nor cloudpickle can write


def _cached(value: Any) -> Any:
    made = value.__wrapped__, value.cache_parameters()
    return call_from_bytes.make_cached, made, value.__dict__


def _weak(value: Any) -> Any:
    return type(value), (dict(value.items()),)


def _cached_property(value: Any) -> Any:
    return functools.cached_property, (value.func,), {"attrname": value.attrname}


_REDUCERS: dict[type, Any] = {
    type(functools.lru_cache(int)): _cached,
    functools.cached_property: _cached_property,
    weakref.WeakKeyDictionary: _weak,
    weakref.WeakValueDictionary: _weak,
    typing.NewType: lambda value: (typing.NewType, (value.__name__, value.__supertype__)),
}
