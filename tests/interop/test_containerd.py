# SPDX-License-Identifier: Apache-2.0
"""containerd works with pyrunc as it does with runc. Each test runs runc too, as the control."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from interop import cgroups, oci_image, orphans, runtimes
from interop.containerd import TIMEOUT, Containerd, containerd
from interop.oci_bundles import make_root, scratch_folder
from interop.runtimes import BOTH, Done
from needs import needs
from processes import wait_until, wait_until_executed
from sweeps import every, some

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containerd is root's")

SLEEP = ("sleep", "1000")
# Every container has a copy of the root.
APPLETS = "awk cat cut date echo grep id ls pwd sh sleep stat test touch true tty wc".split()


@pytest.fixture(scope="module", params=BOTH)
def daemon(request: pytest.FixtureRequest) -> Iterator[Containerd]:
    with orphans.adopted(), scratch_folder() as folder:
        root = make_root(folder / "rootfs", APPLETS)
        archive = folder / "image.tar"
        oci_image.write(
            archive, root, {"Env": ["PATH=/bin", "IMAGE=yes"], "Cmd": ["sh", "-c", "exit 6"]}
        )
        with containerd(folder, runtimes.path_of(request.param)) as made:
            made.must("image", "import", "--snapshotter", "native", archive)
            yield made


@pytest.fixture(autouse=True)
def shims_have_ended(daemon: Containerd) -> Iterator[None]:
    """Those of a test's own containers; they end a little after them."""
    with orphans.settled():
        yield


def script(text: str) -> tuple[str, ...]:
    """A command that runs a script, and lives a little longer than what it says needs.

    See `heard`.
    """
    return ("sh", "-c", f"{text}; status=$?; sleep 0.1; exit $status")


def heard(run: Callable[[], Done]) -> Done:
    """Run what says something until ctr has heard it.

    ctr now and then misses what is said at the very end, with runc as with others.
    """
    for _ in range(10):
        done = run()
        if done.stdout:
            break
    return done


def test_a_command_says_what_it_says(daemon: Containerd) -> None:
    done = heard(lambda: daemon.run("once", *script("echo hello"), options=("--rm",)))
    assert (done.status, done.stdout, done.stderr) == (0, "hello\n", "")


@pytest.mark.parametrize("status", some([1, 7, 255], 7))
def test_the_exit_status_is_the_commands(daemon: Containerd, status: int) -> None:
    assert daemon.run("once", "sh", "-c", f"exit {status}", options=("--rm",)).status == status


def test_a_missing_command_is_told_as_with_runc(daemon: Containerd) -> None:
    done = daemon.run("once", "/not-there", options=("--rm",))
    daemon.remove("once")
    assert done.status == 1
    assert "/not-there" in done.stderr
    assert "no such file or directory" in done.stderr.lower()


CGROUP = ("--mount", "type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro")
OPTIONS = {
    "env": (("--env", "A=b"), "echo $A $IMAGE", "b yes"),
    "cwd": (("--cwd", "/tmp"), "pwd", "/tmp"),
    "read-only": (("--read-only",), "touch /x 2>&1", "touch: /x: Read-only file system"),
    "network": (("--net-host",), "test $(ls /sys/class/net | wc -l) -ge 1 && echo yes", "yes"),
    "privileged": (("--privileged",), "test -e /dev/full && echo yes", "yes"),
    "seccomp": (("--seccomp",), "grep -w Seccomp: /proc/self/status", "Seccomp:\t2"),
    "no-new-privileges": ((), "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
    "memory": (
        (*CGROUP, "--memory-limit", str(64 << 20)),
        f"cat {cgroups.MEMORY}",
        str(64 << 20),
    ),
    "cpus": ((*CGROUP, "--cpus", "0.5"), f"cut -d ' ' -f 1 {cgroups.QUOTA}", "50000"),
    "device": (("--device", "/dev/fuse"), "stat -c %t:%T /dev/fuse", "a:e5"),
    "uid-maps": (
        ("--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000"),
        "awk '{print $1,$2,$3}' /proc/self/uid_map",
        "0 100000 1000",
    ),
}


@pytest.mark.parametrize("name", every(2, OPTIONS))
def test_an_option_has_its_effect(daemon: Containerd, name: str) -> None:
    options, text, said = OPTIONS[name]
    done = heard(lambda: daemon.run("once", *script(text), options=("--rm", *options)))
    assert (done.stdout.rstrip("\n "), done.stderr.partition("ctr: ")[2]) == (said, "")


def test_a_mount_is_a_folder_of_the_host(daemon: Containerd) -> None:
    folder = daemon.folder / "shared"
    folder.mkdir()
    mount = f"type=bind,src={folder},dst=/mnt/shared,options=rbind:rw"
    done = daemon.run("once", "touch", "/mnt/shared/x", options=("--rm", "--mount", mount))
    assert (done.status, (folder / "x").exists()) == (0, True)


def test_a_terminal(daemon: Containerd) -> None:
    """ctr wants one of its own, which script(1) makes."""
    ctr = needs("ctr", package="containerd")
    typescript = needs("script", package="bsdutils")
    words = [
        *(
            *daemon.inside,
            str(ctr),
            "--address",
            str(daemon.folder / "socket"),
            "--namespace",
            daemon.namespace,
        ),
        *("run", "--rm", "--tty", "--snapshotter", "native"),
        *("--fifo-dir", str(daemon.folder / "fifos"), "--runc-binary", str(daemon.runtime)),
        *(oci_image.NAME, "once", "sh", "-c", "'test -t 0 && tty; sleep 0.1'"),
    ]
    argv = [typescript, "--quiet", "--return", "--command", " ".join(words), "/dev/null"]
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}

    def run() -> Done:
        done = subprocess.run(argv, text=True, timeout=TIMEOUT, check=False, **streams)
        return Done(done.returncode, done.stdout, "")

    done = heard(run)
    assert done.status == 0, done.stdout
    assert "/dev/pts/0" in done.stdout


def test_a_task_is_listed_and_looked_at(daemon: Containerd) -> None:
    with daemon.container("stays", *SLEEP):
        pid, status = daemon.tasks()["stays"]
        assert status == "RUNNING"
        wait_until_executed(pid, "sleep")
        assert daemon.must("task", "ps", "stays").split()[2] == str(pid)
        assert "pids" in daemon.must("task", "metrics", "stays")
    assert daemon.tasks() == {}


def test_exec_runs_a_command_in_it(daemon: Containerd) -> None:
    with daemon.container("stays", *SLEEP):
        execute = ("task", "exec", "--fifo-dir", daemon.folder / "fifos", "--exec-id")
        options = ("--cwd", "/tmp", "--user", "5")
        tell = script("echo $IMAGE $(pwd) $(id -u) $(cut -d ' ' -f 1 /proc/1/comm)")
        wait_until_executed(daemon.tasks()["stays"][0], "sleep")
        done = heard(lambda: daemon.ctr(*execute, "a", *options, "stays", *tell))
        assert (done.status, done.stdout) == (0, "yes /tmp 5 sleep\n"), done.stderr
        assert daemon.ctr(*execute, "b", "stays", "sh", "-c", "exit 3").status == 3
        assert daemon.ctr(*execute, "c", "stays", "/not-there").status == 1
        done = daemon.must(*execute, "d", "--detach", "stays", "sh", "-c", "echo > /dev/shm/x")  # type: ignore[assignment]
        assert done == ""
        wait_until(
            lambda: daemon.ctr(*execute, "e", "stays", "ls", "/dev/shm/x").status == 0,
            "the detached command did not run",
        )


def test_pause_and_resume(daemon: Containerd) -> None:
    write = "while :; do date +%s%N > /tmp/now; sleep 0.01; done"
    with daemon.container("stays", "sh", "-c", write):
        pid, _ = daemon.tasks()["stays"]
        now = Path(f"/proc/{pid}/root/tmp/now")
        wait_until(lambda: now.exists() and now.read_text(), "it does not write")
        daemon.must("task", "pause", "stays")
        assert daemon.tasks()["stays"] == (pid, "PAUSED")
        first = now.read_text()
        time.sleep(0.2)
        assert now.read_text() == first
        daemon.must("task", "resume", "stays")
        assert daemon.tasks()["stays"] == (pid, "RUNNING")
        wait_until(lambda: now.read_text() not in ("", first), "it does not go on")


def test_kill_sends_the_signal(daemon: Containerd) -> None:
    trap = "trap 'exit 4' TERM; echo > /tmp/ready; while :; do sleep 0.05; done"
    with daemon.container("stays", "sh", "-c", trap):
        pid, _ = daemon.tasks()["stays"]
        wait_until(Path(f"/proc/{pid}/root/tmp/ready").exists, "it does not say that it is ready")
        daemon.must("task", "kill", "--signal", "SIGTERM", "stays")
        wait_until(lambda: daemon.tasks()["stays"][1] == "STOPPED", "it does not end")
        assert "exit code 4" in daemon.ctr("task", "delete", "stays").stderr


def test_kill_all_reaches_a_process_beside_the_first(daemon: Containerd) -> None:
    with daemon.container("stays", "sh", "-c", "sleep 1000 & wait", options=("--net-host",)):
        daemon.must("task", "kill", "--all", "--signal", "SIGKILL", "stays")
        wait_until(lambda: daemon.tasks()["stays"][1] == "STOPPED", "it does not end")


def test_a_container_can_be_created_and_started_apart(daemon: Containerd) -> None:
    """What runs is what the image says; `runc` is looked up in the daemon's PATH."""
    daemon.must("container", "create", "--snapshotter", "native", oci_image.NAME, "apart")
    try:
        assert daemon.tasks() == {}
        where = ("--fifo-dir", daemon.folder / "fifos")
        assert daemon.ctr("task", "start", *where, "apart").status == 6
    finally:
        daemon.remove("apart")


def test_events_tell_of_a_life(daemon: Containerd) -> None:
    ctr = needs("ctr", package="containerd")
    address = ["--address", str(daemon.folder / "socket")]
    with (
        (daemon.folder / "events").open("w+") as file,
        subprocess.Popen([ctr, *address, "events"], stdout=file) as listener,
    ):
        try:
            said = daemon.folder / "events"
            wait_until(lambda: _listens(daemon, said), "no event arrives")
            daemon.run("told", "true", options=("--rm",))
            kinds = "create start exit delete".split()
            wait_until(
                lambda: all(f"/tasks/{kind} " in said.read_text() for kind in kinds),
                "events are missing",
            )
        finally:
            listener.kill()


def _listens(daemon: Containerd, said: Path) -> bool:
    daemon.must("namespaces", "label", daemon.namespace, "a=b")
    return said.read_text() != ""
