# SPDX-License-Identifier: Apache-2.0
"""`pyrunc run --rootfs`: a container for a person, without a bundle."""

from __future__ import annotations

import os

from libcontainer.errors import ContainerError
from libcontainer.specconv.example import example

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Of the host's root: what belongs to the host alone is not for the container.
_HOST_ONLY = ("/run", "/tmp", "/var/tmp")
_PRIVATE = ["nosuid", "nodev"]


def spec_of(options: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """The config.json that the options mean."""
    rootless = os.geteuid() != 0
    spec = example(rootless=rootless)
    process = spec["process"]
    process["args"] = words or ["sh"]
    process["terminal"] = options["tty"] or (os.isatty(0) and os.isatty(1))
    process["env"] = [*process["env"], *options["env"]]
    process["cwd"] = options["cwd"] or "/"
    process["user"] = _user(options["user"])
    spec["root"] = {"path": os.path.abspath(options["rootfs"]), "readonly": not options["rw"]}
    spec["hostname"] = "pyrunc"
    if spec["root"]["path"] == "/":
        spec["mounts"] += [
            {"destination": path, "type": "tmpfs", "source": "tmpfs", "options": _PRIVATE}
            for path in _HOST_ONLY
        ]
    spec["mounts"] += [_volume(word) for word in options["volume"]]
    _set_network(spec, options["network"])
    return spec


def _user(word: str | None) -> dict[str, int]:
    uid, _, gid = (word or "0:0").partition(":")
    if not uid.isdecimal() or (gid and not gid.isdecimal()):
        raise ContainerError(f"--user {word!r}: expected UID[:GID], numbers")
    return {"uid": int(uid), "gid": int(gid or 0)}


def _volume(word: str) -> dict[str, Any]:
    source, colon, rest = word.partition(":")
    destination, _, mode = rest.partition(":")
    if not colon or not destination.startswith("/") or mode not in ("", "ro", "rw"):
        raise ContainerError(f"--volume {word!r}: expected SOURCE:DESTINATION[:ro]")
    options = ["rbind", mode or "rw"]
    source = os.path.abspath(source)
    return {"destination": destination, "type": "bind", "source": source, "options": options}


def _set_network(spec: dict[str, Any], word: str) -> None:
    if word not in ("none", "host"):
        raise ContainerError(f"--network {word!r}: none or host")
    linux = spec["linux"]
    kept = [ns for ns in linux["namespaces"] if ns["type"] != "network"]
    linux["namespaces"] = kept if word == "host" else [*kept, {"type": "network"}]
