"""A process can join a running container that the real runc has made, and finds itself inside.

The containers have busybox as their only file, so they have no Python. One is as `runc spec` writes
it, one has a user namespace with three ranges, and one has unmounted its /proc.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import launching
import takeover_targets
from interop import capture
from interop.capture import BUSYBOX, ID_RANGES
from interop.runc_parent import NAMESPACE_KINDS, children, read_state
from launching import SECONDS, message
from needs import needs
from nsenter.bootstrap import BootstrapData
from nsenter.errors import BootstrapError
from nsenter.launch import Child, Program, PythonInit, launch
from processes import links_of, wait_until, wait_until_executed, words_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runc's containers are root's here")

HOSTNAME = "runc"  # as `runc spec` has it
WAYS = ("pidfd", "path", "fd")
PLAIN, MAPPED, WITHOUT_PROC = "plain", "mapped", "without /proc"
WITH_PROC = (PLAIN, MAPPED)
ALL = (PLAIN, MAPPED, WITHOUT_PROC)

each_way = pytest.mark.parametrize("by", WAYS)
each_container = pytest.mark.parametrize("kind", ALL)
each_with_proc = pytest.mark.parametrize("kind", WITH_PROC)
each_target = pytest.mark.parametrize("target", ["program", "python"])


# --- the containers -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Container:
    """A container at work.

    Args:
        identity: runc's id of it.
        pid: the host's, of its init.
        namespaces: kind → "net:[4026531840]".
        kinds: those that are not the host's.
        root_id: the host's id of its root.
    """

    identity: str
    pid: int
    root_id: int = 0
    namespaces: dict[str, str] = field(default_factory=dict)

    @property
    def kinds(self) -> tuple[str, ...]:
        own = read_state().namespaces
        return tuple(kind for kind in NAMESPACE_KINDS if self.namespaces[kind] != own[kind])


def unmounting_its_proc(config: capture.Config) -> None:
    """Edit: runc's own init needs a /proc, so it is the container's process that takes it away."""
    words = f"{BUSYBOX} umount /proc && exec {BUSYBOX} sleep 1000"
    config["process"]["args"] = [BUSYBOX, "sh", "-c", words]
    for names in config["process"]["capabilities"].values():
        names.append("CAP_SYS_ADMIN")
    config["linux"] |= {"maskedPaths": [], "readonlyPaths": []}  # they are mounts on it


EDITS: dict[str, capture.Edit | None] = {
    PLAIN: None,
    MAPPED: capture.with_user_namespace,
    WITHOUT_PROC: unmounting_its_proc,
}


@contextlib.contextmanager
def running(kind: str, folder: Path) -> Iterator[Container]:
    bundle = capture.make_bundle(folder, EDITS[kind])
    if kind == MAPPED:
        capture.own_the_root(bundle)
    with capture.running_container(bundle) as (identity, pid):
        wait_until_it_sleeps(pid)
        root_id = ID_RANGES[0][1] if kind == MAPPED else 0
        yield Container(identity, pid, root_id, read_state(pid).namespaces)


def wait_until_it_sleeps(pid: int) -> None:
    """Its process has done what it does first."""
    wait_until(lambda: words_of(pid)[1:2] == ["sleep"], "the container does not get to its sleep")


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Container]]:
    before = children()
    with contextlib.ExitStack() as stack:
        folder = tmp_path_factory.mktemp("containers")
        yield {
            kind: stack.enter_context(running(kind, folder / kind.replace(" /", "-")))
            for kind in ALL
        }
    assert children() == before


# --- joining them -------------------------------------------------------------------------------


@contextlib.contextmanager
def joining(container: Container, by: str = "pidfd") -> Iterator[BootstrapData]:
    """The message that joins all its namespaces; what it names is open meanwhile."""
    with launching.joining(container.pid, container.kinds, by) as joined:
        yield message((), joined)


@contextlib.contextmanager
def looking(container: Container, by: str = "pidfd") -> Iterator[tuple[Child, launching.Facts]]:
    """A PythonInit in a container, and what it finds there."""
    with joining(container, by) as data:
        child = launch(data, PythonInit("takeover_targets:look"), env={"GIVEN": "yes"})
    with child:
        assert child.channel is not None
        child.channel.settimeout(SECONDS)
        with child.channel.makefile() as said:
            seen = ast.literal_eval(said.readline())
        yield child, seen
        child.channel.send(b".")
        assert child.wait(SECONDS) == takeover_targets.STATUS


def said_by(container: Container, *words: str, by: str = "pidfd", **options: Any) -> str:
    """What busybox says in a container, when it ends well."""
    with contextlib.ExitStack() as stack:
        reader, writer = launching.pipe(stack)
        with joining(container, by) as data:
            program = Program([BUSYBOX, *words])
            child = launch(data, program, stdout=writer, env={}, **options)  # type: ignore[arg-type]
        os.close(writer)
        with child, os.fdopen(os.dup(reader)) as said:
            text = said.read()
            assert child.wait(SECONDS) == 0
        return text


@each_container
@each_way
def test_an_init_is_in_every_namespace_of_a_container(
    kind: str, by: str, containers: dict[str, Container]
) -> None:
    with looking(containers[kind], by) as (child, _):
        assert read_state(child.pid).namespaces == containers[kind].namespaces


@each_container
@each_way
def test_a_program_is_in_every_namespace_of_a_container(
    kind: str, by: str, containers: dict[str, Container]
) -> None:
    with joining(containers[kind], by) as data:
        child = launch(data, Program([BUSYBOX, "sleep", "1000"]))
    with child:
        assert read_state(child.pid).namespaces == containers[kind].namespaces


def test_the_containers_are_what_they_are_said_to_be(containers: dict[str, Container]) -> None:
    plain = {"pid", "net", "ipc", "uts", "mnt"}
    assert plain <= set(containers[PLAIN].kinds)
    assert "user" not in containers[PLAIN].kinds
    assert set(containers[MAPPED].kinds) == {*containers[PLAIN].kinds, "user"}
    assert list(Path(f"/proc/{containers[WITHOUT_PROC].pid}/root/proc").iterdir()) == []


@each_way
def test_an_init_sees_the_containers_namespaces_as_its_own(
    by: str, containers: dict[str, Container]
) -> None:
    with looking(containers[PLAIN], by) as (_, seen):
        shown = {name: seen["namespaces"][name] for name in NAMESPACE_KINDS}
        assert shown == containers[PLAIN].namespaces


@each_with_proc
@each_way
def test_a_program_sees_the_containers_namespaces_as_its_own(
    kind: str, by: str, containers: dict[str, Container]
) -> None:
    container = containers[kind]
    for name in container.kinds:
        link = said_by(container, "readlink", f"/proc/self/ns/{name}", by=by)
        assert link == f"{container.namespaces[name]}\n"


@each_container
def test_the_root_of_an_init_is_the_containers_and_has_no_python(
    kind: str, containers: dict[str, Container]
) -> None:
    container = containers[kind]
    with looking(container) as (child, seen):
        assert seen["root"] == ["bin", "dev", "proc", "sys"]
        assert seen["cwd"] == "/"
        theirs, its = (Path(f"/proc/{pid}/root").stat() for pid in (container.pid, child.pid))
        assert (its.st_dev, its.st_ino) == (theirs.st_dev, theirs.st_ino)
        files = Path(f"/proc/{child.pid}/root/bin").iterdir()
        assert [path.name for path in files] == ["busybox"]


@each_container
def test_an_init_is_root_in_a_container_by_its_ids(
    kind: str, containers: dict[str, Container]
) -> None:
    container = containers[kind]
    with looking(container) as (child, seen):
        state = read_state(child.pid)
        assert seen["uids"] == (0, 0, 0)
        assert seen["hostname"] == HOSTNAME
        assert seen["environment"] == {b"GIVEN": b"yes"}
        assert set(state.uids) == set(state.gids) == {container.root_id}
        assert state.uid_map == read_state(container.pid).uid_map
        assert state.pids == (child.pid, seen["pid"])
        assert seen["pid"] > 1


@each_with_proc
@each_way
def test_an_init_sees_the_containers_processes_and_no_others(
    kind: str, by: str, containers: dict[str, Container]
) -> None:
    with (
        joining(containers[kind], by) as data,
        launching.reporting(data, "python", env={}) as (child, seen),
    ):
        assert sorted(seen["proc_pids"]) == [1, seen["pid"]]
        assert seen["proc_self"] == seen["pid"]
        assert (seen["gids"], seen["uids"]) == ([0, 0, 0], [0, 0, 0])
        name = Path(f"/proc/{child.pid}/root/proc/1/comm").read_text()
        assert name == "busybox\n"


@each_with_proc
@each_way
def test_a_program_sees_the_containers_processes_and_no_others(
    kind: str, by: str, containers: dict[str, Container]
) -> None:
    rows = said_by(containers[kind], "ps", "-o", "pid,args", by=by).splitlines()[1:]
    assert len(rows) == 2
    assert rows[0].split(None, 1) == ["1", f"{BUSYBOX} sleep 1000"]
    assert rows[1].split(None, 1)[1] == f"{BUSYBOX} ps -o pid,args"


@each_container
def test_a_program_is_root_in_a_container_and_has_its_hostname(
    kind: str, containers: dict[str, Container]
) -> None:
    assert said_by(containers[kind], "id", "-u") == "0\n"
    assert said_by(containers[kind], "id", "-g") == "0\n"
    assert said_by(containers[kind], "hostname") == f"{HOSTNAME}\n"
    assert said_by(containers[kind], "ls", "/").split() == ["bin", "dev", "proc", "sys"]
    assert said_by(containers[kind], "env") == ""


@each_target
def test_no_group_of_the_host_gets_into_a_containers_user_namespace(
    target: str, containers: dict[str, Container]
) -> None:
    before = os.getgroups()
    os.setgroups([0, 4, 27])
    try:
        with joining(containers[MAPPED]) as data:
            init = PythonInit("takeover_targets:look")
            program = Program([BUSYBOX, "sleep", "1000"])
            child = launch(data, init if target == "python" else program)
    finally:
        os.setgroups(before)
    with child:
        assert read_state(child.pid).groups == ()


# --- nothing of the host can be got at through it -----------------------------------------------


@each_container
def test_an_init_is_not_dumpable_in_a_container(
    kind: str, containers: dict[str, Container]
) -> None:
    with joining(containers[kind]) as data:
        init = PythonInit("targets:dumpable", extensions=["_ctypes", "_struct"])
        child = launch(data, init)
    with child:
        assert child.wait(SECONDS) == 0


def test_the_files_of_an_init_are_the_hosts_roots(containers: dict[str, Container]) -> None:
    """While the process itself is another's (PR_SET_DUMPABLE(2const))."""
    container = containers[MAPPED]
    with looking(container) as (child, _):
        proc = Path(f"/proc/{child.pid}")
        owners = {name: (proc / name).stat().st_uid for name in ("mem", "environ", "fd", "maps")}
        assert owners == dict.fromkeys(owners, 0)
        assert set(read_state(child.pid).uids) == {container.root_id}
    assert Path(f"/proc/{container.pid}/mem").stat().st_uid == container.root_id


@each_with_proc
def test_a_process_of_the_container_cannot_look_into_an_init(
    kind: str, containers: dict[str, Container]
) -> None:
    """By `runc exec`: with the capabilities that a container has. (CVE-2016-9962)"""
    container = containers[kind]
    with looking(container) as (_, seen):
        for words in (
            *(("cat", "/proc/{}/environ"), ("cat", "/proc/{}/mem"), ("cat", "/proc/{}/maps")),
            *(("readlink", "-v", "/proc/{}/exe"), ("readlink", "-v", "/proc/{}/root")),
            *(("readlink", "-v", "/proc/{}/fd/0"), ("readlink", "-v", "/proc/{}/cwd")),
        ):
            done = executed(container, *(word.format(seen["pid"]) for word in words))
            assert done.returncode != 0, words
            assert re.search("Permission denied|not permitted", done.stderr), done.stderr
    # Into its own it can.
    assert executed(container, "cat", "/proc/1/environ").returncode == 0
    assert executed(container, "readlink", "-v", "/proc/1/exe").stdout == f"{BUSYBOX}\n"


def executed(container: Container, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [capture.runc(), "exec", container.identity, BUSYBOX, *words],
        capture_output=True,
        text=True,
        timeout=capture.TIMEOUT,
        check=False,
    )


@each_container
@each_target
def test_no_descriptor_of_the_host_gets_into_a_container(
    kind: str, target: str, containers: dict[str, Container]
) -> None:
    folder = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    os.set_inheritable(folder, True)
    try:
        with joining(containers[kind]) as data:
            init = PythonInit("takeover_targets:look")
            child = launch(data, init if target == "python" else Program([BUSYBOX, "sleep", "9"]))
        with child:
            if target == "program":
                wait_until_executed(child.pid, "busybox")
            else:
                assert child.channel is not None
                child.channel.recv(1)  # it has looked, and has closed what it looked at
            beside = [link for number, link in links_of(child.pid).items() if number > 2]
            assert [link.partition(":")[0] for link in beside] == (
                ["socket"] if target == "python" else []
            )
    finally:
        os.close(folder)


@pytest.mark.parametrize("way", ["/proc/self/fd/{}", "/proc/self/fd/{}/..", "/proc/1/cwd/../{}"])
@each_with_proc
@each_target
def test_a_working_directory_outside_the_root_is_refused_by_name(
    way: str, target: str, kind: str, containers: dict[str, Container]
) -> None:
    """CVE-2024-21626: from there, ../../.. is the host's root.

    Stage 1 enters the directory, which has no number in the container's PID namespace: its
    /proc/self leads nowhere.
    """
    folder = os.open("/usr/share", os.O_RDONLY | os.O_DIRECTORY)
    path = way.format(folder)
    init = PythonInit("takeover_targets:look")
    try:
        with joining(containers[kind]) as data, pytest.raises(BootstrapError) as caught:
            launch(
                data,
                init if target == "python" else Program([BUSYBOX, "pwd"]),
                cwd=path,
                pass_fds=[folder],
            )
    finally:
        os.close(folder)
    assert caught.value.stage == "init"
    assert caught.value.subject == path
    if way.startswith("/proc/self"):
        assert (caught.value.operation, caught.value.errno) == ("chdir", errno.ENOENT)


@each_target
def test_a_descriptor_leads_nowhere_in_a_container_without_proc(
    target: str, containers: dict[str, Container]
) -> None:
    folder = os.open("/usr/share", os.O_RDONLY | os.O_DIRECTORY)
    init = PythonInit("takeover_targets:look")
    program = Program([BUSYBOX, "pwd"])
    path = f"/proc/self/fd/{folder}"
    try:
        with (
            joining(containers[WITHOUT_PROC]) as data,
            pytest.raises(BootstrapError, match=f"chdir {path}"),
        ):
            launch(data, init if target == "python" else program, cwd=path, pass_fds=[folder])
    finally:
        os.close(folder)


@each_container
def test_a_working_directory_inside_the_root_is_taken(
    kind: str, containers: dict[str, Container]
) -> None:
    assert said_by(containers[kind], "pwd", cwd="/dev/../bin") == "/bin\n"


@each_container
def test_a_program_of_the_host_that_the_container_lacks_is_missed(
    kind: str, containers: dict[str, Container]
) -> None:
    program = os.path.realpath(sys.executable)
    with (
        joining(containers[kind]) as data,
        pytest.raises(BootstrapError, match=f"execve {re.escape(program)}"),
    ):
        launch(data, Program([program, "-c", "pass"]))


# --- the command --------------------------------------------------------------------------------


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nsenter", "run", *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@each_container
@pytest.mark.parametrize("options", [(), ("--python",)], ids=["program", "python"])
def test_the_command_runs_in_a_container(
    kind: str, options: tuple[str, ...], containers: dict[str, Container]
) -> None:
    container = containers[kind]
    done = command("--join", f"pid={container.pid}", *options, "--", BUSYBOX, "id")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("uid=0 gid=0")
    done = command("--join", f"pid={container.pid}", *options, "--", BUSYBOX, "hostname")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{HOSTNAME}\n", "")


@pytest.mark.parametrize("options", [(), ("--python",)], ids=["program", "python"])
def test_the_command_joins_one_namespace_of_a_container_alone(
    options: tuple[str, ...], containers: dict[str, Container]
) -> None:
    path = f"uts=/proc/{containers[PLAIN].pid}/ns/uts"
    hostname = needs("hostname", package="hostname")
    done = command("--join", path, *options, "--", str(hostname))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{HOSTNAME}\n", "")


def test_nothing_that_joined_is_left_in_a_container(containers: dict[str, Container]) -> None:
    processes = [proc for proc in Path("/proc").iterdir() if proc.name.isdecimal()]
    homes = {int(proc.name): pid_namespace(proc) for proc in processes}
    for container in containers.values():
        theirs = container.namespaces["pid"]
        assert [pid for pid, home in homes.items() if home == theirs] == [container.pid]


def pid_namespace(proc: Path) -> str | None:
    """None where the process has ended, or is not for us to know."""
    try:
        return str((proc / "ns/pid").readlink())
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return None
