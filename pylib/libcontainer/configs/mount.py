# SPDX-License-Identifier: Apache-2.0
"""Mounts and device nodes of a container."""

from __future__ import annotations

from nsenter._host.records import Value
from nsenter.idmap import IDMap


class Mount(Value):
    """One mount.

    Args:
        destination: where, a path in the container's root.
        source: a path of the host (made absolute), or the file system's source.
        device: the file system's type; "bind" for a bind mount.
        flags: MS_* bits of mount(2) to set.
        cleared_flags: MS_* bits that an option such as "rw" or "exec" asks to be off.
        propagation_flags: each of MS_PRIVATE, MS_SLAVE, MS_SHARED, MS_UNBINDABLE with or
            without MS_REC, in order.
        rec_attr_set, rec_attr_clr: MOUNT_ATTR_* bits to set and to clear on the whole tree
            (the options "rro", "rnosuid", …; mount_setattr(2) with AT_RECURSIVE).
        data: what the file system itself is told, comma separated.
        extensions: EXT_* bits below, runc's own options.
        uid_mappings, gid_mappings: for an id-mapped mount.
        idmap: whether the mount is id-mapped at all ("idmap", "ridmap"): with no mappings, by
            the container's user namespace.
        idmap_recursive: over the whole tree ("ridmap").
    """

    nested = {
        "uid_mappings": IDMap,
        "gid_mappings": IDMap,
    }

    destination: str
    source: str = ""
    device: str = ""
    flags: int = 0
    cleared_flags: int = 0
    propagation_flags: tuple[int, ...] = ()
    rec_attr_set: int = 0
    rec_attr_clr: int = 0
    data: str = ""
    extensions: int = 0
    uid_mappings: tuple[IDMap, ...] = ()
    gid_mappings: tuple[IDMap, ...] = ()
    idmap: bool = False
    idmap_recursive: bool = False

    @property
    def is_bind(self) -> bool:
        """Whether it binds a path of the host."""
        return bool(self.flags & 0x1000)  # MS_BIND


# Mount.extensions
EXT_COPYUP = 1  # "tmpcopyup": a tmpfs starts as a copy of what is below it


class Device(Value):
    """A device node of the container, to be made in its /dev.

    Args:
        path: in the container.
        type: "c", "b", "p" or "u".
        major, minor: its number.
        file_mode: permission bits.
        uid, gid: its owner, ids of the container.
    """

    path: str
    type: str
    major: int = 0
    minor: int = 0
    file_mode: int = 0o666
    uid: int = 0
    gid: int = 0
