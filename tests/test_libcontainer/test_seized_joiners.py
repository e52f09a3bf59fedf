"""A container that may ptrace reaches nothing of the host through a process that joins it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cgrouping
import nsenter
import pyrunc
import seizing
from interop import orphans
from interop.oci_bundles import scratch_folder
from interop.own_mounts import own_mounts
from interop.podman import Podman
from libcontainer.configs import ProcessConfig
from libcontainer.container import Container
from libcontainer.process import Process
from needs import needs
from nsenter._host.syscalls import capget
from nsenter._interpreter import image
from nsenter._launch.joiner_capabilities import STEPS
from nsenter._message.capabilities import NAMES, NUMBERS
from nsenter.launch import PythonInit
from nsenter.options import Options
from processes import THIS_RUN
from pyrunc import PYRUNC, Runtime
from seizing import HAS_PIDNS_OPTION, Attacker, Joiner

Change = Callable[[dict[str, Any]], None]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a container to attack")

OWN = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SYS_PTRACE")
IDS = [{"containerID": 0, "hostID": 200_000, "size": 65536}]
# What `exec` does after it is seen: setresuid and setgroups; fchown of the streams; chdir as root.
STEPS_OF_EXEC = ("CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH")


class Place:
    """A container with an attacker in it.

    Args:
        pid: of the attacker.
        capabilities: those of the container.
        runtime: who made it.
        name: of the container.
    """

    def __init__(
        self,
        attacker: Attacker,
        pid: int,
        capabilities: tuple[str, ...],
        runtime: Runtime,
        name: str,
    ) -> None:
        self.attacker = attacker
        self.pid = pid
        self.capabilities = capabilities
        self.runtime = runtime
        self.name = name

    def exec(self, *options: str) -> Joiner:
        command = ("exec", *options, self.name, "true")
        return self.attacker.seized_by(lambda: self.runtime.good(*command))


def mask(*names: str) -> int:
    return sum(1 << NUMBERS[name] for name in {*names})


def container_spec(
    capabilities: tuple[str, ...], *, user: bool
) -> Callable[[dict[str, Any]], None]:
    def change(spec: dict[str, Any]) -> None:
        sets = ("bounding", "effective", "permitted")
        spec["process"]["capabilities"] = {name: list(capabilities) for name in sets}
        if user:
            spec["linux"]["namespaces"].append({"type": "user"})
            spec["linux"] |= {"uidMappings": IDS, "gidMappings": IDS}

    return change


# A machine's root need not have all that the kernel has.
ALL = tuple(name for name in NAMES if capget()[1] >> NUMBERS[name] & 1)
KINDS = {"ptrace": OWN, "all": ALL}


@contextlib.contextmanager
def attacked(folder: Path, capabilities: tuple[str, ...], *, user: bool) -> Iterator[Place]:
    runtime, name = Runtime(PYRUNC, folder / "state"), f"box-{secrets.token_hex(4)}"
    bundle = pyrunc.make_bundle(folder / "bundle", change=container_spec(capabilities, user=user))
    for parent in (folder, *folder.parents[:2]):  # the container's root has to get there
        parent.chmod(0o755)
    command = seizing.put_into(bundle / "rootfs")
    owner = IDS[0]["hostID"] if user else 0
    for path in [bundle / "rootfs", *(bundle / "rootfs").rglob("*")]:
        os.chown(path, owner, owner, follow_symlinks=False)
    config = (bundle / "config.json").read_text()
    (bundle / "config.json").write_text(config.replace('["sleep", "1000"]', _as_json(command)))
    with (folder / "said").open("wb") as said:
        argv = [*runtime.argv, "run", "--bundle", bundle, name]
        with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as running:
            try:
                attacker = Attacker(folder / "said")
                yield Place(attacker, runtime.state(name)["pid"], capabilities, runtime, name)
            finally:
                runtime("delete", "--force", name)
                running.wait()


# With all capabilities it sees what it sees with one, and the kept ones of a joiner are more.
@pytest.fixture(scope="module", params=["all", pytest.param("ptrace", marks=pytest.mark.sweep)])
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("seized")
    with attacked(folder, KINDS[request.param], user=False) as made:
        yield made


def _as_json(words: list[str]) -> str:
    import json

    return json.dumps(words)


@contextlib.contextmanager
def cgroup_of_our_own() -> Iterator[Path]:
    folder = Path(cgrouping.v2_root()) / f"seized-{THIS_RUN}"
    folder.mkdir()
    try:
        yield folder
    finally:
        cgrouping.remove(folder)


def check_exec(place: Place, joiner: Joiner, *steps: str) -> None:
    """The joiner has what its program is going to have, and what is left to do takes."""
    assert joiner.places == []
    own = mask(*place.capabilities)
    permitted, effective, bounding = joiner.capabilities[0]
    assert (permitted, effective) == (own | mask(*STEPS_OF_EXEC, *steps),) * 2
    assert {row[2] for row in joiner.capabilities} == {own}
    assert bounding == own  # by an execve as root it would have these


def test_exec_gives_nothing_of_the_host_away(place: Place) -> None:
    check_exec(place, place.exec())


def test_nor_does_exec_where_ptrace_is_all_that_it_has(tmp_path: Path) -> None:
    with attacked(tmp_path, OWN, user=False) as place:
        check_exec(place, place.exec())


def test_nor_does_exec_in_a_cgroup_below(place: Place) -> None:
    check_exec(place, place.exec("--cgroup", "/"))


def test_nor_does_exec_as_another_user_elsewhere(place: Place) -> None:
    check_exec(place, place.exec("--user", "7:7", "--cwd", "/bin"))


def test_nor_does_exec_with_a_terminal(place: Place) -> None:
    argv = [*place.runtime.argv, "exec", "--tty", place.name, "true"]

    def on_a_terminal() -> None:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execv(argv[0], argv)
        with contextlib.suppress(OSError):  # EIO: it has ended
            while os.read(terminal, 4096):
                pass
        os.close(terminal)
        os.waitpid(pid, 0)

    check_exec(place, place.attacker.seized_by(on_a_terminal))


def test_nor_does_an_exec_whose_interpreter_boots_in_the_namespaces(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(image.VARIABLE, "off")

    def start() -> None:
        container = Container.load(str(place.runtime.root), place.name)
        config = ProcessConfig(args=("/bin/true",), cwd="/")
        process = Process(config, init=False)
        container.start(process)
        process.wait()
        process.close()

    joiner = place.attacker.seized_by(start)
    check_exec(place, joiner, "CAP_SYS_CHROOT")


RUNS: dict[str, dict[str, Any]] = {
    "run": {},
    "run with capabilities": {"capabilities": ["kill"]},
    "run as a user": {"uid": 7, "capabilities": []},
}


@pytest.mark.parametrize("name", RUNS)
def test_run_gives_nothing_of_the_host_away(place: Place, name: str) -> None:
    options = Options(join=place.pid, **RUNS[name])
    joiner = place.attacker.seized_by(
        lambda: nsenter.run(["/bin/true"], options=options, stdin=subprocess.DEVNULL)
    )
    assert joiner.places == []
    check_capabilities(joiner, options)


def check_capabilities(joiner: Joiner, options: Options, *steps: str) -> None:
    if options.capabilities is None:
        return  # it may keep all that its caller has
    keeps = mask(*(f"CAP_{name.upper()}" for name in options.capabilities))
    ids = ("CAP_SETUID", "CAP_SETGID") if options.uid is not None else ()
    assert joiner.capabilities[0] == (*(keeps | mask(*ids, *steps),) * 2, keeps)


def test_nor_does_run_in_a_cgroup(place: Place) -> None:
    with cgroup_of_our_own() as folder:
        options = Options(join=place.pid, cgroup=str(folder))
        joiner = place.attacker.seized_by(
            lambda: nsenter.run(["/bin/true"], options=options, stdin=subprocess.DEVNULL)
        )
    assert joiner.places == []


CALLS: dict[str, dict[str, Any]] = {
    "call": {},
    "call with capabilities": {"capabilities": ["kill"]},
}


@pytest.mark.parametrize("name", CALLS)
def test_call_gives_nothing_of_the_host_away(place: Place, name: str) -> None:
    with cgroup_of_our_own() as folder:
        options = Options(join=place.pid, cgroup=str(folder), **CALLS[name])
        joiner = place.attacker.seized_by(lambda: nsenter.call(os.getpid, options=options))
    assert joiner.places == []
    check_capabilities(joiner, options, "CAP_SYS_CHROOT")


def test_nor_does_a_worker(place: Place) -> None:
    def work() -> None:
        with nsenter.NamespaceExecutor(1, Options(join=place.pid)) as executor:
            executor.submit(os.getpid).result()

    assert place.attacker.seized_by(work).places == []


def test_nor_does_an_init_in_python(place: Place) -> None:
    def start() -> None:
        child = Options(join=place.pid).launch(
            PythonInit("nsenter._inside.pid1:main", ["/bin/true"])
        )
        child.wait()
        child.close()

    assert place.attacker.seized_by(start).places == []


def test_nor_does_the_command(place: Place) -> None:
    argv = [sys.executable, "-m", "nsenter", "run", "--join", f"pid={place.pid}", "--", "/bin/true"]
    joiner = place.attacker.seized_by(
        lambda: subprocess.run(argv, stdin=subprocess.DEVNULL, check=True)
    )
    assert joiner.places == []


def _with_a_root_of_its_own(place: Place, *mounts: nsenter.mounts.Mount) -> Joiner:
    """One that joins all but the mount namespace."""
    kinds = ("pid", "net", "ipc", "uts")
    join = {kind: f"/proc/{place.pid}/ns/{kind}" for kind in kinds}
    options = Options(join=join, new="mnt", root="/", mounts=mounts, capabilities=["kill"])
    # Static: a loader would open the host's libraries, which it may in a root that it was given.
    program = [needs("busybox", package="busybox-static"), "true"]
    joiner = place.attacker.seized_by(
        lambda: nsenter.run(program, options=options, stdin=subprocess.DEVNULL)
    )
    # Its root is the host's, as it was asked for; but it was that before it was seen.
    assert {line.split(":")[0].split()[0] for line in joiner.places} <= {"root", "cwd"}
    return joiner


def test_nor_does_what_joins_all_but_the_mounts_and_has_a_root_of_its_own(place: Place) -> None:
    joiner = _with_a_root_of_its_own(place, nsenter.Tmpfs("/tmp"))
    assert joiner.capabilities[0][0] == mask("CAP_KILL")


def test_nor_does_one_that_mounts_a_new_proc(place: Place) -> None:
    joiner = _with_a_root_of_its_own(place, nsenter.Proc())
    assert joiner.capabilities[0][0] == mask("CAP_KILL") or not HAS_PIDNS_OPTION


def test_who_keeps_the_callers_mounts_is_told_that_the_root_can_be_reached(place: Place) -> None:
    options = Options(join={"pid": place.pid})
    with pytest.warns(RuntimeWarning, match="join the mount namespace too"):
        joiner = place.attacker.seized_by(
            lambda: nsenter.run(["/bin/true"], options=options, stdin=subprocess.DEVNULL)
        )
    # So this is what the attacker tells of.
    assert SEES_THE_HOST in joiner.places


SEES_THE_HOST = "root /: it leads to the root of the host"


TOLD = 'level=warning msg="the container joins an existing PID namespace: '
# The capabilities of pyrunc.make_bundle's containers.
USUAL = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")


# A root that is not the attacker's, and from which nothing leads to the host's.
OF_ITS_OWN = {f"{what} /: it leads out of the container" for what in ("root", "cwd")}


POD, PROC_NAMES = "the attacker's", {"network": "net"}


def sharing(place: Place, bundle: Path, change: Change = lambda _: None) -> Path:
    """A bundle of a container in the attacker's PID namespace."""

    def share(spec: dict[str, Any]) -> None:
        (kind,) = [ns for ns in spec["linux"]["namespaces"] if ns["type"] == "pid"]
        kind["path"] = f"/proc/{place.pid}/ns/pid"
        change(spec)
        for other in spec["linux"]["namespaces"]:
            if other.get("path") == POD:
                other["path"] = (
                    f"/proc/{place.pid}/ns/{PROC_NAMES.get(other['type'], other['type'])}"
                )

    return pyrunc.make_bundle(bundle, ["true"], change=share)


def without_proc(spec: dict[str, Any]) -> None:
    spec["mounts"] = [mount for mount in spec["mounts"] if mount["type"] != "proc"]


def with_a_filter(spec: dict[str, Any]) -> None:
    spec["process"]["noNewPrivileges"] = False
    spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}


def as_a_user(spec: dict[str, Any]) -> None:
    spec["process"]["user"] = {"uid": 7, "gid": 7, "additionalGids": [8]}


def as_in_a_pod(spec: dict[str, Any]) -> None:
    for namespace in spec["linux"]["namespaces"]:
        if namespace["type"] in ("ipc", "uts", "network"):
            namespace["path"] = POD


# The change of config.json, and what its steps need besides those of `exec`.
SHARING: dict[str, tuple[Change, tuple[str, ...]]] = {
    "as usual": (lambda _: None, ()),
    "without a /proc": (without_proc, ()),
    "with a filter": (with_a_filter, ("CAP_SYS_ADMIN",)),
    "as a user": (as_a_user, ()),
    "as in a pod": (as_in_a_pod, ()),
}


@pytest.mark.parametrize("name", SHARING)
def test_nor_does_a_container_that_is_created_in_its_pid_namespace(
    place: Place, tmp_path: Path, name: str
) -> None:
    change, steps = SHARING[name]
    bundle = sharing(place, tmp_path, change)
    is_safe = "without" in name or HAS_PIDNS_OPTION

    def start() -> None:
        done = place.runtime("run", "--bundle", bundle, f"{place.name}-2")
        assert done.returncode == 0, done.stderr
        assert (TOLD in done.stderr) == (not is_safe)

    joiner = place.attacker.seized_by(start)
    if not is_safe:
        return  # as in the next test
    assert {*joiner.places} <= OF_ITS_OWN
    # If it is seized late, it has given up more.
    for permitted, effective, bounding in joiner.capabilities:
        assert not (permitted | effective) & ~mask(*USUAL, *STEPS_OF_EXEC, *steps)
        assert bounding == mask(*USUAL)


def test_nor_does_one_that_waits_for_its_start(place: Place, tmp_path: Path) -> None:
    bundle, name = sharing(place, tmp_path), f"{place.name}-2"

    def start() -> None:
        place.runtime.good("create", "--bundle", bundle, name, **pyrunc.NO_STREAMS)
        place.runtime.good("start", name)
        place.runtime.good("delete", "--force", name)

    joiner = place.attacker.seized_by(start)
    # The exec fifo, which `start` opens by its path, is no directory.
    places = {line for line in joiner.places if "/exec.fifo" not in line}
    assert places <= OF_ITS_OWN or not HAS_PIDNS_OPTION


def test_a_container_that_shares_a_pid_namespace_warns_that_the_root_can_be_reached(
    place: Place, tmp_path: Path
) -> None:
    def one_process(spec: dict[str, Any]) -> None:
        # It cannot make a successor that joins the namespace.
        spec["linux"]["resources"] = {"pids": {"limit": 1}}

    bundle = sharing(place, tmp_path, one_process)

    def start() -> None:
        done = place.runtime("run", "--bundle", bundle, f"{place.name}-2")
        assert done.returncode == 0
        assert TOLD in done.stderr

    # So this is what the attacker tells of.
    assert SEES_THE_HOST in place.attacker.seized_by(start).places


STEP_ROWS = re.compile(r"^\| (CAP_[A-Z_, ]+) \|", re.MULTILINE)


def test_the_page_lists_what_a_joiner_holds() -> None:
    text = (pyrunc.CHECKOUT / "docs/how-it-works.md").read_text()
    told = {name for row in STEP_ROWS.findall(text) for name in row.split(", ")}
    assert told == {name for names in STEPS.values() for name in names}


def test_a_user_namespace_of_its_own_cannot_seize_a_joiner_at_all(tmp_path: Path) -> None:
    """The joiner's memory belongs to the host's user namespace until it executes a program."""
    with attacked(tmp_path, ALL, user=True) as place:
        options = Options(join=place.pid)
        # The attacker tries all the while that a joiner is stopped.
        with seizing.held(place.attacker.namespace, seconds=0.3) as pids:
            place.runtime.good("exec", place.name, "true")
            nsenter.run(["/bin/true"], options=options, stdin=subprocess.DEVNULL)
            nsenter.call(os.getpid, options=options)
        assert len(pids) == 3
        assert place.attacker.names() <= {"true"}


@pytest.fixture(autouse=True)
def orphans_have_ended() -> Iterator[None]:
    """They are this process's from the first test with podman on, whichever that is."""
    with orphans.settled():
        yield


@pytest.fixture(scope="module")
def in_podman() -> Iterator[tuple[Podman, str, Attacker]]:
    with orphans.adopted(), scratch_folder() as folder, own_mounts() as inside:
        root = pyrunc.make_root(folder / "rootfs")
        command = " ".join(seizing.put_into(root))
        podman = Podman(folder, root, Path(PYRUNC[0]), inside)
        podman.prepare()
        try:
            shell = ("sh", "-c", f"exec {command} >/said 2>&1")
            name = podman.start(*shell, options=("--cap-add", "SYS_PTRACE"))
            yield podman, name, Attacker(root / "said")
        finally:
            podman.clear()


def test_podman_exec_gives_nothing_of_the_host_away(
    in_podman: tuple[Podman, str, Attacker],
) -> None:
    podman, name, attacker = in_podman
    joiner = attacker.seized_by(lambda: podman.must("exec", name, "true"))
    assert joiner.places == []
    permitted, _, bounding = joiner.capabilities[0]
    # podman's filter is installed without no_new_privs, which takes CAP_SYS_ADMIN.
    assert permitted == bounding | mask(*STEPS_OF_EXEC, "CAP_SYS_ADMIN")
    assert bounding & mask("CAP_SYS_PTRACE")
    assert not bounding & mask("CAP_SYS_ADMIN", "CAP_SYS_MODULE", "CAP_SYS_RAWIO")


def test_nor_does_podman_with_a_container_in_the_pid_namespace_of_another(
    in_podman: tuple[Podman, str, Attacker],
) -> None:
    podman, name, attacker = in_podman

    def start() -> None:
        other = podman.start("true", options=("--pid", f"container:{name}"))
        assert podman.must("wait", other).strip() == "0"
        podman.must("rm", other)

    joiner = attacker.seized_by(start)
    places = {line for line in joiner.places if "/exec.fifo" not in line}
    assert places <= OF_ITS_OWN or not HAS_PIDNS_OPTION
