"""The commands from `create` to `delete` work on containers from bundles."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

import addresses
import pyrunc
import rootless
from launching import read_line
from nsenter._host.procfs import start_time_of
from processes import children_of, wait_until, wait_until_executed
from pyrunc import PYRUNC, Runtime, cgroup_path, make_bundle
from sweeps import every

runtime = pytest.fixture(pyrunc.runtimes)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


@pytest.fixture
def running(runtime: Runtime, bundle: Path) -> str:
    """The id of a container that sleeps."""
    runtime.good("run", "--detach", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    return "box"


def _shell(tmp_path: Path, script: str, **more: Any) -> Path:
    return make_bundle(tmp_path / "shell", ["sh", "-c", script], **more)


# ---- one life


def test_a_life(runtime: Runtime, bundle: Path, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    words = ("--bundle", bundle, "--pid-file", pid_file, "box")
    runtime.good("create", *words, **pyrunc.NO_STREAMS)
    state = runtime.state("box")
    assert state["status"] == "created"
    assert state["pid"] == int(pid_file.read_text())
    assert (state["id"], state["bundle"]) == ("box", str(bundle))
    assert state["rootfs"] == f"{bundle}/rootfs"
    runtime.good("start", "box")
    assert runtime.state("box")["status"] == "running"
    assert "already running" in runtime("start", "box").stderr
    assert "not stopped: running" in runtime("delete", "box").stderr
    runtime.good("pause", "box")
    assert runtime.state("box")["status"] == "paused"
    assert "--ignore-paused" in runtime("exec", "box", "true").stderr
    runtime.good("resume", "box")
    assert runtime("resume", "box").returncode == 1
    runtime.good("kill", "box", "KILL")
    wait_until(lambda: runtime.state("box")["status"] == "stopped")
    assert runtime.state("box")["pid"] == 0
    for words in (["kill"], ["pause"], ["start"], ["events", "--stats"], ["update"]):  # type: ignore[assignment]
        assert runtime(*words, "box").returncode == 1
    assert "stopped container" in runtime("exec", "box", "true").stderr
    runtime.good("delete", "box")
    assert "does not exist" in runtime("state", "box").stderr


@pytest.mark.parametrize("number", ["TERM", "INT", "HUP", "QUIT", "KILL"])
def test_a_created_container_is_stopped_by_what_would_stop_a_program(
    runtime: Any, bundle: Path, number: Any
) -> None:
    runtime.good("create", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    runtime.good("kill", "box", number)
    wait_until(lambda: runtime.state("box")["status"] == "stopped")
    assert "has stopped" in runtime("start", "box").stderr


@pytest.mark.parametrize(
    ("words", "ends"),
    [(["resume"], (0, "ran\n", "")), (["delete", "--force"], (255, "", "killed by SIGKILL"))],
)
def test_nobody_waits_for_an_exec_that_waits_in_a_paused_container(
    runtime: Any, running: str, words: Any, ends: Any
) -> None:
    runtime.good("pause", running)
    command = [*runtime.argv, "exec", "--ignore-paused", running, "echo", "ran"]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as waits:
        wait_until(lambda: len(json.loads(runtime.good("ps", "-f", "json", running))) == 2)
        runtime.good(*words, running)
        out, error = waits.communicate(timeout=pyrunc.TIMEOUT)
    code, said, why = ends
    assert (waits.returncode, out) == (code, said)
    assert why in error


def test_state_has_the_fields_of_runcs_in_their_order(runtime: Runtime, running: str) -> None:
    assert list(runtime.state(running)) == [
        *("ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "owner"),
    ]


def test_annotations_are_told(runtime: Runtime, tmp_path: Path) -> None:
    def annotate(spec: Any) -> None:
        spec["annotations"] = {"org.example": "yes=no"}

    bundle = make_bundle(tmp_path / "bundle", change=annotate)
    runtime.good("create", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    assert runtime.state("box")["annotations"] == {"org.example": "yes=no"}
    assert json.loads(runtime.good("list", "-f", "json"))[0]["annotations"]


def test_an_id_is_taken_once(runtime: Runtime, running: str, bundle: Path) -> None:
    done = runtime("create", "-b", bundle, running)
    assert done.returncode == 1
    assert "pyrunc create failed: container with" in done.stderr
    assert "exist" in done.stderr
    assert runtime.state(running)["status"] == "running"


def test_a_created_container_can_be_deleted(runtime: Runtime, bundle: Path) -> None:
    runtime.good("create", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    pid = runtime.state("box")["pid"]
    runtime.good("delete", "box")
    wait_until(lambda: start_time_of(pid) == 0)  # gone, or waits for init to reap it


def test_delete_force_takes_away_what_is_half_made(runtime: Runtime) -> None:
    (runtime.root / "half").mkdir(parents=True)
    runtime.good("delete", "--force", "half")
    assert not (runtime.root / "half").exists()


def test_list_leaves_out_what_is_broken_and_says_so(runtime: Runtime, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    runtime.good("create", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    broken = {"empty": "", "garbage": "garbage", "other": "[]"}
    for name, state in broken.items():
        (runtime.root / name).mkdir()
        if state:
            (runtime.root / name / "state.json").write_text(state)
    (runtime.root / "no~id").mkdir()
    try:
        for form in (["-q"], ["-f", "json"], []):
            done = runtime("list", *form)
            assert done.returncode == 0
            assert "box" in done.stdout
            for name in broken:
                assert name not in done.stdout
                assert f"load container {name}: " in done.stderr
            assert "no~id" not in done.stdout + done.stderr
    finally:
        for name in ("no~id", *broken):
            shutil.rmtree(runtime.root / name)


@pytest.mark.parametrize("words", [["list"], ["state", "box"], ["delete", "--force", "box"]])
def test_a_state_that_may_not_be_read_is_named(words: list[str], tmp_path: Path) -> None:
    """As it is for an ordinary user who gives the folder of root's containers by --root."""
    root = Path(tempfile.mkdtemp(prefix="pyrunc-test-"))  # users cannot enter tmp_path
    root.chmod(0o755)
    runtime = Runtime(PYRUNC, root)
    try:
        runtime.good("create", "-b", make_bundle(tmp_path / "bundle"), "box", **pyrunc.NO_STREAMS)
        done = rootless.as_user([*runtime.argv, *words])
        assert done.returncode == (0 if words == ["list"] else 1)
        assert f"open {root}/box/state.json: permission denied" in done.stderr
        assert runtime.state("box")["status"] == "created"
    finally:
        runtime.delete_all()
        root.rmdir()


def test_list_of_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    missing = Runtime(pyrunc.PYRUNC, tmp_path / "missing")
    assert missing.good("list", "-q") == ""
    assert json.loads(missing.good("list", "-f", "json")) == []
    assert missing.good("list").split() == "ID PID STATUS BUNDLE CREATED OWNER".split()


def test_nothing_but_containers_is_in_the_folder_of_their_state(
    runtime: Runtime, tmp_path: Path
) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["seccomp"] = {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["swapon"], "action": "SCMP_ACT_ERRNO"}],
        }

    bundle = make_bundle(tmp_path / "bundle", ["true"], change=change)
    runtime.good("run", "-b", bundle, "box")
    assert list(runtime.root.iterdir()) == []


# ---- run


@pytest.mark.parametrize(("script", "status"), [("true", 0), ("exit 7", 7), ("kill -9 $$", 137)])
def test_run_ends_as_its_process(runtime: Any, tmp_path: Path, script: str, status: int) -> None:
    def share_pids(spec: Any) -> None:  # number 1 of a pid namespace cannot kill itself
        spec["linux"]["namespaces"].remove({"type": "pid"})

    bundle = _shell(tmp_path, script, change=share_pids)
    assert runtime("run", "-b", bundle, "box").returncode == status
    assert runtime.good("list", "-q") == ""


def test_run_in_the_current_folder(runtime: Any, tmp_path: Path) -> None:
    assert runtime.good("run", "box", cwd=_shell(tmp_path, "echo hello")) == "hello\n"


def test_keep(runtime: Any, tmp_path: Path) -> None:
    runtime.good("run", "--keep", "-b", _shell(tmp_path, "true"), "box")
    assert runtime.state("box")["status"] == "stopped"


def test_what_cannot_start_leaves_nothing(runtime: Any, tmp_path: Path) -> None:
    done = runtime("run", "-b", make_bundle(tmp_path / "b", ["/nope"]), "box")
    assert done.returncode == 1
    assert "pyrunc run failed: " in done.stderr
    assert "no such file or directory" in done.stderr
    assert runtime.good("list", "-q") == ""


def test_streams_are_the_callers(runtime: Any, tmp_path: Path) -> None:
    bundle = _shell(tmp_path, "cat; echo oops >&2")
    done = runtime("run", "-b", bundle, "box", input="through")
    assert (done.stdout, done.stderr) == ("through", "oops\n")


def test_signals_are_passed_on(runtime: Any, tmp_path: Path) -> None:
    script = "trap 'echo got; exit 9' TERM; echo up; while :; do sleep 0.02; done"
    words = [*runtime.argv, "run", "-b", str(_shell(tmp_path, script)), "box"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "got\n"
        assert process.wait(pyrunc.TIMEOUT) == 9


def test_orphans_are_reaped(runtime: Any, tmp_path: Path) -> None:
    def share_pids(spec: Any) -> None:
        spec["linux"]["namespaces"].remove({"type": "pid"})

    bundle = _shell(tmp_path, "(sleep 0.01 &); echo up; cat", change=share_pids)
    words = [*runtime.argv, "run", "-b", str(bundle), "box"]
    with subprocess.Popen(words, stdin=-1, stdout=-1, text=True) as process:
        assert process.stdout.readline() == "up\n"
        wait_until(lambda: len(children_of(process.pid)) == 1)
        process.communicate("")
        assert process.returncode == 0


def test_a_signal_while_it_starts_takes_all_away(runtime: Any, tmp_path: Path) -> None:
    def hang(spec: Any) -> None:
        slow = {"path": "/bin/sh", "args": ["sh", "-c", f"touch {tmp_path}/hook; sleep 60"]}
        spec["hooks"] = {"createRuntime": [slow | {"env": ["PATH=/bin"]}]}

    bundle = make_bundle(tmp_path / "bundle", change=hang)
    words = [*runtime.argv, "run", "-b", str(bundle), "box"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        wait_until((tmp_path / "hook").exists)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=pyrunc.TIMEOUT)
    assert process.returncode == 1
    assert "aborted by signal 15" in said
    assert runtime.good("list", "-q") == ""


# ---- descriptors


FDS = "for fd in /proc/self/fd/*; do echo ${fd##*/} $(readlink $fd); done"
OPENER = """
import os, sys
opened = os.open(sys.argv[1], os.O_RDONLY)
opened = os.dup2(opened, 100, inheritable=False)
for fd in map(int, sys.argv[2].split(",")):
    os.dup2(opened, fd)
if sys.argv[3] != "0":
    os.environ |= {"LISTEN_FDS": sys.argv[3], "LISTEN_PID": str(os.getpid()), "LISTEN_FDNAMES": "a"}
os.execv(sys.argv[4], sys.argv[4:])
"""


def _with_open(runtime: Runtime, fds: str, listen: int, *words: str | Path) -> str:
    opener = [sys.executable, "-c", OPENER, __file__, fds, str(listen)]
    return Runtime([*opener, *PYRUNC], runtime.root).good(*words)


def test_only_what_is_to_be_kept_is_kept(runtime: Any, tmp_path: Path) -> None:
    bundle = _shell(tmp_path, FDS)
    kept = _with_open(runtime, "3,4,5,6", 0, "run", "-b", bundle, "--preserve-fds", "2", "box")
    files = [line.split()[0] for line in kept.splitlines() if line.endswith(__file__)]
    assert files == ["3", "4"]


def test_sockets_of_systemd_come_first(runtime: Any, tmp_path: Path) -> None:
    bundle = _shell(tmp_path, f"env | grep LISTEN; {FDS}")
    words = ("run", "-b", bundle, "--preserve-fds", "1", "box")
    said = _with_open(runtime, "3,4,5", 1, *words).splitlines()
    assert said[:3] == ["LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=a"]
    assert [line.split()[0] for line in said if line.endswith(__file__)] == ["3", "4"]


def test_sockets_for_another_process_are_not_taken(runtime: Any, tmp_path: Path) -> None:
    env = os.environ | {"LISTEN_FDS": "1", "LISTEN_PID": "1"}
    bundle = _shell(tmp_path, "env")
    assert "LISTEN" not in runtime.good("run", "-b", bundle, "box", env=env)


def test_what_is_to_be_kept_has_to_be_open(runtime: Any, bundle: Path, tmp_path: Path) -> None:
    # The log, too, is a file that is opened: it is not to be mistaken for the caller's.
    log = tmp_path / "log"
    done = runtime("--log", log, "run", "-b", bundle, "--preserve-fds", "3", "box")
    assert done.returncode == 1
    assert "unable to stat preserved-fd 1 (of 3)" in done.stderr
    assert runtime.good("list", "-q") == ""


# ---- terminals by a console socket


def test_detached_terminals_need_a_socket_and_others_none(
    runtime: Any, running: str, bundle: Path
) -> None:
    neither = ("exec", "--console-socket", "/x", running, "true")
    assert "cannot use console socket" in runtime(*neither).stderr
    without = ("exec", "--detach", "--tty", running, "true")
    assert "cannot allocate tty" in runtime(*without).stderr
    assert (
        "cannot use console socket"
        in runtime("run", "-b", bundle, "--console-socket", "/x", "other").stderr
    )
    missing = ("exec", "-d", "-t", "--console-socket", "/nonexistent", running, "true")
    assert "/nonexistent" in runtime(*missing).stderr


def test_the_master_goes_to_the_console_socket(runtime: Any, tmp_path: Path) -> None:
    def terminal(spec: Any) -> None:
        spec["process"]["terminal"] = True

    bundle = _shell(tmp_path, "tty; cat", change=terminal)
    path = str(tmp_path / "console")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        runtime.good("run", "-d", "--console-socket", path, "-b", bundle, "box")
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    try:
        assert read_line(fds[0]) == "/dev/pts/0\r\n"
    finally:
        os.close(fds[0])


def test_the_pidfd_goes_to_its_socket(runtime: Any, bundle: Path, tmp_path: Path) -> None:
    path = str(tmp_path / "pidfd")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        words = ("create", "--pidfd-socket", path, "-b", bundle, "box")
        runtime.good(*words, **pyrunc.NO_STREAMS)
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    try:
        said = Path(f"/proc/self/fdinfo/{fds[0]}").read_text()
        assert f"Pid:\t{runtime.state('box')['pid']}\n" in said
    finally:
        os.close(fds[0])


@pytest.mark.parametrize("length", [107, 108, 250, 3000])
def test_a_sockets_path_may_be_of_any_length(
    runtime: Runtime, bundle: Path, tmp_path: Path, length: int
) -> None:
    """unix(7) has room for 107 bytes in an address."""
    for option, more in (("--console-socket", ["-t"]), ("--pidfd-socket", [])):
        path = addresses.long_path(tmp_path / option, length)
        with addresses.listening_at(path) as listener:
            if option == "--console-socket":
                runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
            words = ("exec", "-d", *more, option, path, "box", "true")
            runtime.good(*words, **pyrunc.NO_STREAMS)
            connection, _ = listener.accept()
            with connection:
                _, fds, _, _ = socket.recv_fds(connection, 100, 1)
        os.close(fds[0])
    missing = addresses.long_path(tmp_path / "missing", length)
    done = runtime("exec", "-d", "-t", "--console-socket", missing, "box", "true")
    assert done.returncode == 255
    assert f"{missing}: No such file or directory" in done.stderr or "no such file" in done.stderr


# ---- exec


@pytest.mark.parametrize(
    ("options", "script", "said"),
    every(
        2,
        [
            ([], "exit 0", ""),
            (["-e", "A=b", "--env=C=d"], "echo $A$C", "bd\n"),
            (["--cwd", "/bin"], "echo $PWD", "/bin\n"),
            (["-u", "5:6", "-g", "7", "-g", "8"], "id", "uid=5 gid=6 groups=7,8\n"),
            (["--user=5"], "id -u; id -g", "5\n0\n"),
            (["--no-new-privs=false"], "grep NoNew /proc/self/status", "NoNewPrivs:\t0\n"),
            (["--no-new-privs"], "grep NoNew /proc/self/status", "NoNewPrivs:\t1\n"),
            (
                ["-c", "CAP_SYS_ADMIN"],
                "grep CapEff /proc/self/status",
                "CapEff:\t0000000020200420\n",
            ),
        ],
    ),
)
def test_exec_options(runtime: Any, running: str, options: Any, script: Any, said: Any) -> None:
    assert runtime.good("exec", *options, running, "sh", "-c", script) == said


def test_exec_of_a_process_object(runtime: Any, running: str, tmp_path: Path) -> None:
    process = {"args": ["sh", "-c", "echo $A; id -u"], "cwd": "/", "env": ["PATH=/bin", "A=b"]}
    path = tmp_path / "process.json"
    path.write_text(json.dumps(process | {"user": {"uid": 9, "gid": 9}}))
    assert runtime.good("exec", "--process", path, running) == "b\n9\n"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    every(
        3,
        [
            (["box", "sh", "-c", "exit 3"], 3, ""),
            (["box", "sh", "-c", "kill -9 $$"], 137, ""),
            (["box", "/nope"], 255, "no such file or directory"),
            (["box", "nope"], 255, "executable file not found in $PATH"),
            (["box"], 255, "process args cannot be empty"),
            (["-u", "x", "box", "id"], 255, "expected UID[:GID]"),
            (["-u", "1:x", "box", "id"], 255, "expected UID[:GID]"),
            (["--cwd", "/nope", "box", "id"], 255, "/nope"),
            (["--cgroup", "a:b:c", "box", "id"], 255, "invalid --cgroup argument: a:b:c"),
            (["--cgroup", ":b", "box", "id"], 255, "invalid --cgroup argument: :b"),
            (["--cgroup", "pids,:b", "box", "id"], 255, "invalid --cgroup argument: pids,:b"),
            (["--cgroup", "..", "box", "id"], 255, ".. is not a sub cgroup path"),
            (["--cgroup", "a/../../box", "box", "id"], 255, "is not a sub cgroup path"),
            (
                ["--cgroup", "none", "box", "id"],
                255,
                "/none/cgroup.procs: no such file or directory",
            ),
            (["--cgroup", "what:/", "box", "id"], 255, "unknown controller what"),
            (["--cgroup", "a", "--cgroup", "b", "box", "id"], 255, "missing <controller>: prefix"),
            (
                ["--cgroup", "pids:a", "--cgroup", "pids:b", "box", "id"],
                255,
                "controller pids specified multiple times",
            ),
            (["--process", "/nope", "box"], 255, "/nope: no such file or directory"),
            (["-g", "x", "box", "id"], 1, "for flag -g: parse error"),
            (["-g", "-5", "box", "id"], 255, "additional-gids must be positive"),
        ],
    ),
)
def test_how_exec_ends(runtime: Any, running: str, words: Any, status: Any, said: Any) -> None:
    done = runtime("exec", *words)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    if status == 255:
        assert "exec failed: " in done.stderr


def test_capabilities_that_are_none_are_told_of(runtime: Any, running: str) -> None:
    done = runtime("exec", "-c", "CAP_NONE", "-c", "CAP_KILL", running, "true")
    assert done.returncode == 0
    assert (
        'level=warning msg="ignoring unknown or unavailable capabilities: [CAP_NONE]"'
        in done.stderr
    )


def test_exec_detached_writes_its_pid(runtime: Any, running: str, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    words = ("exec", "-d", "--pid-file", pid_file, running, "sleep", "100")
    runtime.good(*words, **pyrunc.NO_STREAMS)
    pid = int(pid_file.read_text())
    assert pid in json.loads(runtime.good("ps", "-f", "json", running))
    assert list(tmp_path.glob(".pid*")) == []


# ---- the rest


def test_ps(runtime: Any, running: str) -> None:
    pid = runtime.state(running)["pid"]
    wait_until_executed(pid, "sleep")
    assert json.loads(runtime.good("ps", "--format", "json", running)) == [pid]
    title, line = runtime.good("ps", running).splitlines()
    assert title.split()[:2] == ["UID", "PID"]
    assert line.split()[1] == str(pid)
    assert line.endswith("sleep 1000")
    _, line = runtime.good("ps", running, "-o", "pid,comm").splitlines()
    assert line.split() == [str(pid), "sleep"]
    assert "PID" in runtime("ps", running, "-o", "args").stderr


def test_list(runtime: Any, running: str, bundle: Path) -> None:
    title, line = runtime.good("list").splitlines()
    state = runtime.state(running)
    assert title.split() == ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    words = [running, str(state["pid"]), "running", str(bundle), state["created"], "root"]
    assert line.split() == words
    assert title.index("PID") == line.index(str(state["pid"])) == 12
    assert json.loads(runtime.good("list", "--format=json")) == [state | {"owner": "root"}]
    assert runtime.good("list", "-q") == f"{running}\n"


def test_kill_by_name_number_and_all(runtime: Any, running: str) -> None:
    for words in (["0"], ["winch"], ["SIGWINCH"], ["--all", "28"]):
        runtime.good("kill", running, *words)
    assert "unknown signal" in runtime("kill", running, "BOGUS").stderr
    assert "invalid argument" in runtime("kill", running, "99").stderr
    runtime.good("kill", "-a", running, "KILL")
    wait_until(lambda: runtime.state(running)["status"] == "stopped")
    runtime.good("kill", "--all", running, "KILL")


def test_events(runtime: Any, running: str) -> None:
    event = json.loads(runtime.good("events", "--stats", running))
    assert (event["type"], event["id"]) == ("stats", running)
    assert {"cpu", "memory", "pids"} <= set(event["data"])
    words = [*runtime.argv, "events", "--interval", "50ms", running]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        first = [json.loads(process.stdout.readline())["type"] for _ in range(2)]
        runtime.good("kill", running, "KILL")
        process.communicate(timeout=pyrunc.TIMEOUT)
    assert first == ["stats", "stats"]
    assert process.returncode == 0


def _limit(runtime: Runtime, id: str, name: str) -> int:
    usage: dict[str, int] = json.loads(runtime.good("events", "--stats", id))["data"]["memory"][
        "usage"
    ]
    return usage[name]


def test_update(runtime: Any, running: str, tmp_path: Path) -> None:
    runtime.good("update", "--memory", "50M", "--cpu-share", "200", running)
    assert _limit(runtime, running, "limit") == 50 << 20
    runtime.good("update", "--pids-limit", "20", running)
    assert _limit(runtime, running, "limit") == 50 << 20  # what is not named stays
    path = tmp_path / "resources.json"
    path.write_text(json.dumps({"memory": {"limit": 60 << 20}, "cpu": {"shares": 0}}))
    runtime.good("update", "-r", path, running)
    assert _limit(runtime, running, "limit") == 60 << 20
    runtime.good("update", "-r", "-", running, input=json.dumps({"memory": {"limit": 70 << 20}}))
    assert _limit(runtime, running, "limit") == 70 << 20
    runtime.good("update", "--memory", "-1", running)
    assert _limit(runtime, running, "limit") > 1 << 60


def test_limits_from_a_pipe_that_has_none_yet_are_refused_by_name(
    runtime: Any, running: str
) -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        done = runtime("update", "-r", "-", running, stdin=reader)
    finally:
        os.close(reader)
        os.close(writer)
    assert done.returncode == 1
    assert "read standard input: resource temporarily unavailable" in done.stderr


def _file(controller: str, bundle: Path, name: str) -> str:
    """Of the cgroup of the bundle's container "box", on v1 or v2."""
    own: dict[Any, Any] = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, _ = line.split(":", 2)
        own |= dict.fromkeys(names.split(","), True)
    place = f"/sys/fs/cgroup/{controller}" if controller in own else "/sys/fs/cgroup"
    return Path(place, cgroup_path(bundle, "box"), name).read_text().strip()


def test_update_of_a_container_that_is_idle(runtime: Any, tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["resources"] |= {"cpu": {"shares": 512}, "pids": {"limit": 30}}

    bundle = make_bundle(tmp_path / "bundle", change=change)
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    runtime.good("update", "--cpu-idle", "1", "box")
    assert _file("cpu", bundle, "cpu.idle") == "1"
    for words in (["--pids-limit", "40"], ["--memory", "64M"], ["--cpu-quota", "50000"]):
        runtime.good("update", *words, "box")
    assert _file("pids", bundle, "pids.max") == "40"
    assert _file("cpu", bundle, "cpu.idle") == "1"
    done = runtime("update", "--cpu-share", "600", "box")
    assert (done.returncode, "add --cpu-idle 0" in done.stderr) == (1, True), done.stderr
    runtime.good("update", "--cpu-share", "600", "--cpu-idle", "0", "box")
    assert _file("cpu", bundle, "cpu.idle") == "0"


def test_both_idle_and_shares_in_a_configuration(runtime: Any, tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["resources"]["cpu"] = {"shares": 512, "idle": 1}

    bundle = make_bundle(tmp_path / "bundle", change=change)
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    runtime.good("update", "--memory", "64M", "box")
    assert _file("cpu", bundle, "cpu.idle") == "1"


@pytest.mark.parametrize(("limit", "written"), [(0, "1"), (1, "1"), (-1, "max"), (20, "20")])
def test_a_limit_of_processes_of_0_is_one(
    runtime: Any, tmp_path: Path, limit: int, written: str
) -> None:
    """As with runc: 0 is no "unlimited"."""

    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["resources"]["pids"] = {"limit": limit}

    bundle = make_bundle(tmp_path / "bundle", change=change)
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    assert _file("pids", bundle, "pids.max") == written
    runtime.good("update", "--pids-limit", "33", "box")
    runtime.good("update", "--memory", "64M", "box")
    assert _file("pids", bundle, "pids.max") == "33"
    runtime.good("update", "--pids-limit", str(limit), "box")
    assert _file("pids", bundle, "pids.max") == written
    runtime.good("update", "--pids-limit", "33", "box")
    runtime.good("update", "-r", "-", "box", input=json.dumps({"pids": {"limit": limit}}))
    assert _file("pids", bundle, "pids.max") == written


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--memory", "x"], "invalid value for memory: invalid size: 'x'"),
        *(
            (["--cpu-quota", word], f"invalid value for cpu-quota: {word!r} is no number")
            for word in ("x", " 5000", "5_000", "+5000", "0x10", "1e5", "--5", "\u0665")
        ),
        (["-r", "/nope"], "/nope: no such file or directory"),
        (["--l3-cache-schema", "x"], "not supported"),
    ],
)
def test_what_update_refuses(runtime: Any, running: str, words: Any, said: Any) -> None:
    done = runtime("update", *words, running)
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr


def test_debug_tells_of_the_stages_in_their_order(runtime: Any, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    log = tmp_path / "log"
    words = ("--debug", "--log", log)
    runtime.good(*words, "run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    first = log.read_text()
    runtime.good(*words, "exec", "box", "true")
    further = log.read_text().removeprefix(first)
    for said, stages, ends in (
        (first, ("parent: start", "init: start"), "closing the pipe to signal completion"),
        (further, ("parent: start", "child: joined", "init: start"), "setns_init: about to exec"),
    ):
        expected = ["container setup", *stages, "launcher: ready", "child process in init()", ends]
        places = [said.find(words) for words in expected]
        assert -1 not in places and places == sorted(places), said


def test_spec_is_a_start_and_is_not_overwritten(runtime: Any, tmp_path: Path) -> None:
    runtime.good("spec", cwd=tmp_path)
    spec = json.loads((tmp_path / "config.json").read_text())
    assert spec["process"]["args"] == ["sh"]
    assert "user" not in {namespace["type"] for namespace in spec["linux"]["namespaces"]}
    done = runtime("spec", "--bundle", tmp_path)
    assert done.returncode == 1
    assert "exists. Remove it first" in done.stderr
    (tmp_path / "config.json").unlink()
    runtime.good("spec", "--rootless", "-b", tmp_path)
    spec = json.loads((tmp_path / "config.json").read_text())
    assert {"type": "user"} in spec["linux"]["namespaces"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    """RLIMIT_FSIZE of 0 stands for it: no file of any length can be written."""
    folder, bundle = tmp_path / "full", make_bundle(tmp_path / "bundle")
    folder.mkdir()
    full = Runtime(("prlimit", "--fsize=0", *PYRUNC), tmp_path / "state")
    for words, path in (
        (["spec", "-b", folder], f"{folder}/config.json"),
        (["run", "-b", bundle, "box"], f"{full.root}/box/state.json.new"),
    ):
        done = full(*words)
        assert done.returncode == 1
        assert f"write {path}: file too large" in done.stderr
    assert [*folder.iterdir(), *full.root.iterdir()] == []


def test_what_spec_writes_runs(runtime: Any, tmp_path: Path) -> None:
    pyrunc.make_root(tmp_path / "rootfs")
    runtime.good("spec", cwd=tmp_path)
    spec = json.loads((tmp_path / "config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["echo", "ran"]}
    (tmp_path / "config.json").write_text(json.dumps(spec))
    assert runtime.good("run", "box", cwd=tmp_path) == "ran\n"


def test_features(runtime: Any) -> None:
    document = json.loads(runtime.good("features"))
    assert document["ociVersionMin"] == "1.0.0"
    assert "mount" in document["linux"]["namespaces"]


def test_version(runtime: Any) -> None:
    """As Docker's daemon and containerd read it."""
    lines = runtime.good("--version").splitlines()
    (version,) = [line.rpartition("version")[2].strip() for line in lines if "version" in line]
    assert lines[0] == f"pyrunc version {version}"
    told = dict(line.split(": ") for line in lines[1:])
    assert told["commit"] == f"v{version}"
    assert told["spec"].startswith("1.")


# ---- who makes the cgroup


def test_no_cgroup_at_all(runtime: Runtime, tmp_path: Path) -> None:
    none = ("--cgroup-manager", "disabled")

    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["resources"] = {"devices": [{"allow": False, "access": "rwm"}]}

    bundle = make_bundle(tmp_path / "bundle", change=change)
    runtime.good(*none, "run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    state = runtime.state("box")
    own = Path("/proc/self/cgroup").read_text()
    assert Path(f"/proc/{state['pid']}/cgroup").read_text() == own
    assert state["status"] == "running"
    assert runtime.good("exec", "box", "echo", "ok") == "ok\n"
    for words in (["pause", "box"], ["events", "--stats", "box"], ["update", "--memory=9M", "box"]):
        done = runtime(*words)
        assert (done.returncode, "--cgroup-manager disabled" in done.stderr) == (1, True), words
    runtime.good("kill", "box", "KILL")
    wait_until(lambda: runtime.state("box")["status"] == "stopped")
    runtime.good("delete", "box")


def test_what_needs_a_cgroup_is_refused_without_one(runtime: Runtime, tmp_path: Path) -> None:
    def limited(spec: dict[str, Any]) -> None:
        spec["linux"]["resources"] = {"pids": {"limit": 5}}

    def sharing(spec: dict[str, Any]) -> None:
        rows = spec["linux"]["namespaces"]
        spec["linux"]["namespaces"] = [row for row in rows if row["type"] != "pid"]

    for i, (change, said) in enumerate(((limited, "linux.resources"), (sharing, "pid namespace"))):
        bundle = make_bundle(tmp_path / str(i), change=change)
        done = runtime("--cgroup-manager", "disabled", "create", "-b", bundle, "box")
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cgroup-manager", "none"], "expected cgroupfs, systemd, disabled"),
        (["--cgroup-manager", "disabled", "--systemd-cgroup"], "give one of them"),
    ],
)
def test_cgroup_managers_that_are_refused(
    runtime: Runtime, tmp_path: Path, words: list[str], said: str
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    done = runtime(*words, "create", "-b", bundle, "box")
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    runtime.good("--cgroup-manager", "cgroupfs", "run", "-b", bundle, "-d", "box",
        **pyrunc.NO_STREAMS)  # fmt: skip


def test_exec_adds_capabilities_to_those_of_the_container(runtime: Any, tmp_path: Path) -> None:
    """`--cap` makes ambient what the configuration has inheritable, as runc's."""

    def change(spec: dict[str, Any]) -> None:
        kinds = ("bounding", "permitted", "effective", "inheritable")
        spec["process"]["capabilities"] = {kind: ["CAP_KILL"] for kind in kinds}

    bundle = make_bundle(tmp_path / "bundle", change=change)
    runtime.good("run", "-d", "-b", bundle, "capable", **pyrunc.NO_STREAMS)
    look = ("grep", "Cap", "/proc/self/status")
    kill, both = f"{1 << 5:016x}", f"{1 << 5 | 1 << 29:016x}"

    done = runtime("exec", "capable", *look)
    assert _caps(done.stdout) == {
        "Inh": kill,
        "Prm": kill,
        "Eff": kill,
        "Bnd": kill,
        "Amb": "0" * 16,
    }

    done = runtime("exec", "-c", "CAP_AUDIT_WRITE", "-c", "CAP_KILL", "capable", *look)
    expected = {"Inh": kill, "Prm": both, "Eff": both, "Bnd": both, "Amb": kill}
    assert _caps(done.stdout) == expected
    told = "can't raise ambient capability CAP_AUDIT_WRITE: operation not permitted"
    assert f'level=warning msg="{told}"' in done.stderr
    assert "CAP_KILL" not in done.stderr


def test_a_process_document_has_capabilities_of_its_own(
    runtime: Any, running: str, tmp_path: Path
) -> None:
    kill = f"{1 << 5:016x}"
    sets = {"bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"]}
    process = {
        "args": ["grep", "Cap", "/proc/self/status"], "env": ["PATH=/bin"], "cwd": "/",
        "capabilities": sets | {"ambient": None, "effective": []},
    }  # fmt: skip
    (tmp_path / "process.json").write_text(json.dumps(process))
    said = runtime.good("exec", "--process", tmp_path / "process.json", running)
    assert _caps(said) | {"Prm": kill, "Eff": kill} == {
        "Inh": kill, "Prm": kill, "Eff": kill, "Bnd": kill, "Amb": "0" * 16,
    }  # fmt: skip


def _caps(status: str) -> dict[str, str]:
    """The sets of /proc/PID/status."""
    return {line[3:6]: line.split()[1] for line in status.splitlines()}


def test_exec_works_where_the_cgroup_has_as_many_processes_as_it_may(
    runtime: Runtime, running: str
) -> None:
    """A process cannot be made in such a cgroup, but be moved to it."""
    runtime.good("update", "--pids-limit", "1", running)
    assert runtime.good("exec", running, "echo", "ran") == "ran\n"
