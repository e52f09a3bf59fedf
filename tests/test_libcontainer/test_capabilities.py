# SPDX-License-Identifier: Apache-2.0
"""libcontainer.init.process.capabilities leaves a process exactly the capabilities of its config.

The kernel's /proc/PID/status is the judge.
"""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from libcontainer.init.process.capabilities import is_known, mask_of, names_of, not_raised
from nsenter._message.capabilities import NAMES

# What a process is told to do with itself; `said` tells what has become of it.
PRELUDE = """
import json, os, sys
from libcontainer.init.process.capabilities import *
from nsenter._host.syscalls import PR_SET_KEEPCAPS, Failure, capset, prctl

def said():
    lines = open("/proc/self/status").read().splitlines()
    sets = dict(line.split(":\\t") for line in lines if line.startswith("Cap"))
    print(json.dumps({name[3:]: names_of(int(mask, 16)) for name, mask in sets.items()}))

def failure(function, *args):
    try:
        function(*args)
    except Failure as failure:
        print(json.dumps([failure.errno, str(failure)]))
"""
NET = mask_of(["CAP_NET_ADMIN", "CAP_NET_RAW"])


def in_a_process(script: str) -> Any:
    command = [sys.executable, "-c", PRELUDE + script]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def test_names_are_those_of_the_kernel() -> None:
    header = Path("/usr/include/linux/capability.h").read_text().splitlines()
    words = (line.split() for line in header if line.startswith("#define CAP_"))
    numbers = {word[1]: word[2] for word in words if len(word) == 3 and word[2].isdigit()}
    assert numbers == {name: str(number) for number, name in enumerate(NAMES)}


def test_a_mask_and_its_names() -> None:
    assert mask_of(["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]) == 1 | 1 << 40
    assert names_of(1 | 1 << 40 | 1 << 63) == ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE", "63"]
    assert mask_of(NAMES) == 2**41 - 1


def test_unknown_names_are_left_out() -> None:
    names = ["CAP_OF_2093", "CAP_KILL", "chown", "NET_RAW"]
    assert names_of(mask_of(names)) == ["CAP_KILL"]


def test_what_the_kernel_has_is_known() -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    assert [is_known(number) for number in (-1, 0, last, last + 1)] == [False, True, True, False]


@pytest.mark.parametrize("keep", [(), ("CAP_KILL", "CAP_NET_RAW"), ("CAP_CHOWN",)])
def test_the_bounding_set_keeps_no_more_than_it_is_told(keep: tuple[str, ...]) -> None:
    sets = in_a_process(f"drop_bounding({mask_of(keep)}); said()")
    assert sets["Bnd"] == sorted(keep, key=NAMES.index)


def test_without_the_right_to_drop_what_has_to_be_is_named() -> None:
    script = f"""
drop_bounding({NET})
capset({NET}, {NET})
failure(drop_bounding, mask_of(["CAP_NET_ADMIN"]))
"""
    number, text = in_a_process(script)
    assert number == errno.EPERM
    assert text == "PR_CAPBSET_DROP CAP_NET_RAW: Operation not permitted"


def test_without_the_right_to_drop_nothing_has_to_be() -> None:
    sets = in_a_process(f"drop_bounding({NET}); capset({NET}, {NET}); drop_bounding({NET}); said()")
    assert sets["Bnd"] == ["CAP_NET_ADMIN", "CAP_NET_RAW"]


@pytest.mark.parametrize("uid", [0, 1000])
def test_sets_are_as_told_after_the_ids_have_changed(uid: int) -> None:
    script = f"""
keep = {NET}
drop_bounding(keep)
prctl("", PR_SET_KEEPCAPS, 1)
os.setresuid({uid}, {uid}, {uid})
prctl("", PR_SET_KEEPCAPS, 0)
apply(mask_of(["CAP_NET_RAW"]), keep, 0)
said()
"""
    assert in_a_process(script) == {
        "Inh": [],
        "Prm": ["CAP_NET_ADMIN", "CAP_NET_RAW"],
        "Eff": ["CAP_NET_RAW"],
        "Bnd": ["CAP_NET_ADMIN", "CAP_NET_RAW"],
        "Amb": [],
    }


def test_ambient_ones_live_through_an_execve() -> None:
    script = f"""
import subprocess
prctl("", PR_SET_KEEPCAPS, 1)
os.setresuid(1000, 1000, 1000)
apply({NET}, {NET}, mask_of(["CAP_NET_RAW"]), mask_of(["CAP_NET_RAW"]))
shown = subprocess.check_output(["cat", "/proc/self/status"], text=True)
sets = dict(line.split(":\\t") for line in shown.splitlines() if line.startswith("Cap"))
print(json.dumps([names_of(int(sets[name], 16)) for name in ("CapEff", "CapInh", "CapAmb")]))
"""
    assert in_a_process(script) == [["CAP_NET_RAW"]] * 3


@pytest.mark.parametrize("uid", [0, 1000])
def test_inheritable_ones_that_are_asked_for_are_there(uid: int) -> None:
    script = f"""
prctl("", PR_SET_KEEPCAPS, 1)
os.setresuid({uid}, {uid}, {uid})
apply(0, {NET}, 0, mask_of(["CAP_NET_RAW"]))
said()
"""
    sets = in_a_process(script)
    assert (sets["Inh"], sets["Amb"]) == (["CAP_NET_RAW"], [])


@pytest.mark.parametrize(
    ("permitted", "inheritable", "raised"),
    [(NET, NET, NET), (NET, 0, 0), (1 << 12, NET, 1 << 12), (NET, 1 << 13, 1 << 13)],
)
def test_only_what_is_permitted_and_inheritable_is_raised(
    permitted: int, inheritable: int, raised: int
) -> None:
    sets = in_a_process(f"apply(0, {permitted}, {NET}, {inheritable}); said()")
    assert sets["Amb"] == names_of(raised)
    assert not_raised(NET, permitted, inheritable) == NET & ~raised


def test_an_inheritable_one_outside_of_the_bounding_set_is_named() -> None:
    script = f"drop_bounding(1 << 12); failure(apply, {NET}, {NET}, 0, {NET})"
    number, text = in_a_process(script)
    assert number == errno.EPERM
    why = "an inheritable capability must be in the bounding set too"
    assert text == f"capset CAP_NET_RAW: {why}"


def test_inherited_ones_go_with_the_rest() -> None:
    sets = in_a_process(f"capset({NET}, {NET}, {NET}); apply({NET}, {NET}, 0); said()")
    assert sets["Inh"] == sets["Amb"] == []


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ((NET, NET | 1, 0), "capset CAP_CHOWN: the runtime does not have them itself"),
        ((NET, 1 << 12, 0), "capset CAP_NET_RAW: not in the permitted set"),
    ],
)
def test_what_a_process_cannot_have_is_named(sets: tuple[int, int, int], said: str) -> None:
    number, text = in_a_process(f"capset({NET}, {NET}); failure(apply, *{sets})")
    assert number == errno.EPERM
    assert text == said
