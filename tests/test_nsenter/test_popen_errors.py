"""For each way in which a start can fail: the class of the error, its message, and what is left.

Callers who know subprocess can catch the same classes. The message says where the start failed,
what was done to what, and what to try. Bad arguments are refused before anything is created.
"""

from __future__ import annotations

import copy
import os
import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import inside
import launching
import rootless
from isolations import DIRECT, PLAIN, each_way
from nsenter.errors import BootstrapError
from nsenter.idmap import IDMap, IDMappings
from nsenter.options import Options
from nsenter.popen import Popen, run

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do")

NO_PROGRAM = (
    r"execve {}: No such file or directory \(the program, or the interpreter that its first line"
)


def failed(args: Any, options: Options | None = None, **popen: Any) -> BootstrapError:
    """The error of a start that fails, on which nothing is left open, pipes least of all."""
    before = inside.descriptors()
    with pytest.raises(BootstrapError) as caught:
        run(args, options, input=b"x", capture_output=True, **popen)
    ours = {
        fd: link
        for fd, link in inside.descriptors().items()
        if not link.startswith(("/memfd:nsinit", "/proc/"))
    }
    assert ours.items() <= before.items()
    return caught.value


# ---- the program


@each_way
def test_a_program_that_is_not_there(options: Options) -> None:
    for name in ("/no/such/program", "no-such-program"):
        error = failed([name, "word"], options)
        assert isinstance(error, FileNotFoundError)
        assert (error.filename, error.operation, error.stage) == (name, "execve", "init")
        assert re.match("init: " + NO_PROGRAM.format(name), str(error))


@each_way
def test_a_shell_that_is_not_there(options: Options) -> None:
    error = failed("true", options, shell=True, executable="/no/such/shell")
    assert isinstance(error, FileNotFoundError) and error.filename == "/no/such/shell"


@each_way
def test_a_program_whose_interpreter_is_not_there(options: Options, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    error = failed([script], options)
    assert isinstance(error, FileNotFoundError)
    assert "or the interpreter that its first line names" in error.hint


@each_way
def test_what_is_not_executable(options: Options) -> None:
    for path in ("/etc/passwd", "/etc"):
        error = failed([path], options)
        assert isinstance(error, PermissionError) and error.filename == path
        assert f"execve {path}: Permission denied (this user may not execute it" in str(error)


@each_way
def test_what_is_no_program(options: Options, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo without a first line\n")
    script.chmod(0o755)
    error = failed([script], options)
    assert str(error) == (
        f"init: execve {script}: Exec format error "
        "(it is a program for another architecture, or a script without #!)"
    )


@each_way
def test_a_way_to_it_that_is_no_folder(options: Options) -> None:
    error = failed(["/etc/passwd/program"], options)
    assert isinstance(error, NotADirectoryError) and error.filename == "/etc/passwd/program"


@each_way
def test_more_words_than_an_execve_takes(options: Options) -> None:
    error = failed(["true", "x" * (1 << 20)], options)
    assert "Argument list too long" in str(error)


# ---- the working directory


@pytest.mark.parametrize("options", [PLAIN, DIRECT], ids=["plain", "namespaces"])
@pytest.mark.parametrize(
    ("cwd", "kind", "why"),
    [
        ("/no/such/folder", FileNotFoundError, "No such file or directory"),
        ("/etc/passwd", NotADirectoryError, "Not a directory"),
    ],
)
def test_a_working_directory_that_is_none(
    options: Options, cwd: str, kind: type[OSError], why: str
) -> None:
    error = failed(["true"], options, cwd=cwd)
    assert isinstance(error, kind) and error.filename == cwd
    assert str(error).startswith(f"init: chdir {cwd}: {why}")


# ---- bad arguments: nothing was made

ARGUMENTS: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "no words": ([], {}, ValueError, "args is empty"),
    "an empty name": ([""], {}, ValueError, "no program to execute: its name"),
    "an empty executable": (["x"], {"executable": ""}, ValueError, "execute: its name is empty"),
    "a NUL in a word": (["a", "b\0c"], {}, ValueError, "a word has a NUL"),
    "a word that is a number": (["a", 1], {}, TypeError, "expected str, bytes or os.PathLike"),
    "no args": (None, {}, TypeError, "NoneType"),
    "a path for a shell": (Path("a"), {"shell": True}, TypeError, "a shell takes a command"),
    "options that are none": (["a"], {"options": 5}, TypeError, "options 5: expected nsenter.Op"),
    "a variable with =": (["a"], {"env": {"A=B": "c"}}, ValueError, "env: .* must have no '='"),
    "a variable with a NUL": (["a"], {"env": {"A": "c\0"}}, ValueError, "neither part a NUL"),
    "STDOUT as stdout": (["a"], {"stdout": subprocess.STDOUT}, ValueError, "what stderr can be"),
    "no such encoding": (["a"], {"encoding": "none"}, LookupError, "unknown encoding: none"),
    "no such errors": (["a"], {"errors": "none"}, LookupError, "unknown error handler name"),
    "two kinds of text": (
        ["a"], {"text": True, "universal_newlines": False}, subprocess.SubprocessError, "disambig",
    ),
    "bufsize": (["a"], {"bufsize": "1"}, TypeError, "bufsize must be an integer"),
    "no stream": (["a"], {"stdin": "name"}, AttributeError, "fileno"),
    "passed on, not open": (["a"], {"pass_fds": [999]}, OSError, "descriptor 999: Bad file descr"),
    "passed on, below 0": (["a"], {"pass_fds": [-1]}, ValueError, "pass_fds must be at least 0"),
    "passed on, a word": (["a"], {"pass_fds": "ab"}, TypeError, "pass_fds must be numbers"),
    "no such argument": (["a"], {"nonsense": 1}, TypeError, "Popen has no argument nonsense"),
    "a field": (["a"], {"new": "user"}, TypeError, r"new: .* options: nsenter.Options\(new=…\)"),
    "preexec_fn": (
        ["a"], {"preexec_fn": print}, ValueError,
        "no Python code can run between .* the fields of Options, or .* by nsenter.call",
    ),
    "large umask": (["a"], {"umask": 2**40}, OverflowError, "umask=1099"),
    "large group": (["a"], {"process_group": 2**40}, OverflowError, "process_group=1099"),
    "user": (["a"], {"user": 2**64}, OverflowError, "user=18446744073709551616: must be"),
    "group": (["a"], {"group": -1}, ValueError, "gid must be 0 … 4294967294, not -1"),
    "extra_groups": (["a"], {"extra_groups": "staff"}, TypeError, "a sequence of groups"),
    "a user of no type": (["a"], {"user": 1.5}, TypeError, "user=1.5: must be a number or a name"),
    "startupinfo": (["a"], {"startupinfo": 7}, ValueError, "Windows"),
    "creationflags": (["a"], {"creationflags": 7}, ValueError, "Windows"),
    "no such user": (["a"], {"user": "no-such-user"}, KeyError, "no-such-user"),
    "no such group": (["a"], {"extra_groups": ["no-such"]}, KeyError, "no-such"),
    "a negative user": (["a"], {"user": -1}, ValueError, "uid must be 0 … 4294967294, not -1"),
    "an empty cwd": (["a"], {"cwd": ""}, ValueError, "cwd '': must not be empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARGUMENTS)
def test_a_bad_argument_is_refused(case: str) -> None:
    args, popen, kind, why = ARGUMENTS[case]
    before = inside.descriptors()
    popen = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **popen}
    with pytest.raises(kind, match=why):
        Popen(args, **popen)
    after = inside.descriptors()
    assert {fd: link for fd, link in after.items() if before.get(fd) != link} == {}


@pytest.mark.parametrize("unheeded", [{"close_fds": True}, {"preexec_fn": None}, {"umask": -1}])
def test_what_subprocess_has_as_default_may_be_said(unheeded: dict[str, Any]) -> None:
    assert run(["true"], DIRECT, **unheeded).returncode == 0


def test_a_stream_that_is_not_open() -> None:
    with pytest.raises(BootstrapError, match="descriptor 999: Bad file descriptor"):
        Popen(["true"], DIRECT, stdin=999)


def test_pipes_that_cannot_all_be_made_are_closed() -> None:
    script = """
import os, resource
from nsenter.popen import run
run(["true"])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
refused = 0
for more in range(12):
    open_now = sorted(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now[-2] + 1 + more, hard))
    try:
        run(["cat"], input=b"x", capture_output=True)
    except OSError as error:
        refused += 1
        assert error.errno == 24, error
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert sorted(map(int, os.listdir("/proc/self/fd"))) == open_now
assert 4 < refused < 12, refused
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# ---- the namespaces

NAMESPACES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "an unknown kind": ({"new": "pid,nonsense"}, ValueError, "nonsense"),
    "a hostname of ours": ({"hostname": "x"}, ValueError, "hostname 'x' requires a new or join"),
    "maps of nobody": ({"maps": "root"}, ValueError, "maps='root' requires a new user"),
    "joined and new": (
        {"join": {"net": "/proc/1/ns/net"}, "new": "net"}, ValueError, "this one is joined already",
    ),
    "a process that is none": ({"join": 2**22 + 1}, ProcessLookupError, "join=4194305: No such"),
    "nothing to join": ({"join": 2.5}, TypeError, "join=2.5: expected a pid"),
    "a network by a wrong name": (
        {"join": {"net": "no-such-net"}}, FileNotFoundError,
        r"open net:/run/netns/no-such-net: No such file or directory \(.*the path is wrong\)",
    ),
    "a path that is no namespace": (
        {"join": {"uts": "/etc/passwd"}}, BootstrapError, r"/etc/passwd: Invalid argument \(it is",
    ),
    "another kind": (
        {"join": {"uts": "/proc/self/ns/ipc"}}, BootstrapError, "namespace of another type",
    ),
    "a cgroup that is none": (
        {"cgroup": "/sys/fs/cgroup/no-such"}, FileNotFoundError, "no-such",
    ),
    "ids that are mapped twice": (
        {"new": "user", "maps": IDMappings((IDMap(0, 0, 2), IDMap(1, 5, 1)), ())}, ValueError, "1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMESPACES)
def test_namespaces_that_cannot_be_had(case: str) -> None:
    fields, kind, why = NAMESPACES[case]
    with pytest.raises(kind, match=why):
        run(["true"], Options(**fields), capture_output=True)


LIMITED = """
from pathlib import Path
from nsenter.options import Options
from nsenter.popen import run
try:
    Path("/proc/sys/user/max_uts_namespaces").write_text("0")
    run(["true"], Options(new="uts"))
except OSError as error:
    print(type(error).__name__, error)
"""


def test_a_limit_on_namespaces_that_is_reached() -> None:
    words = [sys.executable, "-c", LIMITED]
    env = {**os.environ, "PYTHONPATH": launching.PYTHONPATH}
    done = run(words, Options(new="user"), env=env, capture_output=True, text=True)
    assert done.stdout.startswith("BootstrapError launcher: clone uts: No space left on device"), (
        done
    )
    assert "sysctl user.max_uts_namespaces is 0: sysctl -w user.max_uts_namespaces=" in done.stdout


REFUSED = """
import sys
from nsenter.options import Options
from nsenter.popen import run
for new in "pid", "net":
    try:
        run(["true"], Options(new=new))
    except PermissionError as error:
        print(error)
try:
    from nsenter.idmap import IDMap, IDMappings
    maps = IDMappings((IDMap(0, 5000, 1),), (IDMap(0, 5000, 1),))
    run(["true"], Options(new="user", maps=maps))
except PermissionError as error:
    print(error)
try:
    run(["true"], Options(join=1))
except PermissionError as error:
    print(error)
"""


def test_what_a_user_may_not_do_is_a_permission_error() -> None:
    done = rootless.as_user(
        ["env", f"PYTHONPATH={launching.PYTHONPATH}", "PATH=/usr/bin:/bin", sys.executable, "-c",
         REFUSED], subids=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pid, net, maps, join = done.stdout.splitlines()
    for said, where in ((pid, "parent: clone3 pid"), (net, "launcher: clone net")):
        assert said.startswith(f"{where}: Operation not permitted (")
        assert "has no CAP_SYS_ADMIN: create a user namespace too" in said
    assert "Operation not permitted" in maps and "/etc/subuid" in maps
    assert join == (
        "launcher: open /proc/1/ns/user: Permission denied "
        "(it belongs to another user: run as that user or as root)"
    )


# ---- the error as a value


@pytest.mark.parametrize("words", [None, "it is elsewhere"])
def test_an_error_travels_whole(words: str | None) -> None:
    error = failed(["/no/such"], DIRECT)
    if words:
        error.strerror = words
    for copied in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert isinstance(copied, BootstrapError) and isinstance(copied, FileNotFoundError)
        assert str(copied) == str(error)
        assert copied.__dict__ == error.__dict__
        assert (copied.errno, copied.filename, copied.args) == (2, "/no/such", error.args)


@pytest.mark.parametrize("number", range(1, 134))
def test_an_error_is_of_the_class_that_python_has_for_its_errno(number: int) -> None:
    error = BootstrapError("init", "open", "/x", number)
    assert isinstance(error, type(OSError(number, "")))
    assert type(error).__name__ == "BootstrapError"
    assert (error.errno, error.strerror) == (number, os.strerror(number))
    assert type(BootstrapError("init", "open", "/x", number)) is type(error)


def test_what_is_no_file_is_no_filename() -> None:
    assert BootstrapError("child", "unshare", "net", 1).filename is None
