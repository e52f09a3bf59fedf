"""Every option that gives or denies something is read back from inside, for each way to start.

There is a table of options (see option_cases.py). Root starts them, and so does an unprivileged
user. A bad value is refused before anything starts, and a failure inside is named.
"""

from __future__ import annotations

import inspect
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import option_cases
import prebooted_inits
import rootless
import system_root
from launching import PYTHONPATH, SECONDS
from nsenter import Bind, BootstrapError, NamespaceType, Options, Program, PythonInit, Tmpfs
from nsenter._launch import join_targets
from nsenter._message import codec
from option_cases import ALLOW_ALL, CASES, OF_ROOT, SUBORDINATE, WAYS, Case, Facts
from processes import runs, wait_until

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do")
each_way = pytest.mark.parametrize("way", WAYS)
TRUE = Program(["true"])


def name_of(case: Case) -> str:
    return case.name


@each_way
@as_root
@pytest.mark.parametrize("case", [*CASES, *OF_ROOT], ids=name_of)
def test_root_gets_what_the_options_say(case: Case, way: str) -> None:
    assert option_cases.broken(case, option_cases.outcome(case, way)) == {}


@pytest.fixture(scope="module")
def of_a_user() -> dict[str, Facts]:
    return option_cases.as_the_user()


@each_way
@pytest.mark.parametrize("case", [*CASES, *SUBORDINATE], ids=name_of)
def test_a_user_gets_what_the_options_say(
    case: Case, way: str, of_a_user: dict[str, Facts]
) -> None:
    assert option_cases.broken(case, of_a_user[f"{case.name} {way}"]) == {}


@pytest.mark.parametrize("started", prebooted_inits.WAYS)
def test_an_init_that_waited_gives_up_the_same(started: str) -> None:
    script = """
from nsenter import Options, PythonInit
import sys
import option_cases, prebooted_inits

options = Options(new="user,net", umask=0o27, capabilities=["kill"], rlimits={"nofile": 99},
                  seccomp=option_cases.ALLOW_ALL, die_with_parent=True)
waiting = prebooted_inits.WAYS[sys.argv[1]]("report_status:tell")
with options.launch(PythonInit("report_status:tell", prebooted=waiting)) as child:
    assert child.wait(20) == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", script, started],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "'Umask': '0027'" in done.stdout
    assert "'nofile': ['99', '99']" in done.stdout
    assert f"'CapEff': '{option_cases.mask(5)}'" in done.stdout
    assert "'Seccomp': '2'" in done.stdout
    assert "'lo': True" in done.stdout


def test_what_is_given_up_is_given_up_once_whatever_the_payload_says() -> None:
    found = system_root.told(Options(umask=0o27, seccomp=ALLOW_ALL), "report_status:again")
    assert (found["Umask"], found["Seccomp_filters"]) == ("0011", "1")


# --- sessions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("trace", [False, True], ids=["direct", "stages"])
@pytest.mark.parametrize("new", ["", "user,pid"])
def test_without_a_session_of_its_own_it_is_in_the_callers_process_group(
    new: str, trace: bool
) -> None:
    options = Options(new=new, new_session=False)
    with options.launch(Program(["sleep", "100"]), trace=trace) as child:
        assert os.getsid(child.pid) == os.getsid(0)
        assert os.getpgid(child.pid) == os.getpgid(0)


# --- Landlock -------------------------------------------------------------------------------------

TRIES = """
for p in "$0/read" "$0/write" "$0/none"; do
    cat "$p/file" >/dev/null 2>&1 && printf "r"; ls "$p" >/dev/null 2>&1 && printf "l"
    (: >> "$p/file") 2>/dev/null && printf "w"; mkdir "$p/new" 2>/dev/null && printf "m"
    "$p/true" 2>/dev/null && printf "x"
    echo
done
"""


def test_landlock_leaves_what_its_rules_say_and_nothing_else(tmp_path: Path) -> None:
    true = Path("/bin/true").read_bytes()
    for name in ("read", "write", "none"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
        (tmp_path / name / "true").write_bytes(true)
        (tmp_path / name / "true").chmod(0o755)
    rules = {path: "rx" for path in ("/usr", "/bin", "/lib", "/lib64") if Path(path).exists()}
    rules |= {"/dev": "rw", f"{tmp_path}/read": "rx", f"{tmp_path}/write": "rw"}
    options = Options(landlock=rules)
    assert system_root.said(options, ["sh", "-c", TRIES, str(tmp_path)]).split("\n") == [
        "rlx", "rlwm", "", "",
    ]  # fmt: skip


def test_an_empty_landlock_leaves_nothing() -> None:
    with pytest.raises(BootstrapError) as caught:
        Options(landlock={}).launch(Program(["/bin/true"]))
    assert (caught.value.operation, caught.value.subject) == ("execve", "/bin/true")
    assert "landlock" in caught.value.hint


# --- the end of the caller ------------------------------------------------------------------------

CALLER = """
import os, sys, threading
from nsenter import Options, Program
options = Options(die_with_parent=True, **eval(sys.argv[1]))
def start():
    child = options.launch(Program(["sleep", "1000"]))
    print(child.pid, flush=True)
if sys.argv[2] == "thread":
    thread = threading.Thread(target=start); thread.start(); thread.join()
else:
    start()
sys.stdin.read()
"""


@pytest.mark.parametrize("starter", ["main", "thread"])
@pytest.mark.parametrize(
    "fields",
    ["{}", "{'new': 'user,pid'}", "{'cwd': '/'}", "{'new': 'user,pid', 'init': True}"],
    ids=["direct", "namespaces", "stages", "init"],
)
def test_it_dies_with_the_process_that_started_it(fields: str, starter: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CALLER, fields, starter], stdin=-1, stdout=-1, text=True
    ) as caller:
        assert caller.stdout is not None
        pid = int(caller.stdout.readline())
        pidfd = os.pidfd_open(pid)
        try:
            time.sleep(0.05)
            assert runs(pid), "the thread that started it has ended, the process has not"
            caller.kill()
            wait_until(lambda: not runs(pid))
        finally:
            os.close(pidfd)


def test_a_thread_that_ends_does_not_take_its_child_along() -> None:
    children = []
    options = Options(die_with_parent=True)
    for _ in range(3):
        thread = threading.Thread(
            target=lambda: children.append(options.launch(Program(["sleep", "0.2"])))
        )
        thread.start()
        thread.join()
    for child in children:
        with child:
            assert child.wait(SECONDS) == 0


FORKING = """
import os, threading
from nsenter import Options, Program
options = Options(die_with_parent=True)
def start():
    with options.launch(Program(["true"])) as child:
        os.write(1, b"%d\\n" % child.wait(20))
def on_a_thread():
    thread = threading.Thread(target=start); thread.start(); thread.join()
on_a_thread()
pid = os.fork()
on_a_thread()
if pid:
    os.waitpid(pid, 0)
"""


def test_a_fork_of_the_caller_has_a_lasting_thread_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["0", "0", "0"]


def test_what_fails_on_the_lasting_thread_is_raised_on_the_callers() -> None:
    caught: list[BaseException] = []

    def start() -> None:
        try:
            Options(die_with_parent=True).launch(Program(["no-such-program"]))
        except BootstrapError as error:
            caught.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    (error,) = caught
    assert isinstance(error, BootstrapError) and isinstance(error, FileNotFoundError)


# --- what is refused ------------------------------------------------------------------------------


def test_maps_of_an_unknown_word_are_refused() -> None:
    with pytest.raises(ValueError, match=r"maps must be .*, not 'me'"):
        Options(new="user", maps="me").launch(TRUE)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "capability": ({"capabilities": ["CAP_FLY"]}, "CAP_FLY"),
    "limit": ({"rlimits": {"wings": 3}}, "wings"),
    "limit-value": ({"rlimits": {"nofile": -5}}, "nofile: -5"),
    "limit-order": ({"rlimits": {"nofile": (5, 4)}}, "above the hard one"),
    "limit-three": ({"rlimits": {"nofile": (1, 2, 3)}}, "a pair .soft, hard., not"),
    "umask": ({"umask": 0o1000}, "umask"),
    "no-cpu": ({"cpus": []}, "cpus"),
    "cpu": ({"cpus": [-1]}, "cpus"),
    "uid": ({"uid": -1}, "uid must be 0 … 4294967294, not -1"),
    "uid-of-all-ones": ({"uid": 2**32 - 1}, "uid"),
    "gid": ({"gid": "staff"}, "gid must be .*, not 'staff'"),
    "group": ({"groups": [-1]}, "groups must be .*, not -1"),
    "landlock-path": ({"landlock": {"usr": "r"}}, "absolute"),
    "landlock-rights": ({"landlock": {"/usr": "rq"}}, "rwx"),
    "landlock-no-rights": ({"landlock": {"/usr": ""}}, "rwx"),
    "seccomp-length": ({"seccomp": b"1234567"}, "7 bytes"),
    "seccomp-empty": ({"seccomp": b""}, "0 bytes"),
    "seccomp-long": ({"seccomp": ALLOW_ALL * 4097}, "4096"),
    "root": ({"root": "srv"}, "absolute"),
    "read-only": ({"read_only": True}, "root"),
    "bind": ({"mounts": [Bind("usr")]}, "absolute"),
    "bind-target": ({"mounts": [Bind("/usr", "usr")]}, "absolute"),
    "bind-over-all": ({"mounts": [Bind("/usr", "/")]}, "use the field root"),
    "tmpfs-size": ({"mounts": [Tmpfs("/tmp", size=0)]}, "size"),
    "tmpfs-mode": ({"mounts": [Tmpfs("/tmp", mode=-1)]}, "mode"),
    "mounts": ({"mounts": [Tmpfs("/tmp")] * 257}, "256"),
    "terminal": ({"terminal": True, "new_session": False}, "session"),
}


@pytest.mark.parametrize("fields, said", BAD.values(), ids=BAD)
def test_a_bad_value_is_refused_when_the_options_are_made(
    fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Options(**fields)


@pytest.mark.parametrize(
    "fields", [{"seccomp": "x"}, {"mounts": ["/usr"]}, {"capabilities": "all"}]
)
def test_a_value_of_another_type_is_refused_when_the_options_are_made(
    fields: dict[str, Any],
) -> None:
    with pytest.raises(TypeError):
        Options(**fields)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"root": "tmpfs"}, "new mnt"),
        ({"mounts": [Tmpfs("/tmp")]}, "new mnt"),
        ({"init": True}, "new pid"),
        ({"new": "user", "uid": 33}, "uid 33"),
        ({"new": "user", "groups": [33]}, "groups 33"),
    ],
)
def test_what_a_field_needs_is_said_before_anything_starts(
    fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Options(**fields).launch(TRUE)


def test_options_are_used_more_than_once_though_they_were_given_iterators() -> None:
    options = Options(new="user", capabilities=iter(["kill"]), cpus=iter([0]))
    for _ in range(2):
        found = system_root.said(
            options, ["grep", "-E", "CapEff|Cpus_allowed_list", "/proc/self/status"]
        )
        assert found.split() == ["CapEff:", option_cases.mask(5), "Cpus_allowed_list:", "0"]


# --- what fails inside ----------------------------------------------------------------------------

FAILING: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "cpus": ({"cpus": [8000]}, "sched_setaffinity", "", "processors"),
    "filter": ({"seccomp": b"\xff" * 8}, "seccomp", "", "program"),
    "rule": ({"landlock": {"/no/such": "r"}}, "open for landlock", "/no/such", "must exist"),
    "bind": ({"new": "user,mnt", "mounts": [Bind("/no/such")]}, "bind", "/no/such", "caller's"),
    "point": (
        {"new": "user,mnt", "mounts": [Tmpfs("/no/such")]},
        "open the mount point", "/no/such", "`root`",
    ),
    "root": ({"new": "user,mnt", "root": "/no/such"}, "mount the root", "/no/such", "directory"),
    "cwd": ({"new": "user,mnt", "root": "tmpfs", "cwd": "/tmp"}, "chdir", "/tmp", ""),
    "program": (
        {"new": "user,mnt", "root": "tmpfs"}, "execve", "/bin/true", "in the root of the process",
    ),
}  # fmt: skip


@pytest.mark.parametrize("init", [False, True], ids=["alone", "with-an-init"])
@pytest.mark.parametrize("fields, operation, subject, hint", FAILING.values(), ids=FAILING)
def test_what_fails_inside_is_named(
    fields: dict[str, Any], operation: str, subject: str, hint: str, init: bool
) -> None:
    new = fields.get("new", "user")
    options = Options(
        **fields | ({"new": f"{new},pid", "init": True, "proc": False} if init else {})
    )
    with pytest.raises(BootstrapError) as caught:
        options.launch(Program(["/bin/true"]))
    error = caught.value
    assert (error.stage, error.operation) == ("init", operation)
    assert error.subject == subject or not subject
    assert hint in error.hint


@pytest.mark.parametrize(
    "fields, operation",
    [({"cpus": [8000]}, "sched_setaffinity"), ({"seccomp": b"\xff" * 8}, "seccomp")],
)
def test_what_fails_before_a_pythons_first_line_is_named(
    fields: dict[str, Any], operation: str
) -> None:
    with pytest.raises(BootstrapError) as caught:
        Options(**fields).launch(PythonInit("report_status:tell"))
    assert (caught.value.stage, caught.value.operation) == ("init", operation)


UNPRIVILEGED = """
from nsenter import BootstrapError, Options, Program
for fields in (dict(capabilities=()), dict(uid=0), dict(no_new_privs=False, seccomp=bytes(8)),
               dict(new="user", capabilities=["sys_time"], uid=0, rlimits={"nofile": 2**30})):
    try:
        Options(**fields).launch(Program(["true"]))
    except BootstrapError as error:
        print(error.operation, error.subject, "|", error.hint)
"""


def test_a_user_without_the_right_is_told_what_it_takes() -> None:
    words = ["env", f"PYTHONPATH={PYTHONPATH}", sys.executable, "-c", UNPRIVILEGED]
    done = rootless.as_user(words)
    said = [line.partition(" | ") for line in done.stdout.splitlines()]
    assert [what for what, _, _ in said] == [
        "prctl PR_CAPBSET_DROP the bounding set",
        "setresuid 0",
        "seccomp the filter",
        "prlimit nofile",
    ], done.stderr
    assert all(hint for _, _, hint in said)


@as_root
def test_a_capability_that_the_caller_lacks_is_named() -> None:
    script = """
from nsenter import BootstrapError, Options, Program
outer = Options(capabilities=["setpcap", "setuid"])
import sys
words = [sys.executable, "-c", '''
from nsenter import BootstrapError, Options, Program
try:
    Options(capabilities=["setuid", "sys_time"]).launch(Program(["true"]))
except BootstrapError as error:
    print(error.operation, error.subject)
''']
with outer.launch(Program(words)) as child:
    sys.exit(child.wait(20))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == "capset CAP_SYS_TIME\n"


def test_a_program_that_its_filter_kills_is_told_as_killed() -> None:
    kill = b"\x06\0\0\0" + (0x80000000).to_bytes(4, sys.byteorder)
    with Options(seccomp=kill).launch(TRUE) as child:
        assert child.wait(SECONDS) == -signal.SIGSYS


def test_who_ends_while_looked_at_is_not_taken_for_who_has_its_number_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Options(new="user,uts").launch(Program(["sleep", "1000"])) as child:

        def is_ours(path: str, kind: NamespaceType) -> bool:
            """As of another process, one of ours, which got the number meanwhile."""
            child.kill()
            child.wait()
            return True

        monkeypatch.setattr(join_targets, "_is_ours", is_ours)
        with pytest.raises(ProcessLookupError, match="has ended"):
            Options(join=child).launch(Program(["true"]))


def test_a_thread_is_no_process_to_join() -> None:
    """The kernel has another word for it, as an older one has for a process that just goes."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        with pytest.raises(ProcessLookupError, match=f"join={thread.native_id}: No such process"):
            Options(join=thread.native_id).launch(Program(["true"]))
    finally:
        end.set()
        thread.join()


GROUPS_KEPT = """
from nsenter import BootstrapError, Options, check_output
for fields in (dict(uid=65534), dict(uid=65534, groups=()), dict(uid=0, new="user")):
    try:
        print(check_output(["id", "-G"], Options(**fields), text=True).strip())
    except BootstrapError as error:
        print(error.operation)
"""


@as_root
def test_who_cannot_drop_the_callers_groups_does_not_become_another_user_with_them() -> None:
    """As in a container without CAP_SETGID; in a user namespace of its own it has it again."""
    without = ("--groups", "4,27", "--bounding-set", "-setgid", "--inh-caps", "-setgid")
    words = ["setpriv", *without, sys.executable, "-c", GROUPS_KEPT]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=True)
    assert done.stdout.splitlines()[:2] == ["setgroups"] * 2
    assert "setgroups" not in done.stdout.splitlines()[2]


# ---- one table: csrc/message/launch_fields.h

# Fields that travel under other names, and those that the launcher or runc's message carries out.
SENT_AS = {
    "proc": "MOUNT_PROC",
    "new_session": "KEEP_SESSION",
    "init": "INIT_FD",
    "cgroup": "CGROUP_FD",
    "limits": "CGROUP_FD",  # the launcher makes the cgroup
    "landlock_bind": "LANDLOCK",
    "landlock_connect": "LANDLOCK",
    "landlock_scope": "LANDLOCK",
}
NOT_SENT = {"new", "join", "maps", "oom_score_adj", "time_offsets"}


def test_each_field_is_in_the_table_of_the_launch_message() -> None:
    fields = set(inspect.signature(Options).parameters) - NOT_SENT
    sent = {SENT_AS.get(name, name.upper()) for name in fields}
    assert sent <= codec.attribute_types(codec.LAUNCH).keys()
