"""A process can join another one's namespaces: by path, descriptor or pidfd, one kind or all.

The other process is the holder of launching.py, which is in a new namespace of each kind. Root's
holder has ids that no user has. The cases are those of launching.py as well.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

import pytest

import inside
import launching
from launching import ALL_BUT_USER, KINDS, SECONDS, SLEEP, Case, Facts, broken, message
from nsenter.bootstrap import TimeOffset, bootstrap_data
from nsenter.errors import BootstrapError
from nsenter.idmap import IDMap
from nsenter.launch import Child, Program, PythonInit, launch
from nsenter.namespaces import Namespace, Namespaces, NamespaceType

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do")

WAYS = ("path", "fd", "pidfd")
AHEAD = (("monotonic", 1000, 0), ("boottime", 100_000, 5))


def in_every_way(*cases: Case, targets: tuple[str, ...]) -> list[Case]:
    return [
        Case(
            name=f"{case.name}-by-{way}-{target}", new=case.new, joined=case.joined, by=way,
            maps=case.maps, oom_score_adj=case.oom_score_adj, offsets=case.offsets,
            options=case.options, target=target,
        )
        for case in cases
        for way in WAYS
        for target in targets
    ]  # fmt: skip


# Joined with the user namespace: what root's holder and a user's are both good for.
WITH_USER = (
    Case(name="user", joined=("user",)),
    *(Case(name=f"user-and-{kind}", joined=("user", kind)) for kind in ALL_BUT_USER),
    Case(name="all", joined=KINDS),
    Case(name="all-with-oom", joined=KINDS, oom_score_adj=77, options={"cwd": "/usr"}),
    Case(name="user-joined-rest-new", joined=("user",), new=ALL_BUT_USER, offsets=AHEAD),
    Case(name="half", joined=("user", "ipc", "net"), new=("pid", "mnt", "uts")),
    Case(name="pid-new-in-joined", joined=("user", "mnt", "time"), new=("pid", "cgroup")),
)
WITHOUT_USER = (
    *(Case(name=kind, joined=(kind,)) for kind in ALL_BUT_USER),
    Case(name="all-but-user", joined=ALL_BUT_USER),
    Case(name="pid-joined-rest-new", joined=("pid",), new=("mnt", "net", "ipc", "uts", "time")),
    Case(name="net-joined-rest-new", joined=("net",), new=("pid", "mnt", "cgroup", "time")),
    Case(name="new-user-beside-joined", joined=("net", "ipc"), new=("user", "pid", "mnt")),
    Case(name="new-clocks", joined=("uts",), new=("time",), offsets=AHEAD),
)
ROOT = [
    *in_every_way(*WITHOUT_USER, targets=("program", "python")),
    *in_every_way(*WITH_USER, targets=("shell", "python")),
]
USER = in_every_way(*WITH_USER, targets=("program", "python"))
REFUSED = in_every_way(*WITHOUT_USER[: len(ALL_BUT_USER)], targets=("python",))


def name_of(case: Case) -> str:
    return case.name


@pytest.fixture
def held() -> Iterator[Child]:
    with launching.holder() as child:
        yield child


@pytest.fixture(scope="module")
def roots() -> dict[str, Facts]:
    return launching.outcomes(ROOT)


@pytest.fixture(scope="module")
def users() -> dict[str, Facts]:
    return launching.as_the_user([*USER, *REFUSED])


@as_root
@pytest.mark.parametrize("case", ROOT, ids=name_of)
def test_root_is_in_the_namespaces_of_another(case: Case, roots: dict[str, Facts]) -> None:
    assert broken(case, roots[case.name]) == {}


@pytest.mark.parametrize("case", USER, ids=name_of)
def test_the_owner_of_a_user_namespace_is_in_it_and_in_its_own(
    case: Case, users: dict[str, Facts]
) -> None:
    assert broken(case, users[case.name]) == {}


@pytest.mark.parametrize("case", REFUSED, ids=name_of)
def test_a_user_is_told_to_join_the_user_namespace_as_well(
    case: Case, users: dict[str, Facts]
) -> None:
    error = users[case.name]["error"]
    assert (error["stage"], error["operation"], error["errno"]) == ("child", "setns", errno.EPERM)
    assert error["subject"].startswith(f"{case.joined[0]}:/proc/")
    assert "join that one too" in error["text"]


@as_root
@pytest.mark.parametrize("kinds", [("user",), ("net",), KINDS], ids=["user", "net", "all"])
@pytest.mark.parametrize("by", WAYS)
def test_an_init_that_has_joined_is_not_dumpable(
    kinds: tuple[str, ...], by: str, held: Child
) -> None:
    """So that no process in there can ptrace it, or open what it has open (CVE-2016-9962)."""
    target = PythonInit("targets:dumpable", extensions=["_ctypes", "_struct"])
    with launching.joining(held.pid, kinds, by) as joined:
        child = launch(message((), joined), target)
    with child:
        assert child.wait(SECONDS) == 0


@as_root
def test_an_init_that_made_namespaces_in_those_it_joined_is_not_dumpable(held: Child) -> None:
    target = PythonInit("targets:dumpable", extensions=["_ctypes", "_struct"])
    with launching.joining(held.pid, ["net"], "fd") as joined:
        data = message(["user", "pid", "time"], joined, time_offsets=[TimeOffset(*AHEAD[0])])
        child = launch(data, target)
    with child:
        assert child.wait(SECONDS) == 0


@as_root
def test_root_in_a_joined_user_namespace_is_its_root(held: Child) -> None:
    user = Namespace.from_pid(NamespaceType.NEWUSER, held.pid)
    with launching.reporting(message((), [user]), "python") as (child, seen):
        found = inside.read(child.pid)
    assert (seen["uids"], seen["gids"]) == ([0, 0, 0], [0, 0, 0])
    host = launching.HOLDER_MAP[0][1]
    assert (found["uids"], found["gids"]) == ([host] * 4, [host] * 4)


@as_root
def test_supplementary_groups_of_the_host_do_not_get_into_a_joined_user_namespace(
    held: Child,
) -> None:
    before = os.getgroups()
    os.setgroups([4, 27])
    try:
        user = Namespace.from_pid(NamespaceType.NEWUSER, held.pid)
        with launch(message((), [user]), SLEEP) as child:
            assert inside.read(child.pid)["groups"] == []
    finally:
        os.setgroups(before)


@as_root
def test_the_callers_own_namespaces_can_be_joined_but_for_the_user_namespace() -> None:
    with (
        launching.joining(os.getpid(), ALL_BUT_USER, "pidfd") as joined,
        launching.reporting(message((), joined)) as (_, seen),
    ):
        assert seen["namespaces"] == inside.namespaces()


@as_root
def test_a_namespace_whose_processes_have_ended_can_be_joined_by_its_descriptor() -> None:
    kind = NamespaceType.NEWNET
    with launch(message(["net"]), SLEEP) as other:
        fd = os.open(f"/proc/{other.pid}/ns/net", os.O_RDONLY)
        expected = inside.namespaces(other.pid)["net"]
    try:
        with launching.reporting(message((), [Namespace.from_fd(kind, fd)])) as (_, seen):
            assert seen["namespaces"]["net"] == expected
    finally:
        os.close(fd)


@as_root
@pytest.mark.parametrize("fd", [0, 1, 2])
def test_a_borrowed_descriptor_may_have_a_low_number(fd: int, held: Child) -> None:
    """Where the caller's 0, 1 or 2 is the namespace, the payload's is still its stream."""
    saved = os.dup(fd)
    null = os.open(os.devnull, os.O_RDWR)
    source = os.open(f"/proc/{held.pid}/ns/net", os.O_RDONLY)
    try:
        os.dup2(source, fd)
        net = Namespace.from_fd(NamespaceType.NEWNET, fd)
        streams = {"stdin": null, "stdout": null, "stderr": null}
        with launch(message((), [net]), SLEEP, **streams) as child:
            assert inside.namespaces(child.pid)["net"] == inside.namespaces(held.pid)["net"]
    finally:
        os.dup2(saved, fd)
        for opened in saved, source, null:
            os.close(opened)


@as_root
def test_a_descriptor_that_is_not_open_is_named() -> None:
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        launch(message((), [Namespace.from_fd(NamespaceType.NEWNET, 999)]), SLEEP)
    assert caught.value.errno == errno.EBADF
    assert "999" in str(caught.value)


@as_root
def test_a_namespace_that_is_passed_on_as_well_stays_open(held: Child) -> None:
    with launching.joining(held.pid, ["net"], "fd") as joined:
        fd = int(joined[0].path.rpartition("/")[2])
        # Not SLEEP: it may still be opening its libraries when it is looked at.
        with launching.reporting(message((), joined), pass_fds=[fd]) as (child, _):
            found = inside.descriptors(child.pid)
    assert found.keys() == {"0", "1", "2", str(fd)}
    assert found[str(fd)].startswith("net:")


@as_root
def test_nothing_of_a_process_that_has_ended_can_be_joined_by_its_pidfd(held: Child) -> None:
    pidfd = os.pidfd_open(held.pid)
    held.kill()
    held.wait()
    try:
        joined = [Namespace.from_fd(NamespaceType.parse(kind), pidfd) for kind in KINDS]
        with pytest.raises(BootstrapError) as caught:
            launch(message((), joined), SLEEP)
        assert caught.value.errno == errno.ESRCH
    finally:
        os.close(pidfd)


@as_root
@pytest.mark.parametrize("way", ["path", "pidfd"])
def test_what_only_the_host_may_join_is_joined_before_the_user_namespace(way: str) -> None:
    """A user namespace and its mnt, by one pidfd or by paths, with a net that is not its own."""
    maps = (IDMap(0, 100_000, 1000),)
    theirs = bootstrap_data(
        Namespaces([Namespace("user"), Namespace("mnt")]), uid_mappings=maps, gid_mappings=maps
    )
    hosts = bootstrap_data(Namespaces([Namespace("net")]))
    sleep = Program(["sleep", "60"])
    with launch(theirs, sleep) as holder, launch(hosts, sleep) as neighbour:
        joined = [
            Namespace.from_pid(kind, holder.pid)
            if way == "path"
            else Namespace.from_fd(kind, holder.pidfd)
            for kind in ("user", "mnt")
        ]
        net = Namespace.from_pid("net", neighbour.pid)
        with launch(bootstrap_data(Namespaces([*joined, net])), Program(["true"])) as child:
            assert child.wait(SECONDS) == 0
