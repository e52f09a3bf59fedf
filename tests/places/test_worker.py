"""A parallel test worker has its own mounts and names, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from places import worker
from places.needed import MACHINE, needed
from places.rights import RIGHTS, found
from places.table import NEEDS

TESTS = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, worker.__file__]
LOOK = """
import json, os
print(json.dumps({
    "pid": os.getpid(),
    "namespaces": {
        name: os.readlink(f"/proc/self/ns/{name}") for name in os.listdir("/proc/self/ns")
    },
    "cgroups": sorted(set(line.split(":")[2].strip() for line in open("/proc/self/cgroup"))),
    "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    "run": sorted(os.listdir("/run")),
}), flush=True)
input()  # until both have said it: the number of a namespace is free again when it has gone
"""


def run(number: int, script: str, *before: str) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, str(number), sys.executable, "-c", script]
    return subprocess.run([*before, *words], capture_output=True, text=True, check=False)


def looks(*numbers: int) -> list[dict[str, Any]]:
    """What workers see that run at the same time."""
    with contextlib.ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    [*COMMAND, str(number), sys.executable, "-c", LOOK],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                )
            )
            for number in numbers
        ]  # fmt: skip
        said = [json.loads(process.stdout.readline()) for process in started if process.stdout]
        for process in started:
            process.communicate("go on\n")
        return said


def test_two_workers_share_no_namespace_no_cgroup_and_no_folder(tmp_path: Path) -> None:
    marker = Path("/run", f"nsenter-{os.getpid()}")
    marker.touch()
    try:
        first, second = looks(0, 1)
    finally:
        marker.unlink()
    for name in ("mnt", "pid", "ipc", "cgroup"):
        here = str(Path("/proc/self/ns", name).readlink())
        assert len({here, first["namespaces"][name], second["namespaces"][name]}) == 3, name
    assert set(first["cgroups"]) <= {"/", "/worker"}
    assert first["run"] == ["lock", "netns"]
    assert first["pids"] == [1, first["pid"]]
    assert first["pid"] != second["pid"]


def test_a_worker_leaves_no_cgroup_and_its_status_is_kept() -> None:
    script = """
import os, sys
lines = [line for line in open("/proc/self/mountinfo") if " - cgroup" in line]
lines.sort(key=lambda line: " - cgroup2 " in line)  # on a hybrid that is not its own
folder = lines[0].split()[4]
os.makedirs(f"{folder}/one/two")
sys.exit(7)
"""
    words = [*COMMAND, "0", sys.executable, "-c", script]
    with subprocess.Popen(words) as process:
        pass  # to its end
    assert process.returncode == 7
    folders = [hierarchy.folder for hierarchy in worker.hierarchies()]
    assert folders and not [f for f in folders if (f / worker.cgroup_name(process.pid)).exists()]


def test_what_a_worker_orphans_is_reaped() -> None:
    script = """
import os, time
def children(pid): return open(f"/proc/{pid}/task/{pid}/children").read().split()
if os.fork() == 0:
    if os.fork() == 0: os._exit(0)
    os._exit(0)
os.wait()
while children(1) != [str(os.getpid())]: time.sleep(0.001)
"""
    done = run(0, script, "timeout", "20")
    assert done.returncode == 0, done.stderr


def test_a_worker_without_rights_runs_as_it_is() -> None:
    script = "import os; print(os.getpid(), os.getuid())"
    done = run(0, script, "setpriv", "--bounding-set=-all")
    pid, uid = done.stdout.split()
    assert (done.returncode, uid) == (0, "0"), done.stderr
    assert int(pid) > 1, "it is in no pid namespace of its own"


# ---- rights, and the table of those that tests need


def test_a_place_without_namespaces_is_known() -> None:
    script = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'
    rights = [sys.executable, TESTS / "places" / "rights.py"]
    words = ["unshare", "--user", "--map-root-user", "sh", "-ec", script, "sh", *rights]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_a_worker_of_the_machines_root_has_all_rights() -> None:
    assert found() == set(RIGHTS)


def test_what_is_not_in_the_table_needs_the_machine() -> None:
    assert needed("test_of_tomorrow.py", "test_it") == MACHINE == set(RIGHTS)


@pytest.mark.parametrize("file", NEEDS)
def test_the_table_names_tests_that_there_are(file: str) -> None:
    source = (TESTS / file).read_text()
    for need, tests in NEEDS[file].items():
        assert set(need.split()) <= set(RIGHTS), need
        for test in tests.split():
            assert test == "*" or f"def {test}(" in source, f"{test}: take it out of the table"
