# SPDX-License-Identifier: Apache-2.0
"""Values: frozen records that are declared as dataclasses are.

To import dataclasses and to make each class takes 24 ms of CPU time in an interpreter that is not
from a memory image, and a container takes two of those.

A start-up path and an init in a container have them; type checkers take them for frozen
dataclasses (typing.dataclass_transform, PEP 681).
"""

from __future__ import annotations

from _collections_abc import Iterator, Mapping  # collections.abc imports all of collections

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform
else:
    # What typing.get_type_hints finds: importing typing takes 4 ms.
    Any = Self = object

    def dataclass_transform(**_):
        return lambda cls: cls


__all__ = ["ByIdentity", "Value"]

_REQUIRED: Any = object()
_NO_NESTED: Mapping[str, type[Value]] = {}
_NO_FIELDS: dict[str, Any] = {}


class ByIdentity:
    """An object as a key that is equal to itself alone: to compare all that is in it takes longer.

    Args:
        value: the object, which stays as long as this does, so that no other gets its id.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and other.value is self.value


class _Signature:
    """What inspect and help() are told of a Value's class: its fields, when they ask."""

    def __get__(self, value: object, cls: type[Value]) -> Any:
        if cls.__init__ is not Value.__init__:
            return None
        from inspect import Parameter, Signature

        parameters = (
            Parameter(
                name,
                Parameter.POSITIONAL_OR_KEYWORD,
                default=Parameter.empty if default is _REQUIRED else default,
                annotation=_annotation(cls, name),
            )
            for name, default in cls._fields.items()
        )
        return Signature([*parameters])


def _annotation(cls: type[Value], name: str) -> str:
    """Return the annotation of a field, which the class may have inherited."""
    found: str = next(c.__annotations__[name] for c in cls.__mro__ if name in c.__annotations__)
    return found


@dataclass_transform(frozen_default=True)
class Value:
    """A record: its fields are the annotations of the class, with their defaults.

    Compared, hashed and shown by its fields. A sequence is kept as a tuple.

    `nested` names the fields that hold other Values, alone or in a tuple or in the values of a
    mapping, for `from_data`.
    """

    # Not annotated, so that these are no fields: ClassVar is one of typing's names.
    nested = _NO_NESTED
    _fields = _NO_FIELDS
    __signature__ = _Signature()

    def __init_subclass__(cls) -> None:
        own = (n for n in cls.__annotations__ if not n.startswith("_") and n != "nested")
        cls._fields = {**cls._fields, **{n: cls.__dict__.get(n, _REQUIRED) for n in own}}
        # Type checkers have this from dataclass_transform, so they let nobody assign it.
        type.__setattr__(cls, "__match_args__", tuple(cls._fields))

    def __init__(self, *args: Any, **given: Any) -> None:
        fields = self._fields
        if args:
            if len(args) > len(fields):
                raise TypeError(f"{type(self).__name__} takes {len(fields)} values")
            by_place = dict(zip(fields, args, strict=False))
            if by_place.keys() & given.keys():
                raise TypeError(f"{type(self).__name__}: a field is given twice")
            given = by_place | given
        if given.keys() - fields.keys():
            unknown = ", ".join(sorted(given.keys() - fields.keys()))
            raise TypeError(f"{type(self).__name__} has no field {unknown}")
        values = {**fields, **given}
        for name, value in values.items():
            if value is _REQUIRED:
                raise TypeError(f"{type(self).__name__} needs {name}")
            if type(value) is list:
                values[name] = tuple(value)
            elif type(value) is dict:
                values[name] = value.copy()
        self.__dict__.update(values)
        self.__post_init__()

    def __post_init__(self) -> None:
        """Check the fields together; for the subclasses."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name}: a value does not change")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name}: a value does not change")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.__dict__ == self.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *map(_hashable, self.__dict__.values())))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self._told())
        return f"{type(self).__name__}({', '.join(shown)})"

    def _told(self) -> Iterator[tuple[str, Any]]:
        """Yield the fields that differ from their default."""
        for name, default in self._fields.items():
            value = self.__dict__[name]
            if value != default:
                yield name, value

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values for some fields."""
        return type(self)(**{**self.__dict__, **changes})

    __replace__ = replace  # copy.replace, since Python 3.13

    def to_data(self, *, full: bool = False, besides: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the fields as dicts, lists and scalars, for JSON or marshal.

        Args:
            full: include fields that have their default.
            besides: the names of fields to leave out.
        """
        told = self.__dict__.items() if full else self._told()
        return {name: _to_data(value, full) for name, value in told if name not in besides}

    @classmethod
    def from_data(cls, plain: Mapping[str, Any]) -> Self:
        """Return the record for the result of `to_data`.

        Raises:
            TypeError: a field is unknown or missing.
        """
        fields = dict(plain)
        for name, kind in cls.nested.items():
            if fields.get(name) is not None:
                fields[name] = _from_data(fields[name], kind)
        return cls(**fields)

    @classmethod
    def read(cls, plain: Any, where: str = "") -> Self:
        """Return the record for data that anybody, or a newer version, may have written.

        Unknown fields are ignored.

        Args:
            plain: parsed JSON.
            where: the name of the data in an error.

        Raises:
            ValueError: a field has the wrong type or is missing; the error names it.
        """
        if type(plain) is not dict:
            raise ValueError(f"{where or 'it'} must be an object, not {_in_words(plain)}")
        above = f"{where}." if where else ""
        fields = {
            name: cls._read_field(name, plain[name], above + name)
            for name in cls._fields
            if name in plain
        }
        for name, default in cls._fields.items():
            if default is _REQUIRED and name not in fields:
                raise ValueError(f"{above}{name} is missing")
        try:
            return cls(**fields)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where}: {error}" if where else str(error)) from None

    @classmethod
    def _read_field(cls, name: str, value: Any, where: str) -> Any:
        is_optional, outer, kind = _shape(cls, name)
        if value is None and is_optional:
            return None
        if outer == "tuple":
            _check(value, list, where, "a list")
            return tuple(
                [cls._read_one(name, kind, item, f"{where}[{i}]") for i, item in enumerate(value)]
            )
        if outer == "Mapping":
            _check(value, dict, where, "an object")
            for key, item in value.items():
                _check_text(key, f"a name in {where}")
                cls._read_one(name, kind, item, f"{where}[{key!r}]")
            return value
        return cls._read_one(name, kind, value, where)

    @classmethod
    def _read_one(cls, name: str, kind: str, value: Any, where: str) -> Any:
        nested = cls.nested.get(name)
        if nested is not None:
            return nested.read(value, where)
        expected, words = _LEAVES[kind]
        _check(value, expected, where, words)
        if expected is str:
            _check_text(value, where)
        return value


_shapes: dict[tuple[type[Value], str], tuple[bool, str, str]] = {}


def _shape(cls: type[Value], name: str) -> tuple[bool, str, str]:
    """Return what the annotation of a field means: whether it can be None, the container, the item.

    Annotations are, for example, "str", "int | None", "tuple[Mount, ...]" or "Mapping[str, str]".
    """
    found = _shapes.get((cls, name))
    if found is None:
        text = _annotation(cls, name)
        kind = text.removesuffix(" | None")
        outer, bracket, inner = kind.partition("[")
        if bracket:
            inner = inner.removesuffix("]")
            of = inner.removeprefix("str, ") if outer == "Mapping" else inner.removesuffix(", ...")
            found = text != kind, outer, of
        else:
            found = text != kind, "", kind
        _shapes[cls, name] = found
    return found


# The annotations of fields that are no Values, and what JSON has for them.
_LEAVES = {
    "str": (str, "a string"),
    "int": (int, "a whole number"),
    "bool": (bool, "true or false"),
}
_WORDS = {
    dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number",
    bool: "true or false", type(None): "null",
}  # fmt: skip


def _in_words(value: Any) -> str:
    shown = f" ({value!r})" if isinstance(value, (int, float)) else ""
    return _WORDS.get(type(value), type(value).__name__) + shown


def _check(value: Any, expected: type, where: str, words: str) -> None:
    if type(value) is not expected:
        raise ValueError(f"{where} must be {words}, not {_in_words(value)}")


def _check_text(text: str, where: str) -> None:
    """Refuse a text with a NUL or a lone surrogate: a system call cannot take it."""
    if "\0" in text:
        raise ValueError(f"{where} must not have a NUL")
    if not text.isascii():
        try:
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise ValueError(f"{where} has half a surrogate pair") from None


def _hashable(value: Any) -> Any:
    return tuple(sorted(value.items())) if isinstance(value, dict) else value


_SCALARS = frozenset((str, int, bool, float, bytes, type(None)))


def _to_data(value: Any, full: bool) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, Value):
        return value.to_data(full=full)
    if isinstance(value, tuple):
        return [_to_data(item, full) for item in value]
    if isinstance(value, dict):
        return {name: _to_data(item, full) for name, item in value.items()}
    # What is no Value, such as Namespaces, says itself how it travels.
    return value.to_json() if hasattr(value, "to_json") else value


def _from_data(plain: Any, kind: type[Value]) -> Any:
    if isinstance(plain, (list, tuple)):
        return tuple(kind.from_data(item) for item in plain)
    return kind.from_data(plain)
