# SPDX-License-Identifier: Apache-2.0
"""Many sandboxes at once: programs by asyncio, functions by an executor. See docs/sandbox.md."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from concurrent.futures import Future

import nsenter

LIMITS = {"as": 512 << 20, "cpu": 2, "fsize": 1 << 20, "nproc": 32, "core": 0}
SANDBOX = nsenter.presets.sandbox(tmp_size=16 << 20, rlimits=LIMITS)
SECONDS = 5.0
LARGEST_OUTPUT = 4096


# --- asyncio
async def run_snippet(code: str, gate: asyncio.Semaphore) -> str:
    async with gate:
        process = await nsenter.create_subprocess_exec(
            *(sys.executable, "-I", "-c", code),
            options=SANDBOX,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=STDOUT,
            env={},
        )
        assert process.stdout
        try:
            async with asyncio.timeout(SECONDS):
                output = await process.stdout.readexactly(LARGEST_OUTPUT)
        except asyncio.IncompleteReadError as all_there_was:
            output = all_there_was.partial
        except TimeoutError:
            output = b"(took too long)"
        finally:
            if process.returncode is None:
                process.kill()  # and all that it has started: its PID 1 is gone
                await process.wait()
        return output.decode(errors="replace")


async def run_all(snippets: list[str]) -> list[str]:
    gate = asyncio.Semaphore(8)
    return await asyncio.gather(*(run_snippet(code, gate) for code in snippets))


# --- executor
def answer(code: str, *args: object) -> object:
    """Runs in the sandbox: what the model's function `solve` says."""
    scope: dict[str, object] = {}
    exec(code, scope)
    return scope["solve"](*args)  # type: ignore[operator]


def told(future: Future[object]) -> str:
    try:
        return repr(future.result())
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def try_all(solutions: dict[str, str]) -> None:
    with nsenter.NamespaceExecutor(
        options=SANDBOX,
        max_tasks_per_child=1,  # each its own sandbox: the one before may be an enemy's
        timeout=1.0,
        max_answer=1 << 20,
        imports=False,  # our modules' code is not for everybody to read …
        modules=["math"],  # … but these may be imported
        env={},
        stdout=DEVNULL,
        stderr=DEVNULL,
    ) as executor:
        futures = {name: executor.submit(answer, code, 12) for name, code in solutions.items()}
        for name, future in futures.items():
            print(f"{name:10} {told(future)}")


# --- use
if __name__ == "__main__":
    outputs = asyncio.run(run_all([f"print({n} ** 2)" for n in range(20)]))
    print(*map(str.strip, outputs))
    try_all(
        {
            "right": "import math\ndef solve(n): return math.factorial(n)",
            "wrong": "def solve(n): return n / 0",
            "for ever": "def solve(n):\n    while True: pass",
            "exit": "import posix\ndef solve(n): posix._exit(0)",
            "large": "def solve(n): return 'x' * (2 << 20)",
            "an object": "def solve(n): return open",
            "numpy": "import numpy\ndef solve(n): return 1",
        }
    )
