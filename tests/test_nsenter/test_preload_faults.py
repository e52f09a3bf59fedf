"""Templates survive what modules change in them, and may end at any time, as may their forks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import call_targets
import nsenter
import preloaded
from links import children, descriptors
from nsenter._remote import preload
from nsenter.executor import BrokenPreload, BrokenWorker, NamespaceExecutor
from nsenter.options import Options
from processes import children_of, name_of, runs, wait_until
from rootless import as_user

PAYLOADS = Path(__file__).parents[1] / "payloads"
AS_ROOT = os.geteuid() == 0
SHARED = Options(new="user")  # pids are as the caller sees them
SECONDS = 60


def fresh(*names: str, options: Options | None = SHARED, **settings: Any) -> NamespaceExecutor:
    return NamespaceExecutor(1, options, preload=names, fresh=True, **settings)


def template_of(executor: NamespaceExecutor) -> int:
    return executor.submit(preloaded.template).result()[1]


def forks_of(pid: int) -> list[int]:
    """Those that live, whether they wait or run."""
    return [child for child in children_of(pid) if runs(child)]


def spare_of(template: int) -> int:
    found: list[int] = []

    def is_there() -> bool:
        found[:] = forks_of(template)
        return len(found) == 1

    wait_until(is_there)
    return found[0]


def template_at_work() -> int:
    """The one child of this process that has forks, while a call runs."""
    (template,) = (int(pid) for pid in children() if forks_of(int(pid)))
    return template


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes a module that can be preloaded, and calls what is in it."""
    names: list[str] = []

    def write(source: str) -> str:
        name = f"preloaded_here_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(source)
        names.append(name)
        return name

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in names:
        sys.modules.pop(name, None)


def called(executor: NamespaceExecutor, name: str, call: str = "call()") -> Any:
    code = f"__import__({name!r}).{call}"
    return executor.submit(eval, code).result(SECONDS)


# ---- what modules do when they are imported


def test_what_a_module_has_opened_is_not_in_a_call(module: Any, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")
    name = module(
        f"import os, socket\n"
        f"file = open({str(tmp_path / 'secret')!r})\n"
        f"folder = os.open('/', os.O_RDONLY)\nos.set_inheritable(folder, True)\n"
        f"ends = socket.socketpair()\n"
    )
    for options in (SHARED, Options(new="all"), nsenter.presets.sandbox()):
        with fresh("preloaded", name, options=options) as executor:
            links = executor.submit(preloaded.links).result(SECONDS)
            assert "/" not in links
            assert not [link for link in links if link.endswith("secret")]
            assert sum(link.startswith("socket:") for link in links) == 1, "the call's channel"


MAPPED = """
import mmap, multiprocessing, os
anonymous = mmap.mmap(-1, 8192)
file = mmap.mmap(os.open({path!r}, os.O_RDWR), 8192)
os.truncate({path!r}, 4096)
lock = multiprocessing.get_context("fork").Lock()
def call():
    seen = anonymous[0], file[0], lock.acquire(block=False)
    anonymous[0] += 1
    file[0] += 1
    file[5000] = 1  # behind the end of the file
    return seen
"""


def test_calls_share_no_memory_that_a_module_has_mapped(module: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\x07" * 8192)
    with fresh("preloaded", module(MAPPED.format(path=str(path)))) as executor:
        name = f"preloaded_here_{tmp_path.name}"
        for _ in range(3):
            assert called(executor, name) == (0, 7, True)
    assert path.read_bytes() == b"\x07" * 4096


def test_so_much_shared_memory_that_it_cannot_be_copied_is_refused(module: Any) -> None:
    name = module(f"import mmap\nkept = mmap.mmap(-1, {1 << 30} + 4096)")
    with fresh(name) as executor:
        error = executor.submit(call_targets.add, 1).exception(SECONDS)
    assert isinstance(error, BrokenPreload)
    assert "1024 MiB of memory that processes share" in str(error)


def test_what_a_module_has_printed_is_in_no_call(module: Any, tmp_path: Path) -> None:
    name = module("import sys\nprint('at import')\nsys.stderr.write('at import, too')")
    with (tmp_path / "out").open("w+b") as out:
        with fresh(name, stdout=out, stderr=out) as executor:
            for _ in range(2):
                executor.submit(print, "in a call").result(SECONDS)
        out.seek(0)
        assert out.read() == b"in a call\n" * 2


def test_a_thread_of_a_module_is_not_in_a_call(module: Any) -> None:
    name = module(
        "import threading, time\n"
        "started = threading.Event()\n"
        "def tick():\n"
        "    started.set()\n"
        "    while True: sum(range(1000))\n"
        "threading.Thread(target=tick, daemon=True).start()\n"
        "threading.Thread(target=time.sleep, args=(1000,)).start()\n"
        "started.wait()\n"
    )
    with fresh("preloaded", name, options=Options(new="all")) as executor:
        for _ in range(3):
            assert executor.submit(preloaded.threads).result(SECONDS) == 1


def test_a_module_that_ignores_the_end_of_children_loses_none(module: Any) -> None:
    name = module("import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    with fresh(name) as executor:
        for _ in range(2):
            with pytest.raises(BrokenWorker, match="exit status 3"):
                executor.submit(call_targets.leave, 3).result(SECONDS)


ENDS = {
    "an exit": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "an interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "a signal": ("import os\nos.kill(os.getpid(), 9)", r"signal 9 \(SIGKILL\)"),
    "an error with much to say": ("raise ValueError('x' * 10_000_000)", "ValueError: xxx"),
}


@pytest.mark.parametrize(("source", "words"), ENDS.values(), ids=ENDS)
def test_an_import_that_ends_is_told_of(module: Any, source: str, words: str) -> None:
    before = children(), descriptors()
    with fresh(module(source)) as executor:
        error = executor.submit(call_targets.add, 1).exception(SECONDS)
        assert isinstance(error, BrokenPreload)
        assert re.search(words, str(error)[:500])
    assert (children(), descriptors()) == before


def test_an_import_that_hangs_is_ended(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preload, "_IMPORT_SECONDS", 0.5)
    before = children()
    name = module("import time\ntime.sleep(1000)")
    with fresh(name) as executor:
        error = executor.submit(call_targets.add, 1).exception(SECONDS)
    assert isinstance(error, BrokenPreload)
    assert f"'{name}' has not answered for 0.5 s" in str(error)
    assert children() == before


# ---- what is there while a call runs


def test_its_init_holds_nothing(tmp_path: Path) -> None:
    started = tmp_path / "started"
    with fresh("preloaded", options=Options(new="user,pid,mnt")) as executor:
        call = executor.submit(preloaded.say_and_sleep, str(started))
        wait_until(started.exists)
        (init,) = (
            Path(f"/proc/{pid}") for pid in forks_of(template_at_work()) if name_of(pid) == "nsinit"
        )
        names = [path.name for path in (init / "fd").iterdir()]
        rights = (init / "status").read_text().split("CapPrm:\t")[1].split()[0]
        cwd = (init / "cwd").readlink()
        os.kill(int(init.name), signal.SIGKILL)
        with pytest.raises(BrokenWorker):
            call.result(SECONDS)
    assert len(names) == 1, "that by which it says how the call has ended"
    assert int(rights, 16) == 1 << 5, "CAP_KILL"
    assert cwd == Path("/")


# ---- ends of templates and forks


def test_a_spare_fork_that_has_died_is_replaced() -> None:
    with fresh("preloaded") as executor:
        template = template_of(executor)
        for _ in range(2):
            spare = spare_of(template)
            os.kill(spare, signal.SIGKILL)
            wait_until(lambda spare=spare: not runs(spare))  # type: ignore[misc]
            assert template_of(executor) == template


def test_nothing_is_left_of_a_spare_fork_that_was_not_used() -> None:
    with fresh("preloaded") as executor:
        template = template_of(executor)
        spare = spare_of(template)
    assert not runs(spare)
    assert not Path(f"/proc/{template}").exists()


@pytest.mark.parametrize("kept", [True, False], ids=["kept by the kernel", "lost"])
@pytest.mark.parametrize("options", [SHARED, Options(new="all")], ids=["shared", "all"])
def test_a_template_that_dies_takes_its_calls_along(
    options: Options, kept: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kept:
        monkeypatch.setattr("nsenter._launch.child._PIDFD_GET_INFO", 0)
    started = tmp_path / "started"
    with fresh("preloaded", options=options) as executor:
        call = executor.submit(preloaded.say_and_sleep, str(started))
        wait_until(started.exists)
        os.kill(template_at_work(), signal.SIGKILL)
        with pytest.raises(BrokenWorker, match="SIGKILL"):
            call.result(SECONDS)
        assert executor.submit(call_targets.add, 1, right=1).result(SECONDS) == 2


SCRIPT = f"""
import ctypes, os, signal, sys, threading, time
sys.path.insert(0, {str(PAYLOADS)!r})
import nsenter, preloaded
options = nsenter.Options(new="user")
def executor():
    return nsenter.NamespaceExecutor(1, options, preload=["preloaded"], fresh=True)
def await_spare(template):
    # It is there, and the template has told of it and waits for the next request.
    task = f"/proc/{{template}}/task/{{template}}"
    while not (
        open(f"{{task}}/children").read() and open(f"{{task}}/stat").read().split(") ")[1][0] == "S"
    ):  # this process is its parent: its files are there
        time.sleep(0.01)
"""

SUBREAPER = """
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
with executor() as calls:
    for _ in range(3):
        template = calls.submit(preloaded.template).result()[1]
        assert template != os.getpid(), "the fork was an orphan before it was called"
        await_spare(template)
        os.kill(template, signal.SIGKILL)
    calls.submit(preloaded.template).result()
try:
    print("left", os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT))
except ChildProcessError:
    print("none")
"""

KILLED = """
calls = executor()
template = calls.submit(preloaded.template).result()[1]
calls.submit(preloaded.say_and_sleep, sys.argv[1])
print(template, flush=True)
threading.Event().wait()
"""

IMPORTING = """
sys.path.insert(0, os.path.dirname(sys.argv[1]))
calls = nsenter.NamespaceExecutor(1, options, preload=["preloaded_that_sleeps"])
calls.submit(divmod, 7, 2).result()
"""

DROPPED = """
import os
options = nsenter.Options()
with executor() as calls:
    first = calls.submit(preloaded.groups).result()
    os.setgroups([4242])
    print(first == [4242], calls.submit(preloaded.groups).result())
"""

LIMITED = """
import resource
with executor() as calls:
    template = calls.submit(preloaded.template).result()[1]
    await_spare(template)
    before = resource.prlimit(template, resource.RLIMIT_NPROC)
    resource.prlimit(template, resource.RLIMIT_NPROC, (0, before[1]))
    # The spare fork is used, and that no other can be made ahead is nothing to this call.
    calls.submit(preloaded.template).result()
    print(calls.submit(preloaded.template).exception())
    resource.prlimit(template, resource.RLIMIT_NPROC, before)
    print(calls.submit(preloaded.template).result()[1] == template)
"""


def run(code: str, *args: str) -> str:
    words = [sys.executable, "-c", SCRIPT + code, *args]
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.stderr == ""
    return done.stdout


def test_a_subreaper_has_no_zombie_of_a_template_that_was_killed() -> None:
    assert run(SUBREAPER) == "none\n"


def test_nothing_outlives_the_caller(tmp_path: Path) -> None:
    started = tmp_path / "started"
    words = [sys.executable, "-c", SCRIPT + KILLED, str(started)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as caller:
        assert caller.stdout is not None
        template = int(caller.stdout.readline())
        wait_until(started.exists)
        wait_until(lambda: len(forks_of(template)) == 2)
        processes = [template, *forks_of(template)]
        caller.kill()
        wait_until(lambda: not any(map(runs, processes)))


def test_a_template_that_imports_does_not_outlive_the_caller(tmp_path: Path) -> None:
    started = tmp_path / "started"
    (tmp_path / "preloaded_that_sleeps.py").write_text(
        f"import os, time\n"
        f"with open({f'{started}.new'!r}, 'w') as file: file.write(str(os.getpid()))\n"
        f"os.rename({f'{started}.new'!r}, {str(started)!r})\n"
        f"time.sleep(1000)\n"
    )
    words = [sys.executable, "-c", SCRIPT + IMPORTING, str(started)]
    with subprocess.Popen(words) as caller:
        wait_until(started.exists)
        template = int(started.read_text())
        caller.kill()
        wait_until(lambda: not runs(template))


@pytest.mark.skipif(not AS_ROOT, reason="changes groups, which root may")
def test_rights_that_the_caller_has_given_up_are_not_in_its_calls() -> None:
    assert run(DROPPED) == "False [4242]\n"


def test_a_template_that_cannot_be_forked_goes_on() -> None:
    done = as_user([sys.executable, "-c", SCRIPT + LIMITED])
    assert done.stderr == ""
    error, same = done.stdout.splitlines()
    assert "template: fork: Resource temporarily unavailable" in error
    assert same == "True"
