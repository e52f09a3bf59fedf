"""Takes bootstrap messages off a real runc at work.

runc makes a message anew for each `run` and `exec`, and writes it to the init pipe in one
write(2); strace sees it. Bundles are a busybox as the only file, and configurations that
`runc spec` makes and `edit` changes.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from needs import needs

TIMEOUT = 60.0  # seconds; strace makes runc slow, and a machine under test is slow anyhow
BUSYBOX = "/bin/busybox"  # in the bundle, and on Debian outside it too
MESSAGE_TYPE = 62000
ID_RANGES = [(0, 100000, 1), (1, 100001, 999), (1000, 200000, 64536)]

Config = dict[str, Any]
Edit = Callable[[Config], None]

_WRITE = re.compile(r'write\(\d+, "((?:\\x[0-9a-f]{2})+)", \d+\)')
_HEADER = struct.Struct("=IHHII")


def runc() -> Path:
    """The real runc, of Debian 12's version."""
    return needs("runc", package="runc")


# --- bundles ----------------------------------------------------------


def make_bundle(folder: Path, edit: Edit | None = None) -> Path:
    """A bundle in `folder`, with busybox as its whole root and `sleep` as its process."""
    root = folder / "rootfs"
    (root / "bin").mkdir(parents=True)
    shutil.copy2(needs("busybox", package="busybox-static"), root / "bin" / "busybox")
    for mountpoint in ("proc", "dev", "sys"):
        (root / mountpoint).mkdir()
    _run([runc(), "spec", "--bundle", folder])
    config = json.loads((folder / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": [BUSYBOX, "sleep", "1000"]}
    if edit is not None:
        edit(config)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def with_user_namespace(config: Config) -> None:
    """Edit: a new user namespace with three ranges."""
    config["linux"]["namespaces"].append({"type": "user"})
    for name in ("uidMappings", "gidMappings"):
        config["linux"][name] = [
            {"containerID": inside, "hostID": outside, "size": size}
            for inside, outside, size in ID_RANGES
        ]


def own_the_root(bundle: Path) -> None:
    """Give the root to who is root in the user namespace, and let that one reach it.

    pytest's folders are closed to others, and runc enters the root as the mapped user.
    """
    owner = ID_RANGES[0][1]
    for path in [bundle / "rootfs", *(bundle / "rootfs").rglob("*")]:
        os.chown(path, owner, owner, follow_symlinks=False)
    scratch = Path(tempfile.gettempdir())
    for folder in [bundle, *bundle.parents]:
        if folder.is_relative_to(scratch) and folder != scratch:
            folder.chmod(folder.stat().st_mode | 0o011)


def with_score(score: int) -> Edit:
    """Edit: process.oomScoreAdj."""

    def edit(config: Config) -> None:
        config["process"]["oomScoreAdj"] = score

    return edit


# --- containers ----------------------------------------------------------


@contextlib.contextmanager
def running_container(bundle: Path) -> Iterator[tuple[str, int]]:
    """A container at work: its id, and the host's pid of its init. Deleted at the end."""
    identity = new_id()
    try:
        # Files of its own, for `runc run -d` leaves them to the container.
        _run([runc(), "run", "--detach", "--bundle", bundle, identity], stdout=subprocess.DEVNULL)
        state = json.loads(_run([runc(), "state", identity], stdout=subprocess.PIPE))
        yield identity, int(state["pid"])
    finally:
        delete_container(identity)


def new_id() -> str:
    """A container's id that no other has; the prefix says whose it is, should one be left."""
    return f"nsenter-test-{secrets.token_hex(4)}"


def delete_container(identity: str) -> None:
    """Kill and delete the container, if there is one still; it and its cgroups are gone after."""
    subprocess.run(
        [runc(), "delete", "--force", identity],
        check=False,
        capture_output=True,
        timeout=TIMEOUT,
    )
    left = _run([runc(), "list", "--quiet"], stdout=subprocess.PIPE).split()
    if identity in left:
        raise AssertionError(f"runc did not delete {identity}")


def _run(argv: Sequence[str | Path], *, stdout: int | None = None) -> str:
    """Run to the end; what it said on stderr is in the error when it fails.

    stderr goes to a file: a detached container would hold the end of a pipe open.
    """
    errors = os.memfd_create("stderr")
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=errors,
            timeout=TIMEOUT,
            check=False,
            text=True,
        )
        if done.returncode != 0:
            said = os.pread(errors, 65536, 0).decode(errors="replace")
            raise AssertionError(f"{' '.join(map(str, argv))}: exit {done.returncode}: {said}")
    finally:
        os.close(errors)
    return done.stdout or ""


# --- capture ----------------------------------------------------------


def capture(argv: Sequence[str | Path], scratch: Path) -> bytes:
    """Run a runc command to its end under strace: the bootstrap message that it wrote."""
    trace = scratch / f"trace-{secrets.token_hex(4)}"
    strace = needs("strace", package="strace")
    options = ["-f", "-e", "trace=write", "-xx", "-s", "200000", "-o", str(trace)]
    _run([strace, *options, *argv], stdout=subprocess.DEVNULL)
    found = list(messages(trace.read_text()))
    if len(found) != 1:
        raise AssertionError(f"{len(found)} bootstrap messages in {trace}")
    return found[0]


def messages(trace: str) -> Iterator[bytes]:
    """The bootstrap messages among the writes in strace's output."""
    for match in _WRITE.finditer(trace):
        data = bytes.fromhex(match[1].replace("\\x", ""))
        if len(data) >= _HEADER.size and _is_bootstrap(data):
            yield data


def _is_bootstrap(data: bytes) -> bool:
    length, message_type, *_ = _HEADER.unpack_from(data)
    return bool(length == len(data) and message_type == MESSAGE_TYPE)


def capture_run(bundle: Path, scratch: Path) -> bytes:
    """The message of a `runc run` of this bundle, whose process must end by itself."""
    identity = new_id()
    try:
        return capture([runc(), "run", "--bundle", bundle, identity], scratch)
    finally:
        delete_container(identity)


def capture_exec(identity: str, scratch: Path) -> bytes:
    """The message of a `runc exec` into a running container."""
    return capture([runc(), "exec", identity, BUSYBOX, "true"], scratch)


def ending_at_once(config: Config) -> None:
    """Edit: a process that ends by itself, for capture_run()."""
    config["process"]["args"] = [BUSYBOX, "true"]
