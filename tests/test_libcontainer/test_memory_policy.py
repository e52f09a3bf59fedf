# SPDX-License-Identifier: Apache-2.0
"""OCI's linux.memoryPolicy applies to the first process and to later ones, as in runc 1.4."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from libcontainer.init.process import mempolicy
from libcontainer.specconv.memory_policy import FLAGS, MODES
from pyrunc import Runtime, make_bundle

HAS_NUMA = Path("/proc/self/numa_maps").exists()
pytestmark = pytest.mark.skipif(not HAS_NUMA, reason="this kernel has no NUMA (CONFIG_NUMA)")

LOOK = ("sh", "-c", "read where policy rest </proc/self/numa_maps; echo $policy")


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    yield from pyrunc.runtimes(tmp_path)


def run(runtime: Runtime, folder: Path, policy: Any) -> subprocess.CompletedProcess[str]:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["memoryPolicy"] = policy

    return runtime("run", "-b", make_bundle(folder / "bundle", LOOK, change=change), "box")


POLICIES = {
    "no": (None, "default"),
    "an empty": ({}, "default"),
    "one of nulls": ({"mode": None, "nodes": None, "flags": None}, "default"),
    "default": ({"mode": "MPOL_DEFAULT"}, "default"),
    "interleave": ({"mode": "MPOL_INTERLEAVE", "nodes": "0"}, "interleave:0"),
    "bind, static": (
        {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        "bind=static:0",
    ),
    "preferred, relative": (
        {"mode": "MPOL_PREFERRED", "nodes": " 0 ,", "flags": ["MPOL_F_RELATIVE_NODES"]},
        "prefer=relative:0",
    ),
    "nodes that are not there, beside one": (
        {"mode": "MPOL_BIND", "nodes": "0-7,1023", "flags": []},
        "bind:0",
    ),
    "local": ({"mode": "MPOL_LOCAL", "nodes": ""}, "local"),
}


@pytest.mark.parametrize("name", POLICIES)
def test_the_process_has_the_policy(runtime: Runtime, tmp_path: Path, name: str) -> None:
    policy, expected = POLICIES[name]
    done = run(runtime, tmp_path, policy)
    assert (done.stdout.strip(), done.returncode) == (expected, 0), done.stderr


def test_an_executed_process_has_it_too(runtime: Runtime, tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["memoryPolicy"] = {"mode": "MPOL_INTERLEAVE", "nodes": "0"}

    bundle = make_bundle(tmp_path / "bundle", change=change)
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    assert runtime.good("exec", "box", *LOOK) == "interleave:0\n"


@pytest.mark.parametrize(
    "policy",
    [
        {"mode": "MPOL_BIND", "nodes": "1000"},
        {"mode": "MPOL_BIND"},
        {"mode": "MPOL_DEFAULT", "nodes": "0-7", "flags": list(FLAGS)},
    ],
)
def test_one_that_the_kernel_refuses_is_named(
    runtime: Runtime, tmp_path: Path, policy: dict[str, Any]
) -> None:
    done = run(runtime, tmp_path, policy)
    assert done.returncode == 1
    assert f"set_mempolicy mode {MODES[policy['mode']]}, flags " in done.stderr
    assert "(linux.memoryPolicy): invalid argument (this machine has the nodes 0" in done.stderr


def test_one_that_is_none_makes_nothing(runtime: Runtime, tmp_path: Path) -> None:
    done = run(runtime, tmp_path, {"mode": "MPOL_NONE"})
    assert done.returncode == 1
    assert "linux.memoryPolicy.mode: invalid memory policy mode" in done.stderr
    assert not list(runtime.root.glob("*"))


def test_features_has_what_there_is(runtime: Runtime) -> None:
    said = json.loads(runtime.good("features"))["linux"]["memoryPolicy"]
    assert said == {"modes": sorted(MODES), "flags": sorted(FLAGS)}


def test_the_bits_of_nodes_are_in_words_of_the_machine() -> None:
    """unsigned long mask[16], as set_mempolicy(2) reads it."""
    nodes = (0, 1, 64, 1023)
    for order, char in (("little", "<"), ("big", ">")):
        words = struct.unpack(f"{char}16Q", mempolicy._mask(nodes, order))
        assert words == (3, 1, *[0] * 13, 1 << 63)
