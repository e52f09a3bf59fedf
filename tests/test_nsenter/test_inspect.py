# SPDX-License-Identifier: Apache-2.0
"""`nsenter.inspect` and `python -m nsenter ls` find all namespaces, and who is in them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import inside
from needs import needs
from nsenter.inspect import _namespace_mounts, namespaces_of, snapshot
from processes import children_of, wait_until_executed
from rootless import as_user

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "nsenter"]


@contextlib.contextmanager
def holder(*options: str, script: str = "") -> Iterator[int]:
    """The pid of a process that unshare(1) has put into namespaces, and that lives in the block.

    The script runs there first.
    """
    process = subprocess.Popen(
        [needs("unshare", package="util-linux"), *options,
         "sh", "-c", f"{script}\nexec cat"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write("here\n")
            process.stdin.flush()
            assert process.stdout.readline() == "here\n", "cat did not start"
            yield process.pid
        finally:
            process.kill()


def inode(pid: int | str, kind: str) -> int:
    return Path(f"/proc/{pid}/ns/{kind}").stat().st_ino


def lsns(*columns: str) -> dict[int, dict[str, Any]]:
    words = [needs("lsns", package="util-linux"), "--json", "-o", ",".join(("NS", *columns))]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    return {int(row["ns"]): row for row in json.loads(text)["namespaces"]}


def ls(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "ls", *words], capture_output=True, text=True, cwd=ROOT, check=False
    )


# --- as data --------------------------------------------------------------------------------------


def test_the_kernel_and_lsns_say_the_same() -> None:
    with holder("--user", "--map-root-user", "--net", "--uts", "--mount") as pid:
        theirs, ours = lsns("TYPE", "NPROCS", "PID", "PNS", "ONS"), snapshot()
        for kind in inside.KINDS:
            found, row = ours.namespace(inode(pid, kind)), theirs[inode(pid, kind)]
            assert found.kind.ns_name() == row["type"] == kind
            assert (found.owner or 0) == int(row["ons"] or 0), kind
            if kind == "user":
                assert (found.parent or 0) == int(row["pns"] or 0)
            if kind in ("user", "net", "uts", "mnt"):  # the others come and go beside us
                assert (len(found.pids), found.pids[0]) == (row["nprocs"], row["pid"])


def test_each_namespace_that_lsns_lists_is_there() -> None:
    with holder("--ipc", "--cgroup"):
        before, ours, after = lsns("TYPE"), snapshot(), lsns("TYPE")
        missing = (before.keys() & after.keys()) - {found.inode for found in ours.namespaces}
        assert not missing


def test_one_process_has_one_of_each_kind_and_shares_some() -> None:
    with holder("--net", "--uts") as pid:
        assert {f.kind.ns_name(): f.inode for f in namespaces_of(pid)} == {
            kind: inode(pid, kind) for kind in inside.KINDS
        }
        sharing = snapshot().sharing(pid)
        assert sharing["net"] == sharing["uts"] == ()
        assert os.getpid() in sharing["ipc"] and pid not in sharing["ipc"]


def test_a_process_is_known_with_its_pid_inside() -> None:
    with holder("--pid", "--fork", "--kill-child") as pid:
        (child,) = children_of(pid)
        found = snapshot()
        process = found.process(child)
        assert (process.pid, process.parent, process.pids) == (child, pid, (child, 1))
        assert (process.comm, process.uid) == ("cat", os.geteuid())
        pid_namespace = found.namespace(process.namespaces["pid"])
        assert pid_namespace.parent == inode("self", "pid")
        assert pid_namespace.pids == (child,)
        # The next children of unshare would be put there as well.
        assert pid_namespace.kept_by == (f"/proc/{pid}/ns/pid_for_children",)


def test_a_user_namespace_has_its_creator_and_its_parent_without_a_process() -> None:
    nest = [needs("unshare", package="util-linux"), "-Ur", "--setuid", "0"]
    process = subprocess.Popen([*nest, *nest, "cat"], stdin=subprocess.PIPE)
    with process:
        try:
            wait_until_executed(process.pid, "cat")
            found = snapshot()
            inner = found.namespace(inode(process.pid, "user"))
            assert inner.pids == (process.pid,) and inner.parent is not None
            between = found.namespace(inner.parent)
            assert between.pids == () and between.parent == inode("self", "user")
            assert (inner.owner_uid, between.owner_uid) == (os.geteuid(), os.geteuid())
        finally:
            process.kill()


def test_a_descriptor_keeps_a_namespace_that_nobody_is_in() -> None:
    with holder("--net") as pid:
        number = inode(pid, "net")
        fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
        keeper = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[fd])
        os.close(fd)
    with keeper:
        found = snapshot().namespace(number)
        assert found.pids == ()
        assert found.kept_by == (f"/proc/{keeper.pid}/fd/{fd}",)
        assert found.owner == inode("self", "user")


def test_a_thread_that_has_left_its_process_keeps_a_namespace() -> None:
    script = (
        "import sys, threading, _thread\nfrom nsenter._host import syscalls\n"
        "def leave():\n"
        "  syscalls.unshare(0x0400_0000); print(threading.get_native_id(), flush=True)\n"
        "  sys.stdin.read()\n"
        "thread = threading.Thread(target=leave); thread.start(); thread.join()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    )
    with process:
        assert process.stdout is not None
        thread = int(process.stdout.readline())
        path = f"/proc/{process.pid}/task/{thread}/ns/uts"
        found = snapshot().namespace(Path(path).stat().st_ino)
        assert (found.pids, found.kept_by) == ((), (path,))
        assert found.owner == inode("self", "user")


def test_a_mount_keeps_a_namespace_and_is_found_in_any_mount_namespace(tmp_path: Path) -> None:
    place = tmp_path / "a b\\c"
    place.touch()
    script = f"unshare --uts mount --bind /proc/self/ns/uts '{place}'"
    # What mount(8) binds is its own, which is the new one: it ends, and the mount stays.
    with holder("--mount", "--propagation", "private", script=script) as pid:
        path = f"/proc/{pid}/root{place}"
        (found,) = [found for found in snapshot().namespaces if path in found.kept_by]
        assert (found.kind.ns_name(), found.pids) == ("uts", ())
        assert found.inode == Path(path).stat().st_ino and found.owner == inode("self", "user")


def test_what_is_mounted_over_a_namespace_by_a_payload_is_not_opened(tmp_path: Path) -> None:
    """A pipe that nobody writes to would be waited for."""
    place, pipe = tmp_path / "place", tmp_path / "pipe"
    place.touch()
    os.mkfifo(pipe)
    script = f"unshare --uts mount --bind /proc/self/ns/uts {place}; mount --bind {pipe} {place}"
    with holder("--mount", "--propagation", "private", script=script) as pid:
        path = f"/proc/{pid}/root{place}"
        (found,) = [found for found in snapshot().namespaces if path in found.kept_by]
        assert found.owner is None, "a pipe has no owner"


def test_processes_that_end_meanwhile_are_left_out() -> None:
    churn = "while :; do true & /bin/true; done"
    process = subprocess.Popen(["sh", "-c", churn])
    with process:
        try:
            for _ in range(100):
                assert os.getpid() in {found.pid for found in snapshot().processes}
        finally:
            process.kill()


def test_a_zombie_has_what_the_kernel_still_tells() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        found = snapshot().process(process.pid)
        assert found.comm == "true" and "net" not in found.namespaces
        assert found.namespaces["user"] == inode("self", "user")
    finally:
        process.wait()


def test_what_a_user_may_not_see_is_said_and_the_rest_is_there() -> None:
    with holder("--net") as pid:
        result = as_user([*COMMAND, "ls", "--json"])
        assert result.returncode == 0, result.stderr
        seen = json.loads(result.stdout)
        assert pid in seen["hidden"]
        assert "processes that this user may not look into" in result.stderr
        assert {4242} == {process["uid"] for process in seen["processes"]}
        assert {found["kind"] for found in seen["namespaces"]} == set(inside.KINDS)
        refused = as_user([*COMMAND, "ls", "--pid", str(pid)])
        assert refused.returncode == 125
        assert f"process {pid}: only its user may see its namespaces" in refused.stderr


def test_a_process_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ProcessLookupError, match="process 999999999"):
        namespaces_of(999_999_999)
    with pytest.raises(LookupError, match="namespace 1:"):
        snapshot().namespace(1)


def test_no_descriptor_is_left_open() -> None:
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        snapshot()
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


# --- ls -------------------------------------------------------------------------------------------


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[1:]]


def test_the_table_has_a_line_for_each_namespace_of_a_process() -> None:
    with holder("--net", "--uts") as pid:
        result = ls("--task", str(pid))
        assert result.returncode == 0, result.stderr
        assert {(row[1], int(row[0])) for row in rows(result.stdout)} == {
            (kind, inode(pid, kind)) for kind in inside.KINDS
        }
        (net,) = [row for row in rows(result.stdout) if row[1] == "net"]
        owner = str(inode("self", "user"))
        assert net[2:] == [owner, "1", str(pid), str(os.geteuid()), "cat"]


def test_types_are_filtered_and_may_be_spelled_in_any_way() -> None:
    result = ls("-t", "network", "--type=CLONE_NEWUTS")
    assert {row[1] for row in rows(result.stdout)} == {"net", "uts"}


def test_the_tree_has_each_namespace_below_its_owner() -> None:
    with holder("--user", "--map-root-user", "--net") as pid:
        lines = ls("--tree").stdout.splitlines()
        assert lines[0].startswith(f"user {inode('self', 'user')}  of uid")
        (user,) = [i for i, line in enumerate(lines) if f"user {inode(pid, 'user')}" in line]
        below = lines[user + 1]
        assert f"─ net {inode(pid, 'net')}  {pid} cat" in below
        assert below.index("net") > lines[user].index("user")


def test_a_tree_of_one_type_shows_the_owners_that_lead_to_it() -> None:
    with holder("--user", "--map-root-user", "--net") as pid:
        text = ls("--tree", "-t", "net", "-p", str(pid)).stdout
        kinds = [line.split("─ ")[-1].split()[0] for line in text.splitlines()]
        assert kinds == ["user", "user", "net"]


def test_the_number_of_a_namespace_lists_its_processes() -> None:
    with holder("--uts") as pid:
        for word in (str(inode(pid, "uts")), f"uts:[{inode(pid, 'uts')}]"):
            result = ls(word)
            expected = [str(pid), str(os.getpid()), str(pid), str(os.geteuid()), "cat"]
            assert rows(result.stdout) == [expected], result.stderr


def test_what_a_process_calls_itself_does_not_reach_the_terminal() -> None:
    script = r"printf '\033[31mred' > /proc/$$/comm; echo $$; read line"
    process = subprocess.Popen(
        [needs("unshare", package="util-linux"), "--uts", "sh", "-c", script],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stdout is not None and process.stdout.readline()
        for words in (["-t", "uts"], ["--tree"], [str(inode(process.pid, "uts"))]):
            text = ls(*words).stdout
            assert "\x1b" not in text and r"\x1b[31mred" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--type", "bogus"], "--type bogus: unknown namespace type 'bogus'"),
        (["--pid", "x"], "--pid x: expected a pid"),
        (["--pid", "999999999"], "process 999999999: there is none"),
        (["4"], "namespace 4: there is none here that this user may see"),
        (["net"], "net: expected the number of one namespace"),
        (["--bogus"], "--bogus: there is no such option"),
    ],
)
def test_what_cannot_be_listed_is_said(words: Sequence[str], said: str) -> None:
    result = ls(*words)
    assert (result.returncode, result.stdout) == (125, "")
    assert result.stderr.startswith(f"nsenter: {said}") and "Traceback" not in result.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    script = f"{sys.executable} -m nsenter ls --json | head -1"
    result = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}"], capture_output=True, text=True, cwd=ROOT,
        check=False,
    )  # fmt: skip
    assert result.stdout == "{\n"
    assert "pipe" not in result.stderr.lower() and "Exception" not in result.stderr


def test_a_process_that_ends_meanwhile_shows_no_mounts() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    folder = os.open(f"/proc/{pid}", os.O_RDONLY)
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert list(_namespace_mounts(folder)) == []
    finally:
        os.close(folder)
        os.waitpid(pid, 0)
