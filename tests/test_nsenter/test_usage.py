"""`usage` reports the resources that a process has used after it has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys

import pytest

import nsenter
from launching import SECONDS
from nsenter import Options, Program, Usage, presets

MIB = 1 << 20
BURN = "import time\nwhile time.process_time() < 0.3: pass"


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def ways() -> list[Options]:
    return [presets.sandbox(), Options(new="user,mnt,pid", init=False, root="/"), presets.offline()]


@pytest.mark.parametrize("number", range(3), ids=["sandbox", "stages", "direct"])
def test_the_time_of_processors(number: int) -> None:
    usage = nsenter.run(python(BURN), ways()[number]).usage
    assert usage is not None
    assert 0.2 < usage.user_time + usage.system_time < 3


@pytest.mark.parametrize("number", range(2), ids=["sandbox", "stages"])
@pytest.mark.parametrize("child", [False, True], ids=["own", "of a child"])
def test_the_most_memory(number: int, child: bool) -> None:
    code = f"bytearray({80 * MIB})"
    if child:
        code = f"import os\nif os.fork(): os.wait()\nelse: {code}"
    usage = nsenter.run(python(code), ways()[number]).usage
    assert usage is not None and usage.max_rss is not None
    assert 80 * MIB < usage.max_rss < 160 * MIB


def test_the_callers_memory_is_not_counted() -> None:
    """The caller has more than the process ever has."""
    code = f"""
import nsenter
from nsenter import Options, presets
ballast = bytearray(b"x") * {200 * MIB}
for options in presets.sandbox(), Options(new="user,mnt", root="/"), Options(new="user"), None:
    print(nsenter.run(["true"], options).usage.max_rss)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    *staged, direct, spawned = done.stdout.split()
    assert [0 < int(number) < 50 * MIB for number in staged] == [True, True]
    assert (direct, spawned) == ("None", "None")


def test_there_is_none_before_the_end_and_one_after_it() -> None:
    with nsenter.Popen(["cat"], presets.sandbox(), stdin=subprocess.PIPE) as process:
        assert process.poll() is None and process.usage is None
        process.communicate(b"", SECONDS)
        usage = process.usage
        assert usage is not None
    assert process.usage is usage and process.returncode == 0


@pytest.mark.parametrize("options", [presets.sandbox(), presets.offline()], ids=["init", "none"])
@pytest.mark.parametrize(("end", "status"), [("exit 7", 7), ("kill -KILL $$", -9)])
def test_how_it_ended_makes_no_difference(options: Options, end: str, status: int) -> None:
    done = nsenter.run(["sh", "-c", end], options)
    assert done.returncode == status and done.usage is not None


def test_what_somebody_else_has_waited_for_has_none() -> None:
    with presets.offline().launch(Program(["true"])) as child:
        os.waitpid(child.pid, 0)
        # The kernel does not keep the status before Linux 6.15.
        with contextlib.suppress(ChildProcessError):
            assert child.wait(SECONDS) == 0
        assert child.usage is None


def test_a_result_is_as_that_of_subprocess() -> None:
    words = {"args": ["echo", "hi"], "returncode": 0, "stdout": "hi\n", "stderr": ""}
    done = nsenter.run(["echo", "hi"], capture_output=True, text=True)
    assert isinstance(done, subprocess.CompletedProcess)
    assert repr(done) == repr(subprocess.CompletedProcess(**words))  # type: ignore[arg-type]


def test_it_is_there_under_asyncio() -> None:
    async def run() -> tuple[Usage | None, Usage | None]:
        process = await nsenter.create_subprocess_exec(
            *("cat",), options=presets.sandbox(), stdin=subprocess.PIPE
        )
        before = process.usage
        await asyncio.wait_for(process.communicate(b""), SECONDS)
        return before, process.usage

    before, after = asyncio.run(run())
    assert before is None
    assert after is not None and after.max_rss
