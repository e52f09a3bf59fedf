# SPDX-License-Identifier: Apache-2.0
"""pyrunc has the texts that container engines match in a runtime's errors.

An engine decides by them which status it ends with, or which hint it prints. Each row of the table
has a text, who looks for it, and a real container that causes it. The same test checks that
Debian's runc (1.1) prints the same text, unless only a newer runc has it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from libcontainer.runc_messages import errno_text
from pyrunc import Runtime
from sweeps import every

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runc's containers here are root's")

# Who matches which texts, and what follows from it.
DOCKER_NOT_FOUND = "moby, daemon/errors.go: status 127"
DOCKER_DENIED = "moby, daemon/errors.go: status 126"
DOCKER_MOUNT = 'moby, daemon/errors.go: "Are you trying to mount a directory onto a file"'
PODMAN_NOT_FOUND = "podman, libpod/oci_util.go: ErrOCIRuntimeNotFound, status 127"
PODMAN_DENIED = "podman, libpod/oci_util.go: ErrOCIRuntimePermissionDenied, status 126"
PODMAN_GONE = "podman, libpod/oci_conmon_common.go: the container is taken for exited"
CONTAINERD_GONE = "containerd, pkg/process/utils.go: not found"
RUNC = "runc, tests/integration: its own tests, which users' scripts resemble"

# The texts that each of them has, or a part of them.
LOOKED_FOR = {
    DOCKER_NOT_FOUND: "executable file not found|no such file or directory",
    DOCKER_DENIED: "permission denied|is a directory",
    DOCKER_MOUNT: "not a directory",
    PODMAN_NOT_FOUND: "executable file not found in|no such file or directory",
    PODMAN_DENIED: "permission denied|operation not permitted",
    PODMAN_GONE: "does not exist",
    CONTAINERD_GONE: "does not exist|container not running|no such process",
    RUNC: ".",
}


@dataclass(frozen=True)
class Words:
    """A text, and a container that brings it about.

    Args:
        text: what pyrunc says, a regular expression.
        read_by: who looks for it.
        spec: of config.json, by dotted path.
        args: the command.
        in_runc: what Debian's runc says; None: the same text.
    """

    text: str
    read_by: tuple[str, ...] = (RUNC,)
    spec: dict[str, Any] = field(default_factory=dict)
    args: tuple[str, ...] = ("true",)
    in_runc: str | None = None


def bind(source: str, destination: str) -> dict[str, Any]:
    mount = {
        "source": source,
        "destination": destination,
        "type": "bind",
        "options": ["bind"],
    }
    return {"mounts[]": mount}


def hooks(kind: str, *scripts: str, **more: Any) -> dict[str, Any]:
    """Each a script of sh(1)."""
    made = [{"path": "/bin/sh", "args": ["sh", "-c", script]} | more for script in scripts]
    return {f"hooks.{kind}": made}


NOT_FOUND = (DOCKER_NOT_FOUND, PODMAN_NOT_FOUND)
DENIED = (DOCKER_DENIED, PODMAN_DENIED)
IN_RUNC_A_HOOK = r"error running hook #{}: error running hook: "
START = r"unable to start container process: (error during container init: )?"

# What goes wrong with a program, for `run` and for `exec`.
PROGRAMS = {
    "is in no directory of PATH": Words(
        r'exec: "nope": executable file not found in \$PATH', NOT_FOUND, args=("nope",)
    ),
    "is not there": Words(
        'exec: "/nope": stat /nope: no such file or directory', NOT_FOUND, args=("/nope",)
    ),
    "is below a file": Words(
        'exec: "/plain/x": stat /plain/x: not a directory', (DOCKER_MOUNT,), args=("/plain/x",)
    ),
    "cannot be executed": Words('exec: "/plain": permission denied', DENIED, args=("/plain",)),
    "cannot be executed, in PATH": Words(
        r'exec: "unusable": executable file not found in \$PATH', NOT_FOUND, args=("unusable",)
    ),
    "is a directory": Words(
        'exec: "/folder": is a directory: permission denied',
        DENIED,
        args=("/folder",),
        in_runc='exec: "/folder": permission denied',
    ),
    "has no name": Words(r'exec: "": executable file not found in \$PATH', NOT_FOUND, args=("",)),
}

CONTAINERS = {
    "a working directory that is a file": Words(
        r'chdir to cwd \("/plain"\) set in config.json failed: not a directory',
        spec={"process.cwd": "/plain"},
        in_runc="mkdir /plain: not a directory",
    ),
    "a file on a directory": Words(
        f'{START}error mounting "/etc/passwd" to rootfs at "/folder": .*: not a directory',
        (DOCKER_MOUNT,),
        bind("/etc/passwd", "/folder"),
    ),
    "a directory on a file": Words(
        f'{START}error mounting "/etc" to rootfs at "/plain": .*: not a directory',
        (DOCKER_MOUNT,),
        bind("/etc", "/plain"),
    ),
    "a file system on a file": Words(
        f'{START}error mounting "tmpfs" to rootfs at "/plain": .*: not a directory',
        (DOCKER_MOUNT,),
        {"mounts[]": {"source": "tmpfs", "destination": "/plain", "type": "tmpfs"}},
    ),
    "a mount below a file": Words(
        f'{START}error mounting "/etc" to rootfs at "/plain/x": .*: not a directory',
        (DOCKER_MOUNT,),
        bind("/etc", "/plain/x"),
    ),
    "a mount of what is not there": Words(
        f'{START}error mounting "/nope" to rootfs at "/folder": .*: no such file or directory',
        (PODMAN_NOT_FOUND,),
        bind("/nope", "/folder"),
    ),
    "a file system that is none": Words(
        f'{START}error mounting "x" to rootfs at "/folder": .*: no such device',
        spec={"mounts[]": {"source": "x", "destination": "/folder", "type": "nofs"}},
    ),
    "a mount in /proc": Words(
        f"{START}error mounting .* cannot be mounted because it is inside /proc",
        spec=bind("/etc", "/proc/self"),
    ),
    "a root that is not there": Words(
        "invalid rootfs: stat .*/nope: no such file or directory",
        (PODMAN_NOT_FOUND,),
        {"root.path": "nope"},
    ),
    "a name without a namespace": Words(
        "unable to set hostname without a private UTS namespace",
        spec={"linux.namespaces": [{"type": "mount"}, {"type": "pid"}]},
    ),
    "a sysctl of no namespace": Words(
        'sysctl "vm.swappiness" is not in a separate kernel namespace',
        spec={"linux.sysctl": {"vm.swappiness": "1"}},
    ),
    "the second createRuntime hook": Words(
        "error running createRuntime hook #1: .*exit status 3, stdout: out\n, stderr: err\n",
        spec=hooks("createRuntime", "true", "echo out; echo err >&2; exit 3"),
        in_runc=IN_RUNC_A_HOOK.format(1) + "exit status 3, stdout: out\n, stderr: err\n",
    ),
    "a prestart hook that is killed": Words(
        "error running prestart hook #0: .*signal: killed, stdout: , stderr: ",
        spec=hooks("prestart", "kill -9 $$"),
        in_runc=IN_RUNC_A_HOOK.format(0) + "signal: killed, stdout: , stderr: ",
    ),
    "a hook that takes too long": Words(
        "error running createRuntime hook #0: .*hook ran past specified timeout of 1.0s",
        spec=hooks("createRuntime", "exec sleep 1000", timeout=1),
        in_runc="error running hook #0: hook ran past specified timeout of 1.0s",
    ),
    "a hook that is not there": Words(
        "error running createRuntime hook #0: fork/exec /nope: no such file or directory",
        (PODMAN_NOT_FOUND,),
        hooks("createRuntime", "", path="/nope"),
        in_runc="error running hook #0: fork/exec /nope: no such file or directory",
    ),
    "a hook that cannot be executed": Words(
        "error running prestart hook #0: fork/exec /etc/passwd: permission denied",
        (PODMAN_DENIED,),
        hooks("prestart", "", path="/etc/passwd"),
        in_runc="error running hook #0: fork/exec /etc/passwd: permission denied",
    ),
    "a createContainer hook": Words(
        "error running createContainer hook #1: .*exit status 1",
        spec=hooks("createContainer", "true", "false"),
        in_runc=IN_RUNC_A_HOOK.format(1) + "exit status 1",
    ),
    "a createContainer hook that is not there": Words(
        "error running createContainer hook #0: fork/exec /nope: no such file or directory",
        (PODMAN_NOT_FOUND,),
        hooks("createContainer", "", path="/nope"),
        in_runc="error running hook #0: fork/exec /nope: no such file or directory",
    ),
    "a startContainer hook": Words(
        "error running startContainer hook #1: .*exit status 1",
        spec=hooks("startContainer", "true", "false"),
        in_runc=IN_RUNC_A_HOOK.format(1) + "exit status 1",
    ),
    "a startContainer hook that is not there": Words(
        "error running startContainer hook #0: fork/exec /nope: no such file or directory",
        (PODMAN_NOT_FOUND,),
        hooks("startContainer", "", path="/nope"),
        in_runc="error running hook #0: fork/exec /nope: no such file or directory",
    ),
    "a poststart hook": Words(
        "error running poststart hook #1: .*exit status 1, stdout: , stderr: ",
        spec=hooks("poststart", "true", "false"),
        in_runc=IN_RUNC_A_HOOK.format(1) + "exit status 1, stdout: , stderr: ",
    ),
    "a poststop hook": Words(
        "error running poststop hook #1: .*exit status 1, stdout: , stderr: ",
        spec=hooks("poststop", "true", "false"),
        in_runc=IN_RUNC_A_HOOK.format(1) + "exit status 1, stdout: , stderr: ",
    ),
}

# What goes wrong when the program is executed, after which nobody waits for words.
INTERPRETERS = {
    "is for another machine": ("/garbage", "exec /garbage: exec format error"),
    "names an interpreter that is not there": (
        "/badly-interpreted",
        "exec /badly-interpreted: no such file or directory",
    ),
}

# Of a container that is not there ("nope"), runs ("box") or has ended ("ended").
COMMANDS = {
    "state nope": Words("container does not exist", (CONTAINERD_GONE, PODMAN_GONE)),
    "kill nope": Words("container does not exist", (CONTAINERD_GONE,)),
    "delete nope": Words("container does not exist", (CONTAINERD_GONE, PODMAN_GONE)),
    "start nope": Words("container does not exist", (CONTAINERD_GONE,)),
    "exec nope true": Words("container does not exist", (CONTAINERD_GONE,)),
    "pause nope": Words("container does not exist", (CONTAINERD_GONE,)),
    "resume nope": Words("container does not exist", (CONTAINERD_GONE,)),
    "ps nope": Words("container does not exist", (CONTAINERD_GONE,)),
    "update --pids-limit 5 nope": Words("container does not exist", (CONTAINERD_GONE,)),
    "kill ended": Words("container not running", (CONTAINERD_GONE,)),
    "exec ended true": Words("cannot exec in a stopped container"),
    "start ended": Words("cannot start a container that has stopped"),
    "pause ended": Words("container not running"),
    "resume ended": Words("container not paused"),
    "delete box": Words("cannot delete container box that is not stopped: running"),
    "start box": Words("cannot start an already running container"),
    "resume box": Words("container not paused"),
    "run box": Words("container with given ID already exists"),
    "kill box BOGUS": Words('unknown signal "BOGUS"'),
    "state a/b": Words("invalid container ID format"),
}


class Pair:
    """pyrunc, and runc beside it, with bundles of the same root."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ours = Runtime(pyrunc.PYRUNC, folder / "state")
        self.theirs = pyrunc.runc(folder)
        self.root = _root_with_useless_programs(folder / "rootfs")

    def bundle(self, words: Words) -> Path:
        bundle = self.folder / "bundle"
        bundle.mkdir(exist_ok=True)
        from libcontainer.specconv.example import example

        spec = example()
        spec["process"] |= {"terminal": False, "args": list(words.args)}
        spec["root"] |= {"path": str(self.root), "readonly": False}
        # Nobody else's, whatever their containers are called.
        spec["linux"]["cgroupsPath"] = f"/nsx-words-{secrets.token_hex(4)}"
        for path, value in words.spec.items():
            _put(spec, path, value)
        if spec["root"]["path"] == "nope":
            spec["root"]["path"] = str(bundle / "nope")
        (bundle / "config.json").write_text(json.dumps(spec))
        return bundle

    def said(self, runtime: Runtime, words: Words) -> str:
        """By a container, on its way to its end."""
        done = runtime("--log-format", "json", "run", "-b", self.bundle(words), "words")
        runtime("delete", "--force", "words")
        return _plain(done.stderr)


def _root_with_useless_programs(root: Path) -> Path:
    pyrunc.make_root(root)
    for name in ("proc", "sys", "dev", "folder"):
        (root / name).mkdir()
    for name in ("plain", "bin/unusable"):
        (root / name).write_text("text\n")
        (root / name).chmod(0o644)
    (root / "garbage").write_bytes(b"\1\2\3")
    (root / "badly-interpreted").write_text("#!/nope\n")
    for name in ("garbage", "badly-interpreted"):
        (root / name).chmod(0o755)
    return root


def _put(spec: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        spec = spec.setdefault(name, {})
    if last.endswith("[]"):
        spec[last[:-2]].append(value)
    else:
        spec[last] = value


def _plain(log: str) -> str:
    """What the lines of a JSON log say, and lines that are none."""
    lines = log.splitlines()
    return "\n".join(json.loads(line)["msg"] if line[:1] == "{" else line for line in lines)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(tmp_path_factory.mktemp("words"))
    yield made
    for runtime in (made.ours, made.theirs):
        runtime.delete_all()


@pytest.fixture(scope="module")
def boxes(pair: Pair) -> Iterator[tuple[Runtime, Runtime]]:
    """Both, each with a container that runs and one that has ended."""
    for runtime in (pair.ours, pair.theirs):
        for name, args in {"box": ("sleep", "1000"), "ended": ("true",)}.items():
            bundle = pair.bundle(Words("", args=args))
            runtime.good("run", "--detach", "-b", bundle, name, **pyrunc.NO_STREAMS)
        until_stopped(runtime, "ended")
    yield pair.ours, pair.theirs
    for runtime in (pair.ours, pair.theirs):
        runtime.delete_all()


def until_stopped(runtime: Runtime, name: str) -> None:
    for _ in range(1000):
        if runtime.state(name)["status"] == "stopped":
            return
    raise AssertionError(f"{name} does not stop")


def check(words: Words, ours: str, theirs: str) -> None:
    assert re.search(words.text, ours, re.DOTALL), ours
    expected = words.text if words.in_runc is None else words.in_runc
    assert re.search(expected, theirs, re.DOTALL), theirs
    for reader in words.read_by:
        assert re.search(LOOKED_FOR[reader], ours), f"{reader}: {ours}"
        # What is matched by one and not by the other would end with another status.
        assert re.search(LOOKED_FOR[reader], theirs), f"{reader}: {theirs}"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_cannot_run(pair: Pair, name: str) -> None:
    words = PROGRAMS[name]
    ours, theirs = (pair.said(runtime, words) for runtime in (pair.ours, pair.theirs))
    check(words, ours, theirs)
    assert (
        "run failed: unable to start container process: error during container init: exec" in ours
    )


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_that_cannot_be_executed_in_a_container(
    boxes: tuple[Runtime, Runtime], name: str
) -> None:
    words = PROGRAMS[name]
    ours, theirs = (
        _plain(runtime("--log-format", "json", "exec", "box", *words.args).stderr)
        for runtime in boxes
    )
    check(words, ours, theirs)
    assert ours.startswith("exec failed: unable to start container process: exec: ")


@pytest.mark.parametrize("name", INTERPRETERS)
def test_a_program_that_the_kernel_refuses(pair: Pair, name: str) -> None:
    program, text = INTERPRETERS[name]
    words = Words(text, args=(program,))
    for runtime in (pair.ours, pair.theirs):
        assert pair.said(runtime, words).splitlines()[-1].endswith(text)


@pytest.mark.parametrize("name", every(2, CONTAINERS))
def test_a_container_that_cannot_be_made(pair: Pair, name: str) -> None:
    words = CONTAINERS[name]
    check(words, *(pair.said(runtime, words) for runtime in (pair.ours, pair.theirs)))


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_that_cannot_be_done(
    pair: Pair, boxes: tuple[Runtime, Runtime], line: str
) -> None:
    command, *rest = line.split()
    place = ("-b", pair.bundle(Words(""))) if command == "run" else ()
    ours, theirs = (
        _plain(runtime("--log-format", "json", command, *place, *rest).stderr) for runtime in boxes
    )
    check(COMMANDS[line], ours, theirs)


def test_an_errno_has_gos_text() -> None:
    """Those that engines match, and the one abbreviation."""
    texts = {
        2: "no such file or directory", 5: "input/output error", 8: "exec format error",
        13: "permission denied", 1: "operation not permitted", 20: "not a directory",
        21: "is a directory", 3: "no such process", 28: "no space left on device",
        73: "RFS specific error", 121: "remote I/O error",
    }  # fmt: skip
    assert {number: errno_text(number) for number in texts} == texts


@pytest.mark.parametrize(
    ("flags", "value"),
    [
        (None, 4),
        ([], 0),
        (["SECCOMP_FILTER_FLAG_LOG"], 2),
        (["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"], 6),
    ],
)
def test_the_flags_of_a_filter_are_told(pair: Pair, flags: list[str] | None, value: int) -> None:
    """As runc from 1.2 on has them, in its debug log."""
    policy = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"]}
    given = {} if flags is None else {"flags": flags}
    rule = {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}
    words = Words("", spec={"linux.seccomp": policy | given | {"syscalls": [rule]}})
    done = pair.ours("--debug", "run", "-b", pair.bundle(words), "words")
    assert f'msg="seccomp filter flags: {value}"' in done.stderr
