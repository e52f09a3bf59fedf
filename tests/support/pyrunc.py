"""pyrunc, and runc beside it, as commands; and bundles of Debian's static busybox for both."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from needs import needs

CHECKOUT = Path(__file__).resolve().parents[2]
# The command that is installed: it starts the init beside itself, which `python -m` does not.
PYRUNC = (Path(sys.executable).with_name("pyrunc"),)
TIMEOUT = 60
CGROUPS = Path("/sys/fs/cgroup")
# For a command whose container goes on: it would keep a pipe open.
NO_STREAMS: dict[str, Any] = {
    "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "capture_output": False,
}  # fmt: skip

Done = subprocess.CompletedProcess[str]
# Every place that a test's container looks into is a tmpfs or below the bundle.
APPLETS = "sh cat echo env grep id kill ls ps readlink sleep stty true tty wc".split()


class Runtime:
    """An OCI runtime with a folder of state of its own.

    Args:
        argv: the command.
        root: the folder.
    """

    def __init__(self, argv: Sequence[str | Path], root: Path) -> None:
        self.root = root
        self.argv = [*map(str, argv), "--root", str(root)]

    def __call__(self, *words: str | Path, **more: Any) -> Done:
        """Run it to its end; `more` is for subprocess.run."""
        given = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True} | more
        if "input" in given:
            del given["stdin"]
        return subprocess.run([*self.argv, *map(str, words)], timeout=TIMEOUT, check=False, **given)

    def good(self, *words: str | Path, **more: Any) -> str:
        """Run what has to succeed; returns what it printed."""
        done = self(*words, **more)
        assert done.returncode == 0, done.stderr
        return str(done.stdout or "")

    def state(self, id: str) -> dict[str, Any]:
        """Of a container."""
        found: dict[str, Any] = json.loads(self.good("state", id))
        return found

    def delete_all(self) -> None:
        """Leave nothing."""
        for folder in self.root.glob("*"):
            self("delete", "--force", folder.name)


def runtimes(tmp_path: Path) -> Iterator[Runtime]:
    """For a fixture: pyrunc, whose containers are gone in the end."""
    runtime = Runtime(PYRUNC, tmp_path / "state")
    yield runtime
    runtime.delete_all()
    assert not list(runtime.root.glob("*")), "containers left behind"


def runc(tmp_path: Path) -> Runtime:
    """The real one, for what it says; it is given no container to run."""
    return Runtime([needs("runc", package="runc")], tmp_path / "runc-state")


def make_bundle(
    folder: Path,
    args: Iterable[str] = ("sleep", "1000"),
    *,
    change: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Path:
    """A bundle that both runtimes take. Its cgroup is nobody else's if cgroups are ours to make:
    other runs of the tests on this machine have containers of the same id.

    Args:
        args: the command; words of busybox.
        change: of the config.json.
    """
    from libcontainer.specconv.example import example

    make_root(folder / "rootfs")
    spec = example()
    spec["process"] |= {"terminal": False, "args": list(args)}
    if os.access(CGROUPS, os.W_OK):  # else one that cannot be made must not be asked for
        spec["linux"]["cgroupsPath"] = f"/nsenter-test-{secrets.token_hex(4)}"
    change(spec)
    (folder / "config.json").write_text(json.dumps(spec))
    return folder


def cgroup_path(bundle: Path, id: str) -> str:
    """Of the bundle's container of that id, below whatever its cgroups are in."""
    spec = json.loads((bundle / "config.json").read_text())
    return str(spec["linux"].get("cgroupsPath", id)).lstrip("/")


def cgroups_of(bundle: Path, id: str) -> list[Path]:
    """Those that there are."""
    path = cgroup_path(bundle, id)
    return sorted([*CGROUPS.glob(f"*/{path}"), *CGROUPS.glob(path)])


def make_root(folder: Path) -> Path:
    """A root file system with busybox."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    busybox = needs("busybox", package="busybox-static")
    (programs / "busybox").write_bytes(busybox.read_bytes())
    (programs / "busybox").chmod(0o755)
    for name in APPLETS:
        (programs / name).symlink_to("busybox")
    return folder


def open_the_way(place: Path) -> None:
    """Let others search the folders above; those that they may search already need not be ours."""
    for above in (place, *place.parents):
        mode = above.stat().st_mode
        if mode & 0o011 != 0o011:
            above.chmod(mode | 0o011)
