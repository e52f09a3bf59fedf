# SPDX-License-Identifier: Apache-2.0
"""What README.md shows first. As root or not."""

# --- first
import os

import nsenter

# A program that sees the system's libraries, and no network, files or processes of ours.
code = "import os; print(os.getpid(), os.listdir('/dev/shm'), os.path.exists('/etc/shadow'))"
done = nsenter.run(["python3", "-c", code], nsenter.presets.sandbox(), timeout=5)


# A function, whose value comes back: here in a root without Python, without any file.
def look(path: str) -> tuple[int, list[str]]:
    return os.getpid(), os.listdir(path)


print(nsenter.call(look, "/", options=nsenter.Options(new="all", root="tmpfs", proc=False)))

# --- sandbox
with nsenter.Sandbox(memory="256M", pids=32, timeout=5, limits="best effort") as box:
    for snippet in ("print(6 * 7)", "while True: pass", "import os; os.abort()"):
        result = box.run(["python3", "-c", snippet], timeout=1)
        print(result.verdict.value, result.stdout)
