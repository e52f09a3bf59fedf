# SPDX-License-Identifier: Apache-2.0
"""`pyrunc update`."""

from __future__ import annotations

from libcontainer.errors import ContainerError
from libcontainer.specconv import resources_from_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.configs import Resources
    from libcontainer.pyrunc.context import Context

# option: its place in OCI's resources
_TEXTS = {"cpuset_cpus": ("cpu", "cpus"), "cpuset_mems": ("cpu", "mems")}
_NUMBERS = {
    "blkio_weight": ("blockIO", "weight"),
    "cpu_period": ("cpu", "period"),
    "cpu_quota": ("cpu", "quota"),
    "cpu_burst": ("cpu", "burst"),
    "cpu_share": ("cpu", "shares"),
    "cpu_rt_period": ("cpu", "realtimePeriod"),
    "cpu_rt_runtime": ("cpu", "realtimeRuntime"),
    "cpu_idle": ("cpu", "idle"),
    "pids_limit": ("pids", "limit"),
}
_SIZES = {
    "memory": ("memory", "limit"),
    "memory_reservation": ("memory", "reservation"),
    "memory_swap": ("memory", "swap"),
}
# Zero is a value of these; of all others it means that nothing is said (runc's update.go).
_ZERO_COUNTS = {"cpu_burst", "cpu_idle", "pids_limit"}


def execute(context: Context) -> int:
    """Change the limits of a container; limits that are not named stay the same."""
    container = context.container()
    options = context.options
    if options["l3_cache_schema"] or options["mem_bw_schema"]:
        raise ContainerError("Intel RDT is not supported")
    for option in ("kernel_memory", "kernel_memory_tcp"):
        if options[option]:
            context.log.warning(
                f"--{option.replace('_', '-')} is ignored: the kernel has no such limit"
            )
    path = options["resources"]
    given = _from_file(context, path) if path else _from_options(options)
    changes = _changes(resources_from_spec(given, where="resources"))
    cgroup = container.config.cgroups
    # Devices are as they are: they are not written anew.
    resources = cgroup.resources.replace(**changes, skip_devices=True)
    if changes.get("cpu_shares") and resources.cpu_idle == 1:
        raise ContainerError("cpu.shares cannot be set while cpu.idle is 1: add --cpu-idle 0")
    container.set(container.config.replace(cgroups=cgroup.replace(resources=resources)))
    return 0


def _changes(told: Resources) -> dict[str, Any]:
    """Return the fields that are set."""
    plain = told.replace(devices=()).__dict__
    default = type(told)().__dict__
    changes = {
        name: value
        for name, value in plain.items()
        if value != default[name] and (value or name in _ZERO_COUNTS)
    }
    if changes.get("cpu_idle") is not None:
        # What was set before has no meaning any more: it would be refused, or come back.
        changes.setdefault("cpu_shares", None)
    if changes.get("memory") == -1:  # memory alone cannot be above what both may be together
        changes.setdefault("memory_swap", -1)
    return changes


def _from_file(context: Context, path: str) -> Any:
    if path != "-":
        return context.read_json(path)
    return context.read_json_from_stdin()


def _from_options(options: dict[str, Any]) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    for read, table in ((str, _TEXTS), (_number, _NUMBERS), (_size, _SIZES)):
        for option, (group, name) in table.items():
            value = options[option]
            if value not in ("", 0, None) or (option == "pids_limit" and value == 0):
                resources.setdefault(group, {})[name] = _read(read, option, value)
    return resources


def _read(read: Any, option: str, value: str | int) -> Any:
    try:
        return read(value)
    except ValueError as error:
        name = option.replace("_", "-")
        why = error if read is _size else f"{value!r} is no number"
        raise ContainerError(f"invalid value for {name}: {why}") from None


def _number(text: str | int) -> int:
    """Parse decimal digits; int() also accepts blanks, underscores and other scripts' digits."""
    if isinstance(text, str) and not (text.isascii() and text.removeprefix("-").isdigit()):
        raise ValueError
    return int(text)


def _size(text: str) -> int:
    from libcontainer.pyrunc.units import size

    return -1 if text == "-1" else size(text)
