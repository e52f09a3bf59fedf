# SPDX-License-Identifier: Apache-2.0
"""A tool for an agent: runs Python that a model has written. See docs/sandbox.md."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import nsenter

# --- limits
MiB = 1 << 20
SECONDS = 2.0  # elapsed time
LARGEST_OUTPUT = MiB // 16
LIMITS = {
    "as": 512 * MiB,  # bytes of address space, for each process
    "cpu": 10,  # seconds of processor time, for each process
    "fsize": MiB,  # bytes in each file that it writes, its output included
    "nproc": 32,  # processes and threads
    "nofile": 64,
    "core": 0,
}


# --- run
@dataclass
class Result:
    """What a snippet did."""

    ending: str
    output: str
    files: dict[str, bytes] = field(default_factory=dict)


def run_snippet(code: str, files: dict[str, bytes] | None = None) -> Result:
    """Run Python code in a sandbox, in a directory that holds `files`; return what it leaves."""
    with tempfile.TemporaryDirectory() as parent, tempfile.TemporaryFile() as output:
        work = Path(parent, "work")
        work.mkdir()
        work.chmod(0o777)  # if the caller is root, the sandbox runs as nobody
        for name, content in (files or {}).items():
            (work / name).write_bytes(content)
            (work / name).chmod(0o666)
        options = nsenter.presets.sandbox(
            mounts=[nsenter.Bind(work, "/job", writable=True)],
            cwd="/job",
            tmp_size=16 * MiB,
            rlimits=LIMITS,
        )
        try:
            done = nsenter.run(
                [sys.executable, "-I", "-c", code],
                options,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={"PATH": "/usr/bin:/bin"},  # not the caller's, which may hold keys
                timeout=SECONDS,
            )
            ending = f"exit status {done.returncode}"
        except subprocess.TimeoutExpired:
            ending = f"killed after {SECONDS} s"
        output.seek(0)
        text = output.read(LARGEST_OUTPUT).decode(errors="replace")
        return Result(ending, text, read_back(work))


# --- files
def read_back(folder: Path) -> dict[str, bytes]:
    """Read the regular files of a directory that hostile code wrote to: no links, no pipes."""
    found = {}
    for name in sorted(os.listdir(folder))[:100]:
        try:
            fd = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        with open(fd, "rb") as file:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                found[name] = file.read(MiB)
    return found


# --- use
def show(title: str, result: Result) -> None:
    last = result.output.strip().splitlines()[-1:] or [""]
    print(f"{title:12} {result.ending:18} {last[0][:48]}", *result.files)


if __name__ == "__main__":
    sums = "rows = open('in.csv').read().split(); print(sum(map(int, rows)))"
    show("files in", run_snippet(sums, {"in.csv": b"1\n2\n3\n"}))
    show("files out", run_snippet("open('out.txt', 'w').write('hello')"))
    show("for ever", run_snippet("while True: pass"))
    show("memory", run_snippet("bytearray(1 << 30)"))
    show("output", run_snippet("while True: print('x' * 1000)"))
    show("forks", run_snippet("import os, time\nwhile os.fork(): pass\ntime.sleep(9)"))
    show("a secret", run_snippet("print(open('/etc/shadow').read())"))
    show("a link", run_snippet("import os; os.symlink('/etc/shadow', 'gift.txt')"))
    show("the network", run_snippet("import socket; socket.create_connection(('192.0.2.1', 53))"))
    show(
        "processes",
        run_snippet("import os; print(sorted(filter(str.isdigit, os.listdir('/proc'))))"),
    )
