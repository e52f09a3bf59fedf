# SPDX-License-Identifier: Apache-2.0
"""Where namespaces are forbidden: nothing runs, or Landlock isolates what runs, and it is said."""

from __future__ import annotations

import ast
import errno
import os

import pytest

import without_namespaces
from nsenter import BootstrapError, Options, Sandbox, seccomp
from nsenter._sandbox import ladder
from nsenter._sandbox.landlock_filter import strict_without_namespaces
from nsenter._sandbox.parts import Part

LONG = 60.0
START = """
import nsenter, os, sys
def python(code): return [sys.executable, "-I", "-S", "-c", code]
box = nsenter.Sandbox(fallback="landlock", timeout=60, limits="best effort")
"""


def inside(code: str) -> object:
    """What a program prints that a sandbox isolates by Landlock alone, as a value of Python."""
    script = f"""{START}
with box:
    result = box.run(python({code!r}))
print((result.isolated_by, result.stdout.decode(), result.stderr.decode()))
"""
    isolated_by, output, errors = ast.literal_eval(without_namespaces.run(script))
    assert isolated_by == "landlock"
    assert errors == ""
    return ast.literal_eval(output)


def test_without_the_fallback_the_error_says_what_is_in_the_way() -> None:
    script = "import nsenter; result = nsenter.Sandbox().run(['true']); "
    script += "print(result.verdict, result.error)"
    said = without_namespaces.run(script)
    assert said.startswith("not_started ")
    assert "sysctl -w user.max_user_namespaces" in said


def test_with_the_fallback_the_result_says_what_isolated_it() -> None:
    script = f"""{START}
with box:
    result = box.run(["true"])
    print(result.ok, result.isolated_by, box.isolated_by, box.no_namespaces)
"""
    assert without_namespaces.run(script).startswith("True landlock landlock parent: clone")


def test_where_there_are_namespaces_they_are_used() -> None:
    with Sandbox(fallback="landlock", timeout=LONG) as box:
        result = box.run(["true"])
        assert (result.ok, result.isolated_by, box.no_namespaces) == (True, "namespaces", None)
        assert box.call(sum, [1, 2]) == 3


# ---- what requires namespaces is refused


class Network(Part):
    """Some network."""


@pytest.mark.parametrize(
    "fields",
    [
        {"root": "/"}, {"workspace": "/tmp"}, {"tmp_size": "1M"}, {"network": Network()},
        {"options": Options(new="all")}, {"hostname": "x"}, {"new": "user"}, {"uid": 0},
        {"seccomp": None}, {"capabilities": ("CAP_CHOWN",)},
    ],
    ids=lambda fields: next(iter(fields)),
)  # fmt: skip
def test_what_requires_namespaces_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(fields))}: fallback="):
        Sandbox(fallback="landlock", **fields)  # type: ignore[arg-type]


def test_another_word_is_refused() -> None:
    with pytest.raises(ValueError, match="landlock"):
        Sandbox(fallback="chroot")


def test_a_call_and_a_run_after_it_was_closed_are_refused() -> None:
    script = f"""{START}
with box:
    try: box.call(sum, [1])
    except ValueError as error: print(error)
try: box.run(["true"])
except ValueError as error: print(error)
"""
    said = without_namespaces.run(script)
    assert "requires namespaces" in said
    assert "requires an open sandbox" in said


# ---- what it isolates

TRIES = """
import ctypes, os, signal, socket
call = ctypes.CDLL(None, use_errno=True).syscall
found = {}
def attempt(name, function):
    try: found[name] = function() and "worked"
    except (OSError, ValueError) as error: found[name] = type(error).__name__
def write(path):
    with open(path, "w") as file: file.write("x")
    return True
def made(number, *arguments):
    ctypes.set_errno(0)
    if call(number, *arguments) < 0: raise OSError(ctypes.get_errno(), "")
    return True
def pair(kind):
    one, two = socket.socketpair(socket.AF_UNIX, kind); one.close(); two.close(); return True
attempt("read", lambda: open("/etc/passwd").read())
attempt("list", lambda: os.listdir("/"))
attempt("proc", lambda: os.listdir("/proc"))
attempt("write", lambda: write("/tmp/elsewhere"))
attempt("home", lambda: write(os.environ["HOME"] + "/file"))
attempt("null", lambda: write("/dev/null"))
attempt("chmod", lambda: os.chmod(os.environ["HOME"], 0o777) or True)
attempt("times", lambda: os.utime(os.environ["HOME"]) or True)
attempt("attribute", lambda: os.setxattr(os.environ["HOME"], "user.x", b"") or True)
attempt("unix", lambda: socket.socket(socket.AF_UNIX).fileno())
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).fileno())
attempt("tcp", lambda: socket.socket(socket.AF_INET).fileno())
attempt("stream pair", lambda: pair(socket.SOCK_STREAM))
attempt("datagram pair", lambda: pair(socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
attempt("signal", lambda: os.kill(PARENT, 0) or True)
attempt("session", lambda: os.setsid())
attempt("group", lambda: os.setpgid(0, 0) or True)
attempt("shared memory", lambda: made(SHMGET, 0, 4096, 0o1600))
attempt("limits of itself", lambda: made(PRLIMIT, 0, 7, None, ctypes.create_string_buffer(16)))
attempt("limits of others", lambda: made(PRLIMIT, PARENT, 7, None, ctypes.create_string_buffer(16)))
attempt("namespace", lambda: made(UNSHARE, 0x10000000))
print(found)
"""
NOWHERE = {
    "read": "PermissionError", "list": "PermissionError", "proc": "PermissionError",
    "write": "PermissionError", "home": "worked", "null": "worked", "chmod": "PermissionError",
    "times": "PermissionError", "attribute": "PermissionError", "unix": "OSError",
    "udp": "OSError", "tcp": "OSError", "stream pair": "worked", "datagram pair": "OSError",
    "signal": "PermissionError", "session": "PermissionError", "group": "PermissionError",
    "shared memory": "PermissionError", "limits of itself": "worked",
    "limits of others": "PermissionError", "namespace": "PermissionError",
}  # fmt: skip
NUMBERS = {"x86_64": (29, 302, 272), "aarch64": (194, 261, 97)}[os.uname().machine]


def test_hostile_code_gets_nowhere_by_landlock_alone() -> None:
    shmget, prlimit, unshare = NUMBERS
    code = f"PARENT, SHMGET, PRLIMIT, UNSHARE = 1, {shmget}, {prlimit}, {unshare}\n{TRIES}"
    assert inside(code) == NOWHERE


def test_without_the_sandbox_much_of_it_works() -> None:
    shmget, prlimit, unshare = NUMBERS
    code = f"PARENT, SHMGET, PRLIMIT, UNSHARE = 1, {shmget}, {prlimit}, {unshare}\n{TRIES}"
    script = f"import os, tempfile\nos.environ['HOME'] = tempfile.mkdtemp()\n{code}"
    found = ast.literal_eval(without_namespaces.run(script))
    same = {name for name, outcome in NOWHERE.items() if found[name] == outcome}
    # The last one is what forbids namespaces; the process leads a session already.
    assert same <= {
        "home",
        "null",
        "stream pair",
        "limits of itself",
        "session",
        "group",
        "attribute",
    }


@pytest.mark.parametrize("rest", ["", "time.sleep(1000)"], ids=["it exits", "it is killed"])
def test_nothing_outlives_a_run(rest: str) -> None:
    code = f"""
import os, time
for _ in range(3):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    os.wait()
print("forked", flush=True)
{rest}
"""
    script = f"""{START}
import time
from nsenter._launch import limited_start
limited_start._make_tree = lambda *args: None  # no cgroup, which would also end everything
with box:
    for seconds in (0.5, 4.0, 30.0):
        result = box.run(python({code!r}), timeout=seconds)
        if result.stdout: break
left = [1]
for _ in range(3000):  # a process that was killed takes a moment
    left = set(filter(str.isdigit, os.listdir("/proc"))) - {{str(os.getpid()), "1"}}
    if not left: break
    time.sleep(0.01)
print(result.verdict, [*left])
"""
    assert without_namespaces.run(script) == f"{'timeout' if rest else 'exited'} []\n"


def test_its_temporary_directory_is_removed_whatever_is_in_it() -> None:
    code = "import os; os.umask(0o777); os.makedirs('a'); os.symlink('/', 'b'); os.mkfifo('c')"
    script = f"""{START}
import glob, tempfile
tempfile.tempdir = tempfile.mkdtemp()
with box:
    print(box.run(python({code!r})).returncode, len(os.listdir(tempfile.tempdir)), end=" ")
print(os.listdir(tempfile.tempdir))
"""
    assert without_namespaces.run(script) == "0 1 []\n"


def test_its_runs_are_explained() -> None:
    script = f"""{START}
with box:
    result = box.run(python("import os; os.setsid()"), explain=True)
print([(d.call, d.error) for d in result.denied])
"""
    assert ast.literal_eval(without_namespaces.run(script)) == [("setsid", "EPERM")]


@pytest.mark.skipif(os.geteuid() != 0, reason="what only root can fall from")
def test_root_is_nobody_by_landlock_too(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = BootstrapError("parent", "clone3", "user", errno.EPERM)
    monkeypatch.setattr(ladder, "why_no_namespaces", lambda: refusal)
    script = "id -u; id -G; cat /etc/shadow; touch file 2> /dev/null; ls"
    with Sandbox(fallback="landlock", timeout=LONG) as box:
        result = box.run(["sh", "-c", script])
    assert result.stdout == b"65534\n65534\nfile\n"
    assert b"/etc/shadow: Permission denied" in result.stderr
    assert result.isolated_by == "landlock"


def test_the_filter_fits_into_the_kernel() -> None:
    for network in (False, True):
        code, _ = seccomp.encode(strict_without_namespaces(network))
        assert len(code) // 8 <= 4096


def test_the_network_of_the_caller_can_be_used() -> None:
    script = f"""{START.replace("timeout=60", 'timeout=60, network="host"')}
code = "import socket; socket.socket(socket.AF_INET); "
with box:
    print(box.run(python(code)).returncode, box.run(python(code + "socket.socket(1)")).returncode)
"""
    assert without_namespaces.run(script) == "0 1\n"


def test_paths_can_be_read_or_written() -> None:
    code = "print(open(sys.argv[1] + '/in').read(), open(sys.argv[2] + '/out', 'w').write('xy'))"
    script = f"""{START}
import tempfile
read, write = tempfile.mkdtemp(), tempfile.mkdtemp()
open(read + "/in", "w").write("words")
with nsenter.Sandbox(fallback="landlock", read=[read], write=[write]) as box:
    one = box.run([*python("import sys; " + {code!r}), read, write])
    two = box.run([*python("import sys; " + {code!r}), read, read])
print(one.stdout, two.returncode, open(write + "/out").read())
"""
    assert without_namespaces.run(script) == "b'words 2\\n' 1 xy\n"
