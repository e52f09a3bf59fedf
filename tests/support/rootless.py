"""Runs a command as an unprivileged user who has subordinate ids, and changes nothing outside.

All happens in a mount namespace of its own: /etc/passwd, subuid and subgid have a user more
there, and folders on the way to the interpreter and to this checkout that others may not
search are covered by ones that they may.

As a script (root runs it under `unshare --mount`): rootless.py SUBIDS -- ARGV…
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

NAME = "nsuser"
UID = 4242
SUBIDS = "300000:65536"
ROOT = Path(__file__).resolve().parents[2]


def as_user(
    argv: Sequence[str | Path], *, subids: bool = True, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run `argv` as the user; with `subids` it has a range in /etc/subuid and /etc/subgid.

    A test run that is itself unprivileged runs it as it is.
    """
    words = [str(word) for word in argv]
    if os.geteuid() == 0:
        from needs import needs  # not needed by the script, which wants to start fast

        needs("newuidmap", package="uidmap")
        words = [
            *(str(needs("unshare", package="util-linux")), "--mount", "--propagation", "private"),
            *(sys.executable, __file__, SUBIDS if subids else "", "--", *words),
        ]
    return subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)


def _mount(*args: str | Path) -> None:
    subprocess.run(["mount", *map(str, args)], check=True)


def _add_line(path: Path, line: str, scratch: Path) -> None:
    """Bind a copy with one more line over a file of /etc."""
    copy = scratch / path.name
    copy.write_text((path.read_text() if path.exists() else "") + line)
    copy.chmod(0o644)
    if path.exists():
        _mount("--bind", copy, path)


def _closed_ancestor(path: Path) -> Path | None:
    """The first folder on the way that others may not search."""
    for folder in reversed(path.parents):
        if not folder.stat().st_mode & 0o001:
            return folder
    return None


def _open_way(path: Path, scratch: Path) -> None:
    closed = _closed_ancestor(path)
    if closed is None:
        return
    hold = Path(tempfile.mkdtemp(dir=scratch))
    _mount("--bind", path, hold)
    _mount("-t", "tmpfs", "-o", "mode=755", "none", closed)
    path.mkdir(parents=True)
    _mount("--bind", hold, path)


def _open_fuse(scratch: Path) -> None:
    """Let everybody open /dev/fuse, as udev's rules do."""
    device = Path("/dev/fuse")
    if device.exists() and not device.stat().st_mode & 0o002:
        with contextlib.suppress(PermissionError):  # a container may not make devices
            os.mknod(scratch / "fuse", stat.S_IFCHR, device.stat().st_rdev)
            (scratch / "fuse").chmod(0o666)
            _mount("--bind", scratch / "fuse", device)


def _needed_folders() -> Iterator[Path]:
    yield Path(sys.base_prefix).resolve()
    yield ROOT


def main(subids: str, argv: list[str]) -> None:
    scratch = Path("/mnt")
    _mount("-t", "tmpfs", "-o", "mode=755", "none", scratch)
    _add_line(Path("/etc/passwd"), f"{NAME}:x:{UID}:{UID}::/:/bin/sh\n", scratch)
    _add_line(Path("/etc/group"), f"{NAME}:x:{UID}:\n", scratch)
    for name in ("subuid", "subgid"):
        _add_line(Path("/etc", name), f"{NAME}:{subids}\n" if subids else "", scratch)
    _open_fuse(scratch)
    for folder in _needed_folders():
        _open_way(folder, scratch)
    os.setgroups([])
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)
    os.environ.update(HOME="/", USER=NAME, LOGNAME=NAME)
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3:])
