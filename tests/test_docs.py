# SPDX-License-Identifier: Apache-2.0
"""The code on the pages of the documentation runs and prints what they say, for root and users."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nsenter
import rootless
from interop import orphans, runtimes
from interop.oci_bundles import make_root, scratch_folder
from interop.own_mounts import own_mounts
from interop.podman import Podman
from pages import EXAMPLES, PAGES, ROOT, Block, Run, blocks, prose

AS_ROOT = os.geteuid() == 0
SECONDS = 120
BLOCKS = [block for page in PAGES for block in blocks(page)]
RUNS = [block.run for block in BLOCKS if block.run]
# The rest runs as either.
ROOT_ONLY = {"container.py", "no_python.py", "sandbox.py"}
USER_ONLY = {"rootless.py"}

as_root = pytest.mark.skipif(not AS_ROOT, reason="what only root may do")


SLOW = ("test_network.py", "sandbox_many.py")


def named(value: Block | Run) -> str:
    if isinstance(value, Run):
        return value.script
    return f"{value.page.name}: {value.source or value.text.splitlines()[0]}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=named)
def test_code_on_a_page_is_that_of_a_script(block: Block) -> None:
    assert block.said is not None, "name its script and section before it"
    assert block.text == block.said, "python tests/support/pages.py writes it anew"


def test_each_script_is_run_on_a_page() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {run.script for run in RUNS}


@pytest.mark.parametrize("page", sorted({*PAGES, *ROOT.glob("*.md")}), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose(page)):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_private_module(page: Path) -> None:
    assert re.findall(r"(?:nsenter|libcontainer)[./]_\w+", page.read_text()) == []


COMING_FROM = (ROOT / "docs/coming-from.md").read_text()


def test_each_argument_of_subprocess_is_on_the_page_for_those_who_know_it() -> None:
    arguments = set(inspect.signature(subprocess.Popen.__init__).parameters) - {"self"}
    assert {name for name in arguments if f"`{name}`" not in COMING_FROM} == set()


def test_the_fields_that_the_page_names_exist() -> None:
    fields = set(inspect.signature(nsenter.Options).parameters)
    rows = re.findall(r"^\| `-.* \| `([a-z_]+)(?:=|`)", COMING_FROM, re.MULTILINE)
    assert len(rows) > 20
    assert set(rows) <= fields | {"env", "exec"}


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, *arguments]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT, check=False
    )


# Those that have limits of time of their own, within which a busy machine may not get to the end.
TIMED = {
    "call_output.py", "network.py", "readme.py", "sandbox.py", "sandbox_many.py", "supervise.py",
    "test_network.py",
}  # fmt: skip


def check(run: Run, execute: Callable[[], subprocess.CompletedProcess[str]]) -> None:
    """Execute a script, and hold it to what its page shows."""
    for _ in range(5 if run.script in TIMED else 1):
        done = execute()
        if done.returncode == 0 and run.matches(done.stdout):
            return
    raise AssertionError(f"status {done.returncode}, printed:\n{done.stdout}{done.stderr}")


@as_root
@pytest.mark.parametrize(
    "run",
    [
        pytest.param(run, marks=[pytest.mark.sweep] if run.script == "network.py" else [])
        for run in RUNS
        if run.script not in USER_ONLY
    ],
    ids=named,
)
def test_a_script_prints_what_its_page_shows(run: Run) -> None:
    check(run, lambda: python(*run.arguments))


def for_a_user() -> Iterator[object]:
    """The quick run of root has tried the slowest as root, or tries them only here."""
    for run in RUNS:
        if run.script not in ROOT_ONLY:
            is_sweep = AS_ROOT and run.script in SLOW
            yield pytest.param(run, marks=[pytest.mark.sweep] if is_sweep else [])


@pytest.mark.parametrize("run", [*for_a_user()], ids=named)
def test_a_script_prints_the_same_for_a_user(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # the folder is root's
    check(run, lambda: rootless.as_user([sys.executable, *run.arguments]))


def test_without_subordinate_ids_the_page_for_users_runs_as_well() -> None:
    done = rootless.as_user([sys.executable, EXAMPLES / "rootless.py"], subids=False)
    assert done.returncode == 0, done.stderr
    assert "usermod --add-subuids" in done.stdout


@as_root
def test_a_function_runs_in_a_container_of_podman_that_has_no_python() -> None:
    with orphans.adopted(), scratch_folder() as folder, own_mounts() as inside:
        root = make_root(folder / "rootfs")
        podman = Podman(folder, root, runtimes.path_of(runtimes.RUNC), inside)
        podman.prepare()
        try:
            name = podman.start("sleep", "1000", options=("--hostname", "web"))
            pid = podman.inspect(name)["State"]["Pid"]
            done = python("docs/examples/no_python.py", str(pid))
        finally:
            podman.clear()
    assert done.returncode == 0, done.stderr
    assert "host       web\n" in done.stdout
    assert "processes  2\npython     None\n" in done.stdout
