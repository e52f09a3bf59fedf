# SPDX-License-Identifier: Apache-2.0
"""A tool for an agent: runs Python that a model has written. See docs/sandbox.md."""

from __future__ import annotations

import sys
import tempfile

import nsenter

# --- short
with nsenter.Sandbox(memory="512M", pids=64, cpus=1.5, timeout=10) as box:
    result = box.run(["python3", "-c", "print(6 * 7)"], output_limit="1M")
    print(result.verdict, result.returncode, result.stdout)


# --- run
def run_snippet(
    code: str, files: dict[str, bytes] | None = None
) -> tuple[nsenter.Result, dict[str, bytes]]:
    """Run Python code with some files in its directory; return the result and the new files."""
    with (
        tempfile.TemporaryDirectory() as folder,
        nsenter.Sandbox(
            memory="256M", pids=32, cpus=1, timeout=3, output_limit="64K",
            workspace=folder, overlay=True, workspace_size="16M",
        ) as box,
    ):  # fmt: skip
        for name, content in (files or {}).items():
            box.write(name, content)
        result = box.run([sys.executable, "-I", "-c", code])
        made = {}
        for change in box.changes():
            # Links, pipes and devices are not read, nor what the code was given.
            if change.type == "file" and change.path not in (files or {}):
                made[change.path] = box.read(change.path, limit="16M")
        return result, made


# --- use
def show(title: str, code: str, files: dict[str, bytes] | None = None) -> None:
    result, made = run_snippet(code, files)
    lines = (result.stdout + result.stderr).decode(errors="replace").strip().splitlines()
    print(f"{title:10} {result.verdict:13} {(lines or [''])[-1][:42]}", *made)


if __name__ == "__main__":
    sums = "rows = open('in.csv').read().split(); print(sum(map(int, rows)))"
    show("files in", sums, {"in.csv": b"1\n2\n3\n"})
    show("files out", "open('out.txt', 'w').write('hello')")
    show("for ever", "while True: pass")
    show(
        "memory",
        "import os, time\nfor _ in 'ab': os.fork()\nx = bytearray(90 << 20); time.sleep(9)",
    )
    show("output", "while True: print('x' * 1000)")
    show("forks", "import os, time\nwhile os.fork(): pass\ntime.sleep(9)")
    show("a daemon", "import os, time\nif os.fork() == 0: os.setsid(); time.sleep(1000)")
    show("disk", "open('full', 'wb').write(bytes(17 << 20))")
    show("a secret", "print(open('/etc/shadow').read())")
    show("a link", "import os; os.symlink('/etc/shadow', 'gift.txt')")
    show("network", "import socket; socket.create_connection(('192.0.2.1', 53))")
    show("processes", "import os; print(sorted(filter(str.isdigit, os.listdir('/proc'))))")
    show("PID 1", "import os; os.kill(1, 9); print('it lives')")
