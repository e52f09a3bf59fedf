"""What a script, a notebook or a test module defines can be sent, and behaves there as here."""

from __future__ import annotations

import abc
import collections
import dataclasses
import enum
import functools
import os
import subprocess
import sys
import textwrap
import typing
from pathlib import Path
from typing import Any

import pytest

from nsenter import Caller, NamespaceExecutor, RemoteError, call, presets
from nsenter._remote.importable_names import importable
from sweeps import every

COUNT = 0
STATE: dict[str, int] = {}
CONFIG = {"a": 1}


class MyError(ValueError):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclasses.dataclass(order=True)
class Point:
    x: int
    y: list[int] = dataclasses.field(default_factory=list)

    @functools.cached_property
    def double(self) -> int:
        return self.x * 2


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    x: int


class Color(enum.Enum):
    RED = 1
    BLUE = enum.auto()


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Named(typing.NamedTuple):
    a: int
    b: str = "b"


Pair = collections.namedtuple("Pair", "left right")


class Base(abc.ABC):
    made = 0

    def __init__(self, value: int) -> None:
        self.value = value

    @abc.abstractmethod
    def named(self) -> str: ...


class Derived(Base):
    def __init__(self, value: int) -> None:
        super().__init__(value)

    def named(self) -> str:
        return f"{type(self).__name__} {self.value}"

    def plus(self, more: int) -> int:
        return self.value + more

    @classmethod
    def build(cls, value: int) -> str:
        return cls(value).named()

    @staticmethod
    def twice(value: int) -> int:
        return 2 * value

    @property
    def third(self) -> float:
        return self.value / 3

    def __call__(self, value: int) -> int:
        return self.value * value


T = typing.TypeVar("T")


class Box(typing.Generic[T]):
    def __init__(self, held: T) -> None:
        self.held = held


class Meta(type):
    def __len__(cls) -> int:
        return 7


class WithMeta(metaclass=Meta):
    pass


@functools.lru_cache(maxsize=5)
def cached(n: int) -> int:
    return n if n < 2 else cached(n - 1) + cached(n - 2)


@functools.singledispatch
def kind(value: object) -> str:
    return "object"


@kind.register
def _(value: int) -> str:
    return "int"


def decorated(function: typing.Any) -> typing.Any:
    @functools.wraps(function)
    def wrapper(*args: object) -> object:
        return "wrapped", function(*args)

    return wrapper


@decorated
def plain(value: int) -> int:
    return value


def may_raise(bad: bool) -> str:
    if bad:
        raise MyError(3)
    return "fine"


def counters() -> tuple[typing.Any, typing.Any]:
    count = 0

    def up() -> None:
        nonlocal count
        count += 1

    return up, lambda: count


def use(pair: tuple[typing.Any, typing.Any]) -> int:
    up, value = pair
    up()
    up()
    return int(value())


def local() -> typing.Any:
    class Inner:
        def __init__(self, value: int) -> None:
            self.value = value

        def get(self) -> int:
            return self.value

    return Inner(4)


# A call with plain data for its answer, and that.
PLAIN: dict[str, tuple[typing.Any, tuple[typing.Any, ...], object]] = {
    "a dataclass": (lambda p: (p.x, p.y, p.double), (Point(1, [2]),), (1, [2], 2)),
    "a dataclass with slots": (lambda p: dataclasses.asdict(p), (Slotted(3),), {"x": 3}),
    "an enum": (lambda c: (c.name, c is Color.RED, len(Color)), (Color.RED,), ("RED", True, 2)),
    "a flag": (lambda r: (r | Right.WRITE).value, (Right.READ,), 3),
    "a NamedTuple": (lambda n: (n.a, n._asdict()), (Named(1),), (1, {"a": 1, "b": "b"})),
    "a namedtuple": (lambda p: p.left + p.right, (Pair(1, 2),), 3),
    "an abstract class": (lambda d: isinstance(d, Base), (Derived(2),), True),
    "a bound method": (Derived(1).plus, (2,), 3),
    "a class method": (Derived.build, (5,), "Derived 5"),
    "a static method": (Derived.twice, (5,), 10),
    "a property": (lambda d: d.third, (Derived(6),), 2.0),
    "an object that can be called": (Derived(3), (4,), 12),
    "a generic class": (lambda b: (b.held, Box[int].__origin__ is Box), (Box(5),), (5, True)),  # type: ignore[attr-defined]
    "a metaclass": (lambda c: len(c), (WithMeta,), 7),
    "a cached function": (cached, (10,), 55),
    "a singledispatch function": (kind, (1,), "int"),
    "a decorated function": (plain, (1,), ("wrapped", 1)),
    "a function that may raise": (may_raise, (False,), "fine"),
    "closures with one variable": (use, (counters(),), 2),
    "an object of a local class": (lambda o: o.get(), (local(),), 4),
    "a partial": (functools.partial(Point, 5), (), None),
    "a class with a cycle": (lambda c: c.build(1), (Derived,), "Derived 1"),
    "a type of typing": (lambda t: str(t), (typing.Optional[int],), "typing.Optional[int]"),  # noqa: UP045
}  # fmt: skip


def test_this_module_cannot_be_imported_there() -> None:
    """So that the tests below are about what has no name."""
    assert not importable(__name__)


@pytest.mark.parametrize("name", every(2, (name for name in PLAIN if PLAIN[name][2] is not None)))
@pytest.mark.parametrize("files", [True, False])
def test_it_goes_in(name: str, files: bool) -> None:
    function, args, expected = PLAIN[name]
    assert Caller(files=files).call(function, *args) == expected


def test_it_goes_into_a_sandbox() -> None:
    function, args, expected = PLAIN["a dataclass"]
    assert call(function, *args, options=presets.sandbox()) == expected


def test_it_comes_back_to_who_trusts_it() -> None:
    with NamespaceExecutor(1, trusted=True) as executor:
        for made in (Point(1, [2]), Slotted(1), Color.BLUE, Right.READ, Named(1), Pair(1, 2)):
            back = executor.submit(lambda value: value, made).result()
            assert back == made
            assert type(back) is type(made)
        inner = local()
        assert type(executor.submit(lambda value: value, inner).result()) is type(inner)
        assert executor.submit(lambda: Point).result() is Point
        assert executor.submit(Point, 5).result() == Point(5)
        error = executor.submit(may_raise, True).exception()
        assert type(error) is MyError
        assert error.code == 3


def test_an_exception_of_ones_own_is_told_by_its_name_to_who_does_not() -> None:
    with pytest.raises(RemoteError, match=r"MyError: 3") as caught:
        call(may_raise, True)
    assert isinstance(caught.value, ValueError)


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self._path,)


class Harmless:
    """What goes in, and makes a bomb there."""

    def __init__(self, path: str) -> None:
        self._path = path

    def bomb(self) -> object:
        return Bomb(self._path)

    def raised(self) -> None:
        raise MyError(Bomb(self._path))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["bomb", "raised"])
def test_an_answer_that_would_run_code_here_does_not(method: str, tmp_path: Path) -> None:
    """`trusted` shows that it would."""
    path = tmp_path / "exploded"
    with pytest.raises((TypeError, RemoteError)):
        call(getattr(Harmless(str(path)), method))
    assert not path.exists()
    try:
        Caller(trusted=True).call(getattr(Harmless(str(path)), method))
    except Exception as error:
        assert type(error) is MyError
    assert path.exists()


# ---- what calls leave


def count() -> int:
    global COUNT
    COUNT += 1
    return COUNT


def remember(name: str) -> dict[str, int]:
    STATE[name] = len(STATE)
    return STATE


def configured() -> dict[str, int]:
    return CONFIG


def test_what_a_call_leaves_in_its_globals_the_next_one_finds() -> None:
    with NamespaceExecutor(1) as executor:
        assert [executor.submit(count).result() for _ in range(3)] == [1, 2, 3]
        assert executor.submit(remember, "a").result() == {"a": 0}
        assert executor.submit(remember, "b").result() == {"a": 0, "b": 1}
    assert (COUNT, STATE) == (0, {})
    assert call(count) == 1


def test_what_the_caller_changes_meanwhile_is_changed_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with NamespaceExecutor(1) as executor:
        assert executor.submit(configured).result() == {"a": 1}
        monkeypatch.setitem(CONFIG, "a", 2)
        assert executor.submit(configured).result() == {"a": 2}
        monkeypatch.setitem(globals(), "CONFIG", {"b": 3})
        assert executor.submit(configured).result() == {"b": 3}


def test_what_fresh_calls_leave_is_gone() -> None:
    with NamespaceExecutor(1, fresh=True) as executor:
        assert [executor.submit(count).result() for _ in range(3)] == [1, 1, 1]


# ---- a script, and a notebook

SCRIPT = """
    import dataclasses, enum, functools, sys, inspect
    from nsenter import Caller, NamespaceExecutor, call

    class MyErr(Exception):
        def __init__(self, code): super().__init__(code); self.code = code

    @dataclasses.dataclass
    class P:
        x: int

    class Col(enum.Enum):
        A = 1

    @functools.cache
    def slow(n):
        return n + 1

    SCOPE = {}
    def session(code):
        exec(code, SCOPE)
        return SCOPE.get("x")

    def makes(p, c): return P(p.x + slow(1)), c
    def fails(): raise MyErr(3)
    def source(): return inspect.getsource(makes)[:9]

    if __name__ == "__main__":
        trusting = Caller(trusted=True)
        print(trusting.call(makes, P(1), Col.A))
        try: trusting.call(fails)
        except MyErr as error: print("code", error.code)
        with NamespaceExecutor(1) as executor:
            for code in ("x = 41", "x += 1"):
                print(executor.submit(session, code).result())
        print(SOURCE_TOO and call(source))
"""
TOLD = "(P(x=3), <Col.A: 1>)\ncode 3\n41\n42\n"


def test_from_a_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    tmp_path.chmod(0o755)
    script.write_text(textwrap.dedent(SCRIPT).replace("SOURCE_TOO", "True"))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{TOLD}def makes\n", "")


def test_from_a_notebook() -> None:
    """Its cells are executed in __main__, which has no file."""
    code = textwrap.dedent(SCRIPT).replace("SOURCE_TOO", "False")
    cells = code.replace("\n\n", "\n#CELL\n").split("#CELL")
    words = [sys.executable, "-c", NOTEBOOK, *cells]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (f"{TOLD}False\n", "")


NOTEBOOK = """
import sys
import __main__
for number, cell in enumerate(sys.argv[1:]):
    exec(compile(cell, f"<ipython-input-{number}>", "exec"), __main__.__dict__)
"""
