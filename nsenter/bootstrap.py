# SPDX-License-Identifier: Apache-2.0
"""The bootstrap message: which namespaces a process joins and creates, in runc's form.

The format, the order and the rules are those of runc's libcontainer (container_linux.go,
message_linux.go and nsenter/README.md). csrc/message/bootstrap.c reads and checks a message.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from nsenter import idmap
from nsenter._host.records import Value
from nsenter._message.codec import attribute_name, raise_refused
from nsenter._nsexec import ffi, lib
from nsenter.errors import MessageError
from nsenter.idmap import IDMap
from nsenter.namespaces import Namespace, Namespaces, NamespaceType, namespace_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nsenter._message.raw import Attribute, decode_attributes, encode_attributes
else:
    Any = object  # at run time: importing typing takes 4 ms

__all__ = [
    "Attribute",
    "BootstrapData",
    "MessageError",
    "TimeOffset",
    "bootstrap_data",
    "decode_attributes",
    "encode_attributes",
    "requires_root_or_mapping_tool",
]

_RAW = ("Attribute", "decode_attributes", "encode_attributes")


def __getattr__(name: str) -> object:
    """Import the raw level only if it is used: a launch does not need it."""
    if name not in _RAW:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nsenter._message import raw

    return getattr(raw, name)


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
    r"""The offset of a clock in a new time namespace (time_namespaces(7)).

    Args:
        clock: "monotonic" or "boottime".
        secs: whole seconds; may be negative.
        nsecs: nanoseconds that are added, from 0 to 999,999,999.

    Raises:
        ValueError: the clock is unknown.

    Example:
        >>> str(TimeOffset("boottime", 3600))
        'boottime 3600 0\n'
    """

    clock: str
    secs: int
    nsecs: int = 0

    def __post_init__(self) -> None:
        # The text consists of lines: a newline in the name of a clock would start another one.
        if self.clock not in _CLOCKS:
            words = " or ".join(f'"{clock}"' for clock in _CLOCKS)
            raise ValueError(f"the clock of a time offset must be {words}, not {self.clock!r}")

    def __str__(self) -> str:
        return f"{self.clock} {self.secs:d} {self.nsecs:d}\n"


class BootstrapData(Value):
    """A bootstrap message.

    Args:
        clone_flags: the CLONE_NEW* flags of the namespaces to create.
        namespace_paths: the namespaces to join, each with a path, in the order of joining.
        uid_mappings, gid_mappings: the id mappings of a new user namespace; if they are empty, no
            map is written.
        uidmap_path, gidmap_path: the absolute paths of newuidmap(1) and newgidmap(1), which are
            used if the maps may not be written directly.
        setgroup: whether setgroups(2) stays allowed in the user namespace. None means that the
            attribute is not sent, and setgroups is denied.
        oom_score_adj: from -1000 to 1000; None leaves it unchanged.
        rootless_euid: whether the caller is unprivileged.
        time_offsets: at most one for each clock of a new time namespace.

    Example:
        >>> message = BootstrapData(clone_flags=NamespaceType.NEWUTS.clone_flag)
        >>> BootstrapData.decode(message.encode()) == message
        True
    """

    # The result of encode(), which cannot change because the object cannot.
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
        return self.__dict__  # without _blob, which cannot be set again

    def encode(self) -> bytes:
        """Return the message, byte for byte as runc writes it.

        Raises:
            MessageError: (a ValueError) nsexec would refuse a value; the message names the
                attribute.
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
        """Return the texts in the order of the message, each with a NUL; "" is not sent."""
        # The pieces are joined at the end, so that long paths are copied only once.
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
        """Parse and check a message with nsexec's own parser.

        Raises:
            MessageError: the message is not valid; the error names the attribute, its offset and
                the reason.
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
    """Return the path of a tool; it must not be empty, and a NUL would make two texts of it."""
    if not path or "\0" in path:
        raise _refusal(attribute, f"{path!r} is no path of a mapping tool")
    return path


def _refusal(attribute: int, reason: str) -> MessageError:
    return MessageError(reason, attribute=attribute, name=attribute_name(attribute), offset=None)


def _decode_namespace(item: Any) -> Namespace:
    name = ffi.string(lib.namespace_name(item.flag)).decode()
    return Namespace(NamespaceType.parse(name), os.fsdecode(_bytes(item.path)))


def _decode_offsets(text: bytes) -> Iterator[TimeOffset]:
    for line in text.decode().splitlines():
        clock, secs, nsecs = line.split(" ")
        yield TimeOffset(clock, int(secs), int(nsecs))


def requires_root_or_mapping_tool(gid_mappings: Iterable[IDMap]) -> bool:
    """Return whether to write a gid map requires root or newgidmap(1).

    An unprivileged process may only map its own group to root, and only after setgroups(2) was
    denied. This corresponds to runc's requiresRootOrMappingTool.
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
    """Return the message for a configuration, according to runc's rules.

    Namespaces are joined in runc's order, user first. A user namespace that is joined has its maps
    already, and a time namespace its offsets: none are sent for them. The mapping tools are named
    only if the caller is unprivileged and they are on PATH. setgroups(2) stays allowed only if root
    or a mapping tool writes a map that requires this.

    Args:
        namespaces: the namespaces to create and to join.
        rootless_euid: whether the caller is unprivileged. None means: if its effective uid is not
            0.
        uid_mappings, gid_mappings, oom_score_adj, time_offsets: see `BootstrapData`.

    Returns:
        The message; `BootstrapData.encode` turns it into bytes.

    Raises:
        ValueError: mappings or offsets are given, but `namespaces` has no such namespace; or the
            kernel would refuse the mappings.

    Example:
        >>> bootstrap_data(Namespaces([Namespace("net"), Namespace("pid")])).clone_flags
        1610612736
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
