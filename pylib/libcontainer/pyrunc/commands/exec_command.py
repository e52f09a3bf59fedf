# SPDX-License-Identifier: Apache-2.0
"""`pyrunc exec`."""

from __future__ import annotations

from libcontainer.errors import ContainerError
from libcontainer.pyrunc.context import read_bundle, read_json
from libcontainer.pyrunc.launching import Launched
from libcontainer.specconv import process_from_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.container import Container
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Run a further process in a container."""
    container = context.container()
    status = container.status()
    if status == "stopped":
        raise ContainerError("cannot exec in a stopped container")
    if status == "paused" and not context.options["ignore_paused"]:
        raise ContainerError("cannot exec in a paused container (use --ignore-paused to override)")
    config = process_from_spec(_process(context, container))
    launched = Launched(context, container, config, init=False)
    return launched.run()


def _process(context: Context, container: Container) -> dict[str, Any]:
    """OCI's process object: a file's, or the container's first with what the options say."""
    options = context.options
    if options["process"]:
        process: dict[str, Any] = read_json(options["process"])
        return process
    if not context.words:
        raise ContainerError("process args cannot be empty")
    process = dict(read_bundle(container.oci_state()["bundle"]).get("process") or {})
    process["args"] = context.words
    process["terminal"] = options["tty"]
    process["env"] = [*process.get("env", ()), *options["env"]]
    if options["cwd"]:
        process["cwd"] = options["cwd"]
    if options["apparmor"]:
        process["apparmorProfile"] = options["apparmor"]
    if options["process_label"]:
        process["selinuxLabel"] = options["process_label"]
    if options["no_new_privs"]:
        process["noNewPrivileges"] = True
    _set_user(process, options)
    _add_capabilities(process, options["cap"])
    return process


def _set_user(process: dict[str, Any], options: dict[str, Any]) -> None:
    user = dict(process.get("user") or {})
    if options["user"]:
        uid, colon, gid = options["user"].partition(":")
        if not uid.isdecimal() or (colon and not gid.isdecimal()):
            raise ContainerError(f"--user {options['user']!r}: expected UID[:GID], numbers")
        user["uid"] = int(uid)
        if colon:
            user["gid"] = int(gid)
    groups = options["additional_gids"]
    if not all(group.isdecimal() for group in groups):
        raise ContainerError(f"--additional-gids {groups}: expected numbers")
    user["additionalGids"] = [*user.get("additionalGids", ()), *map(int, groups)]
    process["user"] = user


def _add_capabilities(process: dict[str, Any], names: list[str]) -> None:
    """To the sets that let a process of any user use them, but for the inheritable one."""
    if not names:
        return
    sets = {kind: list(old) for kind, old in (process.get("capabilities") or {}).items()}
    for kind in ("bounding", "effective", "permitted"):
        sets[kind] = [*sets.get(kind, ()), *names]
    if process["user"].get("uid"):
        sets["ambient"] = [*sets.get("ambient", ()), *names]
    process["capabilities"] = sets
