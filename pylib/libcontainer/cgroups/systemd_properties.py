# SPDX-License-Identifier: Apache-2.0
"""A container's cgroup as properties of a systemd unit (systemd.resource-control(5)).

A property is a name, its D-Bus signature, and its value in the words that busctl(1) takes.
"""

from __future__ import annotations

import os

from libcontainer.cgroups import fs2_limits
from libcontainer.cgroups.devices import effective
from libcontainer.cgroups.fs_limits import pids_max, shares_of
from libcontainer.cgroups.fs_stats import ranges
from libcontainer.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from libcontainer.configs import Cgroup, DeviceRule, Resources

    Property = tuple[str, str, list[str]]

_INFINITY = 2**64 - 1
_DEFAULT = "default "  # io.weight's, for all devices
# systemd counts a quota in per cent of a CPU: 10 ms of a second.
_PERCENT_US = 10_000
_GROUPS = {"c": ("char", "Character devices:"), "b": ("block", "Block devices:")}
# Files of cgroup v2, and the properties that systemd would write over them.
_NUMBERS = {
    "cpu.weight": "CPUWeight",
    "memory.high": "MemoryHigh",
    "memory.low": "MemoryLow",
    "memory.max": "MemoryMax",
    "memory.min": "MemoryMin",
    "memory.swap.max": "MemorySwapMax",
    "pids.max": "TasksMax",
}
_WEIGHT, _IDLE = "cpu.weight", "cpu.idle"
_SETS = {"cpuset.cpus": "AllowedCPUs", "cpuset.mems": "AllowedMemoryNodes"}
_NUMBER_TYPES = {
    "byte": "y", "int16": "n", "uint16": "q", "int32": "i", "uint32": "u",
    "int64": "x", "uint64": "t", "double": "d",
}  # fmt: skip


def words(properties: Iterable[Property]) -> list[str]:
    """An a(sv) of busctl: how many, and for each its name, signature and value."""
    every = list(properties)
    return [str(len(every)), *(w for name, kind, value in every for w in (name, kind, *value))]


def unit_properties(cgroup: Cgroup, parent: str, *, is_slice: bool) -> Iterator[Property]:
    """What the unit is, but for its limits and processes."""
    yield "Description", "s", [f"libcontainer container {cgroup.name}"]
    if is_slice:
        yield "Wants", "as", ["1", parent]
    else:
        yield "Slice", "s", [parent]
        yield "Delegate", "b", ["true"]
    yield "DefaultDependencies", "b", ["false"]
    for name in ("Memory", "CPU", "IO", "Tasks"):
        yield f"{name}Accounting", "b", ["true"]
    for name, value in cgroup.systemd_props.items():
        yield name, *variant(name, value)


def limits(resources: Resources, *, unified: bool, has_idle: bool = False) -> Iterator[Property]:
    """Those that systemd knows; with cgroup v1 it knows fewer, and some have other names.

    Args:
        has_idle: whether a CPUWeight of 0 is cpu.idle to this systemd.
    """
    if not resources.skip_devices:
        yield from _devices(resources.devices)
    if not unified:
        yield from _legacy(resources)
        return
    weight = _weight(resources) if has_idle else ""
    if weight:
        yield _NUMBERS[_WEIGHT], "t", [weight]
    for file, value in _files(resources):
        if not (weight and file == _WEIGHT):
            yield from _of_file(file, value)


def _files(resources: Resources) -> Iterator[tuple[str, str]]:
    """What is written to which file of cgroup v2."""
    for writes in fs2_limits.limits(resources, lambda file: ""):
        for file, value in writes:
            yield file, value.strip()


def says_idle(resources: Resources) -> bool:
    """Return whether they set cpu.idle."""
    return any(file == _IDLE for file, _ in _files(resources))


def _weight(resources: Resources) -> str:
    """Return CPUWeight for limits that set cpu.idle; "" if they do not set it.

    It is 0 if cpu.idle is 1, otherwise the weight that the limits set, or systemd's default.
    """
    told = dict(_files(resources))
    if _IDLE not in told:
        return ""
    if told[_IDLE] == "1":
        return "0"
    weight = told.get(_WEIGHT, "")
    return weight if weight.isdecimal() else str(_INFINITY)


def _of_file(file: str, value: str) -> Iterator[Property]:
    """Of a file of cgroup v2. A value in words that systemd does not have is left to the file."""
    if file in _NUMBERS and _is_amount(value):
        yield _NUMBERS[file], "t", [_amount(value)]
    elif file in _SETS and value:
        yield from _set(_SETS[file], value)
    elif file == "cpu.max":
        quota, _, period = value.partition(" ")
        if _is_amount(quota) and (not period or period.isdecimal()):
            yield from _quota(-1 if quota == "max" else int(quota), int(period or 0))
    elif file == "io.weight" and value.startswith(_DEFAULT):
        yield "IOWeight", "t", [value.removeprefix(_DEFAULT)]


def _set(name: str, value: str) -> Iterator[Property]:
    try:
        numbers = ranges(value)
    except ValueError:
        return  # the file says what is wrong with it
    yield name, "ay", _bits(numbers)


def _is_amount(value: str) -> bool:
    return value == "max" or value.isdecimal()


def _amount(value: str) -> str:
    return str(_INFINITY) if value == "max" else value


def _legacy(resources: Resources) -> Iterator[Property]:
    if resources.memory:
        yield "MemoryLimit", "t", [_amount(fs2_limits.or_max(resources.memory))]
    if shares := shares_of(resources):
        yield "CPUShares", "t", [str(shares)]
    if resources.cpu_quota or resources.cpu_period:
        yield from _quota(resources.cpu_quota or 0, resources.cpu_period or 0)
    if resources.blkio_weight:
        yield "BlockIOWeight", "t", [str(resources.blkio_weight)]
    if resources.pids_limit is not None:
        yield "TasksMax", "t", [_amount(pids_max(resources.pids_limit))]


def _quota(quota: int, period: int) -> Iterator[Property]:
    """Of a period of so many microseconds; 0: what it is by default."""
    if period:
        yield "CPUQuotaPeriodUSec", "t", [str(period)]
    yield "CPUQuotaPerSecUSec", "t", [str(_per_second(quota, period or fs2_limits.DEFAULT_PERIOD))]


def _per_second(quota: int, period: int) -> int:
    """Rounded up, lest the cgroup's own quota be more than that of its unit."""
    if quota <= 0:
        return _INFINITY
    per_second = quota * 1_000_000 // period
    return -(-per_second // _PERCENT_US) * _PERCENT_US


def _bits(numbers: Iterable[int]) -> list[str]:
    """A bit for each, in bytes of which the first has the lowest."""
    mask = sum(1 << number for number in set(numbers))
    raw = mask.to_bytes((mask.bit_length() + 7) // 8, "little")
    return [str(len(raw)), *map(str, raw)]


def _devices(rules: Iterable[DeviceRule]) -> Iterator[Property]:
    default, rest = effective(rules)
    if default:
        # What is denied after "all" systemd cannot say; the files of the cgroup can.
        yield "DevicePolicy", "s", ["auto"]
        yield "DeviceAllow", "a(ss)", ["0"]
        return
    entries = [
        (node, "".join(x for x in "rwm" if x in rule.permissions))
        for rule in rest
        if rule.allow and (node := _node(rule))
    ]
    yield "DevicePolicy", "s", ["strict"]
    yield "DeviceAllow", "a(ss)", [str(len(entries)), *(w for entry in entries for w in entry)]


def _node(rule: DeviceRule) -> str:
    """What DeviceAllow= calls it; "" where it has no name for it."""
    group, heading = _GROUPS[rule.type]
    if rule.major < 0:
        return f"{group}-*" if rule.minor < 0 else ""
    if rule.minor < 0:
        name = _group_name(heading, rule.major)
        return f"{group}-{name}" if name else ""
    path = f"/dev/{group}/{rule.major}:{rule.minor}"
    # systemd reads the numbers in it. The link itself is udev's, which need not be there.
    return path if os.path.exists(f"/sys{path}") else ""


def _group_name(heading: str, major: int) -> str:
    """Of /proc/devices, proc_devices(5)."""
    with open("/proc/devices", encoding="ascii") as file:
        section = file.read().partition(heading)[2].partition("\n\n")[0]
    pairs = (line.split(None, 1) for line in section.splitlines() if line)
    return next((name for number, name in pairs if int(number) == major), "")


def variant(name: str, text: str) -> tuple[str, list[str]]:
    """Return the signature and the words of a value in GVariant's text form.

    Annotations org.systemd.property.NAME have this form: true, 5, uint64 5, 'text', ['one', 'two'].

    Raises:
        ConfigError: the text is none of these.
    """
    if text in ("true", "false"):
        return "b", [text]
    kind, _, value = text.partition(" ")
    if kind in _NUMBER_TYPES:
        return _NUMBER_TYPES[kind], [value.strip()]
    if text.lstrip("-").isdecimal():
        return "i", [text]
    if text[:1] in ("'", '"') and text[-1:] == text[:1]:
        return "s", [text[1:-1]]
    if text.startswith("[") and text.endswith("]"):
        items = [item.strip().strip("'\"") for item in text[1:-1].split(",") if item.strip()]
        return "as", [str(len(items)), *items]
    raise ConfigError(
        f"annotations[org.systemd.property.{name}]",
        f"{text!r} is not a value; for text, write quotes: '{text}'",
    )
