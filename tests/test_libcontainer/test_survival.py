"""Whenever pyrunc is killed, `delete --force` removes what is left."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mounted import mounted
from needs import needs
from processes import all_pids, wait_until, words_of

PYRUNC = Path(sys.executable).with_name("pyrunc")
SEED = 20261124
PROGRAM = ["sleep", str(1_000_000 + os.getpid())]  # nobody else's


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    rootfs = folder / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    shutil.copy(needs("busybox", package="busybox-static"), rootfs / "bin/busybox")
    (rootfs / "bin/sleep").symlink_to("busybox")
    subprocess.run([PYRUNC, "spec"], cwd=folder, check=True)
    config = json.loads((folder / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": list(PROGRAM)}
    config["linux"]["cgroupsPath"] = f"/nsenter-survival-{secrets.token_hex(4)}"
    (folder / "config.json").write_text(json.dumps(config))
    return folder


class Machine:
    """What a container may leave on it."""

    def __init__(self, bundle: Path) -> None:
        self._cgroup = json.loads((bundle / "config.json").read_text())["linux"]["cgroupsPath"]
        self.before = self.look()

    def look(self) -> dict[str, object]:
        cgroups = [str(p) for p in Path("/sys/fs/cgroup").glob(f"*{self._cgroup}")]
        cgroups += [str(p) for p in Path("/sys/fs/cgroup").glob(self._cgroup.lstrip("/"))]
        return {
            "mounts": mounted(),
            "cgroups": cgroups,
            "sleeping": sorted(pid for pid in all_pids() if words_of(pid) == PROGRAM),
        }

    def check(self) -> None:
        wait_until(lambda: self.look() == self.before)


def pyrunc(root: Path, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
    # Not a pipe: the container's process would hold it open.
    with (root.parent / "output").open("w+") as output:
        done = subprocess.run(
            [PYRUNC, "--root", root, *words],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=60, **more,
        )  # fmt: skip
        output.seek(0)
        done.stdout = output.read()
    return done


@pytest.mark.parametrize("cycles", [12, pytest.param(200, marks=pytest.mark.sweep)])
def test_many_lives_leave_nothing(bundle: Path, tmp_path: Path, cycles: int) -> None:
    root = tmp_path / "state"
    machine = Machine(bundle)
    for number in range(cycles):
        for words in (
            ("create", "--bundle", str(bundle), f"c{number}"),
            ("start", f"c{number}"),
            ("delete", "--force", f"c{number}"),
        ):
            done = pyrunc(root, *words)
            assert done.returncode == 0, (number, words, done.stdout)
    assert list(root.iterdir()) == []
    machine.check()


def _killed_after(root: Path, bundle: Path, id: str, seconds: float) -> None:
    with (root.parent / "output").open("w") as output:
        command = subprocess.Popen(
            [PYRUNC, "--root", root, "run", "--bundle", bundle, id],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
        time.sleep(seconds)
        command.kill()
        command.wait()


@pytest.mark.parametrize("kills", [20, pytest.param(100, marks=pytest.mark.sweep)])
def test_sudden_death_at_any_moment_leaves_nothing_behind_delete(
    bundle: Path, tmp_path: Path, kills: int
) -> None:
    root = tmp_path / "state"
    machine = Machine(bundle)
    moments = random.Random(SEED)
    for number in range(kills):
        id = f"k{number}"
        _killed_after(root, bundle, id, moments.uniform(0, 0.06))
        listed = pyrunc(root, "list", "--quiet")
        assert listed.returncode == 0
        # One that is not there whole is warned of.
        names = [line for line in listed.stdout.splitlines() if "level=warning" not in line]
        assert names in ([], [id])
        done = pyrunc(root, "delete", "--force", id)
        assert done.returncode == 0, (number, done.stdout)
        machine.check()
    assert not root.exists() or list(root.iterdir()) == []
