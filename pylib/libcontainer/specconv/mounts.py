# SPDX-License-Identifier: Apache-2.0
"""Read "mounts", with the options of mount(8) and config.md."""

from __future__ import annotations

import os

from libcontainer.configs import Mount
from libcontainer.configs.mount import EXT_COPYUP
from libcontainer.errors import ConfigError
from libcontainer.specconv.idmaps import mappings
from nsenter._host import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader

# option: (whether it clears, bits). "acl" is not here: MS_POSIXACL means nothing to mount(2), and
# the file systems that have the option read the word.
FLAGS = {
    "async": (True, syscalls.MS_SYNCHRONOUS),
    "atime": (True, syscalls.MS_NOATIME),
    "bind": (False, syscalls.MS_BIND),
    "defaults": (False, 0),
    "dev": (True, syscalls.MS_NODEV),
    "diratime": (True, syscalls.MS_NODIRATIME),
    "dirsync": (False, syscalls.MS_DIRSYNC),
    "exec": (True, syscalls.MS_NOEXEC),
    "iversion": (False, syscalls.MS_I_VERSION),
    "lazytime": (False, syscalls.MS_LAZYTIME),
    "loud": (True, syscalls.MS_SILENT),
    "mand": (False, syscalls.MS_MANDLOCK),
    "noatime": (False, syscalls.MS_NOATIME),
    "nodev": (False, syscalls.MS_NODEV),
    "nodiratime": (False, syscalls.MS_NODIRATIME),
    "noexec": (False, syscalls.MS_NOEXEC),
    "noiversion": (True, syscalls.MS_I_VERSION),
    "nolazytime": (True, syscalls.MS_LAZYTIME),
    "nomand": (True, syscalls.MS_MANDLOCK),
    "norelatime": (True, syscalls.MS_RELATIME),
    "nostrictatime": (True, syscalls.MS_STRICTATIME),
    "nosuid": (False, syscalls.MS_NOSUID),
    "nosymfollow": (False, syscalls.MS_NOSYMFOLLOW),
    "rbind": (False, syscalls.MS_BIND | syscalls.MS_REC),
    "relatime": (False, syscalls.MS_RELATIME),
    "remount": (False, syscalls.MS_REMOUNT),
    "ro": (False, syscalls.MS_RDONLY),
    "rw": (True, syscalls.MS_RDONLY),
    "silent": (False, syscalls.MS_SILENT),
    "strictatime": (False, syscalls.MS_STRICTATIME),
    "suid": (True, syscalls.MS_NOSUID),
    "sync": (False, syscalls.MS_SYNCHRONOUS),
    "symfollow": (True, syscalls.MS_NOSYMFOLLOW),
}
PROPAGATION = {
    "private": syscalls.MS_PRIVATE,
    "shared": syscalls.MS_SHARED,
    "slave": syscalls.MS_SLAVE,
    "unbindable": syscalls.MS_UNBINDABLE,
    "rprivate": syscalls.MS_PRIVATE | syscalls.MS_REC,
    "rshared": syscalls.MS_SHARED | syscalls.MS_REC,
    "rslave": syscalls.MS_SLAVE | syscalls.MS_REC,
    "runbindable": syscalls.MS_UNBINDABLE | syscalls.MS_REC,
}
# option: (attributes to set, to clear), on the whole tree. The ways to keep access times are one
# number of several bits: to clear it leaves the kernel's default, relatime (mount_setattr(2)).
RECURSIVE = {
    "rro": (syscalls.MOUNT_ATTR_RDONLY, 0),
    "rrw": (0, syscalls.MOUNT_ATTR_RDONLY),
    "rnosuid": (syscalls.MOUNT_ATTR_NOSUID, 0),
    "rsuid": (0, syscalls.MOUNT_ATTR_NOSUID),
    "rnodev": (syscalls.MOUNT_ATTR_NODEV, 0),
    "rdev": (0, syscalls.MOUNT_ATTR_NODEV),
    "rnoexec": (syscalls.MOUNT_ATTR_NOEXEC, 0),
    "rexec": (0, syscalls.MOUNT_ATTR_NOEXEC),
    "rnodiratime": (syscalls.MOUNT_ATTR_NODIRATIME, 0),
    "rdiratime": (0, syscalls.MOUNT_ATTR_NODIRATIME),
    "rrelatime": (syscalls.MOUNT_ATTR_RELATIME, syscalls.MOUNT_ATTR__ATIME),
    "rnorelatime": (0, 0),
    "rnoatime": (syscalls.MOUNT_ATTR_NOATIME, syscalls.MOUNT_ATTR__ATIME),
    "ratime": (0, syscalls.MOUNT_ATTR__ATIME),
    "rstrictatime": (syscalls.MOUNT_ATTR_STRICTATIME, syscalls.MOUNT_ATTR__ATIME),
    "rnostrictatime": (0, syscalls.MOUNT_ATTR__ATIME),
    "rnosymfollow": (syscalls.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "rsymfollow": (0, syscalls.MOUNT_ATTR_NOSYMFOLLOW),
}
EXTENSIONS = {"tmpcopyup": EXT_COPYUP}
IDMAP = {"idmap": False, "ridmap": True}
TABLES = (FLAGS, PROPAGATION, RECURSIVE, EXTENSIONS, IDMAP)


class _Options:
    """The combined effect of the options of one mount."""

    def __init__(self) -> None:
        self.flags = self.cleared = 0
        self.propagation: list[int] = []
        self.rec_set = self.rec_clear = 0
        self.data: list[str] = []
        self.extensions = 0
        self.idmap: bool | None = None

    def take(self, option: str) -> None:
        """Apply an option. It overrides earlier ones."""
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
    """Return the mount for an item of "mounts".

    Args:
        spec: the item.
        bundle: the directory that a relative source of a bind mount is in.
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
    """Return the type of the file system and its source.

    A mount with the option "bind" is a bind mount whatever its type (config.md), and so is a mount
    with the type "bind".
    """
    device, source = spec.text("type"), spec.text("source")
    if device == "bind":
        options.flags |= syscalls.MS_BIND
    if not options.flags & syscalls.MS_BIND:
        if not device and not options.flags & syscalls.MS_REMOUNT:
            raise ConfigError(spec.at("type"), "it is missing, and no option says bind or rbind")
        return device, source
    if not source:
        raise ConfigError(spec.at("source"), "it is missing: a bind mount requires a source")
    if not source.startswith("/"):
        source = os.path.normpath(f"{bundle}/{source}")
    return "bind", source
