# SPDX-License-Identifier: Apache-2.0
"""pyrunc answers a sequence of commands as runc does.

`stories` has the sequences. Tests that require a terminal, a signal or a view from outside are
here.
"""

from __future__ import annotations

import functools
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import (
    cases,
    container_view,
    differences,
    known,
    oci_bundles,
    orphans,
    runtimes,
    terminals,
)
from interop.oci_bundles import Edit, make_root, scratch_folder, shell
from interop.runtimes import BOTH, CONTROL, CRUN, PYRUNC, RUNC, Runtime
from interop.stories import KNOWN, STORIES, Story
from interop.story_runner import Teller, Told
from processes import runs, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the containers are root's here")

SECONDS = 20.0  # for what takes milliseconds
TERMINAL = cases.put("process.terminal", True)
SLEEP = ["sleep", "1000"]
# The size arrives when the process runs already.
SIZE = "until stty size 2>/dev/null | grep .; do sleep 0.02; done"  # it succeeds without one, too
each_runtime = pytest.mark.parametrize("name", BOTH)


class Place:
    """The folders of this module's tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = make_root(folder / "rootfs")
        teller = Teller(folder, self.root)
        by_name = {story.name: story for story in STORIES}
        self._told = functools.cache(
            lambda runtime, story: teller.tell(self.runtime(runtime), by_name[story])
        )

    def runtime(self, name: str) -> Runtime:
        return runtimes.runtime(name, self.folder / "states")

    def told(self, runtime: str, story: Story) -> Told:
        """What came of a story, told once."""
        return self._told(runtime, story.name)

    def bundle(self, args: list[str], *edits: Edit) -> Path:
        config = oci_bundles.made(self.root, args, *edits)
        return oci_bundles.write_bundle(self.folder / "own-bundle", config)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with orphans.adopted(), scratch_folder() as folder:
        yield Place(folder)


@pytest.fixture(autouse=True)
def processes_have_ended(place: Place) -> Iterator[None]:
    with orphans.settled():
        yield


# --- stories ------------------------------------------------------------------------------------


# Of these families, whose members differ in a word, the quick run has one or two.
_SWEEP = re.compile(
    r"id-(\.|a b|a:b|ä)|signal-(SIGTERM|15|USR1|0)|shared-pids-kill-first|"
    r"exec-(echo|user|user-by-name|cwd|cwd-relative|capability|no-new-privileges|signal|"
    r"missing-in-path|limits|score|process-missing|sub-cgroup-missing|seccomp)|"
    r"update-(pids-unlimited|memory-unlimited|cpuset|cpuset-bad|memory-with-unit|file-missing)|"
    r"config-of-another-type|created-and-deleted|paused-and-deleted|"
    r"created-and-killed|annotations|wrong-when-created|again|id-\.\.|config-broken|"
    r"(no-terminal|nothing)-to-send|signal-(TERM|term)|kill-all-of-its-own-pids|shared-pids-delete|"
    r"exec-(groups|capability-of-a-user|new-privileges|not-executable|of-a-user's-container)|"
    r"exec-process-(broken|and-words)|paused-and-killed|update-(memory|file-broken|cpu|nonsense)|"
    r"exec-(env|user-and-group|cwd-missing|missing|cgroup|process)|wrong-when-running|id-a-b"
)
_QUICK = [story for story in STORIES if not _SWEEP.fullmatch(story.name)]
_OTHER = [story for story in STORIES if story not in _QUICK]
each_story = pytest.mark.parametrize(
    "story",
    [*_QUICK, *(pytest.param(story, marks=pytest.mark.sweep) for story in _OTHER)],
    ids=lambda story: story.name,
)


@each_story
def test_a_story_goes_as_with_runc(place: Place, story: Story) -> None:
    control, theirs = place.told(CONTROL, story), place.told(PYRUNC, story)
    for (step, status, output, error), (_, *told) in zip(control, theirs, strict=True):
        alike = (status, output) == tuple(told[:2])
        assert alike == ((story.name, step) not in KNOWN), (
            f"{step}\n{CONTROL}: {status} {output} {error}\n{PYRUNC}: {told}"
        )


@each_story
def test_an_error_is_said_wherever_a_command_fails(place: Place, story: Story) -> None:
    for step, status, _, error in place.told(PYRUNC, story):
        the_commands_own = step.startswith("exec") and status != 255
        assert status == 0 or error or the_commands_own, f"{story.name}: {step}"


LOOKS = {
    "plain": (),
    "user": (cases.user(1000, 1000, 5),),
    "seccomp": (cases.seccomp("SCMP_ACT_ALLOW", cases.rule("swapon")),),
    "user-namespace": (cases.maps((0, 100000, 65536)),),
    "cgroup-namespace": (cases.namespace("cgroup"),),
    "limits": (cases.put("process.rlimits", [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]),),
    "resources": (cases.resources(pids={"limit": 50}, memory={"limit": 64 << 20}),),
    "privileges": (cases.put("process.noNewPrivileges", False), cases.WRITABLE),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_process_executed_in_it_sees_what_runcs_sees(place: Place, look: str) -> None:
    def look_by(name: str) -> container_view.Topics:
        runtime = place.runtime(name)
        with runtime.container(place.bundle(SLEEP, *LOOKS[look])) as identity:
            done = runtime("exec", identity, *shell(container_view.SCRIPT))
            found = container_view.topics(done.stdout, {identity: "ID"})
        return {**found, "exit": [str(done.status)]}

    found = differences.between(look_by(CONTROL), look_by(PYRUNC))
    case = f"exec-{look}"
    assert differences.unexplained(PYRUNC, case, found, known.KNOWN) == []


# --- processes ----------------------------------------------------------------------------------


@each_runtime
@pytest.mark.parametrize("how", ["kill-all", "delete-force", "kill-then-delete"])
def test_with_the_hosts_pids_no_process_of_it_is_left(place: Place, name: str, how: str) -> None:
    runtime = place.runtime(name)
    script = "sleep 1001 & sleep 1002 & echo $! > /dev/shm/ready; exec sleep 1003"
    bundle = place.bundle(shell(script), cases.namespace("pid", None))
    with runtime.container(bundle) as identity:
        pid = runtime.state(identity)["pid"]
        wait_until(Path(f"/proc/{pid}/root/dev/shm/ready").exists, "it does not start")
        pids = json.loads(runtime.must("ps", "--format", "json", identity))
        assert len(pids) == 3
        if how == "kill-all":
            runtime.must("kill", "--all", identity, "KILL")
        elif how == "delete-force":
            runtime.must("delete", "--force", identity)
        else:
            runtime.must("kill", identity, "KILL")
            wait_until(lambda: runtime.state(identity)["status"] == "stopped", "it does not stop")
            runtime.must("delete", identity)
        wait_until(lambda: not any(map(runs, pids)), "a process is left")


@each_runtime
def test_a_signal_to_the_command_in_the_foreground_reaches_the_container(
    place: Place, name: str
) -> None:
    script = "trap 'exit 42' TERM; echo > /dev/shm/ready; while :; do sleep 0.02; done"
    runtime, identity = place.runtime(name), runtimes.new_id()
    argv = [
        *runtime.before,
        *runtime.argv,
        "run",
        "--bundle",
        place.bundle(shell(script)),
        identity,
    ]
    try:
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as child:
            wait_until(lambda: _ready(runtime, identity), "it does not start")
            child.send_signal(signal.SIGTERM)
            assert child.wait(SECONDS) == 42
    finally:
        runtime.forget(identity)


def _ready(runtime: Runtime, identity: str) -> bool:
    done = runtime("state", identity)
    pid = json.loads(done.stdout)["pid"] if done.status == 0 else 0
    return pid > 0 and Path(f"/proc/{pid}/root/dev/shm/ready").exists()


@each_runtime
def test_pid_files_tell_the_hosts_pids(place: Place, name: str) -> None:
    runtime, file = place.runtime(name), place.folder / "pid"
    with runtime.container(place.bundle(SLEEP), "--pid-file", str(file)) as identity:
        assert int(file.read_text()) == runtime.state(identity)["pid"]
        runtime.must("exec", "--detach", "--pid-file", file, identity, *SLEEP)
        assert int(file.read_text()) in json.loads(runtime.must("ps", "-f", "json", identity))


@each_runtime
def test_errors_go_to_a_log_too(place: Place, name: str) -> None:
    runtime, log = place.runtime(name), place.folder / f"log-{name}"
    argv = (*runtime.argv, "--log", str(log), "--log-format", "json")
    done = Runtime(name, argv, runtime.root)("state", "not-there")
    assert done.status == 1
    assert "does not exist" in done.stderr
    row = json.loads(log.read_text().splitlines()[-1])
    assert (set(row), row["level"]) == ({"level", "msg", "time"}, "error")
    assert "does not exist" in row["msg"]


# --- terminals ----------------------------------------------------------------------------------


@each_runtime
def test_a_terminal_is_sent_to_the_console_socket(place: Place, name: str) -> None:
    runtime = place.runtime(name)
    script = "tty; stat -c '%a %u' /dev/console; read line; echo got $line; stty size"
    bundle = place.bundle(shell(script), TERMINAL, cases.user(1000, 1000))
    path = place.folder / f"console-{name}"
    with (
        terminals.console_socket(path) as listener,
        runtime.container(bundle, "--console-socket", str(path), command="create") as identity,
    ):
        terminal = terminals.receive(listener)
        try:
            runtime.must("start", identity)
            shown = terminals.read_until(terminal, "1000")
            assert shown.split() == ["/dev/pts/0", "620", "1000"]
            os.write(terminal, b"words\n")
            assert "got words" in terminals.read_until(terminal, "got words")
        finally:
            os.close(terminal)


@each_runtime
def test_exec_sends_its_terminal_too(place: Place, name: str) -> None:
    runtime, path = place.runtime(name), place.folder / f"console-exec-{name}"
    with (
        terminals.console_socket(path) as listener,
        runtime.container(place.bundle(SLEEP)) as identity,
    ):
        runtime.must(
            *("exec", "--tty", "--detach", "--console-socket", path, identity),
            *shell("tty; test -t 0 && test -t 1 && test -t 2 && echo all; exec sleep 1000"),
        )
        terminal = terminals.receive(listener)
        try:
            assert terminals.read_until(terminal, "all").split() == ["/dev/pts/0", "all"]
        finally:
            os.close(terminal)


@each_runtime
def test_a_person_at_a_terminal_has_it_in_the_container(place: Place, name: str) -> None:
    runtime, identity = place.runtime(name), runtimes.new_id()
    bundle = place.bundle(shell(f"tty; {SIZE}; read line; echo got $line; exit 5"), TERMINAL)
    argv = [*runtime.before, *runtime.argv, "run", "--bundle", str(bundle), identity]
    status, shown = terminals.at_a_terminal(argv, typed="words\n")
    runtime.forget(identity)
    assert status == 5
    assert "/dev/pts/0" in shown
    assert f"{terminals.ROWS} {terminals.COLUMNS}" in shown
    assert "got words" in shown


@each_runtime
def test_a_person_at_a_terminal_can_exec_with_one(place: Place, name: str) -> None:
    runtime = place.runtime(name)
    with runtime.container(place.bundle(SLEEP)) as identity:
        argv = [*runtime.before, *runtime.argv, "exec", "--tty", identity]
        status, shown = terminals.at_a_terminal([*argv, *shell(f"tty; {SIZE}; exit 6")])
    assert status == 6
    assert shown.split() == ["/dev/pts/0", str(terminals.ROWS), str(terminals.COLUMNS)]


@pytest.mark.parametrize("starter", [RUNC, PYRUNC])
def test_state_is_told_as_crun_tells_it_too(place: Place, starter: str) -> None:
    """What every manager reads of it is there, of the same kind."""
    kinds = {}
    for name in (starter, CRUN):
        runtime = place.runtime(name)
        with runtime.container(place.bundle(SLEEP)) as identity:
            state = runtime.state(identity)
        kinds[name] = {key: type(state[key]) for key in "ociVersion id status pid bundle".split()}
    assert kinds[starter] == kinds[CRUN]
