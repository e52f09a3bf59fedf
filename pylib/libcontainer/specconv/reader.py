# SPDX-License-Identifier: Apache-2.0
"""Read values from parsed JSON.

Each value must have the expected type; otherwise the error says where it is in the file. null means
the same as a missing key, as in runc.
"""

from __future__ import annotations

from libcontainer.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

_NAMES = {str: "a string", int: "an integer", bool: "true or false"}
_LONGEST_SHOWN = 60
INT32 = 2**31 - 1
UINT32 = 2**32 - 1
INT64 = 2**63 - 1
UINT64 = 2**64 - 1


class Reader:
    """An object of the document, and the methods to read its members.

    Args:
        value: the object.
        where: its path in the document, such as "linux.resources".

    Raises:
        ConfigError: the value is not an object. Every method raises it for a value of a wrong type.
    """

    __slots__ = ("value", "where")

    def __init__(self, value: Any, where: str) -> None:
        if type(value) is not dict:
            raise wrong(where or "config.json", "an object", value)
        self.value: dict[str, Any] = value
        self.where = where

    def at(self, name: str) -> str:
        """Return the path of a member."""
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
        """Return a string, which must not have a NUL, because system calls cannot take one."""
        value: str = self._get(name, str, default)
        if not value.isascii() or "\0" in value:
            _check_text(self.at(name), value)
        return value

    def needed_text(self, name: str) -> str:
        """Return a string that must be present."""
        value = self.text(name)
        if not value:
            raise ConfigError(self.at(name), "it is missing or empty")
        return value

    def absolute_path(self, name: str) -> str:
        """Return an absolute path that must be present."""
        path = self.needed_text(name)
        if not path.startswith("/"):
            raise ConfigError(self.at(name), f"{path!r} is not an absolute path")
        return path

    def flag(self, name: str) -> bool:
        """Return a bool; False if it is missing."""
        value: bool = self._get(name, bool, False)
        return value

    def optional_flag(self, name: str) -> bool | None:
        """Return a bool; None if it is missing."""
        value: bool | None = self._get(name, bool, None)
        return value

    def number(self, name: str, default: int = 0, *, least: int = 0, most: int = INT64) -> int:
        """Return an integer within bounds."""
        value: int = self._get(name, int, default)
        if not least <= value <= most:
            raise ConfigError(self.at(name), f"{value} is not in {least}..{most}")
        return value

    def optional_number(self, name: str, *, least: int = 0, most: int = INT64) -> int | None:
        """Return an integer within bounds; None if it is missing."""
        if self.value.get(name) is None:
            return None
        return self.number(name, least=least, most=most)

    def limit(self, name: str, *, least: int = 0, most: int = INT64) -> int | None:
        """Return an integer; None if it is missing or 0, which means no limit, as in runc."""
        return self.optional_number(name, least=least, most=most) or None

    def id(self, name: str) -> int:
        """Return a user or group id."""
        return self.number(name, most=UINT32 - 1)

    def object(self, name: str) -> Reader | None:
        """Return a Reader of an object; None if it is missing."""
        value = self.value.get(name)
        return None if value is None else Reader(value, self.at(name))

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of strings."""
        value = self.value.get(name)
        if not value and (value is None or type(value) is list):
            return ()
        try:
            together = "".join(value) if type(value) is list else None
        except TypeError:
            together = None
        if together is None:
            raise _wrong_item(self.at(name), "a list of strings", value, str)
        if not together.isascii() or "\0" in together:
            for i, item in enumerate(value):
                _check_text(f"{self.at(name)}[{i}]", item)
        return tuple(value)

    def ids(self, name: str) -> tuple[int, ...]:
        """Return a list of user or group ids."""
        value = self.value.get(name)
        if value is None:
            return ()
        if type(value) is not list or not all(type(item) is int for item in value):
            raise _wrong_item(self.at(name), "a list of ids", value, int)
        for i, item in enumerate(value):
            if not 0 <= item < UINT32:
                raise ConfigError(f"{self.at(name)}[{i}]", f"{item} is not in 0..{UINT32 - 1}")
        return tuple(value)

    def objects(self, name: str) -> Iterator[Reader]:
        """Return Readers of the objects in a list."""
        value = self.value.get(name)
        if value is None:
            return
        path = self.at(name)
        if type(value) is not list:
            raise wrong(path, "a list of objects", value)
        for i, item in enumerate(value):
            yield Reader(item, f"{path}[{i}]")

    def members(self, name: str) -> Iterator[tuple[str, Reader]]:
        """Return Readers of the objects in an object, by name. null means an empty object."""
        table = self.object(name)
        if table is not None:
            for key, item in table.value.items():
                _check_text(table.where, key)
                yield key, Reader({} if item is None else item, table.at(key))

    def text_map(self, name: str) -> dict[str, str]:
        """Return an object whose values are strings."""
        table = self.object(name)
        if table is None:
            return {}
        for key in table.value:
            _check_text(table.where, key)
            table.text(key)
        return {key: value for key, value in table.value.items() if value is not None}

    def choice(self, name: str, table: dict[str, Any], default: Any = None) -> Any:
        """Return the value that a table has for a word.

        Without a default, the word must be present.
        """
        word = self.text(name) if default is not None else self.needed_text(name)
        return table_entry(self.at(name), word, table) if word else default


def table_entry(where: str, word: str, table: dict[str, Any]) -> Any:
    """Return the value that a table has for a word.

    Raises:
        ConfigError: the table does not have the word.
    """
    if word not in table:
        raise ConfigError(where, f"{word!r} is none of {', '.join(table)}")
    return table[word]


def check_word(where: str, word: str, words: Iterable[str]) -> str:
    """Return the word if it is one of `words`.

    Raises:
        ConfigError: it is not.
    """
    if word not in words:
        raise ConfigError(where, f"{word!r} is none of {', '.join(words)}")
    return word


def _check_text(where: str, text: str) -> None:
    if "\0" in text:
        raise ConfigError(where, f"{text[:_LONGEST_SHOWN]!r} has a NUL")
    try:
        # A file that is not UTF-8 is read with its bytes kept, as Python names files.
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        shown = text[:_LONGEST_SHOWN]
        raise ConfigError(where, f"{shown!r} has half of a surrogate pair") from None


def _wrong_item(where: str, expected: str, value: Any, kind: type) -> ConfigError:
    """Return the error for a value that is not a list, or for an item of the wrong type."""
    if type(value) is not list:
        return wrong(where, expected, value)
    at, item = next((i, item) for i, item in enumerate(value) if type(item) is not kind)
    return wrong(f"{where}[{at}]", _NAMES[kind], item)


def wrong(where: str, expected: str, value: object) -> ConfigError:
    """Return the error for a value of the wrong type."""
    return ConfigError(where, f"expected {expected}, got {_shown(value)}")


def _shown(value: object) -> str:
    """Return a value as JSON for an error: cut if it is long, and only its kind if it is nested."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return repr(value)[:_LONGEST_SHOWN]
