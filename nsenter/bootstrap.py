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
from nsenter.wire import encode, raise_refused

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

    def encode(self) -> bytes:
        """The message, to the byte as runc writes it.

        Raises:
            BlobError: (a ValueError) a value that the reader would refuse; names the attribute.
        """
        if not 0 <= self.clone_flags < 2**32:
            raise BlobError(
                f"{self.clone_flags} is not a u32",
                attribute=CLONE_FLAGS, name="CLONE_FLAGS", offset=None,
            )  # fmt: skip
        blob = encode(self._attributes())
        _parse(blob)
        return blob

    def _attributes(self) -> Iterator[tuple[int, int | bytes]]:
        yield CLONE_FLAGS, self.clone_flags
        if self.namespace_paths:
            yield NS_PATHS, b",".join(map(_encode_namespace, self.namespace_paths))
        yield from _present(UIDMAPPATH, self.uidmap_path)
        if self.uid_mappings:
            yield UIDMAP, idmap.encode(self.uid_mappings)
        if self.gid_mappings:
            yield GIDMAP, idmap.encode(self.gid_mappings)
        yield from _present(GIDMAPPATH, self.gidmap_path)
        if self.setgroup is not None:
            yield SETGROUP, int(self.setgroup)
        if self.oom_score_adj is not None:
            yield OOM_SCORE_ADJ, b"%d" % self.oom_score_adj
        yield ROOTLESS_EUID, int(self.rootless_euid)
        if self.time_offsets:
            yield TIMENSOFFSET, "".join(map(str, self.time_offsets)).encode()

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


def _present(type: int, path: str | None) -> Iterator[tuple[int, bytes]]:
    if path is not None:
        yield type, os.fsencode(path)


def _encode_namespace(namespace: Namespace) -> bytes:
    return b"%b:%b" % (namespace.type.ns_name().encode(), os.fsencode(namespace.path))


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
