# SPDX-License-Identifier: Apache-2.0
"""The bootstrap message: what a process is to join and create, as runc's nsexec reads it.

The format, the order and the rules are those of runc's libcontainer (container_linux.go,
message_linux.go and nsenter/README.md); csrc/bootstrap.c is what reads and checks it here.
"""

from __future__ import annotations

import os

from nsenter import idmap
from nsenter._nsexec import ffi, lib
from nsenter.errors import BlobError
from nsenter.idmap import IDMap
from nsenter.namespaces import Namespace, Namespaces, NamespaceType, namespace_types
from nsenter.values import Value
from nsenter.wire import attribute_name, raise_refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from nsenter.attributes import Attribute, decode_attributes, encode_attributes

__all__ = [
    "Attribute",
    "BlobError",
    "BootstrapData",
    "TimeOffset",
    "bootstrap_data",
    "decode_attributes",
    "encode_attributes",
    "requires_root_or_mapping_tool",
]

_RAW = ("Attribute", "decode_attributes", "encode_attributes")


def __getattr__(name: str) -> object:
    """The raw level, for who asks for it: a launch does not."""
    if name not in _RAW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nsenter import attributes

    return getattr(attributes, name)


CLONE_FLAGS = 27281
NS_PATHS = 27282
UIDMAP = 27283
GIDMAP = 27284
SETGROUP = 27285
OOM_SCORE_ADJ = 27286
ROOTLESS_EUID = 27287
UIDMAPPATH = 27288
GIDMAPPATH = 27289
TIMENSOFFSET = 27290

_ROOM: int = lib.BOOTSTRAP_ROOM
_new = ffi.new_allocator(should_clear_after_alloc=False)
_CLOCKS = ("monotonic", "boottime")


class TimeOffset(Value):
    """How far a clock of a new time namespace is ahead (time_namespaces(7)).

    Args:
        clock: "monotonic" or "boottime".
        secs: whole seconds, may be negative.
        nsecs: nanoseconds on top, 0 … 999,999,999.

    Raises:
        ValueError: there is no such clock.
    """

    clock: str
    secs: int
    nsecs: int = 0

    def __post_init__(self) -> None:
        # The text is lines of words: a clock with a newline in it would be two.
        if self.clock not in _CLOCKS:
            raise ValueError(f"time offset of clock {self.clock!r}: must be one of {_CLOCKS}")

    def __str__(self) -> str:
        return f"{self.clock} {self.secs:d} {self.nsecs:d}\n"


class BootstrapData(Value):
    """A bootstrap message.

    Args:
        clone_flags: CLONE_NEW* bits of the namespaces to create.
        namespace_paths: those to join, each with a path, in the order of joining.
        uid_mappings, gid_mappings: ids of a new user namespace; empty: written by nobody.
        uidmap_path, gidmap_path: absolute paths of newuidmap(1) and newgidmap(1), used where
            the maps may not be written directly.
        setgroup: whether setgroups(2) stays allowed inside; None: not said, which means no.
        oom_score_adj: -1000 … 1000; None: left as it is.
        rootless_euid: whether the caller is unprivileged.
        time_offsets: at most one for each clock of a new time namespace.
    """

    # What encode() gave: a value does not change, and so neither does its message.
    __slots__ = ("_blob",)

    clone_flags: int = 0
    namespace_paths: tuple[Namespace, ...] = ()
    uid_mappings: tuple[IDMap, ...] = ()
    gid_mappings: tuple[IDMap, ...] = ()
    uidmap_path: str | None = None
    gidmap_path: str | None = None
    setgroup: bool | None = None
    oom_score_adj: int | None = None
    rootless_euid: bool = False
    time_offsets: tuple[TimeOffset, ...] = ()

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__  # without the message: nothing of a value can be set

    def encode(self) -> bytes:
        """The message, to the byte as runc writes it.

        Raises:
            BlobError: (a ValueError) a value that the reader would refuse; names the attribute.
        """
        blob: bytes | None = getattr(self, "_blob", None)
        if blob is None:
            blob = self._encode()
            object.__setattr__(self, "_blob", blob)
        return blob

    def _encode(self) -> bytes:
        flags, setgroup = self.clone_flags, self.setgroup
        if not 0 <= flags < 2**32:
            raise _refusal(CLONE_FLAGS, f"{flags} is not a u32")
        texts = self._texts()
        length = len(texts)
        room = length + _ROOM
        out = _new("uint8_t[]", room)
        says = -1 if setgroup is None else setgroup
        values = flags, says, self.rootless_euid, texts, length, out, room
        size = lib.bootstrap_encode(*values, ffi.NULL)
        if not size:
            err = ffi.new("struct wire_error *")
            lib.bootstrap_encode(*values, err)
            raise_refused(err, encoding=True)
        return bytes(ffi.buffer(out, size))

    def _texts(self) -> bytes:
        """Those of the message in its order, each with a NUL behind it; "" is not sent."""
        # Long paths are copied once: the pieces are put together at the end.
        paths = self.namespace_paths
        join = [piece for ns in paths for piece in (",", ns.type.ns_name(), ":", ns.path)][1:]
        uid_tool = "" if self.uidmap_path is None else _tool(UIDMAPPATH, self.uidmap_path)
        gid_tool = "" if self.gidmap_path is None else _tool(GIDMAPPATH, self.gidmap_path)
        uids, gids = idmap.text(self.uid_mappings), idmap.text(self.gid_mappings)
        oom = "" if self.oom_score_adj is None else f"{self.oom_score_adj}"
        offsets = "".join(map(str, self.time_offsets)) if self.time_offsets else ""
        rest = f"\0{uid_tool}\0{uids}\0{gids}\0{gid_tool}\0{oom}\0{offsets}\0"
        return os.fsencode("".join([*join, rest]))

    @classmethod
    def decode(cls, blob: bytes) -> BootstrapData:
        """Parse and check a message with the parser that nsexec has.

        Raises:
            BlobError: names the attribute, its offset and what is wrong.
        """
        parsed = _parse(blob)
        join = (parsed.join.items[i] for i in range(parsed.join.count))
        oom = _bytes(parsed.oom_score_adj)
        return cls(
            clone_flags=parsed.cloneflags,
            namespace_paths=tuple(_decode_namespace(ns) for ns in join),
            uid_mappings=idmap.parse(_bytes(parsed.uidmap)),
            gid_mappings=idmap.parse(_bytes(parsed.gidmap)),
            uidmap_path=os.fsdecode(_bytes(parsed.uidmap_path)) or None,
            gidmap_path=os.fsdecode(_bytes(parsed.gidmap_path)) or None,
            setgroup=parsed.setgroup if parsed.says_setgroup else None,
            oom_score_adj=int(oom) if oom else None,
            rootless_euid=parsed.rootless_euid,
            time_offsets=tuple(_decode_offsets(_bytes(parsed.timens_offsets))),
        )


def _parse(blob: bytes) -> Any:
    parsed, err = ffi.new("struct bootstrap *"), ffi.new("struct wire_error *")
    if not lib.bootstrap_parse(ffi.from_buffer("uint8_t[]", blob), len(blob), parsed, err):
        raise_refused(err)
    return parsed


def _bytes(span: Any) -> bytes:
    return bytes(ffi.buffer(span.data, span.len)) if span.len else b""


def _tool(attribute: int, path: str) -> str:
    """A tool's path, which is never sent empty, nor as two texts."""
    if not path or "\0" in path:
        raise _refusal(attribute, f"{path!r} is no path of a mapping tool")
    return path


def _refusal(attribute: int, reason: str) -> BlobError:
    return BlobError(reason, attribute=attribute, name=attribute_name(attribute), offset=None)


def _decode_namespace(item: Any) -> Namespace:
    name = ffi.string(lib.namespace_name(item.flag)).decode()
    return Namespace(NamespaceType.parse(name), os.fsdecode(_bytes(item.path)))


def _decode_offsets(text: bytes) -> Iterator[TimeOffset]:
    for line in text.decode().splitlines():
        clock, secs, nsecs = line.split(" ")
        yield TimeOffset(clock, int(secs), int(nsecs))


def requires_root_or_mapping_tool(gid_mappings: Iterable[IDMap]) -> bool:
    """Whether a gid map is more than root inside for the caller's own group outside.

    An unprivileged process may write only that one, and only without setgroups(2). As runc's
    requiresRootOrMappingTool.
    """
    return tuple(gid_mappings) != (IDMap(0, os.getegid(), 1),)


def bootstrap_data(
    namespaces: Namespaces,
    *,
    uid_mappings: Iterable[IDMap] = (),
    gid_mappings: Iterable[IDMap] = (),
    rootless_euid: bool | None = None,
    oom_score_adj: int | None = None,
    time_offsets: Iterable[TimeOffset] = (),
) -> BootstrapData:
    """The message for a configuration, by runc's rules.

    Joined namespaces are ordered as runc joins them, user first. An existing user namespace has
    its maps already, an existing time namespace its offsets: then none are sent. The mapping
    tools are named only for an unprivileged caller that has them on PATH; setgroups(2) stays
    allowed only where root or they write a map that needs them.

    Args:
        rootless_euid: whether the caller is unprivileged; None: whether its effective uid is
            not 0.
        The others as in BootstrapData.

    Raises:
        ValueError: maps or offsets are given, but no such namespace is in `namespaces`; or the
            maps are not ones the kernel takes.
    """
    rootless = os.geteuid() != 0 if rootless_euid is None else rootless_euid
    uid_mappings, gid_mappings = tuple(uid_mappings), tuple(gid_mappings)
    time_offsets = tuple(time_offsets)
    _check_owner(namespaces, NamespaceType.NEWUSER, "id mappings", uid_mappings + gid_mappings)
    _check_owner(namespaces, NamespaceType.NEWTIME, "time offsets", time_offsets)
    if namespaces.path_of(NamespaceType.NEWUSER):
        uid_mappings = gid_mappings = ()
    if namespaces.path_of(NamespaceType.NEWTIME):
        time_offsets = ()
    for mappings in filter(None, (uid_mappings, gid_mappings)):
        idmap.check(mappings)
    gidmap_path = _mapping_tool("newgidmap", rootless, gid_mappings)
    return BootstrapData(
        clone_flags=namespaces.clone_flags(),
        namespace_paths=_order(namespaces),
        uid_mappings=uid_mappings,
        gid_mappings=gid_mappings,
        uidmap_path=_mapping_tool("newuidmap", rootless, uid_mappings),
        gidmap_path=gidmap_path,
        setgroup=True if _keeps_setgroups(gid_mappings, rootless, gidmap_path) else None,
        oom_score_adj=oom_score_adj,
        rootless_euid=rootless,
        time_offsets=time_offsets,
    )


def _check_owner(
    namespaces: Namespaces, kind: NamespaceType, what: str, given: tuple[object, ...]
) -> None:
    if given and not namespaces.contains(kind):
        raise ValueError(f"{what} given, but no {kind.oci_name} namespace")


def _order(namespaces: Namespaces) -> tuple[Namespace, ...]:
    joined = {ns.type: ns for ns in namespaces if not ns.is_new}
    return tuple(joined[kind] for kind in namespace_types() if kind in joined)


def _keeps_setgroups(maps: tuple[IDMap, ...], rootless: bool, tool: str | None) -> bool:
    if not maps or not requires_root_or_mapping_tool(maps):
        return False
    if not rootless:
        return True
    own_id_only = len(maps) == 1 and maps[0].host_id == os.getegid() and maps[0].size == 1
    return tool is not None and not own_id_only


def _mapping_tool(name: str, rootless: bool, maps: tuple[IDMap, ...]) -> str | None:
    if not rootless or not maps:
        return None
    for folder in os.get_exec_path():
        path = os.path.join(folder, name)
        if folder.startswith("/") and os.access(path, os.X_OK):
            return path
    return None
