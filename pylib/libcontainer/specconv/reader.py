# SPDX-License-Identifier: Apache-2.0
"""Reading values out of parsed JSON: each of the type that it is to be, or an error that says
where in the file it is not."""

from __future__ import annotations

from libcontainer.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_NAMES = {str: "a string", int: "an integer", bool: "true or false", dict: "an object"}


class Reader:
    """An object of the file.

    Args:
        value: the object.
        where: its path, such as "linux.resources".
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise wrong(where or "config.json", "an object", value)
        self.value = value
        self.where = where

    def at(self, name: str) -> str:
        """The path of a member."""
        return f"{self.where}.{name}" if self.where else name

    def _get(self, name: str, kind: type, default: Any) -> Any:
        value = self.value.get(name)
        if value is None:
            return default
        # In Python true is an integer, in JSON it is none.
        if type(value) is not kind:
            raise wrong(self.at(name), _NAMES[kind], value)
        return value

    def text(self, name: str, default: str = "") -> str:
        """A string, without a NUL in it."""
        value: str = self._get(name, str, default)
        if "\0" in value:
            raise ConfigError(self.at(name), "it has a NUL")
        return value

    def needed_text(self, name: str) -> str:
        """A string that has to be there."""
        value = self.text(name)
        if not value:
            raise ConfigError(self.at(name), "it is missing or empty")
        return value

    def flag(self, name: str) -> bool:
        """A bool, false where it is not there."""
        value: bool = self._get(name, bool, False)
        return value

    def optional_flag(self, name: str) -> bool | None:
        """A bool; None where it is not there."""
        value: bool | None = self._get(name, bool, None)
        return value

    def number(
        self, name: str, default: int = 0, *, least: int = -(2**63), most: int = 2**64 - 1
    ) -> int:
        """An integer."""
        value: int = self._get(name, int, default)
        if not least <= value <= most:
            raise ConfigError(self.at(name), f"{value} is not in {least}..{most}")
        return value

    def optional_number(
        self, name: str, *, least: int = -(2**63), most: int = 2**64 - 1
    ) -> int | None:
        """An integer; None where it is not there."""
        if self.value.get(name) is None:
            return None
        return self.number(name, least=least, most=most)

    def id(self, name: str) -> int:
        """A user or group id."""
        return self.number(name, least=0, most=2**32 - 2)

    def object(self, name: str) -> Reader | None:
        """An object; None where it is not there."""
        value = self.value.get(name)
        return None if value is None else Reader(value, self.at(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        value = self.value.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(type(item) is str for item in value):
            raise wrong(self.at(name), "a list of strings", value)
        if any("\0" in item for item in value):
            raise ConfigError(self.at(name), "one of the strings has a NUL")
        return tuple(value)

    def ids(self, name: str) -> tuple[int, ...]:
        """A list of user or group ids."""
        value = self.value.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(
            type(item) is int and 0 <= item < 2**32 - 1 for item in value
        ):
            raise wrong(self.at(name), "a list of ids", value)
        return tuple(value)

    def objects(self, name: str) -> Iterator[Reader]:
        """The objects of a list."""
        value = self.value.get(name)
        if value is None:
            return
        if not isinstance(value, list):
            raise wrong(self.at(name), "a list of objects", value)
        for i, item in enumerate(value):
            yield Reader(item, f"{self.at(name)}[{i}]")

    def text_map(self, name: str) -> dict[str, str]:
        """An object of strings."""
        value = self.value.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(type(v) is str for v in value.values()):
            raise wrong(self.at(name), "an object of strings", value)
        return value

    def choice(self, name: str, table: dict[str, Any], default: Any = None) -> Any:
        """What a table has for a word."""
        word = self.text(name)
        if not word:
            return default
        if word not in table:
            raise ConfigError(self.at(name), f"{word!r} is none of {', '.join(table)}")
        return table[word]


def wrong(where: str, expected: str, value: object) -> ConfigError:
    """The error of a value of another type."""
    shown = repr(value)
    return ConfigError(where, f"expected {expected}, got {shown[:60]}")
