# SPDX-License-Identifier: Apache-2.0
"""`pyrunc update`."""

from __future__ import annotations

import sys

from libcontainer import plainjson
from libcontainer.errors import ContainerError
from libcontainer.pyrunc.context import read_json
from libcontainer.specconv import resources_from_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.pyrunc.context import Context

_BYTES = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
# option: its place in OCI's resources
_PLACES = {
    "blkio_weight": ("blockIO", "weight"),
    "cpu_period": ("cpu", "period"),
    "cpu_quota": ("cpu", "quota"),
    "cpu_burst": ("cpu", "burst"),
    "cpu_share": ("cpu", "shares"),
    "cpu_rt_period": ("cpu", "realtimePeriod"),
    "cpu_rt_runtime": ("cpu", "realtimeRuntime"),
    "cpu_idle": ("cpu", "idle"),
    "cpuset_cpus": ("cpu", "cpus"),
    "cpuset_mems": ("cpu", "mems"),
    "memory": ("memory", "limit"),
    "memory_reservation": ("memory", "reservation"),
    "memory_swap": ("memory", "swap"),
    "pids_limit": ("pids", "limit"),
}
_TEXTS = ("cpuset_cpus", "cpuset_mems")


def _number(option: str, text: str) -> int:
    """Bytes with a unit, for memory; else a plain number."""
    name = option.replace("_", "-")
    digits, factor = text, 1
    if option.startswith("memory"):
        lower = text.lower().removesuffix("ib").rstrip("b") or text
        factor = _BYTES.get(lower[-1:], 1)
        digits = lower[:-1] if lower[-1:] in _BYTES else lower
    if not digits.removeprefix("-").isdecimal():
        raise ContainerError(f"invalid value for --{name}: {text!r}")
    return int(digits) * factor


def _from_options(options: dict[str, Any]) -> dict[str, Any]:
    resources: dict[str, Any] = {}
    for option, (group, name) in _PLACES.items():
        value = options[option]
        if value is None or value == "":
            continue
        number = value if option in _TEXTS or isinstance(value, int) else _number(option, value)
        resources.setdefault(group, {})[name] = number
    return resources


def execute(context: Context) -> int:
    """Change what a container is limited to; what is not named stays."""
    container = context.container()
    options = context.options
    for schema in ("l3_cache_schema", "mem_bw_schema"):
        if options[schema]:
            raise ContainerError("Intel RDT is not supported")
    source = options["resources"]
    if source == "-":
        given = plainjson.loads(sys.stdin.read())
    else:
        given = read_json(source) if source else _from_options(options)
    told = resources_from_spec(given, where="resources").replace(devices=())
    changes = {name: value for name, value in told._told() if value}
    cgroup = container.config.cgroups
    limits = cgroup.resources.replace(**changes)
    if limits.memory_swap and limits.memory and 0 < limits.memory_swap < limits.memory:
        raise ContainerError("memory and swap together would be less than memory")
    # Devices are as they are: they are not written anew.
    told = limits.replace(skip_devices=True, **changes)
    container.set(container.config.replace(cgroups=cgroup.replace(resources=told)))
    return 0
