# SPDX-License-Identifier: Apache-2.0
"""The inside of a call: from the bytes that nsenter/parcel.py has made to a function to call.

They come from the caller, who is trusted by this side. Only what is built into the interpreter,
or travels, can be imported; pickle does where it is needed.
"""

from __future__ import annotations

import builtins
import marshal
import sys
from types import CellType, CodeType, FunctionType

from nsenter import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

__all__ = [
    "PICKLED",
    "PLAIN",
    "fill_function",
    "import_module",
    "make_cell",
    "make_function",
    "unpack",
]

# How a parcel is written.
PLAIN, PICKLED = b"c", b"C"


def unpack(kind: bytes, body: bytes) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """The function of a parcel, and what to call it with."""
    if kind == PICKLED:
        import _pickle

        func, args, kwargs = _pickle.loads(body)
        return func, args, kwargs
    module, name, args, kwargs = plain.decode(body)
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


def make_function(
    code: bytes, scope: dict[str, Any], cells: tuple[CellType, ...] | None
) -> FunctionType:
    """A function that is still to be filled, as it may refer to itself.

    Args:
        code: marshalled.
        scope: its globals, and those of all functions of its module in the parcel.
        cells: the variables of functions around it.
    """
    loaded: CodeType = marshal.loads(code)
    scope["__builtins__"] = builtins
    return FunctionType(loaded, scope, closure=cells)


def fill_function(func: FunctionType, state: Mapping[str, Any]) -> None:
    """Give a function all that is not its code."""
    for name in state["imports"]:
        __import__(name)
    func.__globals__.update(state["globals"])
    func.__dict__.update(state["dict"])
    for name, value in state["attributes"].items():
        setattr(func, name, value)
    for cell, contents in zip(func.__closure__ or (), state["contents"], strict=True):
        if contents:
            cell.cell_contents = contents[0]
