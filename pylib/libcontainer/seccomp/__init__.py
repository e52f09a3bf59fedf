# SPDX-License-Identifier: Apache-2.0
"""Compile OCI's linux.seccomp to a BPF program for seccomp(2).

libseccomp makes the program. Instructions of this package come before it: a system call that is
newer than all that a policy names fails with ENOSYS, so that programs fall back to an older call. A
policy means the same as in runc's libcontainer/seccomp.
"""

from __future__ import annotations

from libcontainer.errors import ConfigError
from libcontainer.seccomp import cache, enosys, library, policies
from nsenter._host.records import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs.seccomp import Seccomp

__all__ = ["SeccompProgram", "compile"]

_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_OPTIMIZED_FROM = 32  # system calls, as in runc: the tree does not pay for less


class SeccompProgram(Value):
    """The arguments of seccomp(2).

    Args:
        code: the bytes of an array of struct sock_filter.
        flags: SECCOMP_FILTER_FLAG_*.
        has_listener: whether the call returns a descriptor for the agent at `listener_path`.
    """

    code: bytes
    flags: int
    has_listener: bool


def compile(policy: Seccomp, cache_dir: str | None = None) -> SeccompProgram:
    """Return the program of a policy.

    Args:
        policy: the policy. Its native architecture is always included.
        cache_dir: the directory in which compiled programs are kept; it is created if it is
            missing. libseccomp takes 10 ms for the profile of podman with three architectures.

    Raises:
        ConfigError: the policy is not valid; the error says which part of it.
        ContainerError: libseccomp is not installed.
        Failure: libseccomp refuses the policy.
    """
    flags, has_listener = policies.flags(policy), policies.has_listener(policy)
    key = cache.key(policy, library.identity()) if cache_dir else b""
    code = cache.load(cache_dir, key) if cache_dir else None
    if code is None:
        code = _compile(policy)
        if cache_dir:
            cache.store(cache_dir, key, code)
    return SeccompProgram(code, flags, has_listener)


def _compile(policy: Seccomp) -> bytes:
    default = policies.default_action(policy)
    policy_filter = library.Filter(default)
    architectures = set()
    for index, name in enumerate(policy.architectures):
        where = f"linux.seccomp.architectures[{index}]"
        architecture = library.architecture(name, where)
        if architecture not in architectures:
            architectures.add(architecture)
            policy_filter.add_named_architecture(architecture, name, where)
    if sum(len(rule.names) for rule in policy.syscalls) > _OPTIMIZED_FROM:
        policy_filter.optimize()
    for where, name, action, alternatives in policies.rules(policy):
        if action != default:
            policy_filter.add_rule(where, name, action, alternatives)
    code = policy_filter.export()
    if enosys.is_wanted(default):
        names = {name for rule in policy.syscalls for name in rule.names}
        code = enosys.stub(library.newest(names, architectures)) + code
    return _checked(code)


def _checked(code: bytes) -> bytes:
    count = len(code) // 8
    if count > _MOST_INSTRUCTIONS:
        raise ConfigError(
            "linux.seccomp",
            f"it takes {count} instructions, and the kernel no more than {_MOST_INSTRUCTIONS}; "
            "name fewer architectures or conditions",
        )
    return code
