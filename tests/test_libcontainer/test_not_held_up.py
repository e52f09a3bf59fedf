"""No hook, lock or stopped process can block a command about a container."""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from faults import Blow, Strike, killer
from libcontainer import locking, state_folder
from libcontainer.configs import Cgroup, Config, Hook, Hooks, Namespaces, ProcessConfig
from libcontainer.container import Container
from libcontainer.errors import ContainerError
from libcontainer.process import Process
from libcontainer.pyrunc.launching import start_timeout
from needs import needs
from nsenter import BootstrapError, Namespace
from nsenter._cgroups import files
from processes import children_of, wait_until
from pyrunc import Runtime, make_bundle, make_root

SYS_PIVOT_ROOT = 155 if os.uname().machine == "x86_64" else 41
# A pid would be the same in other runs, each of which has pids of its own.
CGROUP = f"/nsenter-hung-{secrets.token_hex(4)}"
SOON = 20.0  # seconds: a guard, less than what a command may take in these tests

runtime = pytest.fixture(pyrunc.runtimes)


def _hanging(kind: str, told: Path) -> Callable[[dict[str, Any]], None]:
    """A hook that says that it runs, and does not end."""

    def change(spec: dict[str, Any]) -> None:
        words = ["sh", "-c", f"echo >{told}; exec sleep 1000"]
        spec["hooks"] = {kind: [{"path": "/bin/sh", "args": words}]}
        spec["linux"]["cgroupsPath"] = CGROUP

    return change


class Hung:
    """A `create` that is in its createRuntime hook."""

    def __init__(self, runtime: Runtime, tmp_path: Path) -> None:
        self.runtime, self.folder = runtime, runtime.root / "c"
        told = tmp_path / "told"
        bundle = make_bundle(tmp_path / "hung", change=_hanging("createRuntime", told))
        self.errors = tmp_path / "errors"
        with self.errors.open("w") as file:
            self.command = subprocess.Popen(
                [*runtime.argv, "create", "-b", bundle, "c"],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        wait_until(told.exists)

    def end(self) -> None:
        """The hook, and with it the command."""
        if self.command.poll() is not None:
            return
        self.command.send_signal(signal.SIGCONT)
        for pid in children_of(self.command.pid):
            with contextlib.suppress(ProcessLookupError):  # it was killed, and is reaped just now
                os.kill(pid, signal.SIGKILL)
        self.command.wait(pyrunc.TIMEOUT)


@pytest.fixture
def hung(runtime: Runtime, tmp_path: Path) -> Iterator[Hung]:
    made = Hung(runtime, tmp_path)
    yield made
    made.end()


def _delete(runtime: Runtime, id: str = "c") -> str:
    """By force; returns what it said."""
    started = time.monotonic()
    done = runtime("delete", "--force", id)
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started < SOON
    assert not (runtime.root / id).exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*{CGROUP}"))
    return done.stderr


def test_state_while_the_hooks_before_the_pivot_run(hung: Hung) -> None:
    assert hung.runtime.state("c")["status"] == "creating"
    assert json.loads(hung.runtime.good("list", "-f", "json"))[0]["status"] == "creating"
    for words in (["delete"], ["exec", "c", "true"]):
        done = hung.runtime(*words, *(["c"] if len(words) == 1 else []))
        assert done.returncode != 0
        assert "creating" in done.stderr


def test_force_does_not_wait_for_a_hook(hung: Hung) -> None:
    said = _delete(hung.runtime)
    assert f"process {hung.command.pid} (" in said
    assert "create" in said
    hung.end()
    assert hung.command.returncode == 1
    assert "killed by SIGKILL" in hung.errors.read_text()


def test_force_does_not_wait_for_a_stopped_create(hung: Hung) -> None:
    hung.command.send_signal(signal.SIGSTOP)
    _delete(hung.runtime)


def test_a_create_that_goes_on_leaves_a_later_container_of_its_name_alone(
    hung: Hung, tmp_path: Path
) -> None:
    hung.command.send_signal(signal.SIGSTOP)
    _delete(hung.runtime)

    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["cgroupsPath"] = CGROUP

    bundle = make_bundle(tmp_path / "later", change=change)
    hung.runtime.good("run", "--detach", "-b", bundle, "c", **pyrunc.NO_STREAMS)
    hung.end()
    assert hung.command.returncode == 1
    assert hung.runtime.state("c")["status"] == "running"
    assert len(json.loads(hung.runtime.good("ps", "-f", "json", "c"))) == 1


@pytest.mark.parametrize("turns", [2, pytest.param(60, marks=[pytest.mark.sweep])])
def test_a_create_that_is_stopped_at_any_moment_holds_nothing_up_and_leaves_nothing(
    runtime: Runtime, tmp_path: Path, turns: int
) -> None:
    """Nor does it, when it goes on, touch a later container of the same name and cgroup."""

    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["cgroupsPath"] = CGROUP

    bundle = make_bundle(tmp_path / "bundle", change=change)
    moments = random.Random(turns)
    for turn in range(turns):
        with subprocess.Popen(
            [*runtime.argv, "create", "-b", bundle, "c"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as command:  # fmt: skip
            wait_until((runtime.root / "c").exists)
            time.sleep(moments.uniform(0, 0.04))
            command.send_signal(signal.SIGSTOP)
            _delete(runtime)
            is_followed = turn % 2 == 1
            if is_followed:
                runtime.good("run", "--detach", "-b", bundle, "c", **pyrunc.NO_STREAMS)
            command.send_signal(signal.SIGCONT)
            command.wait(pyrunc.TIMEOUT)
        if is_followed:
            assert runtime.state("c")["status"] == "running"
        runtime.good("delete", "--force", "c")
        assert not list(runtime.root.iterdir())
        assert not list(Path("/sys/fs/cgroup").glob(f"*{CGROUP}"))


def test_force_takes_a_frozen_container(runtime: Runtime, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    runtime.good("run", "--detach", "-b", bundle, "c", **pyrunc.NO_STREAMS)
    runtime.good("pause", "c")
    assert _delete(runtime) == ""


def test_force_takes_a_container_whose_init_is_stopped_in_the_midst(
    runtime: Runtime, tmp_path: Path
) -> None:
    strace = str(needs("strace", package="strace"))
    bundle = make_bundle(tmp_path / "bundle")
    inject = ["-f", "-qq", "-e", "trace=pivot_root", "-e", "inject=pivot_root:signal=SIGSTOP"]
    words = [strace, *inject, "-o", "/dev/null", *runtime.argv, "create", "-b", bundle, "c"]
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as command:
        wait_until(lambda: _status(runtime) == "creating")
        time.sleep(0.2)
        _delete(runtime)
        assert command.wait(pyrunc.TIMEOUT) == 1


def _status(runtime: Runtime) -> str:
    done = runtime("state", "c")
    return str(json.loads(done.stdout)["status"]) if done.returncode == 0 else ""


def test_another_command_names_who_keeps_it_waiting(
    hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_folder, "_PATIENCE", 0.1)
    with pytest.raises(ContainerError, match="is being changed by process") as caught:
        Container.load(str(hung.runtime.root), "c").pause()
    assert f"process {hung.command.pid} (" in str(caught.value)
    assert "create" in str(caught.value)
    assert "0.1 s" in str(caught.value)


def test_nobody_is_killed_for_a_process_that_is_not_in_this_pid_namespace(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").write_text("0\n12\n0\n")
    assert [*files.pids(str(tmp_path), True)] == [12]


def test_a_cgroup_with_such_a_process_alone_is_not_free(tmp_path: Path) -> None:
    below = tmp_path / "below"
    below.mkdir()
    (tmp_path / "cgroup.procs").write_text("")
    (below / "cgroup.procs").write_text("0\n")
    assert files.has_processes(str(tmp_path))
    (below / "cgroup.procs").write_text("")
    assert not files.has_processes(str(tmp_path))


def test_a_lock_of_this_process_names_it(tmp_path: Path) -> None:
    first, second = (os.open(tmp_path, os.O_RDONLY) for _ in range(2))
    try:
        assert locking.is_free(first)
        assert not locking.try_for(second, 0.05)
        assert locking.holder_of(second).startswith(f"process {os.getpid()} (")
    finally:
        os.close(first)
        os.close(second)


# ---- the dialogue with the init


def _config(folder: Path, hooks: Hooks) -> Config:
    return Config(
        rootfs=str(make_root(folder)),
        namespaces=Namespaces(Namespace(kind) for kind in ("pid", "mount")),
        cgroups=Cgroup(path=CGROUP, name="c"),
        hooks=hooks,
    )


def _run(tmp_path: Path, config: Config, *, timeout: float | None) -> Container:
    """Run a program in a container until both have ended."""
    container = Container.create(str(tmp_path / "state"), "c", config)
    first = Process(ProcessConfig(args=("true",)), timeout=timeout)
    try:
        container.run(first)
        first.wait(pyrunc.TIMEOUT)
        first.close()
    finally:
        container.kill_and_destroy()
    return container


def _started(tmp_path: Path, hooks: Hooks, *, timeout: float | None) -> Container:
    return _run(tmp_path, _config(tmp_path / "rootfs", hooks), timeout=timeout)


def test_an_init_that_is_stopped_is_a_named_timeout(tmp_path: Path) -> None:
    killer()
    for seconds in (1, 5, 20):  # the first within which this machine gets to the step
        with (
            Strike(Blow(1, 1, signal.SIGSTOP, SYS_PIVOT_ROOT)) as strike,
            pytest.raises(BootstrapError) as it,
        ):
            _started(tmp_path / str(seconds), Hooks(), timeout=float(seconds))
        if strike.hit is not None:
            break
    assert strike.hit == SYS_PIVOT_ROOT
    assert f"silent for {seconds} s after 'nothing': it is stopped" in str(it.value)
    assert isinstance(it.value, TimeoutError)
    assert it.value.hint == ""  # what another program's timeout may mean is not true here


@pytest.mark.parametrize("allowed", [None, 20])
def test_a_hook_of_the_init_has_a_timeout_of_its_own(tmp_path: Path, allowed: int | None) -> None:
    for seconds in (2.0, 15.0):  # the first within which this machine does all but the hook
        hook = Hook("/bin/sleep", ("sleep", str(seconds + 0.2)), timeout=allowed)
        hooks = Hooks(create_container=(hook,))
        try:
            _started(tmp_path / str(seconds), hooks, timeout=seconds)
        except BootstrapError as error:
            if seconds > 2 or not isinstance(error, TimeoutError):
                raise
        else:
            return


def _with_large_state(tmp_path: Path, hook: Hook) -> None:
    """A hook whose state is more than a pipe holds."""
    config = _config(tmp_path / "rootfs", Hooks(create_container=(hook,)))
    labels = (f"large={'x' * (1 << 18)}",)
    _run(tmp_path, config.replace(labels=labels), timeout=20.0)


def test_a_hook_that_does_not_read_the_state_ends_in_its_time(tmp_path: Path) -> None:
    with pytest.raises(BootstrapError, match=r"ran past specified timeout of 1\.0s"):
        _with_large_state(tmp_path, Hook("/bin/sleep", ("sleep", "1000"), timeout=1))


def test_a_hook_may_write_much_before_it_reads_the_state(tmp_path: Path) -> None:
    script = "yes | head -c 300000 && test $(wc -c) -gt 262144"
    _with_large_state(tmp_path, Hook("/bin/sh", ("sh", "-c", script), timeout=20))


def test_the_commands_timeout_is_told_in_the_environment(runtime: Runtime, tmp_path: Path) -> None:
    assert [start_timeout(text) for text in ("", "5", "0")] == [30.0, 5, None]
    bundle = make_bundle(tmp_path / "bundle")
    done = runtime("run", "-b", bundle, "c", env={"PYRUNC_START_TIMEOUT": "soon"})
    assert "PYRUNC_START_TIMEOUT must be a whole number of seconds, not 'soon'" in done.stderr
