# SPDX-License-Identifier: Apache-2.0
"""Payloads that try to get out of `presets.sandbox`, as data, and what came of each: the same for
root and a user.

Each is a Python program that sets `got`. It is run in the sandbox, where it gets nowhere, and
where something can be taken away from the sandbox for it to get somewhere, without that as well: it
then is shown to be an attack.

As a script (an unprivileged user runs it, see `as_the_user`) it prints in JSON what came of each.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nsenter
import rootless
from launching import PYTHONPATH, SECONDS
from nsenter import Options, presets, seccomp

Host = dict[str, Any]
Fields = dict[str, Any]

SECRET = "of the host"
_IPC_CREAT, _IPC_RMID = 0o1000, 0
# Root in the sandbox's namespaces, to whom no system call is denied.
ALMIGHTY: Fields = {"maps": "root", "uid": 0, "gid": 0, "capabilities": None, "seccomp": None}
UNFILTERED: Fields = {"seccomp": None}
NO_SANDBOX: Fields = {"new": ""}

PRELUDE = """
import ctypes, errno, glob, json, os, signal, socket, sys, time
host = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)

def do(name, *words):
    '''A system call: what it returns, or the name of its error.'''
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
    result = libc.syscall(host["numbers"].get(name, name), *words)
    return errno.errorcode[ctypes.get_errno()] if result == -1 else result

def tried(function, *args, **kwargs):
    try:
        return function(*args, **kwargs)
    except OSError as error:
        return errno.errorcode[error.errno]

def read(path):
    with open(path) as file:
        return file.read()

def tried_shm(key):
    return errno.errorcode[ctypes.get_errno()] if libc.shmget(key, 0, 0) == -1 else "found"

def has_secret(path):
    return tried(read, path) == "of the host"
"""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """A payload.

    Args:
        code: the program.
        nowhere: what `got` is where it got nowhere.
        fields: of the sandbox, besides.
        without: what of the sandbox is other so that it gets somewhere, for these folders and
            sockets of the host; None: there is no such thing.
        somewhere: what `got` is then; None: anything else.
    """

    name: str
    code: str
    nowhere: object
    fields: Fields = field(default_factory=dict)
    without: Callable[[Host], Fields] | None = None
    somewhere: object = None


ATTACKS = [
    # --- files
    Attack(
        name="a-file-by-its-path",
        code="got = has_secret(host['secret'])",
        nowhere=False,
        without=lambda host: {"read": [host["folder"]]},
        somewhere=True,
    ),
    Attack(
        name="a-file-by-a-link",
        code="os.symlink(host['secret'], '/tmp/link'); got = has_secret('/tmp/link')",
        nowhere=False,
        without=lambda host: {"read": [host["folder"]]},
        somewhere=True,
    ),
    Attack(
        name="a-file-above-the-root",
        code="""
up = "/".join([".."] * 30)
got = [has_secret(f"{up}{host['secret']}"), os.stat(up).st_ino == os.stat("/").st_ino]
for way in ("/proc/self/cwd", "/proc/self/root", "/proc/self/fd"):
    got.append(has_secret(f"{way}/{up}{host['secret']}"))
""",
        nowhere=[False, True, False, False, False],
        without=lambda host: {"read": [host["folder"]]},
        somewhere=[True] * 5,
    ),
    Attack(
        name="a-file-by-a-processs-root",
        code="""
got = sorted({
    has_secret(f"{process}/{way}{host['secret']}")
    for process in glob.glob("/proc/[0-9]*") for way in ("root", "cwd", "task/1/root")
})
""",
        nowhere=[False],
        without=lambda host: {"read": [host["folder"]]},
        somewhere=[False, True],
    ),
    Attack(
        name="a-file-by-mountinfo",
        code="""
rows = [line.split() for line in read("/proc/self/mountinfo").splitlines()]
places = {place for row in rows for place in (row[3], row[4])}
got = [place for place in places if has_secret(f"{place.rstrip('/')}{host['secret']}")]
got += [row[4] for row in rows if row[4] == "/" and "tmpfs" not in row]
""",
        nowhere=[],
        without=lambda host: NO_SANDBOX,
    ),
    Attack(
        name="a-file-by-chroot-with-all-capabilities",
        code="""
os.mkdir("/tmp/deep"); below = os.open("/", os.O_RDONLY)
got = [tried(os.chroot, "/tmp/deep"), tried(os.fchdir, below)]
for _ in range(30): os.chdir("..")
got += [tried(os.chroot, "."), has_secret(host["secret"])]
""",
        fields=ALMIGHTY,
        nowhere=[None, None, None, False],
        without=lambda host: {"read": [host["folder"]]},
        somewhere=[None, None, None, True],
    ),
    Attack(
        name="a-file-by-unmounting-what-covers-it",
        code="""
places = [line.split()[4] for line in read("/proc/self/mountinfo").splitlines()]
got = [place for place in reversed(places) if do("umount2", place.encode(), 2) == 0]
got = got != [] or has_secret(host["secret"])
""",
        nowhere=False,
        without=lambda host: ALMIGHTY,
        somewhere=True,
    ),
    Attack(
        name="a-file-below-the-mounts-with-all-capabilities",
        code="""
for _ in range(3):
    for line in read("/proc/self/mountinfo").splitlines()[::-1]:
        if line.split()[4] not in ("/proc", "/"): do("umount2", line.split()[4].encode(), 2)
do("umount2", b"/", 2); os.chdir("/")
got = [has_secret(host["secret"]), has_secret("/proc/1/root" + host["secret"])]
""",
        fields=ALMIGHTY,
        nowhere=[False, False],
    ),
    Attack(
        name="a-file-by-its-handle",
        code="""
handle = (ctypes.c_uint * 34)(128, 0); mount = ctypes.c_int()
libc.name_to_handle_at(-100, b"/usr", handle, ctypes.byref(mount), 0)
fd = os.open("/usr", os.O_RDONLY)
got = do("open_by_handle_at", fd, handle, 0)
""",
        nowhere="EPERM",
    ),
    Attack(
        name="writes",
        code="""
got = []
for top, folders, _ in os.walk("/"):
    if top.count("/") > 3 or top == "/proc": folders.clear()
    place = f"{top.rstrip('/')}/written"
    if top != "/proc" and not isinstance(tried(open, place, "x"), str): got.append(top)
own = {os.stat(place).st_dev for place in ("/tmp", "/dev", "/dev/shm")}
got = [place for place in got if os.stat(place).st_dev not in own]
""",
        nowhere=[],
        without=lambda host: {"mounts": [nsenter.Tmpfs("/mine", mode=0o777)]},
        somewhere=["/mine"],
    ),
    Attack(
        name="writes-through-a-read-only-bind",
        code="""
path = host["secret"]
ways = [
    lambda: os.open(path, os.O_WRONLY), lambda: os.open(path, os.O_RDWR | os.O_TRUNC),
    lambda: os.truncate(path, 0), lambda: os.chmod(path, 0o777), lambda: os.utime(path),
    lambda: os.unlink(path), lambda: os.rename(path, path + "2"), lambda: os.link(path, path + "2"),
    lambda: os.setxattr(path, "user.x", b""), lambda: os.mkdir(path + "3"),
    lambda: os.open(f"/proc/self/fd/{os.open(path, os.O_RDONLY)}", os.O_WRONLY),
    lambda: os.open(f"/proc/self/fd/{os.open(path, os.O_PATH)}", os.O_RDWR),
]
got = {tried(way) for way in ways}
got = [has_secret(path), got <= {"EROFS", "EPERM", "EACCES", "ENOTSUP"}]
""",
        fields={"read": "folder"},
        nowhere=[True, True],
    ),
    Attack(
        name="settings-of-the-kernel",
        code="""
def put_back(path):
    fd = os.open(path, os.O_RDWR)
    return os.write(fd, os.read(fd, 4096) or b"\\n") > 0
found = [*glob.glob("/proc/sys/**", recursive=True), "/proc/sysrq-trigger"]
files = [path for path in found if os.path.isfile(path)]
got = len(files) > 300 and any(tried(put_back, path) is True for path in files)
""",
        nowhere=False,
        without=lambda host: ALMIGHTY,
        somewhere=True,
    ),
    Attack(
        name="the-memory-of-the-machine",
        code="""
paths = [f"/proc/{name}" for name in ("kcore", "kmsg", "kpagecount", "sysrq-trigger")]
got = {tried(os.open, path, mode) for path in paths for mode in (os.O_RDONLY, os.O_WRONLY)}
got = sorted(map(str, got - {"EACCES", "EPERM", "ENOENT"}))
""",
        nowhere=[],
    ),
    Attack(
        name="devices",
        code="""
ways = [tried(os.mknod, f"/tmp/{kind}", kind | 0o666, os.makedev(1, 1)) for kind in (8192, 24576)]
got = [*ways, sorted({*os.listdir("/dev")})]
""",
        nowhere=[
            *("EPERM", "EPERM"),
            sorted("fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split()),
        ],
    ),
    # --- processes
    Attack(
        name="the-caller",
        code="""
pid = host["pid"]
got = [tried(os.kill, pid, 0), str(tried(os.pidfd_open, pid)), os.path.exists(f"/proc/{pid}"),
       tried(os.getpgid, pid), str(tried(os.sched_getaffinity, pid))]
""",
        nowhere=["ESRCH", "ESRCH", False, "ESRCH", "ESRCH"],
        without=lambda host: NO_SANDBOX,
    ),
    Attack(
        name="its-init-with-all-capabilities",
        code="""
def reached(pid):
    names = ("mem", "environ", "maps", "exe", "root", "cwd", "fd/1", "ns/mnt")
    ways = [name for name in names if not isinstance(
        tried(os.open, f"/proc/{pid}/{name}", os.O_RDONLY), str)]
    pidfd = os.pidfd_open(pid)
    ways += [str(n) for n in range(10) if isinstance(do("pidfd_getfd", pidfd, n, 0), int)]
    ways += ["trace"] if do("ptrace", 16, pid, 0, 0) == 0 else []
    return ways
child = os.fork()
if not child: signal.pause()
got = [reached(1), reached(child)]
os.kill(1, signal.SIGKILL); os.kill(1, signal.SIGSTOP)
""",
        fields=ALMIGHTY,
        nowhere=[
            [],
            [*"mem environ maps exe root cwd fd/1 ns/mnt".split(), *("0", "1", "2"), "trace"],
        ],
    ),
    Attack(
        name="its-init-by-kill",
        code="""
for number in (signal.SIGKILL, signal.SIGSTOP): tried(os.kill, 1, number)
time.sleep(0.05)
got = "here still"
""",
        nowhere="here still",
    ),
    Attack(
        name="tracing",
        code="""
child = os.fork()
if not child: signal.pause()
room = ctypes.create_string_buffer(8); vector = (ctypes.c_ulong * 2)(ctypes.addressof(room), 8)
got = [do("ptrace", 16, child, 0, 0), do("process_vm_readv", child, vector, 1, vector, 1, 0),
       do("process_vm_writev", child, vector, 1, vector, 1, 0),
       str(do("pidfd_getfd", os.pidfd_open(child), 0, 0))]
os.kill(child, 9)
""",
        nowhere=["EPERM"] * 4,
        without=lambda host: UNFILTERED,
    ),
    Attack(
        name="a-fork-bomb",
        code="""
signal.alarm(20)
try:
    for got in range(60):
        if not os.fork(): signal.pause()
except BlockingIOError: got = got < 12
""",
        fields={"rlimits": {"nproc": 12}},
        nowhere=True,
        without=lambda host: {"rlimits": {}},
        somewhere=59,
    ),
    Attack(
        name="a-memory-bomb",
        code="""
try: got = len(bytearray(768 << 20))
except MemoryError: got = "no"
""",
        fields={"rlimits": {"as": 512 << 20}},
        nowhere="no",
        without=lambda host: {"rlimits": {}},
        somewhere=768 << 20,
    ),
    # --- system calls
    Attack(
        name="mounts",
        code="""
attributes = (ctypes.c_ulong * 4)(0, 1, 0, 0)
got = [
    do("mount", b"x", b"/tmp", b"tmpfs", 0, 0), do("mount", b"/", b"/tmp", 0, 4096, 0),
    do("mount", b"x", b"/", b"", 32 | 4096, 0), do("umount2", b"/tmp", 2),
    do("pivot_root", b"/tmp", b"/tmp"), do("chroot", b"/tmp"), do("fsopen", b"tmpfs", 0),
    do("open_tree", -100, b"/", 1), do("move_mount", 0, b"", -100, b"/tmp", 4),
    do("mount_setattr", -100, b"/", 0, attributes, 32), do("fspick", -100, b"/", 0),
]
""",
        nowhere=["EPERM"] * 11,
        without=lambda host: ALMIGHTY,
    ),
    Attack(
        name="proc-anew-with-all-capabilities",
        code="""
os.mkdir("/tmp/proc")
got = [do("mount", b"proc", b"/tmp/proc", b"proc", 0, 0)]
got += [sorted(int(name) for name in os.listdir("/tmp/proc") if name.isdigit())]
""",
        fields=ALMIGHTY,
        nowhere=[0, [1, 2]],
    ),
    Attack(
        name="keyrings",
        code="""
got = [do("add_key", b"user", b"nsenter", b"x", 1, -2), do("keyctl", 0, -3, 0),
       do("request_key", b"user", b"nsenter", 0, 0)]
""",
        nowhere=["EPERM"] * 3,
        without=lambda host: UNFILTERED,
    ),
    Attack(
        name="new-namespaces",
        code="""
flags = [1 << 17, *(1 << n for n in range(25, 31))]
def cloned(number, *words):
    result = do(number, *words)
    if result == 0: os._exit(0)
    return result if isinstance(result, str) else "made"
def cloned3(flag):
    request = (ctypes.c_ulong * 8)(flag, 0, 0, 0, 17)
    return cloned("clone3", request, 64)
high = [flag | 1 << 40 for flag in flags]  # which the kernel does not look at
got = sorted({str(do("unshare", flag)) for flag in (*flags, 128)}
             | {cloned("clone", flag | 17, 0, 0, 0, 0) for flag in flags + high})
got += sorted({cloned3(flag) for flag in (*flags, 128)})
got += [do("setns", os.open("/proc/self/ns/user", os.O_RDONLY), 0)]
""",
        nowhere=["EPERM", "ENOSYS", "EPERM"],
        without=lambda host: UNFILTERED,
    ),
    Attack(
        name="large-parts-of-the-kernel",
        code="""
room = ctypes.create_string_buffer(256)
got = [do("io_uring_setup", 4, room), do("userfaultfd", 1), do("bpf", 0, room, 64),
       do("perf_event_open", room, 0, -1, -1, 0)]
""",
        nowhere=["ENOSYS", "EPERM", "EPERM", "EPERM"],
        without=lambda host: UNFILTERED,
    ),
    Attack(
        name="sockets-that-are-in-no-namespace",
        code="""
families = [socket.AF_PACKET, socket.AF_VSOCK, 38, 9, 21, 29, 31, 39, 42, 43, 44]
pairs = [(family, kind) for family in families for kind in (1, 2, 3, 5)]
got = sorted({str(tried(socket.socket, *pair)) for pair in pairs})
got += [type(socket.socket(family)).__name__ for family in (1, 2, 10)]
""",
        nowhere=["EAFNOSUPPORT", *["socket"] * 3],
        without=lambda host: UNFILTERED,
    ),
    # --- the network
    Attack(
        name="the-hosts-sockets",
        code="""
def reached(family, address):
    with socket.socket(family) as ours:
        ours.settimeout(20)
        return tried(ours.connect, address)
got = [reached(socket.AF_INET, ("127.0.0.1", host["port"])),
       reached(socket.AF_UNIX, "\\0" + host["abstract"]), reached(socket.AF_UNIX, host["socket"])]
""",
        nowhere=["ECONNREFUSED", "ECONNREFUSED", "ENOENT"],
        without=lambda host: {
            "new": "user,mnt,pid,ipc,uts,cgroup",
            "loopback": False,
            "write": [host["folder"]],
        },
        somewhere=[None, None, None],
    ),
    Attack(
        name="the-hosts-shared-memory",
        code="""
got = [tried_shm(host["shm_key"]), os.path.exists(host["shm_file"])]
""",
        nowhere=["ENOENT", False],
        without=lambda host: NO_SANDBOX,
        somewhere=["found", True],
    ),
    Attack(
        name="the-executable",
        code="""
path = "/proc/self/exe"
ways = [lambda: os.open(path, os.O_WRONLY), lambda: os.open(path, os.O_RDWR | os.O_TRUNC),
        lambda: os.truncate(path, 0), lambda: os.chmod(path, 0), lambda: os.utime(path, (0, 0)),
        lambda: os.setxattr(path, "user.x", b"")]
got = [tried(way) for way in ways if not isinstance(tried(way), str)]
got += [tried(os.open, "/proc/1/exe", os.O_PATH)]
""",
        nowhere=["EACCES"],
    ),
]


def options(fields: Fields, host: Host) -> Options:
    """The sandbox; a `read` or `write` may name something of the host."""
    fields = dict(fields)
    if fields.get("new") == "":
        return Options()
    for name in ("read", "write"):
        if isinstance(fields.get(name), str):
            fields[name] = [host[fields[name]]]
    return presets.sandbox(**fields)


def outcome(attack: Attack, host: Host, fields: Fields) -> object:
    """What a payload got."""
    code = f"{PRELUDE}\n{attack.code}\nprint(json.dumps(got)); sys.stdout.flush(); os._exit(0)"
    done = nsenter.run(
        [sys.executable, "-c", code, json.dumps(host)],
        options(fields, host), stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS,
    )  # fmt: skip
    if done.returncode:
        return {"status": done.returncode, "stderr": done.stderr.decode()}
    return json.loads(done.stdout)


def outcomes(attack: Attack, host: Host) -> list[object]:
    """In the sandbox, and without what stops it there."""
    found = [outcome(attack, host, attack.fields)]
    if attack.without is not None:
        found.append(outcome(attack, host, {**attack.fields, **attack.without(host)}))
    return found


@contextlib.contextmanager
def _shared_memory() -> Iterator[int]:
    """The key of a segment of System V that anybody may attach."""
    libc = ctypes.CDLL(None, use_errno=True)
    key = 0x6E730000 | os.getpid() & 0xFFFF
    segment = libc.shmget(key, 4096, _IPC_CREAT | 0o666)
    assert segment >= 0, os.strerror(ctypes.get_errno())
    try:
        yield key
    finally:
        libc.shmctl(segment, _IPC_RMID, None)


@contextlib.contextmanager
def on_the_host() -> Iterator[Host]:
    """What payloads are after."""
    numbers = seccomp._numbers(seccomp._ARCHITECTURES[os.uname().machine][1])
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o777)
        (folder / "secret").write_text(SECRET)
        (folder / "secret").chmod(0o666)
        tcp, abstract, named = (
            stack.enter_context(socket.socket(family))
            for family in (socket.AF_INET, socket.AF_UNIX, socket.AF_UNIX)
        )
        tcp.bind(("127.0.0.1", 0))
        name = f"nsenter-{os.urandom(4).hex()}"  # other runs have the same pids
        abstract.bind(f"\0{name}")
        named.bind(f"{folder}/socket")
        (folder / "socket").chmod(0o666)
        for listener in (tcp, abstract, named):
            listener.listen()
        yield {
            "shm_key": stack.enter_context(_shared_memory()),
            "shm_file": stack.enter_context(tempfile.NamedTemporaryFile(dir="/dev/shm")).name,
            "folder": str(folder),
            "secret": f"{folder}/secret",
            "socket": f"{folder}/socket",
            "abstract": name,
            "port": tcp.getsockname()[1],
            "pid": os.getpid(),
            "numbers": numbers,
        }


def as_the_user() -> dict[str, list[object]]:
    """What came of each, in the sandbox of an unprivileged user."""
    words = ["env", f"PYTHONPATH={PYTHONPATH}", sys.executable, "-m", "hostile"]
    done = rootless.as_user(words)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[object]] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    with on_the_host() as host:
        json.dump({attack.name: outcomes(attack, host) for attack in ATTACKS}, sys.stdout)
