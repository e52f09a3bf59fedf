"""The life of a container by the API: its status, what is allowed when, and what is left."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from libcontainer import record
from libcontainer.configs import (
    Cgroup,
    Config,
    Device,
    DeviceRule,
    Hook,
    Hooks,
    Mount,
    Namespaces,
    ProcessConfig,
    Resources,
    Rlimit,
)
from libcontainer.container import Container
from libcontainer.errors import ConfigError, ContainerError
from libcontainer.process import Process
from libcontainer.process_start import prebooted_init
from libcontainer.record import list_containers
from libcontainer.state_folder import StateFolder
from needs import needs
from nsenter import BootstrapError, Namespace
from nsenter._host.procfs import start_time_of
from processes import THIS_RUN, runs, stat_fields, wait_until, wait_until_executed

KINDS = ("pid", "network", "ipc", "uts", "mount")
SECONDS = 20
# Of /proc/PID/status: what does not tell processes apart.
_OF_ANY = (
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "SigB",
    "SigI",
    "SigC",
    "Shd",
    "Cap",
    "NoNewPrivs",
    "Seccomp",
    "Cpus",
)


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rootfs")
    root.chmod(0o755)
    for folder in ("bin", "proc", "dev", "sys", "tmp", "etc"):
        (root / folder).mkdir()
    shutil.copy(needs("busybox", package="busybox-static"), root / "bin/busybox")
    for applet in ("sh", "cat", "sleep", "true", "false", "id", "ps", "echo", "touch", "test"):
        (root / "bin" / applet).symlink_to("busybox")
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state"


def config_for(rootfs: Path, kinds: tuple[str, ...] = KINDS, **more: Any) -> Config:
    return Config(
        rootfs=str(rootfs),
        namespaces=Namespaces(Namespace(kind) for kind in kinds),
        mounts=(Mount("/proc", source="proc", device="proc"),),
        devices=(Device("/dev/null", "c", 1, 3),),
        cgroups=Cgroup(
            path=f"/nsenter-test-{THIS_RUN}",
            name="c",
            resources=Resources(devices=(DeviceRule(allow=True),)),
        ),
        **more,
    )


def process(*args: str, **more: Any) -> Process:
    env = ("PATH=/bin",)
    init = bool(more.pop("init", True))
    streams = {name: more.pop(name) for name in ("stdin", "stdout", "prebooted") if name in more}
    return Process(ProcessConfig(args=args, env=env, **more), init=init, **streams)


@pytest.fixture
def container(root: Path, rootfs: Path) -> Iterator[Container]:
    made = Container.create(str(root), "c", config_for(rootfs))
    yield made
    if StateFolder(str(root), "c").exists():
        made.kill_and_destroy()
    assert list_containers(str(root)) == []
    assert not any(Path(path).exists() for path in made.cgroup.paths().values())


def said(container: Container, *args: str, **more: Any) -> str:
    """What a further process writes to its stdout."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as file:
        further = process(*args, init=False, stdout=writer, **more)
        try:
            container.start(further)
        finally:
            os.close(writer)
        text = file.read()
    further.wait(SECONDS)
    further.close()
    return text


def end(container: Container, first: Process) -> None:
    container.signal(signal.SIGKILL)
    first.wait(SECONDS)
    first.close()


def started(container: Container, *args: str, **more: Any) -> Process:
    first = process(*args, **more)
    container.run(first)
    return first


def test_status_at_every_moment(container: Container) -> None:
    assert container.status() == "stopped"  # nobody is at work on it, and it has no process
    first = process("sleep", "100")
    container.start(first)
    assert container.status() == "created"
    container.exec()
    assert container.status() == "running"
    container.pause()
    assert container.status() == "paused"
    container.resume()
    assert container.status() == "running"
    container.signal(signal.SIGKILL)
    assert first.wait(SECONDS) == -signal.SIGKILL
    assert container.status() == "stopped"
    container.destroy()
    first.close()


def test_a_cgroup_that_is_in_use_or_frozen_is_refused(
    container: Container, root: Path, rootfs: Path
) -> None:
    first = started(container, "sleep", "100")
    with pytest.raises(ContainerError, match=r"not empty: 1 process\(es\) found"):
        Container.create(str(root), "d", config_for(rootfs))
    container.pause()
    with pytest.raises(ContainerError, match="unexpectedly frozen"):
        Container.create(str(root), "d", config_for(rootfs))
    container.kill_and_destroy()
    first.wait(SECONDS)
    first.close()


def test_another_process_knows_it_by_its_state(container: Container, root: Path) -> None:
    first = started(container, "sleep", "100")
    other = Container.load(str(root), "c")
    assert other.config == container.config
    assert other.status() == "running"
    state = other.state()
    assert state.init_process_pid == first.pid
    assert state.init_process_start == start_time_of(first.pid)
    for kind in ("NEWIPC", "NEWNET", "NEWNS", "NEWPID", "NEWUSER", "NEWUTS", "NEWCGROUP"):
        assert Path(state.namespace_paths[kind]).exists(), kind
    other.kill_and_destroy()
    assert first.wait(SECONDS) == -signal.SIGKILL
    first.close()


def test_program_runs_only_when_it_is_let_go(container: Container, rootfs: Path) -> None:
    mark = rootfs / "tmp" / "ran"
    first = process("touch", "/tmp/ran")
    container.start(first)
    time.sleep(0.05)
    assert not mark.exists()
    container.exec()
    assert first.wait(SECONDS) == 0
    assert mark.exists()
    mark.unlink()
    first.close()


@pytest.mark.parametrize(
    ("args", "status"),
    [(("true",), 0), (("sh", "-c", "exit 7"), 7), (("sh", "-c", "kill -9 $$"), 0)],
)
def test_exit_status_is_the_programs(
    container: Container, args: tuple[str, ...], status: int
) -> None:
    first = started(container, *args)  # a pid 1 cannot kill itself
    assert first.wait(SECONDS) == status
    first.close()


def test_further_process_is_in_its_namespaces_and_cgroup(container: Container) -> None:
    first = started(container, "sleep", "100")
    for kind in ("pid", "net", "ipc", "uts", "mnt"):
        inside = said(container, "sh", "-c", f"busybox readlink /proc/self/ns/{kind}").strip()
        assert inside == str(Path(f"/proc/{first.pid}/ns/{kind}").readlink())
    cgroup = said(container, "cat", "/proc/self/cgroup")
    assert cgroup == Path(f"/proc/{first.pid}/cgroup").read_text()
    container.kill_and_destroy()
    first.wait(SECONDS)
    first.close()


def test_further_process_has_its_own_identity(container: Container) -> None:
    first = started(container, "sleep", "100")
    text = said(container, "sh", "-c", "id -u; id -g; pwd", uid=5, gid=6, cwd="/tmp")
    assert text.split() == ["5", "6", "/tmp"]
    container.kill_and_destroy()
    first.wait(SECONDS)
    first.close()


def test_what_the_first_process_is_given_is_known_before_its_start(container: Container) -> None:
    first = process("true", cwd="/tmp")
    given = container.new_init_process(first)
    assert given.bootstrap_data == container.bootstrap_data(first)
    assert given.manager is container.cgroup
    assert given.env == {}
    assert not given.shares_pid_namespace
    assert (given.config.type, given.config.id) == ("standard", "c")
    assert (given.config.config, given.config.process) == (container.config, first.config)
    assert {"NEWPID", "NEWNS"} <= {*given.config.new_namespaces}
    assert container.status() == "stopped"
    with pytest.raises(ValueError, match="init=False"):
        container.new_setns_process(first)


def test_a_shared_pid_namespace_is_seen_before_the_start(root: Path, rootfs: Path) -> None:
    config = config_for(rootfs, ("network", "ipc", "uts", "mount"))
    container = Container.create(str(root), "c", config)
    try:
        assert container.new_init_process(process("true")).shares_pid_namespace
    finally:
        container.kill_and_destroy()


def test_a_start_uses_what_the_process_is_given(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    class GivenError(Exception):
        """Raised instead of a start."""

    def given(process: Process) -> NoReturn:
        raise GivenError

    with monkeypatch.context() as patch:
        patch.setattr(container, "new_init_process", given)
        with pytest.raises(GivenError):
            container.start(process("true"))
    first = started(container, "sleep", "60")
    monkeypatch.setattr(container, "new_setns_process", given)
    with pytest.raises(GivenError):
        container.start(process("true", init=False))
    end(container, first)


def test_what_a_further_process_is_given_joins_the_namespaces(container: Container) -> None:
    further = process("true", init=False)
    with pytest.raises(ContainerError, match="stopped"):
        container.new_setns_process(further)
    first = started(container, "sleep", "60")
    with container.new_setns_process(further) as given:
        assert given.config.type == "setns"
        assert given.bootstrap_data.clone_flags == 0
        joined = {namespace.type.value for namespace in given.bootstrap_data.namespace_paths}
        assert {"NEWPID", "NEWNS"} <= joined
        given.start()
        assert further.wait(SECONDS) == 0
        further.close()
        with pytest.raises(ValueError, match="init=True"):
            container.new_init_process(further)
    end(container, first)


@pytest.mark.parametrize(
    ("args", "more", "told"),
    [
        (("nosuch",), {}, 'init: exec: "nosuch": executable file not found in $PATH'),
        (("/etc",), {}, 'exec: "/etc": is a directory'),
        (("true",), {"cwd": "/bin/true/x"}, "Not a directory"),
    ],
)
def test_what_cannot_be_started_says_why_and_leaves_nothing(
    container: Container, args: tuple[str, ...], more: dict[str, object], told: str
) -> None:
    with pytest.raises(BootstrapError) as caught:
        container.start(process(*args, **more))
    assert told in str(caught.value)
    assert caught.value.stage == "init"
    assert container.processes() == []
    assert container.status() == "stopped"


@pytest.mark.parametrize("id", ["", ".", "..", "a/b", "a b", "é", "x" * 1025])
def test_id_that_is_no_name_is_refused(root: Path, rootfs: Path, id: str) -> None:
    with pytest.raises(ContainerError, match=r"(?i)container id"):
        Container.create(str(root), id, config_for(rootfs))
    assert not root.exists()


def test_bad_configuration_makes_nothing(root: Path, rootfs: Path) -> None:
    with pytest.raises(ConfigError, match=r"root\.path"):
        Container.create(str(root), "c", config_for(rootfs / "nosuch"))
    assert not root.exists()


def test_same_id_twice_is_refused(container: Container, root: Path, rootfs: Path) -> None:
    with pytest.raises(ContainerError, match="container with given ID already exists: c"):
        Container.create(str(root), "c", config_for(rootfs))


def test_wrong_moments_are_refused(container: Container) -> None:
    with pytest.raises(ContainerError, match="has stopped"):
        container.exec()
    with pytest.raises(ContainerError, match="not running"):
        container.signal(signal.SIGTERM)
    with pytest.raises(ContainerError, match="not running or created"):
        container.pause()
    with pytest.raises(ContainerError, match="stopped container"):
        container.start(process("true", init=False))
    first = started(container, "sleep", "100")
    with pytest.raises(ContainerError, match="already running"):
        container.exec()
    with pytest.raises(ContainerError, match="not stopped"):
        container.destroy()
    with pytest.raises(ContainerError, match="not paused"):
        container.resume()
    with pytest.raises(ContainerError, match="already has an init"):
        container.start(process("true"))
    container.kill_and_destroy()
    first.wait(SECONDS)
    first.close()


def _started_at_another_time(than: int) -> subprocess.Popen[bytes]:
    """A process of ours whose start the kernel's clock tells from that of another."""
    while True:
        process = subprocess.Popen(["sleep", "100"])
        if int(stat_fields(process.pid)[19]) != than:
            return process
        process.kill()
        process.wait()


def test_reused_pid_is_not_taken_for_the_container(container: Container) -> None:
    first = started(container, "sleep", "100")
    state = container.state()
    # What a pid that is given to another process by now looks like.
    other = _started_at_another_time(state.init_process_start)
    try:
        with container._record.locked():
            container._record.save(init_process_pid=other.pid)
        assert container.status() == "stopped"
        with pytest.raises(ContainerError):
            container.signal(signal.SIGTERM)
        assert other.poll() is None, "the one who has the pid was signalled"
    finally:
        with container._record.locked():
            container._record.save(init_process_pid=state.init_process_pid)
        other.kill()
        other.wait()
        container.kill_and_destroy()
        first.wait(SECONDS)
        first.close()


def test_a_process_that_was_dead_when_it_was_saved_is_not_waited_for(container: Container) -> None:
    """It has no start time then, as whatever is gone has none."""
    with subprocess.Popen(["true"]) as dead:
        pass
    with container._record.locked():
        container._record.save(
            init_process_pid=dead.pid, init_process_start=start_time_of(dead.pid)
        )
    assert container.status() == "stopped"
    container.destroy()


def test_half_made_container_is_listed_and_taken_away(root: Path, rootfs: Path) -> None:
    folder = StateFolder(str(root), "half")
    folder.make()
    folder.unlock()
    assert list_containers(str(root)) == ["half"]
    with pytest.raises(ContainerError, match="was not made completely"):
        Container.load(str(root), "half")
    folder.lock()
    folder.remove()
    folder.unlock()
    assert list_containers(str(root)) == []


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOMEM, errno.EPERM, errno.EIO])
def test_what_cannot_be_listed_is_removed_by_its_names(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(path: object) -> NoReturn:
        raise OSError(error, os.strerror(error))

    folder = StateFolder(str(root), "half")
    folder.make()
    os.close(folder.make_fifo())
    for name in ("state.json", "state.json.new"):
        (root / "half" / name).touch()
    monkeypatch.setattr(os, "scandir", refuse)
    folder.remove()
    folder.unlock()
    assert not (root / "half").exists()


def test_two_that_delete_at_once_are_safe(container: Container, root: Path) -> None:
    first = started(container, "sleep", "100")
    problems: list[BaseException] = []

    def delete() -> None:
        try:
            Container.load(str(root), "c").kill_and_destroy()
        except ContainerError:
            pass  # somebody else was first
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=delete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    first.wait(SECONDS)
    first.close()


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        (
            Rlimit(resource.RLIMIT_NOFILE, 2**40, 5),
            r"RLIMIT_NOFILE 5:\d+: .*not permitted \(raising",
        ),
        (Rlimit(99, 5, 5), "prlimit 99 5:5: Invalid argument"),
    ],
)
def test_a_limit_that_cannot_be_is_named(container: Container, limit: Rlimit, said: str) -> None:
    with pytest.raises(BootstrapError, match=said):
        container.run(process("true", rlimits=(limit,)))


def test_shared_pid_namespace_ends_with_all_its_processes(root: Path, rootfs: Path) -> None:
    kinds = tuple(kind for kind in KINDS if kind != "pid")
    config = config_for(rootfs, kinds)
    config = config.replace(mounts=(Mount("/proc", source="/proc", device="bind", flags=0x5000),))
    made = Container.create(str(root), "c", config)
    assert made.shares_pid_namespace
    first = process("sh", "-c", "sleep 1000 & sleep 1001 & exec sleep 1002")
    made.run(first)
    wait_until(lambda: len(made.processes()) == 3)
    made.signal(signal.SIGKILL)
    first.wait(SECONDS)
    wait_until(lambda: made.processes() == [])
    made.destroy()
    first.close()


def test_an_init_that_waited_is_any_process_of_it(container: Container, rootfs: Path) -> None:
    inits = [prebooted_init() for _ in range(3)]
    first = started(container, "sleep", "100", prebooted=inits[0])
    wait_until_executed(first.pid, "sleep")
    assert said(container, "cat", "/proc/1/comm", prebooted=inits[1]) == "sleep\n"
    plain = said(container, "cat", "/proc/self/status")
    waited = said(container, "cat", "/proc/self/status", prebooted=inits[2])
    kept = [line for line in plain.splitlines() if line.startswith(_OF_ANY)]
    assert kept == [line for line in waited.splitlines() if line.startswith(_OF_ANY)]
    container.kill_and_destroy()
    first.wait(SECONDS)
    first.close()


def test_an_init_that_waits_is_gone_when_it_is_given_up_or_its_parent_ends() -> None:
    one = prebooted_init()
    pid = one.pid
    one.discard()
    assert not Path(f"/proc/{pid}").exists()
    script = (
        "from libcontainer import prebooted_init; print(prebooted_init().pid, flush=True); input()"
    )
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as parent:
        assert parent.stdout is not None
        waits = int(parent.stdout.readline())
        assert runs(waits)
        parent.kill()
    wait_until(lambda: not runs(waits))


def test_hooks_run_in_order_with_the_state(root: Path, rootfs: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = tmp_path / "hook"
    script.write_text(f'#!/bin/sh\nread state\necho "$1 $state" >> {log}\n')
    script.chmod(0o755)
    outside = {
        kind: (Hook(str(script), args=(str(script), kind)),)
        for kind in ("prestart", "create_runtime", "create_container", "poststart", "poststop")
    }
    inside = Hook("/bin/sh", args=("sh", "-c", "read s; echo start_container $s > /tmp/inside"))
    hooks = Hooks(**outside, start_container=(inside,))
    made = Container.create(str(root), "c", config_for(rootfs, hooks=hooks))
    first = process("true")
    made.run(first)
    first.wait(SECONDS)
    made.kill_and_destroy()
    lines = log.read_text().splitlines()
    assert [line.split()[0] for line in lines] == list(outside)
    statuses = ("creating", "creating", "creating", "running", "stopped")
    for line, status in zip(lines, statuses, strict=True):
        assert f'"status":"{status}"' in line
        assert '"id":"c"' in line
    assert '"status":"created"' in (rootfs / "tmp/inside").read_text()
    (rootfs / "tmp/inside").unlink()
    first.close()


@pytest.mark.parametrize("kind", ["prestart", "create_runtime", "create_container"])
def test_failing_hook_stops_the_start_by_name(root: Path, rootfs: Path, kind: str) -> None:
    hooks = Hooks(**{kind: (Hook("/bin/sh", args=("sh", "-c", "echo no >&2; exit 3")),)})
    made = Container.create(str(root), "c", config_for(rootfs, hooks=hooks))
    with pytest.raises(OSError, match="hook") as caught:
        made.start(process("true"))
    assert "exit status 3" in str(caught.value)
    made.kill_and_destroy()


@pytest.mark.parametrize("at_once", [True, False])
def test_failing_poststart_hook_takes_the_container_away(
    root: Path, rootfs: Path, tmp_path: Path, at_once: bool
) -> None:
    after = tmp_path / "poststop"
    fails = Hook("/bin/sh", args=("sh", "-c", "kill -SYS $$"))
    hooks = Hooks(poststart=(fails,), poststop=(Hook("/bin/touch", args=("touch", str(after))),))
    made = Container.create(str(root), "c", config_for(rootfs, hooks=hooks))
    first = process("sleep", "100")
    why = "error running poststart hook #0: /bin/sh: signal: bad system call"
    if at_once:
        with pytest.raises(OSError, match=why):
            made.run(first)
    else:
        made.start(first)
        with pytest.raises(OSError, match=why):
            made.exec()
    assert first.wait(SECONDS) == -signal.SIGKILL
    assert not StateFolder(str(root), "c").exists()
    assert after.exists()
    first.close()


def test_threads_and_many_containers_at_once(root: Path, rootfs: Path) -> None:
    problems: list[BaseException] = []

    def live(number: int) -> None:
        try:
            config = config_for(rootfs)
            path = f"{config.cgroups.path}-{number}"
            config = config.replace(cgroups=config.cgroups.replace(path=path))
            made = Container.create(str(root), f"c{number}", config)
            first = process("sh", "-c", f"exit {number}")
            made.run(first)
            assert first.wait(SECONDS) == number
            made.destroy()
            first.close()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=live, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert list_containers(str(root)) == []


@pytest.mark.parametrize(
    ("nanoseconds", "created"),
    [
        (1_700_000_000_081_615_590, "2023-11-14T22:13:20.08161559Z"),
        (1_700_000_000_500_000_000, "2023-11-14T22:13:20.5Z"),
        (1_700_000_000_000_000_000, "2023-11-14T22:13:20Z"),
        (1_700_000_000_000_000_001, "2023-11-14T22:13:20.000000001Z"),
    ],
)
def test_the_time_of_its_creation_is_written_as_by_go(
    monkeypatch: pytest.MonkeyPatch, nanoseconds: int, created: str
) -> None:
    """runc reads the time and writes it again, and an engine may compare the two."""
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds)
    assert record._now() == created
