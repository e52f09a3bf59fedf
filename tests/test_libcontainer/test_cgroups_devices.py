# SPDX-License-Identifier: Apache-2.0
"""Rules for devices allow and deny the same access with cgroup v1 and as a BPF program."""

from __future__ import annotations

import itertools
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cgrouping import as_user, in_child, removed, v2_manager
from libcontainer.cgroups import ebpf
from libcontainer.cgroups.devices import Access
from libcontainer.configs import DeviceRule, Resources
from nsenter._host.syscalls import Failure

NONE = DeviceRule("a", -1, -1, "rwm", False)
ALL = DeviceRule("a", -1, -1, "rwm", True)
NULL = DeviceRule("c", 1, 3, "rwm", True)


def allow(kind: str, major: int, minor: int, letters: str = "rwm") -> DeviceRule:
    return DeviceRule(kind, major, minor, letters, True)


def deny(kind: str, major: int, minor: int, letters: str = "rwm") -> DeviceRule:
    return DeviceRule(kind, major, minor, letters, False)


def meant(rules: list[DeviceRule], kind: str, major: int, minor: int, letters: str) -> bool:
    """What the documentation says, letter by letter: the last that speaks of it decides."""

    def one(letter: str) -> bool:
        for rule in reversed(rules):
            if rule.type == "a":
                return rule.allow
            numbers = rule.major in (-1, major) and rule.minor in (-1, minor)
            if rule.type == kind and numbers and letter in rule.permissions:
                return rule.allow
        return False

    return all(one(letter) for letter in letters)


def run(code: bytes, kind: str, major: int, minor: int, letters: str) -> bool:
    """A machine for what BPF our programs are made of, strict about all else."""
    access = sum({"m": 1, "r": 2, "w": 4}[letter] for letter in letters)
    context = struct.pack("=III", {"b": 1, "c": 2}[kind] | access << 16, major, minor)
    registers: list[int | None] = [None] * 11
    registers[1] = -1  # the context, which is not to be computed with
    steps = [struct.unpack_from("=BBhi", code, at) for at in range(0, len(code), 8)]
    at = 0
    for _ in range(10_000):
        operation, both, jump, value = steps[at]
        to, source = both & 15, both >> 4
        at += 1
        if operation == 0x61:
            assert source == 1
            assert jump in (0, 4, 8)
            registers[to] = struct.unpack_from("=I", context, jump)[0]
        elif operation == 0xB4:
            registers[to] = value
        elif operation == 0xBC:
            assert registers[source] is not None
            registers[to] = registers[source]
        elif operation == 0x95:
            assert registers[0] in (0, 1)
            return bool(registers[0])
        elif operation == 0x05:
            at += jump
        else:
            now = registers[to]
            assert now is not None
            assert to != 1
            if operation == 0x54:
                registers[to] = now & value & 0xFFFFFFFF
            elif operation == 0x74:
                registers[to] = now >> value
            elif operation == 0x55:
                at += jump if now != value else 0
            elif operation == 0x45:
                at += jump if now & value else 0
            else:
                raise AssertionError(f"unknown operation {operation:#x}")
    raise AssertionError("no end")


LISTS = {
    "nothing": [],
    "none": [NONE],
    "all": [ALL],
    "one": [NONE, NULL],
    "read and write are said apart": [NONE, allow("c", 1, 3, "r"), allow("c", 1, 3, "w")],
    "read alone": [NONE, allow("c", 1, 3, "r")],
    "block is not char": [NONE, allow("b", 1, 3)],
    "any minor": [NONE, allow("c", 1, -1)],
    "any major": [NONE, allow("c", -1, 3)],
    "nodes may be made": [NONE, allow("c", -1, -1, "m"), allow("b", -1, -1, "m"), NULL],
    "taken back": [NONE, NULL, deny("c", 1, 3, "w")],
    "a hole in what is allowed": [NONE, allow("c", -1, -1), deny("c", 1, 3, "w")],
    "and filled": [NONE, allow("c", -1, -1), deny("c", 1, 3), allow("c", 1, 3, "r")],
    "all but one": [ALL, deny("c", 1, 3)],
    "all but writing one": [ALL, deny("c", 1, 3, "w")],
    "what came before all": [deny("c", 1, 3), allow("c", 1, 5), ALL],
    "what came before none": [NULL, NONE],
    "letters of nothing": [NONE, allow("c", 1, 3, "")],
    "podman's": [
        NONE,
        allow("c", -1, -1, "m"),
        allow("b", -1, -1, "m"),
        *(allow("c", 1, minor) for minor in (3, 5, 7, 8, 9)),
        allow("c", 5, 0),
        allow("c", 136, -1),
    ],
}
ASKED = [
    (kind, major, minor, letters)
    for kind in "bc"
    for major, minor in ((1, 3), (1, 5), (5, 3), (136, 77), (4095, 1048575))
    for letters in ("r", "w", "m", "rw", "rm", "wm", "rwm")
]


@pytest.mark.parametrize("name", LISTS)
def test_a_program_answers_as_its_rules_mean(name: str) -> None:
    rules = LISTS[name]
    code = ebpf.program(rules)
    for asked in ASKED:
        assert run(code, *asked) == meant(rules, *asked), asked


RULE = st.builds(
    DeviceRule,
    type=st.sampled_from("bca"),
    major=st.sampled_from((-1, 1, 5)),
    minor=st.sampled_from((-1, 3, 5)),
    permissions=st.sampled_from(("r", "w", "m", "rw", "rwm")),
    allow=st.booleans(),
)


@given(st.lists(RULE, max_size=8), st.sampled_from(ASKED))
def test_any_list_means_the_same(rules: list[DeviceRule], asked: tuple[str, int, int, str]) -> None:
    assert run(ebpf.program(rules), *asked) == meant(rules, *asked)


@pytest.mark.parametrize("name", LISTS)
def test_the_kernels_verifier_takes_a_program(name: str) -> None:
    os.close(ebpf.load(ebpf.program(LISTS[name])))


def test_a_program_of_very_many_rules_is_taken() -> None:
    rules = [NONE, *(allow("c", major, minor) for major in range(40) for minor in range(50))]
    os.close(ebpf.load(ebpf.program(rules)))


def test_what_the_verifier_says_is_in_the_error() -> None:
    with pytest.raises(Failure, match=r"(?s)load a device program: .*R0"):
        ebpf.load(ebpf._instruction(ebpf.EXIT))


def test_without_privileges_the_error_says_what_it_takes() -> None:
    code = ebpf.program([NONE])
    assert "CAP_BPF" in as_user(lambda: str(ebpf.load(code)))


# ---- on a real cgroup


def opened(directory: str, device: str) -> bool:
    """Whether a process in the cgroup may open a device for reading and writing."""

    def work() -> str:
        (Path(directory) / "cgroup.procs").write_text("0")
        os.close(os.open(device, os.O_RDWR))
        return "opened"

    answer = in_child(work)
    assert answer == "opened" or answer.startswith("PermissionError"), answer
    return answer == "opened"


def test_the_kernel_asks_the_program() -> None:
    with removed(v2_manager()) as manager:
        manager.create()
        here = manager.paths()[""]
        table = {
            "nothing allowed": ([NONE], (False, False)),
            "one allowed": ([NONE, NULL], (True, False)),
            "all but one": ([ALL, deny("c", 1, 3)], (False, True)),
            "half of it": ([NONE, allow("c", 1, 3, "r")], (False, False)),
            "both halves": ([NONE, allow("c", 1, 3, "r"), allow("c", 1, 3, "w")], (True, False)),
        }
        for name, (rules, answers) in table.items():
            manager.set(Resources(devices=rules))
            seen = (opened(here, "/dev/null"), opened(here, "/dev/zero"))
            assert seen == answers, name


def test_an_update_takes_the_place_of_what_was_there() -> None:
    with removed(v2_manager()) as manager:
        manager.create()
        cgroup = os.open(manager.paths()[""], os.O_RDONLY | os.O_DIRECTORY)
        try:
            seen = []
            for rules in ([NONE], [NONE, NULL], [ALL]):
                manager.set(Resources(devices=rules))
                seen.append(ebpf.attached(cgroup))
            manager.set(Resources(pids_limit=None, skip_devices=True))
            seen.append(ebpf.attached(cgroup))
        finally:
            os.close(cgroup)
    assert [len(ids) for ids in seen] == [1, 1, 1, 1]
    assert seen[2] == seen[3]
    assert len({ids[0] for ids in seen[:3]}) == 3


# ---- cgroup v1


def told(rules: list[DeviceRule]) -> list[str]:
    fresh = Access.listed("a *:* rwm\n")
    return [f"{file.split('.')[1]} {text}" for file, text in fresh.changes_to(Access.of(rules))]


V1 = {
    "nothing": (["deny a"], []),
    "one": (["deny a", "allow c 1:3 rwm"], [NONE, NULL]),
    "any minor": (["deny a", "allow c 1:* rwm"], [NONE, allow("c", 1, -1)]),
    "letters come together": (
        ["deny a", "allow c 1:3 rw"],
        [NONE, allow("c", 1, 3, "w"), allow("c", 1, 3, "r")],
    ),
    "taken back": (["deny a", "allow c 1:3 rm"], [NONE, NULL, deny("c", 1, 3, "w")]),
    "taken back whole": (["deny a"], [NONE, NULL, deny("c", 1, 3)]),
    "all": (["allow a"], [ALL]),
    "all but one": (["allow a", "deny b 8:0 rwm"], [ALL, deny("b", 8, 0)]),
    "before all": (["deny a"], [NULL, NONE]),
}


@pytest.mark.parametrize("name", V1)
def test_what_v1_is_told(name: str) -> None:
    expected, rules = V1[name]
    assert told(rules) == expected


def test_v1_cannot_take_a_part_out_of_any() -> None:
    with pytest.raises(Failure, match=r"c 1:3 w: cgroup v1 cannot take it out of c \*:\* rwm"):
        Access.of([NONE, allow("c", -1, -1), deny("c", 1, 3, "w")])
    Access.of([NONE, allow("c", -1, -1, "m"), deny("c", 1, 3, "w")])
    Access.of([NONE, allow("b", -1, -1), deny("c", 1, 3, "w")])


def test_v1_is_told_the_difference_alone() -> None:
    now = Access.listed("c *:* m\nc 1:3 rwm\nc 1:5 rw\n")
    target = Access.of([NONE, allow("c", 1, 3), allow("c", 1, 5, "r"), allow("b", 8, 0, "r")])
    assert sorted(now.changes_to(target)) == [
        ("devices.allow", "b 8:0 r"),
        ("devices.deny", "c *:* m"),
        ("devices.deny", "c 1:5 w"),
    ]
    assert not list(now.changes_to(now))


@given(st.lists(RULE, max_size=6))
def test_what_v1_is_told_is_what_the_rules_mean(rules: list[DeviceRule]) -> None:
    """But for what it refuses: its exceptions are for whole entries."""
    try:
        access = Access.of(rules)
    except Failure:
        return
    for kind, major, minor, letters in ASKED:
        hits = [
            mine
            for (k, a, b), mine in access.exceptions.items()
            if k == kind and a in (-1, major) and b in (-1, minor)
        ]
        found = [any(letter in mine for mine in hits) for letter in letters]
        allowed = not any(found) if access.default else all(found)
        assert allowed == meant(rules, kind, major, minor, letters)


def test_every_pair_of_lists_is_reached_in_the_kernels_own_list(tmp_path: Path) -> None:
    """A model of devices.list follows the writes from each list to each other."""
    lists = [Access.of(rules) for name, (_, rules) in V1.items() if "but" not in name]
    for one, other in itertools.product(lists, repeat=2):
        reached = Access(one.default)
        reached.exceptions = {device: set(letters) for device, letters in one.exceptions.items()}
        for file, text in one.changes_to(other):
            if text == "a":
                reached = Access(file == "devices.allow")
                continue
            kind, number, letters = text.split()
            device = (kind, *(-1 if n == "*" else int(n) for n in number.split(":")))
            mine = reached.exceptions.setdefault(device, set())
            if (file == "devices.allow") != reached.default:
                mine |= set(letters)
            else:
                mine -= set(letters)
        kept = {device: letters for device, letters in reached.exceptions.items() if letters}
        assert (reached.default, kept) == (other.default, other.exceptions)
