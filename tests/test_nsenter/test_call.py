"""A function runs in namespaces; its value or its exception comes back, and nothing else."""

from __future__ import annotations

import functools
import marshal
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import call_targets
import nsenter
import roots
from call_targets import Thing
from nsenter import calling
from nsenter._inside import worker
from nsenter._interpreter.module_archive import archive_for
from nsenter._remote import safe_data
from nsenter._remote.call_bytes import SerializationError
from nsenter.calling import BadAnswer, Caller, RemoteError, RemoteTraceback, WorkerDied, call
from nsenter.options import Options
from processes import runs
from rootless import as_user

PAYLOADS = Path(__file__).parents[1] / "payloads"
AS_ROOT = os.geteuid() == 0
FACTOR = 7


@pytest.fixture(scope="module")
def empty_root() -> Iterator[roots.Root]:
    with roots.held(roots.EMPTY, own_user=not AS_ROOT) as root:
        yield root


def inside(root: roots.Root) -> Options:
    join = {"mnt": root.pid} if AS_ROOT else {"user": root.pid, "mnt": root.pid}
    return Options(new="user,pid,net" if AS_ROOT else "pid,net", join=join)


# ---- values

VALUES = [
    *(None, True, -1, 2**200, 1.5, math.inf, 1j, "\udcff\0é", b"\0", bytearray(b"x")),
    *((), [1, (2,)], {"a": {1: [None]}}, {1, "x"}, frozenset([(1, 2)])),
]


def test_values_of_every_plain_kind_go_in_and_come_back() -> None:
    back = call(call_targets.echo, VALUES)
    assert back == VALUES
    assert [type(value) for value in back] == [type(value) for value in VALUES]


def test_keywords_reach_the_function_whatever_they_are_called() -> None:
    assert call(call_targets.add, 1, right=2) == 3
    caller = Caller(timeout=20)
    given = {"options": 1, "timeout": 2, "func": 3, "self": 4, "trusted": 5}
    assert caller.call(call_targets.echo, 0, **given) == (0, given)


def test_by_default_every_namespace_is_new() -> None:
    seen = call(call_targets.where)
    assert (seen["pid"], seen["uid"]) == (2, 0)  # PID 1 is an init
    ours = call_targets.where()["namespaces"]
    assert not seen["namespaces"].items() & ours.items()  # type: ignore[attr-defined]


def test_it_runs_where_the_options_say(empty_root: roots.Root) -> None:
    assert call(call_targets.names_of_root, options=inside(empty_root)) == []
    named = Options(new="user,uts", hostname="called")
    assert call(call_targets.namespace, "net", options=named) == call_targets.namespace("net")
    assert call(lambda: os.uname().nodename, options=named) == "called"


def test_the_environment_is_what_is_given() -> None:
    assert Caller(env={"NAME": "given"}).call(call_targets.environment, "NAME") == "given"
    assert Caller(env={}).call(call_targets.environment, "PATH") is None


def test_only_the_streams_and_the_channel_are_open_inside() -> None:
    fds = call(call_targets.descriptors)
    assert fds[:3] == [0, 1, 2]
    assert len(fds) == 5, "the channel, and the folder that was listed"
    assert call(call_targets.read_input) == b""


def test_what_it_prints_goes_to_the_callers_streams(capfd: pytest.CaptureFixture[str]) -> None:
    call(call_targets.say, "hello")
    assert capfd.readouterr() == ("hello\n", "hello\n")


def test_what_it_prints_can_go_nowhere(capfd: pytest.CaptureFixture[str]) -> None:
    nowhere = subprocess.DEVNULL
    Caller(stdout=nowhere, stderr=nowhere).call(call_targets.say, "hello")
    assert capfd.readouterr() == ("", "")


def test_what_it_prints_goes_where_it_is_told() -> None:
    reader, writer = os.pipe()
    Caller(stdout=writer, stderr=writer).call(call_targets.say, "hello")
    os.close(writer)
    with os.fdopen(reader, "rb") as said:
        assert said.read() == b"hello\nhello\n"


# ---- what can be called


def recursive(n: int) -> int:
    return n * recursive(n - 1) if n > 1 else FACTOR


def counter(start: int) -> object:
    def step() -> int:
        nonlocal start
        start += 1
        return start

    def twice() -> tuple[int, int]:
        return step(), step()

    return twice


def even(n: int) -> bool:
    return n == 0 or odd(n - 1)


def odd(n: int) -> bool:
    return n != 0 and even(n - 1)


def with_defaults(a: int, b: list[int] = [1], *, c: str = "c") -> object:  # noqa: B006
    """A docstring."""
    return a, b, c, with_defaults.__doc__, with_defaults.__name__, __name__


CALLS = {
    "of a module": (call_targets.add, (1, 2), 3),
    "built in": (len, ([1, 2],), 2),
    "of a type": ("abc".upper, (), "ABC"),
    "a type": (int, ("12",), 12),
    "of an extension": (math.sqrt, (4,), 2.0),
    "a static method": (Thing.static, (1,), 2),
    "a class method": (Thing.named, (), "Thing"),
    "a bound method": (Thing(3).grown, (4,), 7),
    "a partial": (functools.partial(call_targets.add, 5), (6,), 11),
    "a partial of a lambda": (functools.partial(lambda a, b: a - b, b=1), (6,), 5),
    "a lambda": (lambda x: x * FACTOR, (2,), 14),
    "a recursive one": (recursive, (3,), 42),
    "mutually recursive ones": (even, (10,), True),
    "a nested one": (counter(5), (), (6, 7)),
    "with defaults": (
        with_defaults,
        (0,),
        (0, [1], "c", "A docstring.", "with_defaults", __name__),
    ),
    "with a submodule": (lambda: xml.etree.ElementTree.fromstring("<a>x</a>").text, (), "x"),
}


@pytest.mark.parametrize(("func", "args", "value"), CALLS.values(), ids=CALLS)
def test_a_function_travels(func: object, args: tuple[object, ...], value: object) -> None:
    assert call(func, *args) == value  # type: ignore[arg-type]


def test_objects_of_importable_classes_go_in() -> None:
    assert call(lambda thing: thing.size, Thing(5)) == 5
    assert call(lambda path: path.name, Path("/a/b")) == "b"


LOCK = threading.Lock()


class Local:
    lock = LOCK


@pytest.mark.parametrize(
    ("func", "args", "told"),
    [
        (lambda: LOCK, (), r"the function, global 'LOCK': a _thread\.lock cannot be sent"),
        (call_targets.echo, ([1, LOCK],), r"argument 1, item 1: a _thread\.lock cannot"),
        (call_targets.echo, ({"x": Local()},), r"'x', its class, attribute 'lock': .*lock"),
        (counter(LOCK), (), r"variable 'step' of a function around it, variable 'start'.*lock"),
        (functools.partial(call_targets.echo, LOCK), (), r"of a partial, item 1, item 0: .*lock"),
        (Local, (), "the function, attribute 'lock': a _thread.lock cannot be sent"),
    ],
)  # fmt: skip
def test_what_cannot_travel_is_named_before_anything_starts(
    func: object, args: tuple[object, ...], told: str
) -> None:
    nowhere = Options(new="mnt", join={"mnt": "/nowhere"})  # would fail otherwise
    with pytest.raises(SerializationError, match=told):
        call(func, *args, options=nowhere)  # type: ignore[arg-type]


SCRIPT = """
import json
from nsenter import call

BASE = 40

def two():
    return 2

def answer(text):
    return json.loads(text)[0] + BASE + two()

if __name__ == "__main__":
    print(call(answer, "[0]"))
"""


def test_a_scripts_own_functions_travel() -> None:
    done = as_user([sys.executable, "-c", SCRIPT])
    assert (done.stdout, done.stderr) == ("42\n", "")


# ---- modules


def test_modules_come_when_they_are_imported(empty_root: roots.Root) -> None:
    options = inside(empty_root)
    assert call(call_targets.late_module, options=options) == "colorsys"
    assert call(call_targets.late, "xml.dom.minidom", options=options) == "xml.dom.minidom"


def test_extensions_come_with_the_modules_that_import_them(empty_root: roots.Root) -> None:
    options = inside(empty_root)
    assert call(call_targets.root_of, 4.0, options=options) == 2.0
    assert call(call_targets.as_json, {"a": [1]}, options=options) == '{"a": [1]}'
    for name in ("_json", "_socket", "_cffi_backend"):
        caller = Caller(options, extensions=[name])
        assert caller.call(call_targets.late, name) == name
        assert caller.call(lambda name=name: __import__(name).__name__) == name  # type: ignore[misc]


def test_what_an_extension_imports_by_itself_comes_with_it(empty_root: roots.Root) -> None:
    """A host's name is looked up by a codec, which takes another extension."""
    found = call(call_targets.addresses_of, "127.0.0.1", options=inside(empty_root))
    assert found == [("127.0.0.1", 80)]
    archive = archive_for(["socket"], None)
    assert "encodings.idna" in archive.modules
    assert "unicodedata" in {*archive.extensions, *sys.builtin_module_names}


def test_an_extension_that_is_not_along_is_named(empty_root: roots.Root) -> None:
    assert "_xxtestfuzz" not in sys.modules
    with pytest.raises(ModuleNotFoundError, match=r"'_xxtestfuzz', a C ext.* it in extensions="):
        call(call_targets.late, "_xxtestfuzz", options=inside(empty_root))


def test_an_extension_comes_once_it_was_imported_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the error of the test above says."""
    import _cffi_backend

    (tmp_path / "uses_an_extension.py").write_text("import _cffi_backend\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "_cffi_backend")
    caller = Caller(modules=["uses_an_extension"], files=False)
    with pytest.raises(ModuleNotFoundError, match=r"_cffi_backend'.* import it before the call"):
        caller.call(call_targets.late, "uses_an_extension")
    monkeypatch.setitem(sys.modules, "_cffi_backend", _cffi_backend)
    assert caller.call(call_targets.late, "uses_an_extension") == "uses_an_extension"


def test_numpy_works_in_a_root_without_files(empty_root: roots.Root) -> None:
    """Its OpenBLAS starts threads when it is loaded, unless it is told not to."""
    import numpy as np

    def norm(size: int) -> float:
        return float(np.linalg.norm(np.ones((size, size)) @ np.ones((size, size))))

    assert call(norm, 4, options=inside(empty_root)) == 16.0
    trusting = Caller(inside(empty_root), trusted=True)
    assert (trusting.call(lambda a: a * 2, np.arange(3)) == [0, 2, 4]).all()


NUMPY_INSIDE = """
import sys
from nsenter import Caller, call

def total():
    import numpy
    return float(numpy.random.default_rng(1).integers(2, 3, 4).sum())

print(call(total), Caller(modules=["numpy"]).call(eval, "__import__('numpy').ones(2).sum().item()"))
assert "numpy" not in sys.modules
"""


def test_a_package_comes_that_this_process_has_not_imported() -> None:
    done = as_user([sys.executable, "-c", NUMPY_INSIDE])
    assert (done.stdout, done.stderr) == ("8.0 2.0\n", "")


def test_modules_can_be_kept_back() -> None:
    closed = Caller(imports=False)
    assert closed.call(call_targets.root_of, 9.0) == 3.0  # what the function's module imports
    with pytest.raises(ModuleNotFoundError, match=r"'colorsys' is not along: name it in modules="):
        closed.call(call_targets.late_module)
    assert closed.replace(modules=["colorsys"]).call(call_targets.late_module) == "colorsys"


def test_names_of_an_enemy_find_no_more_than_modules(tmp_path: Path) -> None:
    names = [
        *("", ".", "..", "a..b", "/etc/passwd", "../x", "json/__init__", "no_such", "\0", "\udc80"),
        *("json ", "__main__", "sys", "xml.", "x" * 1000, "json.__init__.x"),
    ]
    answers = Caller().call(call_targets.ask_for, [*names, "colorsys"])
    assert answers.pop() == "sent"
    assert "sent" not in answers


def test_asking_executes_nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil_package").mkdir()
    for name in ("evil_package/__init__", "evil_package/part", "evil_module"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('it was executed')")
    (tmp_path / "evil_syntax.py").write_text("def")
    monkeypatch.syspath_prepend(tmp_path)
    names = ["evil_module", "evil_package", "evil_package.part", "evil_syntax"]
    answers = call(call_targets.ask_for, names)
    assert answers[:3] == ["sent"] * 3
    assert "invalid syntax" in answers[3]
    assert not any(name.startswith("evil") for name in sys.modules)


def test_the_number_and_length_of_requests_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nsenter.calling._MOST_MODULES", 5)
    assert call(call_targets.ask_for, ["colorsys"] * 5) == ["sent"] * 5
    with pytest.raises(BadAnswer, match="more modules than there can be"):
        call(call_targets.ask_for, ["colorsys"] * 6)
    with pytest.raises(BadAnswer, match="1024 are allowed"):
        call(call_targets.ask_for, ["x" * 5000])


def test_a_fork_inside_gets_no_modules() -> None:
    memory = Caller(files=False)
    assert "only into its own process" in memory.call(call_targets.import_in_a_fork, "colorsys")


def test_a_fork_inside_imports_from_files() -> None:
    assert call(call_targets.import_in_a_fork, "colorsys") == "imported"


# ---- exceptions


def test_a_builtin_exception_comes_with_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError, match="division by zero") as caught:
        call(call_targets.divide, 1, 0)
    told = "".join(traceback.format_exception(caught.value))
    assert 'call_targets.py", line' in told
    assert "in divide" in told
    assert isinstance(caught.value.__cause__, RemoteTraceback)


def test_the_whole_chain_is_told() -> None:
    with pytest.raises(ValueError, match=r"^wrapped$") as caught:
        call(call_targets.chain)
    told = str(caught.value.__cause__)
    assert told.index("ZeroDivisionError") < told.index("direct cause") < told.index("wrapped\n")
    assert "a note of it" in told


def test_an_oserror_comes_whole() -> None:
    with pytest.raises(FileNotFoundError) as caught:
        call(call_targets.stat, "/nowhere/at/all")
    assert (caught.value.errno, caught.value.filename) == (2, "/nowhere/at/all")


@pytest.mark.parametrize(
    ("name", "args"),
    [("KeyError", ("k",)), ("UnicodeDecodeError", ("utf-8", b"x", 0, 1, "why")), ("OSError", ())],
)
def test_arguments_come_back(name: str, args: tuple[object, ...]) -> None:
    with pytest.raises(Exception) as caught:
        call(call_targets.throw, name, *args)
    assert (type(caught.value).__name__, caught.value.args) == (name, args)


@pytest.mark.parametrize(
    "name",
    ["SystemExit", "KeyboardInterrupt", "GeneratorExit", "StopIteration", "StopAsyncIteration"],
)
def test_what_would_end_the_caller_or_its_generator_is_told_instead(name: str) -> None:
    with pytest.raises(RemoteError, match=f"^{name}: 3$"):
        call(call_targets.throw, name, 3)


def test_another_exception_is_told_by_its_name() -> None:
    with pytest.raises(RemoteError, match=r"^call_targets\.Mine: text$") as caught:
        call(call_targets.throw_mine, "text")
    assert caught.value.kind == "call_targets.Mine"
    with pytest.raises(call_targets.Mine, match=r"^text$") as trusted:
        Caller(trusted=True).call(call_targets.throw_mine, "text")
    assert "in throw_mine" in str(trusted.value.__cause__)


def test_one_that_cannot_be_told_is_told_by_its_name() -> None:
    with pytest.raises(RemoteError, match=r"Silent: .*telling of it failed: RuntimeError"):
        call(call_targets.throw_untellable)


def test_a_traceback_gives_the_terminal_no_orders() -> None:
    with pytest.raises(RemoteError) as caught:
        call(call_targets.throw_an_escape)
    told = "".join(traceback.format_exception(caught.value))
    assert "\\x1b]0;owned\\x07" in told
    assert "\x1b" not in told


ESCAPE = "\x1b]0;owned\x07"


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("ValueError", (ESCAPE,)),
        ("FileNotFoundError", (2, ESCAPE, ESCAPE)),
        ("SyntaxError", (ESCAPE, (ESCAPE, 1, 1, ESCAPE))),
        ("UnicodeDecodeError", (ESCAPE, b"x", 0, 1, ESCAPE)),
        ("KeyError", ([ESCAPE],)),
    ],
)
def test_nor_does_an_exception_that_nobody_catches(name: str, args: tuple[object, ...]) -> None:
    with pytest.raises(Exception) as caught:
        call(call_targets.throw, name, *args)
    assert type(caught.value).__name__ == name
    told = "".join(traceback.format_exception(caught.value))
    assert "x1b]0;owned" in told
    assert "\x1b" not in told


def test_a_value_that_is_not_plain_is_named() -> None:
    with pytest.raises(TypeError, match=r"the value\[0\]: .*Thing is not plain data: return plain"):
        call(lambda: [Thing(1)])
    assert Caller(trusted=True).call(lambda: [Thing(1)]) == [Thing(1)]


# ---- ends


@pytest.mark.parametrize("status", [0, 3, 255])
def test_an_exit_status_is_told(status: int) -> None:
    with pytest.raises(WorkerDied, match=f"ended with exit status {status} before it answered"):
        call(call_targets.leave, status)


def test_a_signal_is_told() -> None:
    shared = Options(new="user")  # the init of a pid namespace would not take the first
    with pytest.raises(WorkerDied, match=r"was killed by signal 9 \(SIGKILL\) before") as caught:
        call(call_targets.signal_self, 9, options=shared)
    assert caught.value.returncode == -9
    with pytest.raises(WorkerDied, match=r"was killed by signal 11 \(SIGSEGV\)"):
        call(call_targets.crash, options=shared)


def test_no_memory_is_a_memory_error() -> None:
    with pytest.raises(MemoryError):
        call(call_targets.eat_memory, 512 << 20)


def test_a_child_that_keeps_the_channel_hides_no_end() -> None:
    shared = Options(new="user,pid,mnt")
    started = time.monotonic()
    with pytest.raises(WorkerDied, match="exit status 4"):
        call(call_targets.leave_a_child_with_the_channel, options=shared)
    assert time.monotonic() - started < 100


def test_a_call_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    for seconds in (0.2, 2.0, 20.0):  # the first within which this machine gets to the function
        caller = Caller(Options(new="user"), timeout=seconds)
        with pytest.raises(TimeoutError, match=f"took more than {seconds:g} s") as caught:
            caller.call(call_targets.make_folder_of_pid, str(tmp_path), 300)
        assert caught.value.__cause__ is None
        if found := [*tmp_path.iterdir()]:
            break
    (folder,) = found
    assert not runs(folder.name)


def test_a_timeout_of_the_functions_own_has_a_cause() -> None:
    with pytest.raises(TimeoutError, match="mine") as caught:
        call(call_targets.throw, "TimeoutError", "mine")
    assert isinstance(caught.value.__cause__, RemoteTraceback)


def test_large_values_go_in_and_come_back_where_it_is_allowed() -> None:
    large = b"x" * (100 << 20)
    with pytest.raises(ValueError, match=r"too large: .*max_answer"):
        call(call_targets.echo, large)
    assert Caller(max_answer=110 << 20).call(call_targets.echo, large) == large
    with pytest.raises(BadAnswer, match=r"more than 1000000 bytes of memory \(max_answer\)"):
        Caller(max_answer=1_000_000).call(call_targets.echo, [0] * 100_000)


@pytest.mark.parametrize("field", [{"timeout": -1}, {"timeout": math.nan}, {"max_answer": 0}])
def test_bad_settings_are_refused(field: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(field))):
        Caller(**field)


# ---- enemies


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self._path,)


def answers_of_an_enemy() -> dict[str, tuple[bytes, str]]:
    frame = worker.frame
    told = safe_data.encode
    deep = (b"l" + (1).to_bytes(4, sys.byteorder)) * 100_000
    return {
        "pickle as plain": (frame(worker.VALUE, pickle.dumps([1])), "cannot be read"),
        "pickle": (frame(worker.PICKLED_VALUE, b"BOMB"), "unknown kind b'V'"),
        "pickled error": (frame(worker.PICKLED_ERROR, b"BOMB"), "unknown kind b'E'"),
        "marshal": (frame(worker.VALUE, marshal.dumps([1])), "cannot be read"),
        "an unknown kind": (frame(b"?", b""), r"unknown kind b'\?'"),
        "a call": (frame(b"c", b""), "unknown kind b'c'"),
        "a huge frame": (b"v" + b"\xff" * 8, "18446744073709551615 bytes: 67108864 are allowed"),
        "one byte too many": (b"v" + ((64 << 20) + 1).to_bytes(8, sys.byteorder), "are allowed"),
        "deep nesting": (frame(worker.VALUE, deep), "nested deeper"),
        "bytes behind": (frame(worker.VALUE, told(1) + b"N"), "1 bytes follow"),
        "no exception": (frame(worker.ERROR, told(1)), "an exception that is none"),
        "no words": (frame(worker.ERROR, told((1, 2, 3, 4, 5))), "whose words are none"),
        "a fork's end": (frame(worker.ENDED, told(1)), "unknown kind b'd'"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "told"), answers_of_an_enemy().values(), ids=answers_of_an_enemy()
)
def test_an_enemys_answer_is_refused(data: bytes, told: str, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(str(tmp_path / "exploded")))
    data = data.replace(worker.frame(b"", b"BOMB")[0:], worker.frame(b"", bomb))
    with pytest.raises(BadAnswer, match=told):
        call(call_targets.say_raw, data)
    assert not (tmp_path / "exploded").exists()


def test_a_bomb_explodes_for_who_trusts_it(tmp_path: Path) -> None:
    """That the test above could fail."""
    bomb = worker.frame(worker.PICKLED_VALUE, pickle.dumps(Bomb(str(tmp_path / "exploded"))))
    assert Caller(trusted=True).call(call_targets.say_raw, bomb) is None
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "error",
    [
        ("builtins", "exec", ("raise SystemExit",), "", ""),
        ("builtins", "SystemExit", (1,), "", ""),
        ("builtins", "UnicodeDecodeError", (1, 2), "text", ""),
        ("builtins", "ExceptionGroup", ("x", []), "text", ""),
        ("os", "system", ("false",), "text", ""),
    ],
)
def test_an_exception_of_an_enemy_is_only_told(error: tuple[object, ...]) -> None:
    with pytest.raises(RemoteError, match=str(error[1])):
        call(call_targets.say_raw, worker.frame(worker.ERROR, safe_data.encode(error)))


builtin_names = st.sampled_from(sorted(vars(__import__("builtins"))))
plain_values = st.recursive(
    st.none() | st.integers() | st.text() | st.binary() | st.floats(),
    lambda inner: st.lists(inner).map(tuple) | st.lists(inner),
    max_leaves=8,
)
tellings = st.tuples(
    st.just("builtins"), builtin_names, st.lists(plain_values).map(tuple), st.text(), st.text()
)


@given(tellings | plain_values)
def test_whatever_is_told_becomes_an_exception_that_can_be_shown(told: object) -> None:
    try:
        error = calling.rebuilt(told)
    except BadAnswer:
        return
    assert type(error) is RemoteError or type(error).__module__ == "builtins"
    assert not isinstance(error, (StopIteration, StopAsyncIteration))
    assert "".join(traceback.format_exception(error))


def test_an_enemy_that_drips_is_out_of_time() -> None:
    drip = [bytes([byte]) for byte in worker.frame(worker.VALUE, b"x" * 1000)]
    with pytest.raises(TimeoutError):
        Caller(timeout=0.5).call(call_targets.say_raw, *drip, pause=0.02)


def test_an_enemy_that_never_ends_is_stopped() -> None:
    asking = worker.frame(worker.IMPORT, b"no_such_module")
    with pytest.raises(TimeoutError):
        Caller(timeout=0.5).call(call_targets.stream, asking)
    with pytest.raises(BadAnswer):
        Caller(timeout=60).call(call_targets.stream, b"\0" * 65536)


def test_an_enemy_that_closes_the_channel_is_told() -> None:
    with pytest.raises(BadAnswer, match="closed its end of the channel"):
        call(call_targets.say_raw, then="close")


def test_an_enemy_that_ends_in_the_middle_is_told() -> None:
    half = worker.frame(worker.VALUE, b"x" * 1000)[:500]
    with pytest.raises((BadAnswer, TimeoutError)):
        Caller(timeout=1).call(call_targets.say_raw, half, then="close")


# ---- callers


def test_from_many_threads_at_once() -> None:
    found: dict[int, int] = {}

    def one(number: int) -> None:
        found[number] = call(call_targets.add, number, right=1)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: number + 1 for number in range(16)}


def test_an_unprivileged_user_can_call() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(PAYLOADS)!r}); import call_targets, nsenter; "
        "print(nsenter.call(call_targets.root_of, 4.0), nsenter.call(call_targets.late_module),"
        " nsenter.call(lambda: call_targets.where()['uid']))"
    )
    done = as_user([sys.executable, "-c", code])
    assert (done.stdout, done.stderr) == ("2.0 colorsys 0\n", "")


def test_an_interrupted_call_leaves_nothing() -> None:
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        call(call_targets.sleep, 200)
    assert time.monotonic() - started < 100
    timer.join()


def test_the_package_has_the_names() -> None:
    assert nsenter.call is call
    assert nsenter.Caller is Caller


# ---- an answer that is slow to read


def _counted(tag: bytes, count: int) -> bytes:
    return tag + count.to_bytes(4, sys.byteorder)


MANY = 9_000_000
NUMBER = _counted(b"i", 1) + b"\5"
SLOW = {
    "numbers": (_counted(b"l", MANY), NUMBER),
    "empty lists": (_counted(b"t", MANY), _counted(b"l", 0)),
}


@pytest.mark.parametrize(("head", "part"), SLOW.values(), ids=SLOW)
def test_an_answer_is_not_read_past_the_timeout(head: bytes, part: bytes) -> None:
    """How soon the decoder stops is tested in test_safe_data.py."""
    caller = Caller(timeout=0.5, max_answer=2 << 30)
    with pytest.raises(TimeoutError, match=r"more than 0\.5 s"):
        caller.call(call_targets.say_many, head, part, MANY)
