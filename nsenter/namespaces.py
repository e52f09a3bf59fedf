# SPDX-License-Identifier: Apache-2.0
"""Types of namespaces, one namespace of a process, and the list of them.

The names and the order are those of runc (libcontainer/configs/namespaces_linux.go); namespaces(7)
and setns(2) describe namespaces and what joining one requires.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Iterator

from nsenter._host.records import Value

__all__ = [
    "Namespace",
    "NamespaceType",
    "Namespaces",
    "is_namespace_supported",
    "namespace_types",
    "supported_namespaces",
]


class NamespaceType(enum.StrEnum):
    """A type of namespace. The value is the word that runc uses, for example ``NEWNET``.

    The types are in the order in which namespaces are joined: see `namespace_types`.

    Attributes:
        clone_flag: the ``CLONE_NEW*`` flag (linux/sched.h) for clone3(2), unshare(2) and setns(2).
        oci_name: the word in the OCI runtime specification (config-linux.md, "Namespaces").

    Example:
        >>> NamespaceType.parse("mnt").oci_name
        'mount'
    """

    _value_: str
    clone_flag: int
    oci_name: str
    _ns_name: str

    # The user namespace is first, because it gives the privileges for the others.
    NEWUSER = "NEWUSER", 0x1000_0000, "user", "user"
    NEWIPC = "NEWIPC", 0x0800_0000, "ipc", "ipc"
    NEWUTS = "NEWUTS", 0x0400_0000, "uts", "uts"
    NEWNET = "NEWNET", 0x4000_0000, "net", "network"
    NEWPID = "NEWPID", 0x2000_0000, "pid", "pid"
    NEWNS = "NEWNS", 0x0002_0000, "mnt", "mount"
    NEWCGROUP = "NEWCGROUP", 0x0200_0000, "cgroup", "cgroup"
    NEWTIME = "NEWTIME", 0x0000_0080, "time", "time"

    def __new__(
        cls, word: str, clone_flag: int = 0, ns_name: str = "", oci_name: str = ""
    ) -> NamespaceType:
        """Create a member with the attributes of its row."""
        kind = str.__new__(cls, word)
        kind._value_ = word
        kind.clone_flag, kind.oci_name, kind._ns_name = clone_flag, oci_name, ns_name
        return kind

    def ns_name(self) -> str:
        """Return the name of the file in ``/proc/PID/ns`` (namespaces(7)), as used in messages."""
        return self._ns_name

    @classmethod
    def parse(cls, name: str) -> NamespaceType:
        """Return the type for any of its spellings, in upper or lower case.

        Args:
            name: runc's word (``NEWNS``), the C constant (``CLONE_NEWNS``), the name of the file in
                ``/proc/PID/ns`` (``mnt``), or the word of the OCI specification (``mount``).

        Raises:
            ValueError: `name` is unknown; the message lists the words that are accepted.
        """
        found = _SPELLINGS.get(str(name).lower())
        if found is None:
            raise ValueError(f"unknown namespace type {name!r}: expected {_accepted()}")
        return found


def _spellings_of(kind: NamespaceType) -> tuple[str, ...]:
    return kind.ns_name(), kind.oci_name, kind.value.lower(), f"clone_{kind.value.lower()}"


_TYPES = tuple(NamespaceType)
_SPELLINGS = {word: kind for kind in _TYPES for word in _spellings_of(kind)}


def _accepted() -> str:
    short = dict.fromkeys(word for kind in _TYPES for word in (kind.ns_name(), kind.oci_name))
    return f"one of {', '.join(short)}, or {', '.join(_TYPES)} with or without CLONE_ before it"


def namespace_types() -> tuple[NamespaceType, ...]:
    """Return every type, in the order in which namespaces are joined: user first.

    setns(2) requires CAP_SYS_ADMIN in the user namespace that owns the namespace to join, and an
    unprivileged caller gets it by joining that user namespace. The order is that of runc's
    NamespaceTypes.
    """
    return _TYPES


# Filled without a lock: two threads that race write the same value.
_supported: dict[NamespaceType, bool] = {}


def supported_namespaces() -> list[NamespaceType]:
    """Return the types that the running kernel supports, in the order of `namespace_types`."""
    return [kind for kind in namespace_types() if is_namespace_supported(kind)]


def is_namespace_supported(type: str) -> bool:
    """Return whether the running kernel supports this type of namespace.

    The answer is cached, unless it is False and /proc may not be mounted. This function is
    thread-safe. It corresponds to runc's IsNamespaceSupported.

    Args:
        type: any spelling that `NamespaceType.parse` accepts. For every other word the answer is
            False.
    """
    kind = _SPELLINGS.get(type.lower())
    if kind is None:
        return False
    answer = _supported.get(kind)
    if answer is None:
        answer = _exists(f"/proc/self/ns/{kind.ns_name()}")
        if answer or _exists("/proc/self/ns"):
            _supported[kind] = answer
    return answer


def _exists(path: str) -> bool:
    try:
        os.stat(path)
    except OSError:
        return False
    return True


class Namespace(Value):
    """One namespace of a process: a new one, or one to join by its path.

    This corresponds to runc's configs.Namespace.

    Args:
        type: the type, in any spelling that `NamespaceType.parse` accepts.
        path: the namespace to join: the absolute path of an nsfs file, or of a descriptor
            (``/proc/self/fd/N``, see `from_fd`). Empty for a new namespace.

    Raises:
        ValueError: the type is unknown, or a bootstrap message cannot hold the path, because it is
            relative or has a comma or a NUL. (In a message, paths are ``type:path,type:path`` and
            a NUL.)
        TypeError: the path is neither a str nor an os.PathLike[str].

    Example:
        >>> Namespace("net", "/run/netns/blue").to_oci()
        {'type': 'network', 'path': '/run/netns/blue'}
    """

    type: NamespaceType
    path: str = ""

    def __init__(self, type: NamespaceType | str, path: str | os.PathLike[str] = "") -> None:
        kind = NamespaceType.parse(type)
        super().__init__(kind, _checked_path(kind, path))

    @classmethod
    def from_fd(cls, type: NamespaceType | str, fd: int) -> Namespace:
        """Return the namespace that an open descriptor of the caller refers to.

        Args:
            type: the type, in any spelling that `NamespaceType.parse` accepts.
            fd: an nsfs descriptor or a pidfd: setns(2) accepts both. A start recognises the path
                ``/proc/self/fd/N`` and gives the descriptor itself to setns, without opening it
                again. So it must stay open until the process has started.

        Raises:
            ValueError: `fd` is not an integer >= 0.
        """
        return cls(type, f"/proc/self/fd/{_checked_number('fd', fd, least=0)}")

    @classmethod
    def from_pid(cls, type: NamespaceType | str, pid: int) -> Namespace:
        """Return the namespace that process `pid` is in at the moment.

        The pid can be reused before the path is opened. If that matters, open a pidfd and use
        `from_fd`.

        Raises:
            ValueError: `pid` is not an integer > 0.
        """
        return cls(type, cls(type).get_path(pid))

    @property
    def is_new(self) -> bool:
        """Whether the namespace is created, not joined."""
        return not self.path

    def get_path(self, pid: int) -> str:
        """Return the path; for a new namespace, the path in /proc of process `pid`.

        Raises:
            ValueError: `pid` is not an integer > 0.
        """
        shown = f"/proc/{_checked_number('pid', pid, least=1)}/ns/{self.type.ns_name()}"
        return self.path or shown

    def to_json(self) -> dict[str, str]:
        """Return what runc writes to state.json: ``{"type": "NEWNET", "path": ""}``."""
        return {"type": self.type.value, "path": self.path}

    def to_oci(self) -> dict[str, str]:
        """Return the form of config.json: ``{"type": "network"}``, and ``path`` if it has one."""
        path = {"path": self.path} if self.path else {}
        return {"type": self.type.oci_name, **path}

    @classmethod
    def from_json(cls, value: object, *, where: str = "namespace") -> Namespace:
        """Return the namespace for an object of state.json or config.json.

        Keys other than ``type`` and ``path`` are ignored, as the OCI specification requires
        (config.md, "Extensibility").

        Args:
            value: the result of json.loads.
            where: the name of the value in an error.

        Raises:
            ValueError: the value is not an object, a key is missing, or a value is not valid; the
                message names the key.
        """
        if not isinstance(value, dict):
            raise ValueError(f"{where}: expected an object, got {value!r}")
        kind = _string(value, "type", where)
        path = _string(value, "path", where) if "path" in value else ""
        try:
            parsed = NamespaceType.parse(kind)
        except ValueError as err:
            raise ValueError(f"{where}.type: {err}") from None
        try:
            return cls(parsed, path)
        except ValueError as err:
            raise ValueError(f"{where}.path: {err}") from None


def _checked_path(kind: NamespaceType, path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError(f"{kind} namespace path {text!r}: expected a str or an os.PathLike[str]")
    if text and not text.startswith("/"):
        raise ValueError(f"{kind} namespace path {text!r}: must be absolute")
    for char, name in (",", "a comma"), ("\0", "a NUL"):
        if char in text:
            raise ValueError(f"{kind} namespace path {text!r}: must not contain {name}")
    return text


def _checked_number(what: str, number: int, *, least: int) -> int:
    # True would mean pid 1.
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise ValueError(f"{what} {number!r}: must be an integer >= {least}")
    return number


def _string(value: dict[object, object], key: str, where: str) -> str:
    try:
        found = value[key]
    except KeyError:
        raise ValueError(f"{where}.{key}: missing") from None
    if not isinstance(found, str):
        raise ValueError(f"{where}.{key}: expected a string, got {found!r}")
    return found


class Namespaces:
    """The namespaces of a process, at most one of each type, in the order of their addition.

    This corresponds to runc's configs.Namespaces. It has a length and can be iterated, indexed by
    position and compared like a list. It is not a `collections.abc.Sequence`, because `index`
    returns -1 like runc's, and does not raise. It is mutable and so not hashable; do not change it
    while another thread reads it.

    Args:
        items: the namespaces.

    Raises:
        ValueError: two namespaces have the same type.

    Example:
        >>> namespaces = Namespaces([Namespace("pid"), Namespace("net", "/run/netns/blue")])
        >>> namespaces.is_private(NamespaceType.NEWNET)
        False
    """

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[Namespace] = ()) -> None:
        self._items = list(items)
        seen: dict[NamespaceType, int] = {}
        for i, item in enumerate(self._items):
            first = seen.setdefault(item.type, i)
            if first != i:
                raise ValueError(f"{item.type} is there twice, at [{first}] and [{i}]")

    def add(self, type: NamespaceType, path: str | os.PathLike[str] = "") -> None:
        """Add a namespace. If there is one of this type already, replace its path.

        Raises:
            ValueError, TypeError: see `Namespace`; nothing was changed.
        """
        item = Namespace(type, path)
        i = self.index(item.type)
        if i == -1:
            self._items.append(item)
        else:
            self._items[i] = item

    def remove(self, type: NamespaceType) -> bool:
        """Remove the namespace of this type and return whether there was one."""
        i = self.index(type)
        if i == -1:
            return False
        del self._items[i]
        return True

    def index(self, type: NamespaceType) -> int:
        """Return the position of the namespace of this type, or -1."""
        for i, item in enumerate(self._items):
            if item.type == type:
                return i
        return -1

    def contains(self, type: NamespaceType) -> bool:
        """Return whether there is a namespace of this type, new or joined."""
        return self.index(type) != -1

    def path_of(self, type: NamespaceType) -> str:
        """Return the path of the namespace of this type; "" if it is new or if there is none."""
        i = self.index(type)
        return "" if i == -1 else self._items[i].path

    def is_private(self, type: NamespaceType) -> bool:
        """Return whether the namespace of this type is new.

        A namespace that is joined is shared with its processes. If there is none of this type, the
        caller's is shared.
        """
        i = self.index(type)
        return i != -1 and self._items[i].is_new

    def clone_flags(self) -> int:
        """Return the ``CLONE_NEW*`` flags of all new namespaces."""
        flags = 0
        for item in self._items:
            if item.is_new:
                flags |= item.type.clone_flag
        return flags

    def copy(self) -> Namespaces:
        """Return a copy of the list."""
        return Namespaces(self._items)

    def to_json(self) -> list[dict[str, str]]:
        """Return what runc writes to state.json: see `Namespace.to_json`."""
        return [item.to_json() for item in self._items]

    def to_oci(self) -> list[dict[str, str]]:
        """Return ``linux.namespaces`` of config.json: see `Namespace.to_oci`."""
        return [item.to_oci() for item in self._items]

    @classmethod
    def from_json(cls, value: object, *, where: str = "namespaces") -> Namespaces:
        """Return the namespaces for a list of state.json or config.json.

        Args:
            value: the result of json.loads. None means an empty list, because Go writes a nil list
                as null.
            where: the name of the list in an error.

        Raises:
            ValueError: the value is not a list, an element is not valid, or two elements have the
                same type; the message names the index and the key.
        """
        if value is None:
            return cls()
        if not isinstance(value, list):
            raise ValueError(f"{where}: expected a list, got {value!r}")
        items = [Namespace.from_json(v, where=f"{where}[{i}]") for i, v in enumerate(value)]
        try:
            return cls(items)
        except ValueError as err:
            raise ValueError(f"{where}: type {err}") from None

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Namespace]:
        return iter(self._items)

    def __getitem__(self, index: int) -> Namespace:
        return self._items[index]

    def __contains__(self, item: object) -> bool:
        """Return whether this Namespace, or a namespace of this type, is in the list."""
        if isinstance(item, Namespace):
            return item in self._items
        return any(own.type == item for own in self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Namespaces):
            return NotImplemented
        return self._items == other._items

    def __repr__(self) -> str:
        return f"Namespaces({self._items!r})"
