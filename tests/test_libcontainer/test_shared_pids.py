"""A container can use an existing PID namespace, as the containers of a pod that share one do."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import cgrouping
import pyrunc
from faults import SYS_CLONE3, Blow, Strike, child_pids
from libcontainer import pid_namespace_join
from libcontainer.cgroups import new_manager
from libcontainer.configs import Cgroup, Resources
from libcontainer.container import Container
from libcontainer.dialogue import Dialogue
from libcontainer.init import frames
from libcontainer.process import Process
from libcontainer.process_start import prebooted_init
from libcontainer.specconv import config_from_spec, process_from_spec
from mounted import mounted
from nsenter._host.syscalls import pidfd_open
from nsenter._interpreter.prebooted import PrebootedInit
from nsenter.errors import BootstrapError
from processes import stat_fields, wait_until_executed
from pyrunc import NO_STREAMS, Runtime, cgroups_of, make_bundle
from seizing import HAS_PIDNS_OPTION, joins_last

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root joins a PID namespace as such")

NAME = "net.ipv4.ip_default_ttl"

runtime = pytest.fixture(pyrunc.runtimes)


@pytest.fixture
def pod(runtime: Runtime, tmp_path: Path) -> Iterator[int]:
    """The pid of a container whose PID namespace others join."""
    bundle = make_bundle(tmp_path / "pod", ["sleep", "1000"])
    runtime.good("run", "--detach", "-b", bundle, "pod", **NO_STREAMS)
    pid = runtime.state("pod")["pid"]
    assert isinstance(pid, int)
    wait_until_executed(pid, "sleep")
    yield pid


@pytest.fixture(params=["waiting", "booted"])
def init(request: pytest.FixtureRequest) -> Iterator[PrebootedInit | None]:
    """One that `pyrunc` starts meanwhile, or an interpreter that boots in the namespaces."""
    waiting = prebooted_init() if request.param == "waiting" else None
    yield waiting


def test_a_caller_has_no_more_children_than_its_process(
    runtime: Runtime, pod: int, tmp_path: Path, init: PrebootedInit | None
) -> None:
    """Of Container, in a process that goes on."""
    bundle = bundle_in(pod, tmp_path / "b", "sh", "-c", "exit 3")
    container, process = made(runtime, bundle, init)
    before = child_pids()
    container.run(process)
    assert {*child_pids()} - {*before} == {process.pid}
    assert process.wait() == 3
    process.close()
    container.destroy()


@joins_last
@pytest.mark.parametrize("which", [1, 2], ids=["the first process", "its successor"])
def test_a_caller_has_no_child_left_if_one_of_them_dies(
    runtime: Runtime, pod: int, tmp_path: Path, which: int
) -> None:
    bundle = bundle_in(pod, tmp_path / "b", "true")
    hits, before = 0, child_pids()
    for nth in range(1, 12):
        blow = Blow(which, nth, first_call=SYS_CLONE3 if which == 1 else -1)
        container, process = made(runtime, bundle)
        with Strike(blow) as strike:
            try:
                container.run(process)
            except BootstrapError as error:
                told = str(error)
                assert "SIGKILL" in told or "ended early" in told
            else:
                process.wait()
                process.close()
        hits += strike.hit is not None
        container.destroy()
        assert child_pids() == before
    assert hits >= 4


def made(
    runtime: Runtime, bundle: Path, init: PrebootedInit | None = None
) -> tuple[Container, Process]:
    spec = json.loads((bundle / "config.json").read_text())
    spec["root"]["path"] = str(bundle / "rootfs")
    config = config_from_spec(spec, id="c", bundle=str(bundle))
    container = Container.create(str(runtime.root), "c", config)
    return container, Process(process_from_spec(spec["process"]), prebooted=init)


def bundle_in(pod: int, folder: Path, *args: str, **changes: Any) -> Path:
    def share(spec: dict[str, Any]) -> None:
        (kind,) = [ns for ns in spec["linux"]["namespaces"] if ns["type"] == "pid"]
        kind["path"] = f"/proc/{pod}/ns/pid"
        spec["process"] |= changes.get("process", {})
        spec["hooks"] = changes.get("hooks", {})
        spec["linux"]["sysctl"] = dict([changes["sysctl"]] if "sysctl" in changes else [])
        spec["linux"]["resources"] = changes.get("resources", {})
        spec["linux"]["cgroupsPath"] = changes.get("cgroup", spec["linux"]["cgroupsPath"])

    return make_bundle(folder, args, change=share)


def pid_namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())


def test_its_proc_shows_the_processes_of_the_namespace(
    runtime: Runtime, pod: int, tmp_path: Path
) -> None:
    script = "cat /proc/1/cmdline; echo; readlink /proc/self; echo $$"
    said = runtime.good("run", "-b", bundle_in(pod, tmp_path / "b", "sh", "-c", script), "c")
    command, own, shell = said.split("\n")[:3]
    assert command == "sleep\x001000\x00"
    assert int(own) > 1
    assert int(shell) > 1


def test_the_process_that_is_told_of_is_the_one_that_runs(
    runtime: Runtime, pod: int, tmp_path: Path
) -> None:
    bundle = bundle_in(pod, tmp_path / "b", "sleep", "1000")
    pid_file = tmp_path / "pid"
    runtime.good("create", "-b", bundle, "--pid-file", pid_file, "c", **NO_STREAMS)
    state = runtime.state("c")
    assert state["status"] == "created"
    pid = state["pid"]
    assert pid_file.read_text() == str(pid)
    assert pid_namespace(pid) == pid_namespace(pod)
    for group in cgroups_of(bundle, "c"):
        assert (group / "cgroup.procs").read_text().split() == [str(pid)]
    stat = stat_fields(pid)
    assert stat[2] == stat[3] == str(pid)  # it leads its process group and its session
    runtime.good("start", "c")
    wait_until_executed(pid, "sleep")
    kept = json.loads((runtime.root / "c/state.json").read_text())
    assert kept["init_process_pid"] == pid
    runtime.good("exec", "c", "true")
    runtime.good("kill", "c", "KILL")
    runtime.good("delete", "--force", "c")


@pytest.mark.parametrize("script, status", [("exit 7", 7), ("kill -9 $$", 137)])
def test_its_end_is_told(
    runtime: Runtime, pod: int, tmp_path: Path, script: str, status: int
) -> None:
    done = runtime("run", "-b", bundle_in(pod, tmp_path / "b", "sh", "-c", script), "c")
    assert done.returncode == status


def test_it_has_a_terminal_of_its_own(runtime: Runtime, pod: int, tmp_path: Path) -> None:
    bundle = bundle_in(
        pod, tmp_path / "b", "sh", "-c", "tty; echo >/dev/tty hello", process={"terminal": True}
    )
    path = str(tmp_path / "console")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        runtime.good("create", "-b", bundle, "--console-socket", path, "c", **NO_STREAMS)
        connection, _ = listener.accept()
        with connection:
            _, (master,), _, _ = socket.recv_fds(connection, 100, 1)
    with os.fdopen(master, "rb", buffering=0) as terminal:
        runtime.good("start", "c")
        said = b""
        try:
            while b"hello" not in said:
                said += terminal.read(1000)
        except OSError:  # EIO: it has ended
            pass
    assert said.split() == [b"/dev/pts/0", b"hello"]


def test_a_limit_that_leaves_no_room_for_a_successor(
    runtime: Runtime, pod: int, tmp_path: Path
) -> None:
    bundle = bundle_in(pod, tmp_path / "b", "true", resources={"pids": {"limit": 1}})
    runtime.good("run", "-b", bundle, "c")


@joins_last
def test_a_limit_of_a_cgroup_above_that_leaves_no_room_is_named(
    runtime: Runtime, pod: int, tmp_path: Path
) -> None:
    above = cgrouping.unused_path()
    bundle = bundle_in(pod, tmp_path / "b", "true", cgroup=f"{above}/c")
    with pids_limited(above, 1):
        done = runtime("run", "-b", bundle, "c")
        assert done.returncode == 1
        assert "clone into the PID namespace: resource temporarily unavailable" in done.stderr
        assert "raise pids.max" in done.stderr
        assert cgroups_of(bundle, "c") == []
    with pids_limited(above, 2):
        runtime.good("run", "-b", bundle, "c")


@contextlib.contextmanager
def pids_limited(path: str, most: int) -> Iterator[None]:
    """A cgroup with a limit on processes, which is that of what is below as well."""
    with cgrouping.removed(new_manager(Cgroup(path=path))) as manager:
        manager.create()
        manager.set(Resources(pids_limit=most, skip_devices=True))
        yield


def test_limits_that_only_the_runtime_may_raise(runtime: Runtime, pod: int, tmp_path: Path) -> None:
    limits = [{"type": "RLIMIT_NOFILE", "soft": 3000, "hard": 5000}]
    bundle = bundle_in(
        pod, tmp_path / "b", "sh", "-c", "ulimit -Sn; ulimit -Hn", process={"rlimits": limits}
    )
    words = ["sh", "-c", 'ulimit -Hn 1024; exec "$@"', "sh", *runtime.argv]
    done = subprocess.run(
        [*words, "run", "-b", bundle, "c"], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.stdout.split() == ["3000", "5000"], done.stderr


def test_sysctls_and_masks_take_effect(runtime: Runtime, pod: int, tmp_path: Path) -> None:
    script = f"cat /proc/sys/{NAME.replace('.', '/')}; wc -c </proc/keys; true >/proc/sys/x"
    bundle = bundle_in(
        pod, tmp_path / "b", "sh", "-c", script, sysctl=("net.ipv4.ip_default_ttl", "77")
    )
    done = runtime("run", "-b", bundle, "c")
    assert done.stdout.split() == ["77", "0"]
    assert "Read-only file system" in done.stderr or "nonexistent" in done.stderr


@joins_last
def test_hooks_before_its_root_run_outside_the_namespace(
    runtime: Runtime, pod: int, tmp_path: Path
) -> None:
    """They have the host's root, which others in the namespace must not reach."""
    told = tmp_path / "told"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f"readlink /proc/self/ns/pid >>{told}"]}
    hooks = {"createRuntime": [hook], "createContainer": [hook]}
    runtime.good("run", "-b", bundle_in(pod, tmp_path / "b", "true", hooks=hooks), "c")
    assert set(told.read_text().split()) == {pid_namespace(os.getpid())}


def test_a_namespace_that_has_ended_is_told_of(runtime: Runtime, pod: int, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.touch()
    subprocess.run(["mount", "--bind", f"/proc/{pod}/ns/pid", kept], check=True)
    try:
        runtime.good("delete", "--force", "pod")
        bundle = make_bundle(tmp_path / "b", ["true"], change=lambda spec: _with_pid(spec, kept))
        before = mounted()
        done = runtime("run", "-b", bundle, "c")
        assert done.returncode == 1
        assert "clone" in done.stderr
        assert "annot allocate memory" in done.stderr
        assert mounted() == before
        assert cgroups_of(bundle, "c") == []
        assert not (runtime.root / "c").exists()
    finally:
        subprocess.run(["umount", kept], check=True)


def _with_pid(spec: dict[str, Any], path: Path) -> None:
    (kind,) = [ns for ns in spec["linux"]["namespaces"] if ns["type"] == "pid"]
    kind["path"] = str(path)


def test_of_its_descriptors_it_has_those_alone_that_are_kept() -> None:
    script = (
        "import os, sys\n"
        "from libcontainer.init.successor import _close_others\n"
        "for fd in range(3, 12): os.dup2(2, fd)\n"
        "_close_others({0, 1, 2, 5, 7})\n"
        "print([fd for fd in range(20) if os.path.exists(f'/proc/self/fd/{fd}')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[0, 1, 2, 5, 7]\n"


def dialogue_with(**attributes: Any) -> Dialogue:
    """The parent's part of a start, in the middle of it."""
    dialogue = object.__new__(Dialogue)
    dialogue.__dict__.update(
        {"_is_ready": False, "_has_gate": True, "_is_seen": False, **attributes}
    )
    return dialogue


def test_what_is_no_child_of_ours_is_no_successor() -> None:
    """Others see the successor before the runtime does, and may speak in its place."""
    dialogue = dialogue_with(_is_followed=True, _child=SimpleNamespace(pid=-1))
    pidfd = pidfd_open(os.getppid())
    with pytest.raises(BootstrapError, match="name as its successor"):
        dialogue._follow(pidfd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(pidfd)


@pytest.mark.parametrize("word", ["hooks", "idmap", "loopback", "devices", "last"])
def test_what_others_see_has_nothing_done_by_the_runtime(word: str) -> None:
    with pytest.raises(BootstrapError, match=f"say '{word}'"):
        dialogue_with(_is_seen=True, _is_followed=False)._answer_to([word, "0"], [0])


def test_from_the_clone_on_others_see_the_init(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        dialogue = dialogue_with(_is_followed=True, _fd=ours.fileno(), _process=SimpleNamespace())
        dialogue._deadline = lambda: None  # type: ignore[method-assign]
        assert dialogue._answer_to(["last"], [])
        assert frames.receive(theirs.fileno()) == (["go"], [])
        with pytest.raises(BootstrapError, match="say 'hooks'"):
            dialogue._answer_to(["hooks"], [])


@pytest.mark.parametrize(
    "change, is_exposed",
    [
        ({}, False),
        ({"resources": {"pids": {"limit": 1}}}, True),
        ({"resources": {"unified": {"pids.max": "1"}}}, True),
        ({"user": {"type": "user"}}, True),
        ({"user": {"type": "user", "path": "/proc/self/ns/user"}}, False),
    ],
)
def test_who_is_warned(pod: int, tmp_path: Path, change: dict[str, Any], is_exposed: bool) -> None:
    if not is_exposed and not change and not HAS_PIDNS_OPTION:
        is_exposed = True
    bundle = bundle_in(pod, tmp_path / "b", "true", resources=change.get("resources", {}))
    spec = json.loads((bundle / "config.json").read_text())
    spec["root"]["path"] = str(bundle / "rootfs")
    if "user" in change:
        spec["linux"]["namespaces"].append(change["user"])
        ids = [{"containerID": 0, "hostID": 100_000, "size": 1000}]
        spec["linux"] |= {"uidMappings": ids, "gidMappings": ids}
    config = config_from_spec(spec, id="c", bundle=str(bundle))
    assert pid_namespace_join.is_exposed(config) is is_exposed


def test_before_its_successor_is_known_no_init_is_ready() -> None:
    with pytest.raises(BootstrapError, match="say 'ready'"):
        dialogue_with(_is_followed=True)._answer_to(["ready"], [])
