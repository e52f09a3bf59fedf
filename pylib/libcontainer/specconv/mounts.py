# SPDX-License-Identifier: Apache-2.0
"""Mount options, as mount(8) and OCI's config.md name them."""

from __future__ import annotations

import os

from libcontainer.configs import Mount
from libcontainer.configs.mount import EXT_COPYUP
from libcontainer.errors import ConfigError
from libcontainer.specconv.idmaps import mappings
from nsenter import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader

# option: (whether it clears, bits). "acl" is not here: MS_POSIXACL means nothing to mount(2), and
# the file systems that have the option read the word.
FLAGS = {
    "async": (True, system.MS_SYNCHRONOUS),
    "atime": (True, system.MS_NOATIME),
    "bind": (False, system.MS_BIND),
    "defaults": (False, 0),
    "dev": (True, system.MS_NODEV),
    "diratime": (True, system.MS_NODIRATIME),
    "dirsync": (False, system.MS_DIRSYNC),
    "exec": (True, system.MS_NOEXEC),
    "iversion": (False, system.MS_I_VERSION),
    "lazytime": (False, system.MS_LAZYTIME),
    "loud": (True, system.MS_SILENT),
    "mand": (False, system.MS_MANDLOCK),
    "noatime": (False, system.MS_NOATIME),
    "nodev": (False, system.MS_NODEV),
    "nodiratime": (False, system.MS_NODIRATIME),
    "noexec": (False, system.MS_NOEXEC),
    "noiversion": (True, system.MS_I_VERSION),
    "nolazytime": (True, system.MS_LAZYTIME),
    "nomand": (True, system.MS_MANDLOCK),
    "norelatime": (True, system.MS_RELATIME),
    "nostrictatime": (True, system.MS_STRICTATIME),
    "nosuid": (False, system.MS_NOSUID),
    "nosymfollow": (False, system.MS_NOSYMFOLLOW),
    "rbind": (False, system.MS_BIND | system.MS_REC),
    "relatime": (False, system.MS_RELATIME),
    "remount": (False, system.MS_REMOUNT),
    "ro": (False, system.MS_RDONLY),
    "rw": (True, system.MS_RDONLY),
    "silent": (False, system.MS_SILENT),
    "strictatime": (False, system.MS_STRICTATIME),
    "suid": (True, system.MS_NOSUID),
    "sync": (False, system.MS_SYNCHRONOUS),
    "symfollow": (True, system.MS_NOSYMFOLLOW),
}
PROPAGATION = {
    "private": system.MS_PRIVATE,
    "shared": system.MS_SHARED,
    "slave": system.MS_SLAVE,
    "unbindable": system.MS_UNBINDABLE,
    "rprivate": system.MS_PRIVATE | system.MS_REC,
    "rshared": system.MS_SHARED | system.MS_REC,
    "rslave": system.MS_SLAVE | system.MS_REC,
    "runbindable": system.MS_UNBINDABLE | system.MS_REC,
}
# option: (attributes to set, to clear), on the whole tree. The ways to keep access times are one
# number of several bits: to clear it leaves the kernel's default, relatime (mount_setattr(2)).
RECURSIVE = {
    "rro": (system.MOUNT_ATTR_RDONLY, 0),
    "rrw": (0, system.MOUNT_ATTR_RDONLY),
    "rnosuid": (system.MOUNT_ATTR_NOSUID, 0),
    "rsuid": (0, system.MOUNT_ATTR_NOSUID),
    "rnodev": (system.MOUNT_ATTR_NODEV, 0),
    "rdev": (0, system.MOUNT_ATTR_NODEV),
    "rnoexec": (system.MOUNT_ATTR_NOEXEC, 0),
    "rexec": (0, system.MOUNT_ATTR_NOEXEC),
    "rnodiratime": (system.MOUNT_ATTR_NODIRATIME, 0),
    "rdiratime": (0, system.MOUNT_ATTR_NODIRATIME),
    "rrelatime": (system.MOUNT_ATTR_RELATIME, system.MOUNT_ATTR__ATIME),
    "rnorelatime": (0, 0),
    "rnoatime": (system.MOUNT_ATTR_NOATIME, system.MOUNT_ATTR__ATIME),
    "ratime": (0, system.MOUNT_ATTR__ATIME),
    "rstrictatime": (system.MOUNT_ATTR_STRICTATIME, system.MOUNT_ATTR__ATIME),
    "rnostrictatime": (0, system.MOUNT_ATTR__ATIME),
    "rnosymfollow": (system.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "rsymfollow": (0, system.MOUNT_ATTR_NOSYMFOLLOW),
}
EXTENSIONS = {"tmpcopyup": EXT_COPYUP}
IDMAP = {"idmap": False, "ridmap": True}
TABLES = (FLAGS, PROPAGATION, RECURSIVE, EXTENSIONS, IDMAP)


class _Options:
    """What the options of one mount add up to."""

    def __init__(self) -> None:
        self.flags = self.cleared = 0
        self.propagation: list[int] = []
        self.rec_set = self.rec_clear = 0
        self.data: list[str] = []
        self.extensions = 0
        self.idmap: bool | None = None

    def take(self, option: str) -> None:
        """Later ones win."""
        if option in FLAGS:
            clears, bit = FLAGS[option]
            if clears:
                self.flags &= ~bit
                self.cleared |= bit
            else:
                self.flags |= bit
                self.cleared &= ~bit
        elif option in PROPAGATION:
            self.propagation.append(PROPAGATION[option])
        elif option in RECURSIVE:
            on, off = RECURSIVE[option]
            self.rec_set = self.rec_set & ~off | on
            self.rec_clear = self.rec_clear & ~on | off
        elif option in EXTENSIONS:
            self.extensions |= EXTENSIONS[option]
        elif option in IDMAP:
            self.idmap = IDMAP[option]
        else:
            self.data.append(option)


def mount_from_spec(spec: Reader, bundle: str) -> Mount:
    """One of "mounts".

    Args:
        bundle: the folder that a relative source of a bind mount is in.
    """
    destination = spec.needed_text("destination")
    options = _Options()
    for option in spec.texts("options"):
        options.take(option)
    device, source = _what(spec, options, bundle)
    uids, gids = mappings(spec, "uidMappings"), mappings(spec, "gidMappings")
    return Mount(
        destination=destination if destination.startswith("/") else f"/{destination}",
        source=source,
        device=device,
        flags=options.flags,
        cleared_flags=options.cleared,
        propagation_flags=tuple(options.propagation),
        rec_attr_set=options.rec_set,
        rec_attr_clr=options.rec_clear,
        data=",".join(options.data),
        extensions=options.extensions,
        uid_mappings=uids,
        gid_mappings=gids,
        idmap=options.idmap is not None or bool(uids or gids),
        idmap_recursive=bool(options.idmap),
    )


def _what(spec: Reader, options: _Options, bundle: str) -> tuple[str, str]:
    """The type of file system and its source. What binds is a bind mount, whatever its type says
    (config.md), and so is what has that for its type."""
    device, source = spec.text("type"), spec.text("source")
    if device == "bind":
        options.flags |= system.MS_BIND
    if not options.flags & system.MS_BIND:
        if not device and not options.flags & system.MS_REMOUNT:
            raise ConfigError(spec.at("type"), "it is missing, and no option says bind or rbind")
        return device, source
    if not source:
        raise ConfigError(spec.at("source"), "it is missing: a bind mount requires a source")
    if not source.startswith("/"):
        source = os.path.normpath(f"{bundle}/{source}")
    return "bind", source
