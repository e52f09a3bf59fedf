# SPDX-License-Identifier: Apache-2.0
"""Read "linux.seccomp" (config-linux.md)."""

from __future__ import annotations

from libcontainer.configs import Seccomp, SyscallArgument, SyscallRule
from libcontainer.errors import ConfigError
from libcontainer.specconv.reader import UINT32, UINT64, check_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader

ACTIONS = tuple(
    f"SCMP_ACT_{name}"
    for name in "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY".split()
)
OPERATORS = tuple(f"SCMP_CMP_{name}" for name in "NE LT LE EQ GE GT MASKED_EQ".split())
ARCHITECTURES = tuple(
    f"SCMP_ARCH_{name}"
    for name in (
        "X86 X86_64 X32 ARM AARCH64 LOONGARCH64 MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 "
        "MIPSEL64N32 PPC PPC64 PPC64LE RISCV64 S390 S390X"
    ).split()
)
FLAGS = tuple(
    f"SECCOMP_FILTER_FLAG_{name}" for name in "LOG SPEC_ALLOW TSYNC WAIT_KILLABLE_RECV".split()
)
# As runc: where nothing is said, a filter costs no mitigation of speculation.
_DEFAULT_FLAGS = ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",)
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_NOTIFY = "SCMP_ACT_NOTIFY"
_LAST_ARGUMENT = 5


def seccomp_from_spec(spec: Reader) -> Seccomp | None:
    """Return the policy; None if it restricts nothing."""
    if not spec.text("defaultAction") and not spec.value.get("syscalls"):
        return None
    default = _action(spec, "defaultAction")
    flags = spec.value.get("flags")
    policy = Seccomp(
        default_action=default,
        default_errno_ret=_errno(spec, "defaultErrnoRet", default),
        architectures=_words(spec, "architectures", ARCHITECTURES),
        flags=_DEFAULT_FLAGS if flags is None else _words(spec, "flags", FLAGS),
        syscalls=tuple(map(_rule, spec.objects("syscalls"))),
        listener_path=spec.text("listenerPath"),
        listener_metadata=spec.text("listenerMetadata"),
    )
    _check_listener(spec, policy)
    return policy


def _check_listener(spec: Reader, policy: Seccomp) -> None:
    if policy.default_action == _NOTIFY:
        raise ConfigError(spec.at("defaultAction"), f"{_NOTIFY} is for single system calls")
    if policy.listener_metadata and not policy.listener_path:
        raise ConfigError(spec.at("listenerMetadata"), "it requires listenerPath")
    for i, rule in enumerate(policy.syscalls):
        if rule.action != _NOTIFY:
            continue
        where = f"{spec.at('syscalls')}[{i}]"
        if not policy.listener_path:
            raise ConfigError(f"{where}.action", f"{_NOTIFY} needs a listenerPath to notify")
        # The init says by it that it is ready: nobody listens yet who could answer.
        if "write" in rule.names:
            raise ConfigError(f"{where}.names", f"{_NOTIFY} cannot be used for the write syscall")


def _words(spec: Reader, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
    words = spec.texts(name)
    for i, word in enumerate(words):
        check_word(f"{spec.at(name)}[{i}]", word, known)
    return words


def _action(spec: Reader, name: str) -> str:
    return check_word(spec.at(name), spec.needed_text(name), ACTIONS)


def _errno(spec: Reader, name: str, action: str) -> int | None:
    number = spec.optional_number(name, most=UINT32)
    if number is not None and action not in _WITH_ERRNO:
        raise ConfigError(spec.at(name), f"{action} returns none: leave it out")
    return number


def _rule(item: Reader) -> SyscallRule:
    names = item.texts("names")
    if not names:
        raise ConfigError(item.at("names"), "it is missing or empty")
    action = _action(item, "action")
    return SyscallRule(
        names=names,
        action=action,
        errno_ret=_errno(item, "errnoRet", action),
        args=tuple(map(_argument, item.objects("args"))),
    )


def _argument(item: Reader) -> SyscallArgument:
    return SyscallArgument(
        index=item.number("index", most=_LAST_ARGUMENT),
        value=item.number("value", most=UINT64),
        op=check_word(item.at("op"), item.needed_text("op"), OPERATORS),
        value_two=item.number("valueTwo", most=UINT64),
    )
