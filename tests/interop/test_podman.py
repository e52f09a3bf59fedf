# SPDX-License-Identifier: Apache-2.0
"""podman works with pyrunc as it does with runc. Each test runs runc too, as the control."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import rootless
from interop import cgroups, orphans, runtimes, workshop
from interop.oci_bundles import make_root, scratch_folder
from interop.own_mounts import own_mounts
from interop.podman import Podman
from interop.runtimes import BOTH
from processes import runs, wait_until, wait_until_executed
from sweeps import some

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the user's podman is started by root")

SLEEP = ("sleep", "1000")


@pytest.fixture(scope="module", params=BOTH)
def podman(request: pytest.FixtureRequest) -> Iterator[Podman]:
    with orphans.adopted(), scratch_folder() as folder, own_mounts() as inside:
        path = runtimes.path_of(request.param)
        made = Podman(folder, make_root(folder / "rootfs"), path, inside)
        made.prepare()
        try:
            yield made
        finally:
            made.clear()


@pytest.fixture(scope="module", params=BOTH)
def users(request: pytest.FixtureRequest) -> Iterator[Podman]:
    """The podman of an ordinary user."""
    with orphans.adopted(), scratch_folder() as folder:
        path = runtimes.path_of(request.param)
        root = make_root(folder / "rootfs")
        made = Podman(folder, root, path, workshop.as_user(), rootless=True)
        made.prepare()
        (folder / "run").mkdir(mode=0o700)
        for owned in [folder, *folder.rglob("*")]:
            os.chown(owned, rootless.UID, rootless.UID, follow_symlinks=False)
        made.must("info")  # it leaves a process that keeps its namespaces, until `clear`
        try:
            yield made
        finally:
            made.clear()


@pytest.fixture(scope="module")
def sleeper(podman: Podman) -> str:
    """A container that runs all the time."""
    return podman.start(*SLEEP, options=("--hostname", "sleeper", "--env", "OWN=1"))


@pytest.fixture(autouse=True)
def conmons_have_ended() -> Iterator[None]:
    """Those of a test's own containers; they end a little after them."""
    with orphans.settled():
        yield


# --- run ----------------------------------------------------------------------------------------


def test_a_command_says_what_it_says(podman: Podman) -> None:
    assert podman.said("echo", "hello") == "hello\n"


@pytest.mark.parametrize("status", some([0, 1, 7, 255], 0, 7))
def test_the_exit_status_is_the_commands(podman: Podman, status: int) -> None:
    assert podman.run("sh", "-c", f"exit {status}").status == status


def test_a_signal_is_told_by_the_exit_status(podman: Podman) -> None:
    done = podman.run("sh", "-c", "kill -9 $$", options=("--pid", "host"))
    assert done.status == 128 + 9


# Commands that cannot run, and what podman ends with.
USELESS = {
    "not-there": (127, "not found"),
    "/not-there": (127, "not found"),
    "/etc/passwd": (126, "permission denied"),
    "/etc": (126, "permission denied"),
    "/etc/passwd/x": (126, "not a directory"),
}


@pytest.mark.parametrize("command", some(USELESS, "not-there", "/etc"))
def test_a_command_that_cannot_run_is_told_as_with_runc(podman: Podman, command: str) -> None:
    """podman reads it off the runtime's error message, by patterns of runc's and crun's."""
    status, words = USELESS[command]
    done = podman.run(command)
    assert (done.status, words in done.stderr.lower()) == (status, True), done.stderr


@pytest.mark.parametrize("command", some(USELESS, "/not-there", "/etc/passwd", "/etc/passwd/x"))
def test_a_command_that_cannot_be_executed_is_told_as_with_runc(
    podman: Podman, sleeper: str, command: str
) -> None:
    status, words = USELESS[command]
    # An error that podman knows no better of has the runtime's own status then.
    status = 255 if words == "not a directory" else status
    done = podman("exec", sleeper, command)
    assert (done.status, words in done.stderr.lower()) == (status, True), done.stderr


# Options that go together, a line that tells of each, and what it says.
TOGETHER = {
    "env": (("--env", "A=b c"), "echo $A", "b c"),
    "groups": (("--group-add", "1001"), "id -G", "0 1001"),
    "workdir": (("--workdir", "/tmp"), "pwd", "/tmp"),
    "umask": (("--umask", "0077"), "umask", "0077"),
    "hostname": (("--hostname", "a-name"), "hostname", "a-name"),
    "sysctl": (
        ("--sysctl", "net.ipv4.ip_forward=1"),
        "cat /proc/sys/net/ipv4/ip_forward",
        "1",
    ),
    "ulimit": (
        ("--ulimit", "nofile=100:200", "--ulimit", "nproc=100:200"),
        "echo $(ulimit -n) $(ulimit -Hn)",
        "100 200",
    ),
    "tmpfs": (("--tmpfs", "/tmp:size=64k"), "df /tmp | awk 'END { print $1, $2 }'", "tmpfs 64"),
    "shm": (("--shm-size", "1m"), "df /dev/shm | awk 'END { print $2 }'", "1024"),
    "read-only": (("--read-only",), "touch /x 2>&1", "touch: /x: Read-only file system"),
    "device": (("--device", "/dev/fuse:/dev/mine"), "stat -c %t:%T /dev/mine", "a:e5"),
    "oom": (("--oom-score-adj", "300"), "cat /proc/self/oom_score_adj", "300"),
    "pids": (("--pids-limit", "50"), f"cat {cgroups.PIDS}", "50"),
    "memory": (("--memory", "64m"), f"cat {cgroups.MEMORY}", str(64 << 20)),
    "cpus": (("--cpus", "0.5"), f"cut -d ' ' -f 1 {cgroups.QUOTA}", "50000"),
    "no-network": ((), "ls /sys/class/net", "lo"),
    "seccomp": ((), "grep -w Seccomp: /proc/self/status", "Seccomp:\t2"),
    "no-new-privileges": (
        ("--security-opt", "no-new-privileges"),
        "grep NoNewPrivs /proc/self/status",
        "NoNewPrivs:\t1",
    ),
    "capabilities": (
        ("--cap-drop", "all", "--cap-add", "kill,net_raw"),
        "grep -E 'CapEff' /proc/self/status",
        "CapEff:\t0000000000002020",
    ),
    "no-capability-to-inherit": ((), "grep CapInh /proc/self/status", "CapInh:\t0000000000000000"),
}
APART = {
    "user": (("--user", "5:6"), "echo $(id -u) $(id -g)", "5 6"),
    "user-by-name": (("--user", "somebody"), "echo $(id -u):$HOME", "1000:/tmp"),
    "tty": (("--tty",), "tty", "/dev/pts/0"),
    "no-seccomp": (
        ("--security-opt", "seccomp=unconfined"),
        "grep -w Seccomp: /proc/self/status",
        "Seccomp:\t0",
    ),
    "uid-maps": (
        ("--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000"),
        "awk '{print $1,$2,$3}' /proc/self/uid_map",
        "0 100000 1000",
    ),
    "entrypoint": (("--entrypoint", '["/bin/sh","-c","echo entry"]'), "ignored", "entry"),
}


@pytest.fixture(scope="module")
def together(podman: Podman) -> dict[str, str]:
    """What one container with all the options of TOGETHER says of each."""
    options = tuple(word for words, _, _ in TOGETHER.values() for word in words)
    script = "; ".join(script for _, script, _ in TOGETHER.values())
    done = podman.run("sh", "-c", script, options=options)
    assert done.stderr == ""
    return dict(zip(TOGETHER, done.stdout.splitlines(), strict=True))


@pytest.mark.parametrize("name", TOGETHER)
def test_an_option_has_its_effect(together: dict[str, str], name: str) -> None:
    assert together[name] == TOGETHER[name][2]


@pytest.mark.parametrize("name", some(APART, "user", "tty", "uid-maps"))
def test_an_option_has_its_effect_alone(podman: Podman, name: str) -> None:
    options, script, said = APART[name]
    done = podman.run("sh", "-c", script, options=options)
    assert (done.stdout.rstrip("\n"), done.stderr) == (said, "")


@pytest.mark.parametrize("kind", some(["net", "pid", "ipc", "uts"], "net", "pid"))
def test_a_namespace_can_be_the_hosts(podman: Podman, kind: str) -> None:
    option = "--network" if kind == "net" else f"--{kind}"
    said = podman.said("readlink", f"/proc/self/ns/{kind}", options=(option, "host"))
    assert said.strip() == str(Path(f"/proc/self/ns/{kind}").readlink())


@pytest.mark.parametrize(
    "kind", ["net", *(pytest.param(k, marks=pytest.mark.sweep) for k in ("pid", "ipc"))]
)
def test_a_namespace_can_be_another_containers(podman: Podman, sleeper: str, kind: str) -> None:
    option = "--network" if kind == "net" else f"--{kind}"
    where = f"/proc/self/ns/{kind}"
    theirs = podman.must("exec", sleeper, "readlink", where)
    assert podman.said("readlink", where, options=(option, f"container:{sleeper}")) == theirs


def test_privileged_has_all_capabilities_and_devices(podman: Podman) -> None:
    script = "grep CapEff /proc/self/status; ls /dev | wc -l; touch /sys/kernel/mm/x 2>&1"
    capabilities, devices, *_ = podman.said(
        "sh", "-c", f"{script} || true", options=("--privileged",)
    ).splitlines()
    own = Path("/proc/self/status").read_text()
    assert capabilities in own
    assert int(devices) > 20


@pytest.mark.parametrize("flag", ["rw", "ro"])
def test_a_volume_is_a_folder_of_the_host(podman: Podman, flag: str) -> None:
    volume = podman.folder / f"volume-{flag}"
    volume.mkdir()
    done = podman.run("touch", "/volume/file", options=("--volume", f"{volume}:/volume:{flag}"))
    assert (done.status == 0) == (volume / "file").exists() == (flag == "rw")


def test_a_named_volume_keeps_what_is_written(podman: Podman) -> None:
    name = "kept"
    podman.must("volume", "create", name)
    options = ("--volume", f"{name}:/mnt/kept")
    podman.said("sh", "-c", "echo once > /mnt/kept/file", options=options)
    assert podman.said("cat", "/mnt/kept/file", options=options) == "once\n"


def test_an_init_of_podmans_is_pid_1(podman: Podman) -> None:
    init = podman.folder / "init"
    init.write_text('#!/bin/sh\nshift\n"$@"\n')
    init.chmod(0o755)
    options = ("--init", "--init-path", str(init))
    said = podman.said("sh", "-c", "echo $$; tr '\\0' ' ' < /proc/1/cmdline", options=options)
    pid, _, command = said.partition("\n")
    assert pid != "1"
    assert "podman-init -- sh" in command


def test_descriptors_can_be_kept(podman: Podman) -> None:
    file = podman.folder / "kept"
    file.write_text("through a descriptor\n")
    options = ("--preserve-fds", "1")
    said = podman.said("sh", "-c", "cat <&3", options=options, descriptors=f"3<{file}")
    assert said == "through a descriptor\n"


# --- a container's life -------------------------------------------------------------------------


def test_a_container_is_created_started_waited_for_and_removed(podman: Podman) -> None:
    words = podman.container_options(("--name", "once"))
    podman.must("create", *words, "--rootfs", podman.root, "sh", "-c", "echo ran; exit 3")
    assert podman.inspect("once")["State"]["Status"] == "created"
    podman.must("start", "once")
    assert podman.must("wait", "once") == "3\n"
    assert podman.must("logs", "once") == "ran\n"
    assert podman.inspect("once")["State"]["ExitCode"] == 3
    podman.must("rm", "once")
    assert "once" not in podman.must("ps", "--all", "--format", "{{.Names}}")


def test_a_container_can_be_inited_before_it_is_started(podman: Podman) -> None:
    """`podman init` is the runtime's create alone."""
    words = podman.container_options(("--name", "inited"))
    podman.must("create", *words, "--rootfs", podman.root, "echo", "ran")
    podman.must("init", "inited")
    assert podman.inspect("inited")["State"]["Status"] in ("created", "initialized")
    assert podman.must("logs", "inited") == ""
    assert podman.must("start", "--attach", "inited") == "ran\n"
    podman.must("rm", "inited")


def test_stop_lets_it_end_itself(podman: Podman) -> None:
    script = "trap 'echo stopping; exit 4' TERM; echo ready; while :; do sleep 0.05; done"
    name = podman.start("sh", "-c", script)
    wait_until(lambda: "ready" in podman.must("logs", name), "the container does not say anything")
    podman.must("stop", "--time", "10", name)
    assert podman.inspect(name)["State"]["ExitCode"] == 4
    assert podman.must("logs", name) == "ready\nstopping\n"
    podman.must("rm", name)


def test_kill_sends_the_signal(podman: Podman) -> None:
    script = "trap 'echo told' USR1; echo ready; while :; do sleep 0.05; done"
    name = podman.start("sh", "-c", script)
    wait_until(lambda: "ready" in podman.must("logs", name), "the container does not say anything")
    podman.must("kill", "--signal", "USR1", name)
    wait_until(lambda: "told" in podman.must("logs", name), "the signal did not arrive")
    podman.must("kill", name)
    assert podman.must("wait", name) == "137\n"
    podman.must("rm", name)


def test_restart_starts_it_again(podman: Podman) -> None:
    name = podman.start(*SLEEP)
    before = podman.inspect(name)["State"]["Pid"]
    podman.must("restart", "--time", "0", name)
    after = podman.inspect(name)["State"]
    assert (after["Status"], after["Pid"] != before) == ("running", True)
    podman.must("rm", "--force", "--time", "0", name)


def test_a_running_container_can_be_removed_by_force(podman: Podman) -> None:
    name = podman.start(*SLEEP)
    pid = podman.inspect(name)["State"]["Pid"]
    podman.must("rm", "--force", "--time", "0", name)
    wait_until(lambda: not runs(pid), "its process is still there")


def test_pause_freezes_it_and_unpause_lets_it_go_on(podman: Podman) -> None:
    write = "while :; do date +%s%N > /tmp/now; sleep 0.01; done"
    name = podman.start("sh", "-c", write, options=TMPFS)
    wait_until(lambda: podman("exec", name, "cat", "/tmp/now").stdout, "it does not write")
    pid = podman.inspect(name)["State"]["Pid"]
    now = Path(f"/proc/{pid}/root/tmp/now")
    podman.must("pause", name)
    assert podman.inspect(name)["State"]["Status"] == "paused"
    first = now.read_text()
    time.sleep(0.2)
    assert now.read_text() == first
    podman.must("unpause", name)
    assert podman.inspect(name)["State"]["Status"] == "running"
    wait_until(lambda: now.read_text() not in ("", first), "it does not go on")
    podman.must("rm", "--force", "--time", "0", name)


TMPFS = ("--tmpfs", "/tmp")


def test_update_changes_its_limits(podman: Podman, sleeper: str) -> None:
    podman.must("update", "--memory", "128m", "--cpus", "0.25", sleeper)
    look = f"cat {cgroups.MEMORY}; cut -d ' ' -f 1 {cgroups.QUOTA}"
    assert podman.must("exec", sleeper, "sh", "-c", look).split() == [str(128 << 20), "25000"]


# --- exec and looking at it ---------------------------------------------------------------------

EXEC = {
    "env": (("--env", "A=b"), "echo $A $OWN", "b 1\n"),
    "user": (("--user", "5:6"), "echo $(id -u) $(id -g)", "5 6\n"),
    "workdir": (("--workdir", "/tmp"), "pwd", "/tmp\n"),
    "tty": (("--tty",), "test -t 0 && tty", "/dev/pts/0\n"),
    "hostname": ((), "hostname", "sleeper\n"),
    "seccomp": ((), "grep -w Seccomp: /proc/self/status", "Seccomp:\t2\n"),
    "pid-1": ((), "tr '\\0' ' ' < /proc/1/cmdline", "sleep 1000 "),
    "privileged": (
        ("--privileged",),
        "grep CapBnd /proc/self/status",
        next(
            f"{line}\n"
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("CapBnd")
        ),
    ),
}


@pytest.mark.parametrize("name", some(EXEC, "env", "user", "tty", "seccomp"))
def test_exec_runs_a_command_in_it(podman: Podman, sleeper: str, name: str) -> None:
    options, script, said = EXEC[name]
    assert podman.must("exec", *options, sleeper, "sh", "-c", script) == said


@pytest.mark.parametrize(
    ("command", "status"), [("exit 7", 7), ("kill -9 $$", 137)], ids=["exit", "signal"]
)
def test_execs_status_is_the_commands(
    podman: Podman, sleeper: str, command: str, status: int
) -> None:
    assert podman("exec", sleeper, "sh", "-c", command).status == status


def test_exec_of_a_missing_command_is_told(podman: Podman, sleeper: str) -> None:
    done = podman("exec", sleeper, "not-there")
    assert done.status == 127
    assert "not found" in done.stderr


def test_exec_can_be_detached(podman: Podman, sleeper: str) -> None:
    podman.must("exec", "--detach", sleeper, "sh", "-c", "echo done > /dev/shm/mark")
    path = "/dev/shm/mark"
    wait_until(lambda: podman("exec", sleeper, "cat", path).stdout == "done\n", "it does not run")


def test_top_lists_its_processes(podman: Podman, sleeper: str) -> None:
    rows = podman.must("top", sleeper, "pid", "args").splitlines()
    assert [row.split() for row in rows] == [["PID", "COMMAND"], ["1", "sleep", "1000"]]


def test_ps_and_inspect_tell_of_it(podman: Podman, sleeper: str) -> None:
    listed = json.loads(podman.must("ps", "--format", "json"))
    assert [row["State"] for row in listed if sleeper in row["Names"]] == ["running"]
    found = podman.inspect(sleeper)
    assert found["OCIRuntime"] == str(podman.runtime)
    wait_until_executed(found["State"]["Pid"], "sleep")


# --- an ordinary user's -------------------------------------------------------------------------

ROOTLESS = {
    "command": ((), "echo hello", "hello"),
    "root-inside": ((), "id -u", "0"),
    "maps": (
        (),
        "awk '{print $1,$2,$3}' /proc/self/uid_map | tr '\\n' ' '",
        f"0 {rootless.UID} 1 1 300000 65536",
    ),
    "keep-id": (("--userns", "keep-id"), "id -u", str(rootless.UID)),
    "user": (("--user", "5:6"), "echo $(id -u) $(id -g)", "5 6"),
    "tty": (("--tty",), "test -t 0 && echo yes", "yes"),
    "seccomp": ((), "grep -w Seccomp: /proc/self/status", "Seccomp:\t2"),
    "read-only": (("--read-only",), "touch /x 2>&1", "touch: /x: Read-only file system"),
    "network-of-the-host": (("--network", "host"), "test $(ls /sys/class/net | wc -l) -gt 0", ""),
    "no-network": ((), "ls /sys/class/net", "lo"),
    "sysctl": (
        ("--sysctl", "net.ipv4.ip_forward=1"),
        "cat /proc/sys/net/ipv4/ip_forward",
        "1",
    ),
}


@pytest.mark.parametrize("name", some(ROOTLESS, "command", "maps", "seccomp"))
def test_a_user_has_containers_too(users: Podman, name: str) -> None:
    options, script, said = ROOTLESS[name]
    done = users.run("sh", "-c", script, options=options)
    assert (done.stdout.rstrip("\n "), done.stderr) == (said, "")


def test_a_users_containers_have_a_life(users: Podman) -> None:
    name = users.start(*SLEEP)
    assert users.must("exec", name, "id", "-u") == "0\n"
    assert users("exec", name, "sh", "-c", "exit 5").status == 5
    assert users.inspect(name)["State"]["Status"] == "running"
    users.must("kill", name)
    assert users.must("wait", name) == "137\n"
    users.must("rm", name)


def test_a_users_exit_status_is_the_commands(users: Podman) -> None:
    assert users.run("sh", "-c", "exit 9").status == 9


@pytest.mark.parametrize("podman", ["pyrunc"], indirect=True)
def test_a_container_without_a_cgroup(podman: Podman) -> None:
    """podman adds `--cgroup-manager disabled`, which runc has not, if containers.conf names us."""
    own = Path("/proc/self/cgroup").read_text()
    name = "without-a-cgroup"
    options = ("--network", "none", "--cgroups", "disabled", "--name", name)
    podman.must("run", "--detach", *options, "--rootfs", podman.root, *SLEEP)
    pid = int(podman.must("inspect", "--format", "{{.State.Pid}}", name))
    assert Path(f"/proc/{pid}/cgroup").read_text() == own
    assert podman.must("exec", name, "echo", "ok") == "ok\n"
    podman.must("rm", "--force", "--time", "0", name)
    wait_until(lambda: not runs(pid), "it does not end")
