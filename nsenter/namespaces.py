# SPDX-License-Identifier: Apache-2.0
"""The kinds of namespace, one namespace of a container, and the list of them.

The names and the order are runc's (libcontainer/configs/namespaces_linux.go); what a namespace
is and what joining one takes is namespaces(7) and setns(2).

Everything that starts a process imports this module, so it imports almost nothing itself.
"""

from __future__ import annotations

import os

from nsenter.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import ClassVar

__all__ = [
    "Namespace",
    "NamespaceType",
    "Namespaces",
    "is_namespace_supported",
    "namespace_types",
    "supported_namespaces",
]


class _Kinds(type):
    """Iterates over the kinds, as an enum's class does."""

    def __iter__(cls) -> Iterator[NamespaceType]:
        return iter(_TYPES)

    def __len__(cls) -> int:
        return len(_TYPES)

    def __contains__(cls, item: object) -> bool:
        return item in _TYPES


class NamespaceType(str, metaclass=_Kinds):
    """A kind of namespace. The value is runc's word for it: ``NEWNET``.

    The kinds stand in the order in which namespaces are joined, see `namespace_types`. It is used
    like an enum.StrEnum, which it is not because `import enum` takes as long as a launch.

    Attributes:
        clone_flag: the ``CLONE_NEW*`` bit (linux/sched.h), for clone3(2), unshare(2), setns(2).
        oci_name: the word of the OCI runtime specification (config-linux.md, "Namespaces").
    """

    NEWUSER: ClassVar[NamespaceType]
    NEWIPC: ClassVar[NamespaceType]
    NEWUTS: ClassVar[NamespaceType]
    NEWNET: ClassVar[NamespaceType]
    NEWPID: ClassVar[NamespaceType]
    NEWNS: ClassVar[NamespaceType]
    NEWCGROUP: ClassVar[NamespaceType]
    NEWTIME: ClassVar[NamespaceType]

    __slots__ = ("_ns_name", "clone_flag", "oci_name")
    clone_flag: int
    oci_name: str
    _ns_name: str

    def __new__(cls, word: str) -> NamespaceType:
        """The kind of runc's word. Raises ValueError where it is none; `parse` takes more."""
        for kind in _TYPES:
            if kind == word:
                return kind
        raise ValueError(f"{word!r} is not a valid NamespaceType")

    @property
    def value(self) -> str:
        """runc's word, a plain string."""
        return str(self)

    name = value

    def __repr__(self) -> str:
        return f"<NamespaceType.{self.name}: {str(self)!r}>"

    def __reduce__(self) -> tuple[type[NamespaceType], tuple[str]]:
        return NamespaceType, (str(self),)

    def __copy__(self) -> NamespaceType:
        return self

    def __deepcopy__(self, memo: object) -> NamespaceType:
        return self

    def ns_name(self) -> str:
        """The file's name in ``/proc/PID/ns`` (namespaces(7)), which is also the wire's word."""
        return self._ns_name

    @classmethod
    def parse(cls, name: str) -> NamespaceType:
        """The type that `name` means, in any of its spellings and in any case.

        Args:
            name: runc's word (``NEWNS``), the C constant (``CLONE_NEWNS``), the file's name in
                ``/proc/PID/ns`` (``mnt``), or the OCI specification's word (``mount``).

        Raises:
            ValueError: `name` is none of them; the message lists those that are.
        """
        found = _SPELLINGS.get(str(name).lower())
        if found is None:
            raise ValueError(f"unknown namespace type {name!r}: expected {_accepted()}")
        return found


def _spellings_of(kind: NamespaceType) -> tuple[str, ...]:
    return kind.ns_name(), kind.oci_name, kind.value.lower(), f"clone_{kind.value.lower()}"


def _kind(word: str, clone_flag: int, ns_name: str, oci_name: str) -> NamespaceType:
    kind = str.__new__(NamespaceType, word)
    kind.clone_flag, kind.oci_name, kind._ns_name = clone_flag, oci_name, ns_name
    setattr(NamespaceType, word, kind)
    return kind


# The user namespace is first: it is the one that gives the privileges for the others.
_TYPES = (
    _kind("NEWUSER", 0x1000_0000, "user", "user"),
    _kind("NEWIPC", 0x0800_0000, "ipc", "ipc"),
    _kind("NEWUTS", 0x0400_0000, "uts", "uts"),
    _kind("NEWNET", 0x4000_0000, "net", "network"),
    _kind("NEWPID", 0x2000_0000, "pid", "pid"),
    _kind("NEWNS", 0x0002_0000, "mnt", "mount"),
    _kind("NEWCGROUP", 0x0200_0000, "cgroup", "cgroup"),
    _kind("NEWTIME", 0x0000_0080, "time", "time"),
)
_SPELLINGS = {word: kind for kind in _TYPES for word in _spellings_of(kind)}


def _accepted() -> str:
    short = dict.fromkeys(word for kind in _TYPES for word in (kind.ns_name(), kind.oci_name))
    return f"one of {', '.join(short)}, or {', '.join(_TYPES)} with or without CLONE_ before it"


def namespace_types() -> tuple[NamespaceType, ...]:
    """Every type, in the order in which namespaces are joined: user first.

    setns(2) asks for CAP_SYS_ADMIN in the user namespace that owns the one being joined, and
    joining a user namespace is what gives it to an unprivileged caller. The order is that of
    runc's NamespaceTypes.
    """
    return _TYPES


# Filled without a lock: two threads that race write the same answer.
_supported: dict[NamespaceType, bool] = {}


def supported_namespaces() -> list[NamespaceType]:
    """Those of `namespace_types` that `is_namespace_supported` says yes to."""
    return [kind for kind in namespace_types() if is_namespace_supported(kind)]


def is_namespace_supported(type: str) -> bool:
    """Whether the running kernel has this type of namespace.

    The answer is cached, unless it is a "no" that may only mean that /proc is not mounted (or is
    somebody else's). Thread-safe. As runc's IsNamespaceSupported.

    Args:
        type: any spelling that `NamespaceType.parse` takes; any other word is False.
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

    As runc's configs.Namespace.

    Args:
        type: the kind; a string is taken in any spelling that `NamespaceType.parse` takes.
        path: what to join: the absolute path of an nsfs file, or of a descriptor
            (``/proc/self/fd/N``, see `from_fd`). Empty for a new namespace.

    Raises:
        ValueError: the type is unknown, or the path cannot travel in a bootstrap message, where
            paths are ``type:path,type:path`` and a NUL: it is relative, or has a comma or a NUL.
        TypeError: the path is neither a str nor an os.PathLike[str].
    """

    type: NamespaceType
    path: str = ""

    def __init__(self, type: NamespaceType | str, path: str | os.PathLike[str] = "") -> None:
        kind = NamespaceType.parse(type)
        super().__init__(kind, _checked_path(kind, path))

    @classmethod
    def from_fd(cls, type: NamespaceType | str, fd: int) -> Namespace:
        """The namespace that an open descriptor of the caller refers to.

        Args:
            fd: an nsfs descriptor, or a pidfd: setns(2) takes either. The bootstrap knows the
                path made here and hands setns the descriptor itself; it opens nothing. So the
                descriptor must stay open until the process has started.

        Raises:
            ValueError: `fd` is not an integer >= 0.
        """
        return cls(type, f"/proc/self/fd/{_checked_number('fd', fd, least=0)}")

    @classmethod
    def from_pid(cls, type: NamespaceType | str, pid: int) -> Namespace:
        """The namespace that process `pid` is in now.

        A pid can be reused before the path is opened; where that matters, open a pidfd and use
        `from_fd`.

        Raises:
            ValueError: `pid` is not an integer > 0.
        """
        return cls(type, cls(type).get_path(pid))

    @property
    def is_new(self) -> bool:
        """Whether the namespace is to be created rather than joined."""
        return not self.path

    def get_path(self, pid: int) -> str:
        """The path given, or, of a new namespace, where process `pid` shows it.

        Raises:
            ValueError: `pid` is not an integer > 0.
        """
        shown = f"/proc/{_checked_number('pid', pid, least=1)}/ns/{self.type.ns_name()}"
        return self.path or shown

    def to_json(self) -> dict[str, str]:
        """As runc writes it in state.json: ``{"type": "NEWNET", "path": ""}``, ready for json."""
        return {"type": self.type.value, "path": self.path}

    def to_oci(self) -> dict[str, str]:
        """As config.json has it: ``{"type": "network"}``, and ``path`` only when there is one."""
        path = {"path": self.path} if self.path else {}
        return {"type": self.type.oci_name, **path}

    @classmethod
    def from_json(cls, value: object, *, where: str = "namespace") -> Namespace:
        """Read what `to_json` or `to_oci` wrote, or runc, or an OCI config.json has.

        Keys other than ``type`` and ``path`` are ignored, as the OCI specification demands
        (config.md, "Extensibility").

        Args:
            value: what json.loads gave.
            where: what to call the value in an error.

        Raises:
            ValueError: it is no object, a key is missing, or a value is bad; names the key.
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
    # True would name pid 1.
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
    """The namespaces of a process, at most one of each type, in the order they were added.

    As runc's configs.Namespaces. It has a length, is iterated, indexed by position and compared
    like a list, but is no `collections.abc.Sequence`: `index` is runc's, which answers -1 rather
    than raise. Mutable, hence not hashable, and not to be changed while another thread reads it.

    Args:
        items: the namespaces.

    Raises:
        ValueError: a type is there twice.
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
        """Add a namespace; if the type is there, give it this path where it stands.

        Raises:
            ValueError, TypeError: as `Namespace` does; nothing is changed then.
        """
        item = Namespace(type, path)
        i = self.index(item.type)
        if i == -1:
            self._items.append(item)
        else:
            self._items[i] = item

    def remove(self, type: NamespaceType) -> bool:
        """Take the namespace of this type out. Returns whether there was one."""
        i = self.index(type)
        if i == -1:
            return False
        del self._items[i]
        return True

    def index(self, type: NamespaceType) -> int:
        """The position of the namespace of this type, or -1."""
        for i, item in enumerate(self._items):
            if item.type == type:
                return i
        return -1

    def contains(self, type: NamespaceType) -> bool:
        """Whether there is a namespace of this type, new or joined."""
        return self.index(type) != -1

    def path_of(self, type: NamespaceType) -> str:
        """The path of the namespace of this type; empty if it is new or not there."""
        i = self.index(type)
        return "" if i == -1 else self._items[i].path

    def is_private(self, type: NamespaceType) -> bool:
        """Whether the namespace of this type is new.

        One that is joined is shared with its owner, one that is not there with the parent.
        """
        i = self.index(type)
        return i != -1 and self._items[i].is_new

    def clone_flags(self) -> int:
        """The ``CLONE_NEW*`` flags of the new namespaces together; those joined add nothing."""
        flags = 0
        for item in self._items:
            if item.is_new:
                flags |= item.type.clone_flag
        return flags

    def copy(self) -> Namespaces:
        """A list of its own with the same namespaces."""
        return Namespaces(self._items)

    def to_json(self) -> list[dict[str, str]]:
        """As runc writes it in state.json, see `Namespace.to_json`."""
        return [item.to_json() for item in self._items]

    def to_oci(self) -> list[dict[str, str]]:
        """As config.json has it under ``linux.namespaces``, see `Namespace.to_oci`."""
        return [item.to_oci() for item in self._items]

    @classmethod
    def from_json(cls, value: object, *, where: str = "namespaces") -> Namespaces:
        """Read a list of what `Namespace.from_json` reads.

        Args:
            value: what json.loads gave; None (how Go writes a nil list) is an empty list.
            where: what to call the list in an error.

        Raises:
            ValueError: it is no list, an element is bad, or a type is there twice; names the
                index and the key.
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
        """Whether this very namespace is there (a Namespace), or one of this type."""
        if isinstance(item, Namespace):
            return item in self._items
        return any(own.type == item for own in self._items)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Namespaces):
            return NotImplemented
        return self._items == other._items

    def __repr__(self) -> str:
        return f"Namespaces({self._items!r})"
