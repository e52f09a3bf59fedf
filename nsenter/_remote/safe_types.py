# SPDX-License-Identifier: Apache-2.0
"""Convert common values of the standard library and of numpy to plain data and back.

`nsenter._remote.safe_data` writes such a value as a name and a payload. The answer may come from
hostile code: only the names in a fixed table are accepted, the payload is checked, and nothing in
it is ever called or looked up.

There are no import statements for the modules of these values. This module is also sent to the
namespaces, and all modules that it imports would be sent with it. If a value exists, its module is
already loaded.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Unfit", "memory_of", "rebuild", "reduced"]

# Python's arithmetic with larger numbers is so slow that no deadline could be kept.
_MOST_BITS = 1 << 16
# The longest path in characters (on Windows), and the bytes that pathlib takes for a character.
_MOST_PATH, _BYTES_OF_PATH = 32767, 24
_MOST_DIMENSIONS = 32
# The values of dtype.str for numbers: byte order, kind and bytes.
_DTYPES = frozenset(
    (
        *("|b1", "|i1", "|u1"),
        *(order + kind for order in "<>" for kind in ("i2", "i4", "i8", "u2", "u4", "u8")),
        *(order + kind for order in "<>" for kind in ("f2", "f4", "f8", "c8", "c16")),
    )
)


class Unfit(ValueError):
    """This value cannot be written, although others of its type can; or it cannot be read."""


def _imported(module: str) -> Any:
    return __import__(module, fromlist=["*"])


# ---- to plain data. The values are of exactly the types in the names of the functions.


def _offset(value: Any) -> tuple[int, int, int, str] | None:
    """Return the fixed UTC offset of a datetime or a time, and its name; None if it is naive."""
    zone = value.tzinfo
    if zone is None:
        return None
    if (type(zone).__module__, type(zone).__qualname__) != ("datetime", "timezone"):
        raise Unfit("only one that is naive, or whose tzinfo is a datetime.timezone, is plain data")
    offset = zone.utcoffset(None)
    return offset.days, offset.seconds, offset.microseconds, zone.tzname(None)


def _of_time(value: Any) -> tuple[Any, ...]:
    numbers = value.hour, value.minute, value.second, value.microsecond
    return *numbers, value.fold, _offset(value)


def _with_small(*numbers: int) -> tuple[int, ...]:
    if max(map(int.bit_length, numbers)) > _MOST_BITS:
        raise Unfit("it is too large")
    return numbers


def _of_path(value: Any) -> tuple[str]:
    path = str(value)
    if len(path) > _MOST_PATH:
        raise Unfit("it is too long")
    return (path,)


def _of_numpy(value: Any) -> tuple[Any, ...]:
    """Return the payload of a numpy scalar or array."""
    if value.dtype.str not in _DTYPES:
        raise Unfit(f"of its dtypes {value.dtype} is not plain data; numbers are")
    return value.dtype.str, tuple(map(int, value.shape)), bytearray(value.tobytes())


# ---- from plain data


def _datetime(date: Any, time: Any) -> Any:
    module = _imported("datetime")
    return module.datetime.combine(_date(*date), _time(*time))


def _date(*numbers: int) -> Any:
    return _imported("datetime").date(*numbers)


def _time(hour: int, minute: int, second: int, micro: int, fold: int, offset: Any) -> Any:
    module = _imported("datetime")
    zone = None if offset is None else _zone(*offset)
    return module.time(hour, minute, second, micro, zone, fold=fold)


def _zone(days: int, seconds: int, micro: int, name: str) -> Any:
    module = _imported("datetime")
    offset = module.timedelta(days, seconds, micro)
    zone = module.timezone(offset)
    return zone if zone.tzname(None) == name else module.timezone(offset, name)


def _decimal(digits: str) -> Any:
    _check(digits, str)
    return _imported("decimal").Decimal(digits)


def _fraction(numerator: int, denominator: int) -> Any:
    _check_numbers(numerator, denominator)
    return _imported("fractions").Fraction(numerator, denominator)


def _path(kind: str) -> Callable[[str], Any]:
    def build(path: str) -> Any:
        _check(path, str)
        if len(path) > _MOST_PATH:
            raise Unfit("a path is too long")
        return getattr(_imported("pathlib"), kind)(path)

    return build


def _uuid(data: bytes) -> Any:
    _check(data, bytes)
    return _imported("uuid").UUID(bytes=data)


def _range(start: int, stop: int, step: int) -> range:
    _check_numbers(start, stop, step)
    return range(start, stop, step)


def _mapping(kind: str) -> Callable[[dict[Any, Any]], Any]:
    def build(items: dict[Any, Any]) -> Any:
        _check(items, dict)
        return getattr(_imported("collections"), kind)(items)

    return build


def _array(dtype: str, shape: tuple[int, ...], data: bytearray) -> Any:
    _check(dtype, str)
    _check(shape, tuple)
    _check(data, bytearray)
    if dtype not in _DTYPES or len(shape) > _MOST_DIMENSIONS:
        raise Unfit("an array of a kind that is not sent")
    _check_numbers(*shape)
    count = 1
    for length in shape:
        if length < 0:
            raise Unfit("an array of a negative length")
        count *= length
    if count * int(dtype[2:]) != len(data):
        raise Unfit("an array and its bytes do not fit together")
    return _imported("numpy").frombuffer(data, dtype).reshape(shape)


def _scalar(dtype: str, shape: tuple[int, ...], data: bytearray) -> Any:
    if shape != ():
        raise Unfit("a scalar with a shape")
    return _array(dtype, shape, data)[()]


def _check(value: object, kind: type) -> None:
    if type(value) is not kind:
        raise Unfit(f"a {type(value).__name__} is where a {kind.__name__} must be")


def _check_numbers(*numbers: Any) -> None:
    for number in numbers:
        _check(number, int)
        if number.bit_length() > _MOST_BITS:
            raise Unfit("a number is too large")


# For the name of a type: the function that turns a value into a tuple of plain data, and the one
# that makes a value from this data.
_TABLE: dict[str, tuple[Callable[[Any], tuple[Any, ...]], Callable[..., Any]]] = {
    "datetime.datetime": (
        lambda value: ((value.year, value.month, value.day), _of_time(value)),
        _datetime,
    ),
    "datetime.date": (lambda value: (value.year, value.month, value.day), _date),
    "datetime.time": (_of_time, _time),
    "datetime.timedelta": (
        lambda value: (value.days, value.seconds, value.microseconds),
        lambda *numbers: _imported("datetime").timedelta(*numbers),
    ),
    "datetime.timezone": (
        lambda value: (_offset(_imported("datetime").time(tzinfo=value)),),
        lambda offset: _time(0, 0, 0, 0, 0, offset).tzinfo,
    ),
    "decimal.Decimal": (lambda value: (str(value),), _decimal),
    "fractions.Fraction": (
        lambda value: _with_small(value.numerator, value.denominator),
        _fraction,
    ),
    **{
        f"pathlib.{kind}": (_of_path, _path(kind))
        for kind in ("PosixPath", "PurePosixPath", "PureWindowsPath")
    },
    "uuid.UUID": (lambda value: (value.bytes,), _uuid),
    "builtins.range": (lambda value: _with_small(value.start, value.stop, value.step), _range),
    **{
        f"collections.{kind}": (lambda value: (dict(value),), _mapping(kind))
        for kind in ("Counter", "OrderedDict")
    },
    "numpy.ndarray": (_of_numpy, _array),
    "numpy.number": (_of_numpy, _scalar),
}


def _name_of(value: object) -> str:
    kind = type(value)
    if kind.__module__ == "numpy" and kind.__qualname__ != "ndarray":
        return "numpy.number" if hasattr(value, "dtype") and hasattr(value, "tobytes") else ""
    module = "pathlib" if kind.__module__ == "pathlib._local" else kind.__module__
    return f"{module}.{kind.__qualname__}"


def reduced(value: object) -> tuple[str, tuple[Any, ...]] | None:
    """Return the name and the payload of a value; None if its type is not in the table.

    Raises:
        Unfit: its type is in the table, but this value cannot be written.
    """
    name = _name_of(value)
    found = _TABLE.get(name)
    return (name, found[0](value)) if found else None


def memory_of(name: object, payload: object) -> int:
    """Return how many bytes a value takes at most, without its payload and sys.getsizeof."""
    if type(name) is not str or not name.startswith("pathlib.") or type(payload) is not tuple:
        return 0
    return sum(_BYTES_OF_PATH * len(path) for path in payload if type(path) is str)


def rebuild(name: object, payload: object) -> Any:
    """Return the value for a name and a payload, which may come from hostile code.

    Raises:
        Unfit: they are not the name and the payload of a value, as `reduced` returns them.
    """
    found = _TABLE.get(name) if type(name) is str else None
    if found is None or type(payload) is not tuple:
        raise Unfit("a value of an unknown kind")
    try:
        return found[1](*payload)
    except (TypeError, ValueError, ArithmeticError, ImportError) as error:
        raise Unfit(f"a {name} that is none: {error}") from None
