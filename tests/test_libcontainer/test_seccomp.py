# SPDX-License-Identifier: Apache-2.0
"""The kernel enforces the programs of libcontainer.seccomp as their policies say."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bpf
import filtered
from libcontainer.configs import Seccomp, SyscallArgument, SyscallRule
from libcontainer.errors import ConfigError, ContainerError
from libcontainer.seccomp import SeccompProgram, cache, compile, enosys, library
from libcontainer.seccomp.policies import ACTIONS
from nsenter._host import libseccomp

X86_64, X86, X32 = 0xC000003E, 0x40000003, 0x4000003E
ALL_X86 = ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32")
ENOSYS = ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS
# What a Python needs to say what it has seen, and to end.
ENDING = "write exit_group munmap mmap brk futex rt_sigaction lseek fstat ioctl close read".split()


def number(name: str, architecture: int = 0) -> int:
    found: int = library._open().seccomp_syscall_resolve_name_arch(architecture, name.encode())
    assert found >= 0, name
    return found


def allowing(*rules: SyscallRule, **more: Any) -> Seccomp:
    return Seccomp("SCMP_ACT_ALLOW", syscalls=rules, **more)


def refusing(*names: str, default: str = "SCMP_ACT_ERRNO", **more: Any) -> Seccomp:
    """Nothing is allowed but those, and to end."""
    rule = SyscallRule([*names, *ENDING], "SCMP_ACT_ALLOW")
    return Seccomp(default, syscalls=(rule,), **more)


def results(policy: Seccomp, *calls: filtered.Call) -> list[int]:
    program = compile(policy)
    return filtered.calls(program.code, program.flags, calls)


def an_argument(op: str, value: int, second: int = 0, index: int = 0) -> SyscallArgument:
    return SyscallArgument(index, value, op, second)


# ---- with the kernel

RESULTS = [
    ("errno, EPERM unless it is said", SyscallRule(["umask"], "SCMP_ACT_ERRNO"), -errno.EPERM),
    ("an errno of its own", SyscallRule(["umask"], "SCMP_ACT_ERRNO", errno.EXDEV), -errno.EXDEV),
    ("no errno is success", SyscallRule(["umask"], "SCMP_ACT_ERRNO", 0), 0),
    ("trace without a tracer", SyscallRule(["umask"], "SCMP_ACT_TRACE"), -errno.ENOSYS),
    ("log lets it happen", SyscallRule(["umask"], "SCMP_ACT_LOG"), 0o22),
    ("an unknown name is passed over", SyscallRule(["of_2093"], "SCMP_ACT_ERRNO"), 0o22),
]


@pytest.mark.parametrize(("rule", "expected"), [case[1:] for case in RESULTS],
                         ids=[case[0] for case in RESULTS])  # fmt: skip
def test_an_action_is_what_the_kernel_does(rule: SyscallRule, expected: int) -> None:
    umask = number("umask")
    # The first call makes the second one's result known.
    got = filtered.calls(compile(allowing(rule)).code, 0, [(umask, (0o22,)), (umask, (0o22,))])
    assert got[1] == expected


@pytest.mark.parametrize("name", ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"])
def test_an_action_that_kills_does(name: str) -> None:
    policy = allowing(SyscallRule(["umask"], f"SCMP_ACT_{name}"))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        results(policy, (number("umask"), (0,)))
    assert caught.value.returncode == -signal.SIGSYS


CONDITIONS = [
    (an_argument("SCMP_CMP_EQ", 5), {5}),
    (an_argument("SCMP_CMP_NE", 5), {0, 4, 6, 7}),
    (an_argument("SCMP_CMP_LT", 5), {0, 4}),
    (an_argument("SCMP_CMP_LE", 5), {0, 4, 5}),
    (an_argument("SCMP_CMP_GE", 5), {5, 6, 7}),
    (an_argument("SCMP_CMP_GT", 5), {6, 7}),
    (an_argument("SCMP_CMP_MASKED_EQ", 6, 4), {4, 5}),
]


@pytest.mark.parametrize(("condition", "refused"), CONDITIONS, ids=lambda c: getattr(c, "op", None))
def test_a_condition_holds_for_its_values(condition: SyscallArgument, refused: set[int]) -> None:
    rule = SyscallRule(["umask"], "SCMP_ACT_ERRNO", errno.EXDEV, (condition,))
    values = (0, 4, 5, 6, 7)
    got = results(allowing(rule), *((number("umask"), (value,)) for value in values))
    found = {value for value, got in zip(values, got, strict=True) if got == -errno.EXDEV}
    assert found == refused


def test_conditions_on_different_arguments_hold_together() -> None:
    both = (an_argument("SCMP_CMP_EQ", 1), an_argument("SCMP_CMP_EQ", 2, index=1))
    rule = SyscallRule(["umask"], "SCMP_ACT_ERRNO", errno.EXDEV, both)
    got = results(allowing(rule), *((number("umask"), a) for a in ((1, 2), (1, 3), (3, 2))))
    assert [value == -errno.EXDEV for value in got] == [True, False, False]


def test_conditions_on_one_argument_are_alternatives() -> None:
    two = (an_argument("SCMP_CMP_EQ", 1), an_argument("SCMP_CMP_EQ", 2))
    rule = SyscallRule(["umask"], "SCMP_ACT_ERRNO", errno.EXDEV, two)
    got = results(allowing(rule), *((number("umask"), (value,)) for value in (1, 2, 3)))
    assert [value == -errno.EXDEV for value in got] == [True, True, False]


def test_what_is_newer_than_a_policy_is_not_there() -> None:
    calls = (
        (number("mkdir"), ()),
        (number("openat2"), ()),
        (number("openat2") + 1, ()),
        (9999, ()),
    )
    assert results(refusing("openat"), *calls[:1]) == [-errno.EPERM]
    got = results(refusing("openat2"), *calls)
    # openat2 is allowed, and says that its arguments are not right.
    assert got == [-errno.EPERM, -errno.EINVAL, -errno.ENOSYS, -errno.ENOSYS]


@pytest.mark.parametrize("name", ["KILL_PROCESS", "TRAP"])
def test_what_is_newer_does_not_kill(name: str) -> None:
    policy = refusing("openat2", default=f"SCMP_ACT_{name}")
    assert results(policy, (9999, ())) == [-errno.ENOSYS]


@pytest.mark.parametrize("flag", ["LOG", "SPEC_ALLOW", "TSYNC", "WAIT_KILLABLE_RECV"])
def test_a_flag_is_taken_by_the_kernel(flag: str) -> None:
    policy = allowing(flags=(f"SECCOMP_FILTER_FLAG_{flag}",))
    assert results(policy, (number("getpid"), ()))[0] > 0


def test_the_rules_of_another_architecture_are_its_own() -> None:
    code = compile(allowing(SyscallRule(["mkdir"], "SCMP_ACT_ERRNO"), architectures=ALL_X86)).code
    for token, kernel_token in ((X86_64, X86_64), (X86, X86), (X32, X86_64)):
        refused = bpf.run(code, kernel_token, number("mkdir", token))
        assert refused == ACTIONS["SCMP_ACT_ERRNO"] | errno.EPERM
        assert bpf.run(code, kernel_token, number("chdir", token)) == ACTIONS["SCMP_ACT_ALLOW"]
    assert bpf.run(compile(allowing()).code, X86, 1) == ACTIONS["SCMP_ACT_KILL"]


def test_newer_is_meant_per_architecture() -> None:
    code = compile(refusing("openat2", architectures=ALL_X86)).code
    for token, kernel_token in ((X86_64, X86_64), (X86, X86), (X32, X86_64)):
        newest = number("openat2", token)
        if token == X32:  # the highest that x32 has of those: numbers of its own, from 512
            newest = max(number(name, X32) for name in ("openat2", *ENDING))
        assert bpf.run(code, kernel_token, newest + 1) == ENOSYS
        assert bpf.run(code, kernel_token, number("openat2", token)) == ACTIONS["SCMP_ACT_ALLOW"]
    # x32 without a rule is not ours to answer: the architecture is not one of the filter.
    without = compile(refusing("openat2")).code
    assert bpf.run(without, X86_64, number("openat2", X32) + 9999) == ACTIONS["SCMP_ACT_KILL"]


AARCH64, ARM, RISCV64, S390, S390X = 0xC00000B7, 0x40000028, 0xC00000F3, 0x16, 0x80000016
BEYOND = 100_000


@pytest.mark.parametrize(
    "tokens", [(AARCH64,), (AARCH64, ARM), (RISCV64, X86, AARCH64, X86_64, X32)], ids=len
)
def test_newer_is_meant_per_architecture_on_machines_that_we_do_not_have(
    tokens: tuple[int, ...],
) -> None:
    newest = library.newest(["openat2", "mkdirat"], tokens)
    program = enosys.stub(newest) + compile(allowing()).code[-8:]
    for token in tokens:
        of_the_kernel, bit = (X86_64, 1 << 30) if token == X32 else (token, 0)
        assert newest[token] == 437 | bit
        for nr in (0, 436, 437):
            assert bpf.run(program, of_the_kernel, nr | bit) != ENOSYS
        for nr in (438, 439, BEYOND):
            assert bpf.run(program, of_the_kernel, nr | bit) == ENOSYS
    assert bpf.run(program, 0xC0000015, BEYOND) != ENOSYS


@pytest.mark.parametrize("token", [S390, S390X])
def test_a_number_that_s390_has_no_room_for_is_not_there(token: int) -> None:
    """It comes as 0, setup(2), if the kernel does not know it."""
    program = enosys.stub({token: 300, RISCV64: 300}) + compile(allowing()).code[-8:]
    missing = [nr for nr in (0, 1, 300, 301) if bpf.run(program, token, nr) == ENOSYS]
    assert missing == [0, 301]
    assert bpf.run(program, RISCV64, 0) != ENOSYS


@pytest.mark.parametrize("default", ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"])
def test_a_permissive_default_is_for_newer_ones_too(default: str) -> None:
    policy = Seccomp(default, syscalls=(SyscallRule(["openat2"], "SCMP_ACT_KILL"),))
    assert bpf.run(compile(policy).code, X86_64, 9999) & 0xFFFF0000 == ACTIONS[default]


# ---- against what a policy says

NAMES = "read openat close mkdir chmod personality clone ptrace kill getpid prctl ioctl".split()
OPERATIONS = {
    "SCMP_CMP_EQ": lambda a, x, _: a == x,
    "SCMP_CMP_NE": lambda a, x, _: a != x,
    "SCMP_CMP_LT": lambda a, x, _: a < x,
    "SCMP_CMP_LE": lambda a, x, _: a <= x,
    "SCMP_CMP_GE": lambda a, x, _: a >= x,
    "SCMP_CMP_GT": lambda a, x, _: a > x,
    "SCMP_CMP_MASKED_EQ": lambda a, x, y: a & x == y & x,
}
small = st.integers(0, 8)
words = st.one_of(small, st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1))


@st.composite
def arguments(draw: st.DrawFn) -> tuple[SyscallArgument, ...]:
    """None, or conditions on different arguments, or alternatives for one."""
    ops = st.sampled_from(sorted(OPERATIONS))
    indices = draw(st.sampled_from([(), (0,), (0, 2), (1, 5)]))
    return tuple(SyscallArgument(i, draw(words), draw(ops), draw(words)) for i in indices)


@st.composite
def policies(draw: st.DrawFn) -> Seccomp:
    actions = st.sampled_from(["ALLOW", "ERRNO", "KILL_PROCESS", "TRAP", "LOG", "TRACE"])
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=1, max_size=8))
    rules = [
        SyscallRule([name], f"SCMP_ACT_{draw(actions)}", None, draw(arguments())) for name in names
    ]
    return Seccomp(
        f"SCMP_ACT_{draw(actions)}",
        architectures=draw(st.sampled_from([(), ALL_X86])),
        syscalls=tuple(rules),
    )


def says(policy: Seccomp, token: int, nr: int, args: tuple[int, ...]) -> int:
    """SECCOMP_RET_*, from the words of a policy."""

    def action(name: str) -> int:
        return ACTIONS[name] | (errno.EPERM if name[9:] in ("ERRNO", "TRACE") else 0)

    newest = max(number(rule.names[0], token) for rule in policy.syscalls)
    strict = policy.default_action[9:] not in ("ALLOW", "LOG", "TRACE")
    if strict and nr > newest and newest > 0:
        return ENOSYS
    width = 2**32 - 1 if token == X32 else 2**64 - 1  # libseccomp's x32 has words of 32 bits
    for rule in policy.syscalls:
        holds = (
            OPERATIONS[c.op](args[c.index] & width, c.value & width, c.value_two & width)  # type: ignore[no-untyped-call]
            for c in rule.args
        )
        if number(rule.names[0], token) == nr and all(holds):
            return action(rule.action)
    return action(policy.default_action)


@given(policies(), st.data())
def test_a_program_does_what_its_policy_says(policy: Seccomp, data: st.DataObject) -> None:
    code = compile(policy).code
    tokens = [X86_64, X32] if policy.architectures else [X86_64]
    known = [condition.value for rule in policy.syscalls for condition in rule.args]
    values = st.one_of(words, st.sampled_from(known or [0]))
    calls = st.tuples(st.sampled_from([*NAMES, "openat2"]), st.tuples(*[values] * 6))
    for name, args in data.draw(st.lists(calls, min_size=4, max_size=30)):
        for token in tokens:
            nr = number(name, token)
            assert bpf.run(code, X86_64, nr, args) == says(policy, token, nr, args), (nr, args)


# ---- what is refused

REFUSED = [
    ("defaultAction", Seccomp("SCMP_ACT_MAYBE"), "SCMP_ACT_MAYBE"),
    ("defaultAction", Seccomp("SCMP_ACT_NOTIFY"), "cannot be the default"),
    ("defaultErrnoRet", Seccomp("SCMP_ACT_ALLOW", 1), "SCMP_ACT_ALLOW returns none"),
    ("architectures[0]", allowing(architectures=("SCMP_ARCH_PDP11",)), "SCMP_ARCH_PDP11"),
    ("architectures[0]", allowing(architectures=("x86_64",)), "x86_64"),
    ("flags[1]", allowing(flags=("SECCOMP_FILTER_FLAG_LOG", "FLAG_NEW")), "FLAG_NEW"),
    ("syscalls[0].action", allowing(SyscallRule(["read"], "ALLOW")), "'ALLOW'"),
    ("syscalls[0].errnoRet", allowing(SyscallRule(["read"], "SCMP_ACT_KILL", 1)), "remove it"),
    ("syscalls[0].errnoRet", allowing(SyscallRule(["read"], "SCMP_ACT_ERRNO", 4096)), "0 and 4095"),
    ("syscalls[0].errnoRet", allowing(SyscallRule(["read"], "SCMP_ACT_TRACE", 65536)), "65536"),
    ("defaultErrnoRet", Seccomp("SCMP_ACT_ERRNO", 4096), "4096 is not between 0 and 4095"),
    (
        "architectures[1]",
        allowing(architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_S390")),
        "byte order",
    ),
    (
        "syscalls[1]",
        allowing(
            SyscallRule(["chmod"], "SCMP_ACT_ERRNO", 5, (an_argument("SCMP_CMP_EQ", 7),)),
            SyscallRule(["mkdir", "chmod"], "SCMP_ACT_ERRNO", 6, (an_argument("SCMP_CMP_EQ", 7),)),
        ),
        "chmod: a rule before it has the same conditions",
    ),
    ("syscalls[0].names", allowing(SyscallRule([""], "SCMP_ACT_ERRNO")), "empty"),
    (
        "syscalls[0].action",
        allowing(SyscallRule(["write"], "SCMP_ACT_NOTIFY"), listener_path="/run/agent"),
        "write",
    ),
    ("listenerPath", allowing(SyscallRule(["mkdir"], "SCMP_ACT_NOTIFY")), "missing"),
    (
        "syscalls[0].args[0].op",
        allowing(SyscallRule(["read"], "SCMP_ACT_ERRNO", None, (an_argument("EQ", 1),))),
        "'EQ'",
    ),
    (
        "syscalls[0].args[0].index",
        allowing(
            SyscallRule(["read"], "SCMP_ACT_ERRNO", None, (an_argument("SCMP_CMP_EQ", 1, index=6),))
        ),
        "6",
    ),
    (
        "syscalls[0].args[0].value",
        allowing(SyscallRule(["read"], "SCMP_ACT_ERRNO", None, (an_argument("SCMP_CMP_EQ", -1),))),
        "-1",
    ),
]


@pytest.mark.parametrize(("where", "policy", "why"), REFUSED)
def test_a_policy_is_refused_by_name(where: str, policy: Seccomp, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compile(policy)
    assert caught.value.path == f"linux.seccomp.{where}"
    assert why in caught.value.reason


def test_a_policy_that_the_kernel_would_refuse_for_its_length_is_named() -> None:
    conditions = [(an_argument("SCMP_CMP_EQ", value << 32 | value),) for value in range(1500)]
    rules = [SyscallRule(["read"], "SCMP_ACT_ERRNO", None, args) for args in conditions]
    with pytest.raises(ConfigError, match=r"linux\.seccomp: it takes \d+ instructions"):
        compile(allowing(*rules))


def test_without_the_library_its_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libseccomp, "_kept", [])
    monkeypatch.setattr(libseccomp, "_NAME", "libseccomp.so.of-2093")
    with pytest.raises(ContainerError, match="apt-get install libseccomp2"):
        compile(allowing())


# ---- programs that were compiled before

POLICY = allowing(SyscallRule(["mkdir"], "SCMP_ACT_ERRNO"))


def stored(folder: Path) -> tuple[SeccompProgram, Path]:
    program = compile(POLICY, str(folder))
    (file,) = folder.iterdir()
    return program, file


def poison(file: Path) -> None:
    """The program that is stored allows all."""
    content = file.read_bytes()
    allow = compile(allowing()).code
    key = content.index(b"\n", content.index(b"\n") + 1) + 1
    length = int(content.split(b"\n")[1].split()[0])
    head = b"%s\n%08d %08d\n" % (content.split(b"\n")[0], length, len(allow))
    file.write_bytes(head + content[key : key + length] + allow)


def test_a_program_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "new" / "cache"
    program, file = stored(folder)
    assert file.stat().st_mode & 0o777 == 0o600
    monkeypatch.delattr(libseccomp.Filter, "export")
    assert compile(POLICY, str(folder)) == program
    with pytest.raises(AttributeError):
        compile(allowing(SyscallRule(["rmdir"], "SCMP_ACT_ERRNO")), str(folder))


def test_what_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    program, file = stored(tmp_path)
    poison(file)
    assert compile(POLICY, str(tmp_path)).code == compile(allowing()).code, "the poison works"
    for mode in (0o620, 0o602):
        file.chmod(mode)
        assert compile(POLICY, str(tmp_path)) == program
        poison(file)


def test_what_others_own_is_not_trusted(tmp_path: Path) -> None:
    program, file = stored(tmp_path)
    poison(file)
    os.chown(file, 1234, -1)
    assert compile(POLICY, str(tmp_path)) == program


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    program, file = stored(folder)
    poison(file)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert compile(POLICY, str(folder)) == program
    assert not file.is_symlink()


@pytest.mark.parametrize("damage", ["cut", "another", "empty", "fifo", "folder"])
def test_a_damaged_file_is_replaced(tmp_path: Path, damage: str) -> None:
    program, file = stored(tmp_path)
    content = file.read_bytes()
    file.unlink()
    if damage == "fifo":
        os.mkfifo(file)
    elif damage == "folder":
        file.mkdir()
    else:
        changed = {
            "cut": content[:-8],
            "another": content.replace(b"mkdir", b"rmdir"),
            "empty": b"",
        }
        file.write_bytes(changed[damage])
        file.chmod(0o600)
    assert compile(POLICY, str(tmp_path)) == program
    if damage != "folder":
        assert file.read_bytes() == content


def test_the_number_of_files_has_a_bound(tmp_path: Path) -> None:
    for uid in range(200):
        cache.store(str(tmp_path), b"%d" % uid, b"12345678")
    assert len(list(tmp_path.iterdir())) <= 64
    assert cache.load(str(tmp_path), b"199") == b"12345678"


def test_where_nothing_can_be_kept_a_program_is_compiled(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert compile(POLICY, str(tmp_path / "file" / "cache")) == compile(POLICY)


# ---- podman's own profile


def conditions(rule: dict[str, Any]) -> tuple[SyscallArgument, ...]:
    given = rule["args"] or ()
    return tuple(an_argument(a["op"], a["value"], a["valueTwo"], a["index"]) for a in given)


def podmans_profile() -> Seccomp:
    """As podman gives it to a runtime for a container without capabilities."""
    profile = json.loads(Path("/usr/share/containers/seccomp.json").read_text())
    rules = [
        SyscallRule(rule["names"], rule["action"], rule.get("errnoRet"), conditions(rule))
        for rule in profile["syscalls"]
        if not rule["includes"]
    ]
    return Seccomp("SCMP_ACT_ERRNO", profile["defaultErrnoRet"], ALL_X86, (), tuple(rules))


def test_podmans_profile_allows_and_refuses() -> None:
    names = ("getppid", "chroot", "kexec_load", "acct", "vhangup", "personality")
    got = results(podmans_profile(), *((number(name), (1,)) for name in names))
    assert got[0] > 0
    assert got[1:5] == [-errno.EPERM] * 4
    assert got[5] == -errno.ENOSYS  # its conditions are on other personalities
