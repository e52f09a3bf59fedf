# SPDX-License-Identifier: Apache-2.0
"""The form of state.json, which is runc's, so that either runtime can use the other's containers.

Most names are those of `Config`; this module has the others. `to_runc` converts the result of
`Config.to_data`. `from_runc` converts that form, the form of older versions of this package, and
anything else: a value of a wrong type stays the same, and `State.read` refuses it by name.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Plain = dict[str, Any]

__all__ = ["from_runc", "to_runc"]

_NANOSECONDS = 10**9
# configs/config.go: iota + 1
_ACTIONS = "KILL ERRNO TRAP ALLOW TRACE LOG NOTIFY KILL_THREAD KILL_PROCESS".split()
_OPERATORS = "EQ NE GT GE LT LE MASKED_EQ".split()
# Others are the name in lower case.
_ARCHITECTURES = {"X86_64": "amd64", "AARCH64": "arm64", "LOONGARCH64": "loong64"}
_HOOKS = {
    "create_runtime": "createRuntime",
    "create_container": "createContainer",
    "start_container": "startContainer",
}
_RULE: Plain = {"type": "a", "major": -1, "minor": -1, "permissions": "rwm", "allow": False}
_DEVICE: Plain = {"file_mode": 0o666, "permissions": "rwm", "allow": True}
_KINDS = {ord(letter): letter for letter in "abcpu"}
# What runc writes for a limit that is not set.
_ZERO_IS_UNSET = {
    *("memory", "memory_reservation", "memory_swap", "cpu_shares", "cpu_quota", "cpu_period"),
    *("cpu_rt_quota", "cpu_rt_period", "pids_limit", "blkio_weight", "blkio_leaf_weight"),
    "net_cls_classid",
}
_NIL_IN_GO = {"namespace_paths", "cgroup_paths", "external_descriptors"}
_OF_CGROUP = {
    *("name", "path", "systemd", "rootless", "owner_uid", "systemd_props", "resources", "disabled"),
}
_THROTTLES = [f"blkio_throttle_{way}_{unit}_device" for way in ("read", "write")
              for unit in ("bps", "iops")]  # fmt: skip


def to_runc(config: Plain) -> Plain:
    """Return a configuration in the form of runc's state.json.

    Args:
        config: the result of `Config.to_data`.
    """
    made = dict(config)
    _move(made, "root_propagation", "rootPropagation")
    _move(made, "hooks", "Hooks")
    for name, change in _TO_RUNC.items():
        if name in made:
            made[name] = change(made[name])
    return made


def from_runc(state: Any, *, nulls: bool = True) -> Any:
    """Return a state in the form of this package.

    Args:
        state: the parsed JSON of any state.json.
        nulls: whether it may have a null; this package writes none.
    """
    if type(state) is not dict:
        return state
    # Go's word for an empty map or slice.
    made = {name: v for name, v in state.items() if v is not None or name not in _NIL_IN_GO}
    if type(made.get("config")) is dict:
        config = made["config"]
        made["config"] = _config_from_runc(_without_nulls(config) if nulls else config)
    return made


def _config_from_runc(made: Plain) -> Plain:
    _move(made, "rootPropagation", "root_propagation")
    if "Hooks" in made:
        made["hooks"] = _hooks_from_runc(made.pop("Hooks"))
    for name, change in _FROM_RUNC.items():
        if name in made:
            made[name] = change(made[name])
    return made


def _move(made: Plain, old: str, new: str) -> None:
    if old in made:
        made[new] = made.pop(old)


def _copy(source: Plain, old: str, made: Plain, new: str) -> None:
    if old in source:
        made[new] = source[old]


def _without_nulls(value: Any) -> Any:
    if type(value) is dict:
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if type(value) is list:
        return [_without_nulls(item) for item in value]
    return value


def _each(change: Callable[[Plain], Plain]) -> Callable[[Any], Any]:
    """Return a function that changes each object of a list."""

    def changed(value: Any) -> Any:
        if type(value) is not list:
            return value
        return [change(item) if type(item) is dict else item for item in value]

    return changed


def _object(change: Callable[[Plain], Plain]) -> Callable[[Any], Any]:
    return lambda value: change(dict(value)) if type(value) is dict else value


# ---- devices and mounts


def _with_number(device: Plain, more: Plain) -> Plain:
    made = {**more, **device}
    kind = made["type"]
    return {**made, "type": ord(kind)} if len(kind) == 1 else made


def _with_letter(device: Plain) -> Plain:
    kind = device.get("type")
    return {**device, "type": _KINDS[kind]} if type(kind) is int and kind in _KINDS else device


def _mount_to_runc(mount: Plain) -> Plain:
    made = dict(mount)
    bits = {f"Attr_{name}": made.pop(f"rec_attr_{name}", 0) for name in ("set", "clr")}
    if any(bits.values()):
        made["rec_attr"] = {**bits, "Propagation": 0, "Userns_fd": 0}
    if made.pop("idmap", False):
        maps = {f"{kind}_mappings": made.pop(f"{kind}_mappings", []) for kind in ("uid", "gid")}
        made["id_mapping"] = {"recursive": made.pop("idmap_recursive", False), **maps}
    return made


def _mount_from_runc(mount: Plain) -> Plain:
    made = dict(mount)
    bits, idmap = made.pop("rec_attr", {}), made.pop("id_mapping", None)
    if type(bits) is dict:
        made |= {f"rec_attr_{name[5:]}": bits[name] for name in bits if name.startswith("Attr_")}
    if type(idmap) is dict:
        maps = {name: idmap[name] for name in ("uid_mappings", "gid_mappings") if name in idmap}
        made |= {**maps, "idmap": True, "idmap_recursive": idmap.get("recursive", False)}
    return made


# ---- hooks


def _hooks_to_runc(hooks: Plain) -> Plain:
    return {
        _HOOKS.get(kind, kind): [
            {**hook, "timeout": hook["timeout"] * _NANOSECONDS} if "timeout" in hook else hook
            for hook in items
        ]
        for kind, items in hooks.items()
    }


def _hook_from_runc(hook: Plain) -> Plain:
    timeout = hook.get("timeout")
    if type(timeout) is not int:
        return hook
    return {**hook, "timeout": max(1, -(-timeout // _NANOSECONDS))}


def _hooks_from_runc(hooks: Any) -> Any:
    if type(hooks) is not dict:
        return hooks
    names = {theirs: ours for ours, theirs in _HOOKS.items()}
    of_each = _each(_hook_from_runc)
    return {names.get(kind, kind): of_each(items) for kind, items in hooks.items()}


# ---- the cgroup


def _cgroup_to_runc(cgroup: Plain) -> Plain:
    made = {name: value for name, value in cgroup.items() if name != "resources"}
    if made.get("systemd") and made.get("path", "").count(":") == 2:
        made["parent"], made["scope_prefix"], made["name"] = made.pop("path").split(":")
    limits = dict(cgroup.get("resources", {}))
    limits["devices"] = [_with_number(rule, _RULE) for rule in limits.get("devices", ())]
    _move(limits, "net_cls_classid", "net_cls_classid_u")
    for name in _THROTTLES:
        if name in limits:
            limits[name] = [{**item, "rate": item["value"]} for item in limits[name]]
    if "blkio_weight_device" in limits:
        limits["blkio_weight_device"] = [
            {**item, "weight": item["value"], "leafWeight": item.get("leaf_weight", 0)}
            for item in limits["blkio_weight_device"]
        ]
    if "rdma" in limits:
        limits["rdma"] = {item["device"]: _rdma_to_runc(item) for item in limits["rdma"]}
    return {**limits, **made}


def _rdma_to_runc(item: Plain) -> Plain:
    names = {"hca_handles": "hcaHandles", "hca_objects": "hcaObjects"}
    return {theirs: item[ours] for ours, theirs in names.items() if ours in item}


def _cgroup_from_runc(cgroup: Plain) -> Plain:
    _move(cgroup, "Systemd", "systemd")
    _move(cgroup, "Rootless", "rootless")
    _move(cgroup, "net_cls_classid_u", "net_cls_classid")
    if cgroup.get("systemd") is True and not cgroup.get("path"):
        words = (cgroup.pop(name, "") for name in ("parent", "scope_prefix", "name"))
        cgroup["path"] = ":".join(word for word in words if type(word) is str)
    if "resources" in cgroup:  # as it was before it had runc's form
        return cgroup
    made = {name: cgroup.pop(name) for name in _OF_CGROUP & cgroup.keys()}
    limits = {name: v for name, v in cgroup.items() if v != 0 or name not in _ZERO_IS_UNSET}
    if "devices" in limits:
        limits["devices"] = _each(_with_letter)(limits["devices"])
    for name in (*_THROTTLES, "blkio_weight_device"):
        if name in limits:
            limits[name] = _each(_block_device_from_runc)(limits[name])
    if type(limits.get("rdma")) is dict:
        limits["rdma"] = [
            {"device": device, "hca_handles": item.get("hcaHandles"),
             "hca_objects": item.get("hcaObjects")}
            for device, item in limits["rdma"].items() if type(item) is dict
        ]  # fmt: skip
    return {**made, "resources": limits}


def _block_device_from_runc(item: Plain) -> Plain:
    made = {"value": item.get("rate", item.get("weight")), **item}
    return {"leaf_weight": item.get("leafWeight", 0), **made}


# ---- seccomp


def _number_of(word: str, words: list[str]) -> int | str:
    name = word.partition("_")[2].partition("_")[2]
    return words.index(name) + 1 if name in words else word


def _word_of(number: Any, kind: str, words: list[str]) -> Any:
    known = type(number) is int and 0 < number <= len(words)
    return f"SCMP_{kind}_{words[number - 1]}" if known else number


def _seccomp_to_runc(policy: Plain) -> Plain:
    made = {"flags": [], **policy, "default_action": _number_of(policy["default_action"], _ACTIONS)}
    short = [word.removeprefix("SCMP_ARCH_") for word in policy.get("architectures", ())]
    made["architectures"] = [_ARCHITECTURES.get(word, word.lower()) for word in short]
    made["syscalls"] = [
        rule for rules in policy.get("syscalls", ()) for rule in _rules_to_runc(rules)
    ]
    return made


def _rules_to_runc(rule: Plain) -> list[Plain]:
    """Return one rule for each name."""
    made: Plain = {"action": _number_of(rule["action"], _ACTIONS)}
    _copy(rule, "errno_ret", made, "errnoRet")
    if rule.get("args"):
        made["args"] = [
            {"value_two": 0, **argument, "op": _number_of(argument["op"], _OPERATORS)}
            for argument in rule["args"]
        ]
    return [{"name": name, **made} for name in rule["names"]]


def _seccomp_from_runc(policy: Plain) -> Plain:
    if type(policy.get("default_action")) is not int:
        return policy
    policy["default_action"] = _word_of(policy["default_action"], "ACT", _ACTIONS)
    long = {theirs: ours for ours, theirs in _ARCHITECTURES.items()}
    if type(policy.get("architectures")) is list:
        policy["architectures"] = [
            f"SCMP_ARCH_{long.get(word, word.upper())}" if type(word) is str else word
            for word in policy["architectures"]
        ]
    if type(policy.get("syscalls")) is list:
        policy["syscalls"] = _rules_from_runc(policy["syscalls"])
    return policy


def _rules_from_runc(items: list[Any]) -> list[Any]:
    """Return the rules, with consecutive ones that do the same joined into one."""
    made: list[Any] = []
    last: Any = None
    for item in items:
        if type(item) is not dict:
            made.append(item)
            last = None
            continue
        same = item.get("action"), item.get("errnoRet"), item.get("args")
        if same == last:
            made[-1]["names"].append(item.get("name"))
        else:
            made.append(_rule_from_runc(item))
            last = same
    return made


def _rule_from_runc(item: Plain) -> Plain:
    made = {"names": [item.get("name")], "action": _word_of(item.get("action"), "ACT", _ACTIONS)}
    _copy(item, "errnoRet", made, "errno_ret")
    if "args" in item:
        made["args"] = _each(_argument_from_runc)(item["args"])
    return made


def _argument_from_runc(argument: Plain) -> Plain:
    return {**argument, "op": _word_of(argument.get("op"), "CMP", _OPERATORS)}


# ---- what else runc has in words


def _offsets_to_runc(offsets: list[Plain]) -> Plain:
    return {o["clock"]: {"secs": o["secs"], "nanosecs": o.get("nsecs", 0)} for o in offsets}


def _offsets_from_runc(offsets: Any) -> Any:
    if type(offsets) is not dict:
        return offsets
    return [
        {"clock": clock, "secs": offset.get("secs", 0), "nsecs": offset.get("nanosecs", 0)}
        if type(offset) is dict else offset
        for clock, offset in offsets.items()
    ]  # fmt: skip


def _scheduler_to_runc(scheduler: Plain) -> Plain:
    from libcontainer.specconv.process import POLICIES, SCHEDULER_FLAGS

    flags = scheduler.get("flags", 0)
    words = [word for word, bit in SCHEDULER_FLAGS.items() if flags & bit]
    policies = {number: word for word, number in POLICIES.items()}
    return {**scheduler, "policy": policies.get(scheduler["policy"], ""), "flags": words}


def _scheduler_from_runc(scheduler: Plain) -> Plain:
    from libcontainer.specconv.process import POLICIES, SCHEDULER_FLAGS

    policy, flags = scheduler.get("policy"), scheduler.get("flags", [])
    if type(policy) is str:
        scheduler["policy"] = POLICIES.get(policy, policy)
    if type(flags) is list:
        scheduler["flags"] = sum(
            SCHEDULER_FLAGS.get(word, 0) for word in flags if type(word) is str
        )
    return scheduler


def _io_priority_to_runc(priority: Plain) -> Plain:
    from libcontainer.specconv.process import IO_CLASSES

    words = {number: word for word, number in IO_CLASSES.items()}
    return {"class": words.get(priority["class_"], ""), "priority": priority.get("priority", 0)}


def _io_priority_from_runc(priority: Plain) -> Plain:
    from libcontainer.specconv.process import IO_CLASSES

    word = priority.pop("class", None)
    if word is None:
        return priority
    return {"class_": IO_CLASSES.get(word, word) if type(word) is str else word, **priority}


def _personality_from_runc(value: Any) -> Any:
    return value.get("domain") if type(value) is dict else value


def _capabilities_from_runc(sets: Plain) -> Plain:
    return {name.lower(): names for name, names in sets.items()}


def _devices_from_runc(devices: Plain) -> Plain:
    return {
        name: (item.get("name") or name) if type(item) is dict else item
        for name, item in devices.items()
    }


def _policy_to_runc(policy: Plain) -> Plain:
    """Return a memory policy in runc's form: a list of flags, and the nodes as a mask's words."""
    flags, nodes = policy.get("flags", 0), sum(1 << node for node in policy.get("nodes", ()))
    return {
        "Mode": policy["mode"],
        "Flags": [1 << bit for bit in range(32) if flags >> bit & 1],
        "Nodes": [nodes >> shift & _WORD for shift in range(0, 1024, 64)],
    }


def _policy_from_runc(policy: Plain) -> Plain:
    if "Mode" not in policy:
        return policy
    fields = {name.lower(): value for name, value in policy.items()}
    flags, nodes = fields.get("flags"), fields.get("nodes") or []
    if type(flags) is list and all(type(flag) is int for flag in flags):
        fields["flags"] = sum(flags)
    if type(nodes) is list and all(type(word) is int for word in nodes):
        mask = sum(word << 64 * i for i, word in enumerate(nodes))
        fields["nodes"] = [node for node in range(mask.bit_length()) if mask >> node & 1]
    return fields


_WORD = 2**64 - 1
_TO_RUNC: dict[str, Callable[[Any], Any]] = {
    "devices": lambda devices: [_with_number(device, _DEVICE) for device in devices],
    "mounts": _each(_mount_to_runc),
    "Hooks": _hooks_to_runc,
    "cgroups": _cgroup_to_runc,
    "seccomp": _seccomp_to_runc,
    "time_offsets": _offsets_to_runc,
    "scheduler": _scheduler_to_runc,
    "io_priority": _io_priority_to_runc,
    "personality": lambda number: {"domain": number},
    "memory_policy": _policy_to_runc,
    "net_devices": lambda devices: {old: {"name": new} for old, new in devices.items()},
}
_FROM_RUNC: dict[str, Callable[[Any], Any]] = {
    "devices": _each(_with_letter),
    "mounts": _each(_mount_from_runc),
    "capabilities": _object(_capabilities_from_runc),
    "cgroups": _object(_cgroup_from_runc),
    "seccomp": _object(_seccomp_from_runc),
    "time_offsets": _offsets_from_runc,
    "scheduler": _object(_scheduler_from_runc),
    "io_priority": _object(_io_priority_from_runc),
    "personality": _personality_from_runc,
    "memory_policy": _object(_policy_from_runc),
    "net_devices": _object(_devices_from_runc),
}
