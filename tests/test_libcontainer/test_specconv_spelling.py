# SPDX-License-Identifier: Apache-2.0
"""Names of config.json in the wrong case are read as runc reads them, and reported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import full_spec
import pyrunc
from libcontainer.specconv import config_from_spec
from libcontainer.specconv.spelling import NAMES, respelt
from pyrunc import NO_STREAMS, Runtime, make_bundle

runtime = pytest.fixture(pyrunc.runtimes)

OF_THE_USER = {"annotations", "sysctl", "unified", "rdma", "netDevices"}


def changed(value: Any, change: Callable[[str], str], name: str = "") -> Any:
    """With all names of the specification changed."""
    if isinstance(value, list):
        return [changed(item, change) for item in value]
    if not isinstance(value, dict):
        return value
    own = name in OF_THE_USER
    return {
        key if own else change(key): changed(item, change, "" if own else key)
        for key, item in value.items()
    }


def names_in(value: Any, name: str = "") -> set[str]:
    if isinstance(value, list):
        return set().union(*(names_in(item) for item in value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*(names_in(item, key) for key, item in value.items()))
    return found if name in OF_THE_USER else found | set(value)


def test_the_table_has_every_name_that_is_read() -> None:
    assert names_in(full_spec.FULL) <= NAMES


def test_what_is_right_is_left_alone() -> None:
    spec = full_spec.FULL
    found, notes = respelt(spec)
    assert found is spec
    assert notes == []


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title, str.swapcase])
def test_other_letters_have_the_same_meaning_and_are_told_of(change: Callable[[str], str]) -> None:
    spec = full_spec.FULL
    found, notes = respelt(changed(spec, change))
    assert found == spec
    assert len(notes) > 50
    again = config_from_spec(found, id="c", bundle="/")
    assert again == config_from_spec(spec, id="c", bundle="/")


def test_names_of_the_users_own_and_unknown_ones_stay() -> None:
    spec = {
        "annotations": {"Process": "a", "ENV": "b"},
        "linux": {
            "sysctl": {"Net.Names": "1"},
            "resources": {"unified": {"Memory.Limit": "1"}, "rdma": {"Memory": {"HCAhandles": 1}}},
        },
        "X-Mine": {"Env": {"process": 1}},
    }
    found, notes = respelt(spec)
    rdma = found["linux"]["resources"].pop("rdma")
    assert rdma == {"Memory": {"hcaHandles": 1}}
    assert len(notes) == 1
    del spec["linux"]["resources"]["rdma"]  # type: ignore[attr-defined, index]
    assert found == spec


def test_the_right_name_wins() -> None:
    found, notes = respelt({"process": {"args": ["a"]}, "Process": {"args": ["b"]}})
    assert found == {"process": {"args": ["a"]}}
    assert notes == ["Process is ignored: process is there too"]


def test_pyrunc_takes_them_and_warns(runtime: Runtime, tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        process = spec["process"]
        process.pop("noNewPrivileges", None)
        process["NoNewPrivileges"] = True
        process["ARGS"] = process.pop("args")

    words = ["grep", "NoNewPrivs", "/proc/self/status"]
    bundle = make_bundle(tmp_path / "bundle", words, change=change)
    done = runtime("run", "-b", bundle, "box")
    assert (done.returncode, done.stdout.split()) == (0, ["NoNewPrivs:", "1"]), done.stderr
    for wrong, right in (("NoNewPrivileges", "noNewPrivileges"), ("ARGS", "args")):
        said = f"config.json: process.{wrong} is read as process.{right}: spell it so"
        assert said in done.stderr


def test_the_files_of_exec_and_update_are_read_alike(runtime: Runtime, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    runtime.good("run", "-d", "-b", bundle, "box", **NO_STREAMS)
    file = tmp_path / "process.json"
    file.write_text(json.dumps({"Args": ["echo", "ok"], "cwd": "/", "Env": ["PATH=/bin"]}))
    done = runtime("exec", "-p", file, "box")
    assert (done.stdout, "Args is read as args" in done.stderr) == ("ok\n", True), done.stderr
    told = json.dumps({"PIDS": {"limit": 21}})
    done = runtime("update", "-r", "-", "box", input=told)
    assert "standard input: PIDS is read as pids" in done.stderr
    stats = json.loads(runtime.good("events", "--stats", "box"))["data"]
    assert stats["pids"]["limit"] == 21
    assert stats["network_interfaces"] is None
