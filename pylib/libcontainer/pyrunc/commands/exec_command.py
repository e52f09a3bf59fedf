# SPDX-License-Identifier: Apache-2.0
"""`pyrunc exec`."""

from __future__ import annotations

from libcontainer.errors import ContainerError
from libcontainer.pyrunc.launching import Launch
from libcontainer.specconv import process_from_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from libcontainer.container import Container
    from libcontainer.pyrunc.context import Context

# option: field of OCI's process object
_FIELDS = {"cwd": "cwd", "apparmor": "apparmorProfile", "process_label": "selinuxLabel"}


def execute(context: Context) -> int:
    """Run a further process in a container."""
    container = context.container()
    status = container.status()
    if status == "stopped":
        raise ContainerError("cannot exec in a stopped container")
    if status == "creating":
        raise ContainerError("cannot exec in a container that is still being created: creating")
    if status == "paused" and not context.options["ignore_paused"]:
        raise ContainerError("cannot exec in a paused container (use --ignore-paused to override)")
    config = process_from_spec(_process(context, container))
    cgroup = _sub_cgroup_paths(context.options["cgroup"])
    detach = context.options["detach"]
    return Launch(context, config, detach=detach, sub_cgroup_paths=cgroup).further(container)


def _sub_cgroup_paths(words: Sequence[str]) -> dict[str, str]:
    """Return the values of all --cgroup options by controller; "" means all controllers."""
    paths: dict[str, str] = {}
    for word in words:
        controllers, colon, path = word.rpartition(":")
        if ":" in controllers or (colon and not all(controllers.split(","))):
            raise ContainerError(f"invalid --cgroup argument: {word}; expected [CONTROLLER,…:]PATH")
        if not colon and len(words) > 1:
            raise ContainerError(
                f"invalid --cgroup argument: {word} (missing <controller>: prefix)"
            )
        for controller in controllers.split(","):
            if controller in paths:
                why = f"controller {controller} specified multiple times"
                raise ContainerError(f"invalid --cgroup argument(s): {why}")
            paths[controller] = path
    return paths


def _process(context: Context, container: Container) -> dict[str, Any]:
    """Return OCI's process object: from a file, or the container's own, changed by the options."""
    options = context.options
    if options["process"]:
        process = context.read_json(options["process"])
        if not isinstance(process, dict):
            raise ContainerError(f"{options['process']}: not a process object")
        return process
    if not context.words:
        raise ContainerError("process args cannot be empty")
    process = dict(context.read_bundle(container.oci_state()["bundle"]).get("process") or {})
    process["args"] = context.words
    process["terminal"] = options["tty"]
    process["env"] = [*(process.get("env") or ()), *options["env"]]
    process |= {field: options[key] for key, field in _FIELDS.items() if options[key]}
    if options["no_new_privs"] is not None:
        process["noNewPrivileges"] = options["no_new_privs"]
    _set_user(process, options)
    _add_capabilities(process, options["cap"])
    return process


def _set_user(process: dict[str, Any], options: dict[str, Any]) -> None:
    user = dict(process.get("user") or {})
    if options["user"]:
        from libcontainer.pyrunc.without_bundle import parse_user

        user |= parse_user(options["user"])
    groups = options["additional_gids"]
    if any(group < 0 for group in groups):
        raise ContainerError(f"additional-gids must be positive numbers: {groups}")
    user["additionalGids"] = [*(user.get("additionalGids") or ()), *groups]
    process["user"] = user


def _add_capabilities(process: dict[str, Any], names: tuple[str, ...]) -> None:
    """Add capabilities as runc does.

    They are added to the ambient set only if the process has inheritable ones, which ambient ones
    require.
    """
    if not names:
        return
    given = (process.get("capabilities") or {}).items()
    sets = {kind: list(old) for kind, old in given if old is not None}
    kinds = ["bounding", "effective", "permitted", *(["ambient"] if "inheritable" in sets else [])]
    process["capabilities"] = sets | {kind: [*sets.get(kind, ()), *names] for kind in kinds}
