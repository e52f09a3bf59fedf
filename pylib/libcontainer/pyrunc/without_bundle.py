# SPDX-License-Identifier: Apache-2.0
"""`pyrunc run --rootfs`: run a command in a container without a bundle."""

from __future__ import annotations

import os

from libcontainer.errors import ContainerError
from libcontainer.pyrunc.state_root import in_user_namespace
from libcontainer.specconv.example import TTY_GROUP, bound_sys, example
from nsenter._host.procfs import is_mapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Directories of the host's root in which the container gets nothing of the host's.
_EMPTY = ("/run", "/tmp", "/var/tmp")
_PRIVATE = ["nosuid", "nodev", "mode=1777"]
_LONGEST_HOSTNAME = 64
_BOUNDS = (("size", "65536k"), ("nr_inodes", "16384"))


def spec_of(options: dict[str, Any], name: str, words: list[str]) -> dict[str, Any]:
    """Return the config.json for the options.

    Args:
        options: the options of `run`.
        name: the id of the container.
        words: the command; none means a shell.

    Raises:
        ContainerError: the value of an option is not valid.
    """
    spec = example(rootless=os.geteuid() != 0, tty_group=is_mapped("gid", TTY_GROUP))
    spec["process"] |= {
        "args": words or ["sh"],
        "terminal": _wants_terminal(options),
        "env": [*spec["process"]["env"], *options["env"]],
        "cwd": options["cwd"] or "/",
        "user": parse_user(options["user"]),
    }
    root = os.path.abspath(options["rootfs"])
    spec["root"] = {"path": root, "readonly": not options["rw"]}
    spec["hostname"] = name[:_LONGEST_HOSTNAME]
    volumes = [_volume(word) for word in options["volume"]]
    if root == "/":
        spec["mounts"] += _empty_places()
        _check_host_places(volumes)
    spec["mounts"] = [_bounded(mount) for mount in spec["mounts"]] + volumes
    _set_network(spec, options["network"])
    return spec


def _wants_terminal(options: dict[str, Any]) -> bool:
    if options["tty"] is None:
        return not options["detach"] and os.isatty(0) and os.isatty(1)
    return bool(options["tty"])


def parse_user(word: str) -> dict[str, int]:
    """Return "UID" or "UID:GID" as the user object of OCI.

    Raises:
        ContainerError: the text has another form.
    """
    uid, colon, gid = (word or "0:0").partition(":")
    if not uid.isdecimal() or (colon and not gid.isdecimal()):
        raise ContainerError(f"--user {word!r}: expected UID[:GID], numbers")
    return {"uid": int(uid), "gid": int(gid)} if colon else {"uid": int(uid)}


def _volume(word: str) -> dict[str, Any]:
    source, _, rest = word.partition(":")
    destination, _, mode = rest.partition(":")
    if not source or not destination.startswith("/") or mode not in ("", "ro", "rw"):
        raise ContainerError(f"--volume {word!r}: expected SOURCE:/DESTINATION[:ro]")
    # What is mounted below the source is to be read-only as well.
    options = ["rbind", "rro" if mode == "ro" else "rw"]
    source = os.path.abspath(source)
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _empty_places() -> list[dict[str, Any]]:
    """Yield a new file system for each directory that only the host may use."""
    return [
        {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": _PRIVATE}
        for place in _EMPTY
        if os.path.isdir(place)
    ]


def _bounded(mount: dict[str, Any]) -> dict[str, Any]:
    """Return a mount; if it is a tmpfs, with a limit of its size."""
    if mount["type"] != "tmpfs":
        return mount
    given = mount["options"]
    more = [f"{name}={number}" for name, number in _BOUNDS if not _has(given, name)]
    return {**mount, "options": [*given, *more]}


def _has(options: list[str], name: str) -> bool:
    return any(option.startswith(f"{name}=") for option in options)


def _check_host_places(volumes: list[dict[str, Any]]) -> None:
    """Refuse volumes whose mount point is missing: it would be created in the host's own root."""
    for volume in volumes:
        place = volume["destination"]
        is_tmpfs = any(place.startswith(f"{top}/") for top in _EMPTY)
        if not is_tmpfs and not os.path.lexists(place):
            raise ContainerError(
                f"--volume: {place} does not exist, and with --rootfs / it would have to be made "
                f"on the host; /tmp/… can be made in the container"
            )


def _set_network(spec: dict[str, Any], word: str) -> None:
    if word not in ("none", "host"):
        raise ContainerError(f"--network {word!r}: expected none or host")
    linux = spec["linux"]
    kept = [namespace for namespace in linux["namespaces"] if namespace["type"] != "network"]
    if word == "none":
        linux["namespaces"] = [*kept, {"type": "network"}]
        return
    linux["namespaces"] = kept
    if in_user_namespace():  # whose network is another's
        mounts = spec["mounts"]
        spec["mounts"] = [bound_sys() if m.get("type") == "sysfs" else m for m in mounts]
