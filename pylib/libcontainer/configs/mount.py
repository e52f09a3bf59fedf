# SPDX-License-Identifier: Apache-2.0
"""Mounts and device nodes of a container."""

from __future__ import annotations

from nsenter._host.records import Value
from nsenter.idmap import IDMap


class Mount(Value):
    """A mount.

    Args:
        destination: the mount point, a path in the container's root.
        source: an absolute path of the host, or the source of the file system.
        device: the type of the file system; "bind" for a bind mount.
        flags: the MS_* bits of mount(2) to set.
        cleared_flags: the MS_* bits that an option such as "rw" or "exec" clears.
        propagation_flags: any of MS_PRIVATE, MS_SLAVE, MS_SHARED and MS_UNBINDABLE, each with or
            without MS_REC, in the order in which they are applied.
        rec_attr_set, rec_attr_clr: the MOUNT_ATTR_* bits to set and to clear on the whole tree of
            mounts (the options "rro", "rnosuid", …; mount_setattr(2) with AT_RECURSIVE).
        data: the options for the file system itself, separated by commas.
        extensions: EXT_* bits, for runc's own options.
        uid_mappings, gid_mappings: the mappings of an id-mapped mount.
        idmap: make an id-mapped mount (the options "idmap" and "ridmap"). Without mappings, those
            of the container's user namespace are used.
        idmap_recursive: map the ids of the whole tree of mounts ("ridmap").
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
        """Whether this is a bind mount."""
        return bool(self.flags & 0x1000)  # MS_BIND


# Mount.extensions
EXT_COPYUP = 1  # "tmpcopyup": a tmpfs starts with a copy of the directory that it covers


class Device(Value):
    """A device node to make in the /dev of the container.

    Args:
        path: the path of the node in the container.
        type: "c" or "u" (character), "b" (block) or "p" (fifo).
        major, minor: the device number.
        file_mode: the permission bits.
        uid, gid: the owner and the group, as ids in the container.
    """

    path: str
    type: str
    major: int = 0
    minor: int = 0
    file_mode: int = 0o666
    uid: int = 0
    gid: int = 0
