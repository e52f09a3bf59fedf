# SPDX-License-Identifier: Apache-2.0
"""Services in namespaces, started, watched, stopped. See docs/supervise.md."""

from __future__ import annotations

import asyncio
import os
import subprocess
from asyncio.subprocess import PIPE
from typing import Any

import nsenter

# --- options
# PID 1 reaps and forwards signals; when it ends, the kernel kills the rest of the namespace.
SERVICE = nsenter.Options(
    new="pid,mnt,ipc" if os.geteuid() == 0 else "user,pid,mnt,ipc",
    init=True,
    die_with_parent=True,
)


# --- timeout
def a_timeout_ends_everything() -> None:
    """A process that left its process group, its session and its parent is killed as well."""
    script = "setsid sleep 1000 & sleep 1000"
    try:
        nsenter.run(["sh", "-c", script], SERVICE, timeout=0.2)
    except subprocess.TimeoutExpired:
        print("took too long")


# --- statuses
def how_it_ended() -> None:
    """Show the statuses of the program itself, which is the child of the init."""
    for script in ("exit 7", "kill -9 $$", "kill -TERM $$"):
        print(f"{script:14} {nsenter.run(['sh', '-c', script], SERVICE).returncode}")


# --- stop
def stop(process: nsenter.Popen[Any], grace: float) -> int:
    """Ask the service to end, and kill it if it has not ended after `grace` seconds."""
    process.terminate()
    try:
        return process.wait(grace)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def polite_and_stubborn() -> None:
    for script in ("trap 'exit 3' TERM; echo; sleep 1000 & wait", "trap '' TERM; echo; sleep 1000"):
        with nsenter.Popen(["sh", "-c", script], SERVICE, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()  # the service is ready
            print("stopped:", stop(process, grace=0.5))


# --- asyncio
async def supervise(name: str, script: str, restarts: int) -> None:
    """Restart a service if it fails; print its output with its name in front."""
    for attempt in range(1 + restarts):
        process = await nsenter.create_subprocess_exec(
            "sh", "-c", script, options=SERVICE, stdout=PIPE, env=os.environ | {"TRY": str(attempt)}
        )
        assert process.stdout
        try:
            async for line in process.stdout:
                print(f"{name}: {line.decode().strip()}")
            if await process.wait() == 0:
                return
        finally:  # also if the task is cancelled
            if process.returncode is None:
                process.kill()
                await process.wait()


async def services() -> None:
    await supervise("flaky", "echo try $TRY; test $TRY = 2", restarts=5)
    task = asyncio.create_task(supervise("endless", "echo up; sleep 1000", restarts=0))
    await asyncio.sleep(0.3)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        print("endless: cancelled")


# --- terminal
def in_a_terminal() -> None:
    """Run a program that requires a terminal; `process.terminal` is the other side, a raw file."""
    script = "test -t 0 && echo yes, $(tty)"
    with nsenter.Popen(["sh", "-c", script], SERVICE.replace(terminal=True)) as process:
        assert process.terminal
        said = b""
        try:
            while part := process.terminal.read(4096):
                said += part
        except OSError:  # no process has the terminal open any more
            pass
        print("a terminal:", said.decode().strip())


# --- use
if __name__ == "__main__":
    a_timeout_ends_everything()
    how_it_ended()
    polite_and_stubborn()
    asyncio.run(services())
    in_a_terminal()
