"""The example config.json and the features document are what runc's and the specification's are."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from full_spec import SHORT, changed
from libcontainer.configs.validate import validate
from libcontainer.specconv import config_from_spec
from libcontainer.specconv.example import example
from libcontainer.specconv.features import features
from needs import needs
from pyrunc import PYRUNC


def runc_spec(folder: Path, *options: str) -> Any:
    runc = needs("runc", package="runc")
    subprocess.run([runc, "spec", *options], cwd=folder, check=True)
    return json.loads((folder / "config.json").read_text())


def without_ours(spec: Any) -> Any:
    """What differs on purpose: the names, and ambient capabilities, which have no effect without
    inheritable ones and which runc does not write any more from 1.2 on."""
    spec["process"]["capabilities"].pop("ambient", None)
    return {key: spec[key] for key in spec if key not in ("ociVersion", "hostname")}


def has_cgroup_namespace(spec: Any) -> bool:
    return {"type": "cgroup"} in spec["linux"]["namespaces"]


@pytest.mark.parametrize("rootless", [False, True])
def test_the_example_is_what_runc_writes(tmp_path: Path, rootless: bool) -> None:
    theirs = runc_spec(tmp_path, *(["--rootless"] if rootless else []))

    ours = example(rootless=rootless, cgroup_namespace=has_cgroup_namespace(theirs))
    assert without_ours(ours) == without_ours(theirs)


@pytest.mark.parametrize("options", [(), ("--rootless",)])
def test_what_spec_writes_has_a_cgroup_namespace_where_runc_s_has(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "runc").mkdir()
    subprocess.run([*PYRUNC, "spec", *options], cwd=tmp_path, check=True)
    ours = json.loads((tmp_path / "config.json").read_text())
    theirs = runc_spec(tmp_path / "runc", *options)
    assert has_cgroup_namespace(ours) is has_cgroup_namespace(theirs)


@pytest.mark.parametrize("rootless", [False, True])
def test_the_example_is_a_configuration(tmp_path: Path, rootless: bool) -> None:
    (tmp_path / "rootfs").mkdir()
    spec = json.loads(json.dumps(example(rootless=rootless)))

    config = config_from_spec(spec, id="x", bundle=str(tmp_path), rootless_euid=rootless)

    validate(config)
    assert config.capabilities and config.capabilities.inheritable == ()


def test_an_example_is_the_caller_s_own() -> None:
    example()["process"]["args"].append("x")
    example()["mounts"][1]["options"].clear()
    example()["linux"]["maskedPaths"].clear()

    assert example()["process"]["args"] == ["sh"]
    assert example()["mounts"][1]["options"] and example()["linux"]["maskedPaths"]


def test_the_rootless_example_maps_the_caller() -> None:
    linux = example(rootless=True)["linux"]

    assert linux["uidMappings"][0]["hostID"] == os.geteuid()
    assert linux["gidMappings"][0]["hostID"] == os.getegid()


# ---- features


def test_what_runc_can_do_can_be_done_here() -> None:
    theirs = json.loads(
        subprocess.run(
            [needs("runc", package="runc"), "features"], capture_output=True, check=True
        ).stdout
    )
    ours = features()

    assert set(theirs["mountOptions"]) - set(ours["mountOptions"]) == {"acl", "noacl"}
    assert theirs["hooks"] == ours["hooks"]
    assert set(theirs["linux"]["namespaces"]) <= set(ours["linux"]["namespaces"])
    assert theirs["linux"]["capabilities"] == ours["linux"]["capabilities"]
    for words in ("actions", "operators", "archs"):
        assert set(theirs["linux"]["seccomp"][words]) <= set(ours["linux"]["seccomp"][words])


def test_every_feature_that_is_named_is_taken() -> None:
    document = json.loads(json.dumps(features()))
    linux = document["linux"]
    seccomp = linux["seccomp"]
    spec = changed(
        SHORT,
        "linux.namespaces",
        [{"type": kind} for kind in linux["namespaces"] if kind != "user"],
    )
    spec["mounts"] = [
        {"destination": "/x", "source": "/x", "type": "tmpfs", "options": [option]}
        for option in document["mountOptions"]
    ]
    spec["hooks"] = {kind: [{"path": "/bin/true"}] for kind in document["hooks"]}
    spec["process"]["capabilities"] = {"bounding": linux["capabilities"]}
    spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": seccomp["archs"],
        "flags": seccomp["knownFlags"],
        "listenerPath": "/run/x",
        "syscalls": [
            {"names": ["x"], "action": action, "args": [{"index": 0, "op": op}]}
            for action in seccomp["actions"]
            for op in seccomp["operators"]
        ],
    }

    for version in (document["ociVersionMin"], document["ociVersionMax"]):
        config = config_from_spec(spec | {"ociVersion": version}, id="x", bundle="/b")
        assert not any(mount.data for mount in config.mounts)


def test_the_documents_are_read_by_nobody_who_does_not_ask() -> None:
    import sys

    modules = subprocess.run(
        [sys.executable, "-c", "import sys, libcontainer.specconv; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert not {"libcontainer.specconv.example", "libcontainer.specconv.features"} & set(modules)
