"""Common values come back unchanged, and crafted answers of a hostile process are refused."""

from __future__ import annotations

import collections
import datetime
import decimal
import fractions
import pathlib
import subprocess
import sys
import tempfile
import uuid
from typing import Any

import numpy
import pytest

import call_targets
import nsenter
from nsenter import Caller, NamespaceExecutor, SerializationError, call
from nsenter._remote import safe_data


class Zone(datetime.tzinfo):
    def utcoffset(self, when: object) -> None:
        return None


UTC = datetime.UTC
EAST = datetime.timezone(datetime.timedelta(hours=5, minutes=45), "east")
VALUES: list[Any] = [
    datetime.datetime(2026, 1, 2, 3, 4, 5, 6), datetime.datetime(2026, 1, 2, tzinfo=UTC, fold=1),
    datetime.datetime.max, datetime.date.min, datetime.time(1, 2, 3, 4, EAST), UTC,
    datetime.timedelta(-1, 5, 7), decimal.Decimal("-1.50E+7"), decimal.Decimal("sNaN12"),
    decimal.Decimal("Infinity"), fractions.Fraction(-3, 7), pathlib.Path("/a/b"),
    pathlib.PurePosixPath("x"), pathlib.PureWindowsPath("c:/x"), uuid.UUID(int=7), range(5, 0, -2),
    collections.Counter("abca"), collections.OrderedDict(b=1, a=(2, pathlib.Path())),
]  # fmt: skip
NUMPY = [
    numpy.float64(1.5), numpy.int8(-3), numpy.uint64(2**64 - 1), numpy.bool_(True),
    numpy.complex128(1j), numpy.float16(0.5), numpy.arange(6, dtype=">i4").reshape(2, 3),
    numpy.zeros((0, 5)), numpy.array(7.0), numpy.asfortranarray(numpy.ones((2, 3))),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_common_value_comes_back_as_it_is(value: Any) -> None:
    back = safe_data.decode(safe_data.encode([value, {"key": value}], more=True))[0]
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_they_all_come_back_from_a_call() -> None:
    back = call(call_targets.echo, VALUES)
    assert [repr(value) for value in back] == [repr(value) for value in VALUES]  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", NUMPY, ids=repr)
def test_numbers_of_numpy_come_back_by_themselves_and_in_arrays(value: Any) -> None:
    back = safe_data.decode(safe_data.encode(value, more=True))
    assert type(back) is type(value)
    assert back.dtype == value.dtype
    assert numpy.array_equal(back, value)
    if isinstance(back, numpy.ndarray) and back.size:
        back[...] = 0  # it can be changed, as any other


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (datetime.datetime(2026, 1, 1, tzinfo=Zone()), "datetime.timezone"),  # type: ignore[abstract]
        (fractions.Fraction(1, 2**70000), "too large"),
        (numpy.array([object()]), "numbers are"),
        (numpy.datetime64("2026-01-01"), "numbers are"),
        (collections.defaultdict(list), "collections.defaultdict is not plain data"),
        ([1, {"a": object()}], "object is not plain data"),
    ],
    ids=lambda _: None,
)
def test_another_value_is_refused(value: Any, why: str) -> None:
    with pytest.raises(safe_data.NotData, match=why):
        safe_data.encode(value, more=True)


def test_the_refusal_of_an_answer_says_how_to_trust() -> None:
    with pytest.raises(TypeError, match=r"'x'\].*trust the function: Caller\(trusted=True"):
        call(call_targets.make_object)


def test_a_subclass_is_not_taken_for_its_base() -> None:
    class Mine(decimal.Decimal):
        pass

    with pytest.raises(safe_data.NotData, match="Mine"):
        safe_data.encode(Mine(1), more=True)


EVIL: list[tuple[Any, Any]] = [
    ("os.system", ("true",)), ("builtins.eval", ("1",)), (7, ()), ("decimal.Decimal", "1"),
    ("decimal.Decimal", (7,)), ("decimal.Decimal", ("x",)), ("decimal.Decimal", ("1", "2")),
    ("fractions.Fraction", (1, 0)), ("fractions.Fraction", (1 << 70000, 1)),
    ("fractions.Fraction", ("1/2", 1)), ("datetime.date", (2026, 13, 1)),
    ("datetime.datetime", ((1, 1), ())), ("datetime.time", (1, 2, 3, 4, 5, None)),
    ("datetime.timedelta", (10**12, 0, 0)), ("datetime.timezone", ((5, 0, 0, "x"),)),
    ("uuid.UUID", (b"short",)), ("uuid.UUID", ("x",)), ("builtins.range", (0, 1, 0)),
    ("builtins.range", ("a", 1, 1)), ("pathlib.PosixPath", (7,)), ("collections.Counter", ([],)),
    ("numpy.ndarray", ("|O8", (1,), bytearray(8))), ("numpy.ndarray", ("<i8", (2,), bytearray(8))),
    ("numpy.ndarray", ("<i8", (-1,), bytearray(8))), ("numpy.ndarray", ("<i8", [1], bytearray(8))),
    ("numpy.ndarray", ("<i8", (1,) * 40, bytearray(8))), ("numpy.ndarray", ("<i8", (1,), b"x" * 8)),
    ("numpy.ndarray", ("<i8,<i8", (1,), bytearray(16))),
    ("numpy.number", ("<i8", (1,), bytearray(8))),
    ("numpy.ndarray", ("<i8", (2**40, 2**40, 0), bytearray(8))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "payload"), EVIL)
def test_what_an_enemy_writes_in_their_place_is_refused(name: Any, payload: Any) -> None:
    data = b"x" + safe_data.encode(name) + safe_data.encode(payload)
    with pytest.raises(safe_data.Malformed):
        safe_data.decode(data)


# ---- what is called, and what with


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a_coroutine", "coroutine"), ("a_generator", "generator"), ("an_async_generator", "asynch")],
)
def test_a_function_whose_call_gives_no_value_is_refused_at_once(name: str, kind: str) -> None:
    with pytest.raises(SerializationError, match=f"{name} is an? {kind}.*: call one that"):
        call(getattr(call_targets, name))
    with NamespaceExecutor(1) as executor, pytest.raises(SerializationError, match=kind):
        executor.submit(getattr(call_targets, name))


def test_what_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(SerializationError, match="must be callable, not a str"):
        call("name")  # type: ignore[arg-type]


def test_chunks_of_map_are_calls() -> None:
    with NamespaceExecutor(1) as executor:
        for size in (1, 3, 7, 100):
            found = list(executor.map(call_targets.add, range(8), range(9), chunksize=size))
            assert found == [n + n for n in range(8)]
        assert list(executor.map(lambda n: n + 1, [1, 2, 3], chunksize=2)) == [2, 3, 4]
        with pytest.raises(ZeroDivisionError):
            list(executor.map(call_targets.invert, [1, 0, 2], chunksize=3))
        for size in (0, -1, 1.5, "2"):  # type: ignore[assignment]
            with pytest.raises(ValueError, match="chunksize must be a whole number, at least 1"):
                executor.map(abs, [1], chunksize=size)  # type: ignore[arg-type]


# ---- where its output goes


def test_the_output_of_a_call_goes_into_a_file() -> None:
    with tempfile.TemporaryFile("w+") as file:
        file.write("before\n")
        caller = Caller(stdout=file, stderr=subprocess.STDOUT)
        caller.call(call_targets.say_both, "out", "err")
        file.seek(0)
        assert sorted(file.read().split()) == ["before", "err", "out"]


def test_no_output_and_our_own() -> None:
    script = """
import subprocess, sys, nsenter, call_targets
nsenter.Caller(stdout=subprocess.DEVNULL, stderr=None).call(call_targets.say_both, "out", "err")
nsenter.Caller(stdout=2).call(call_targets.say_both, "two", "")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert (done.stdout, done.stderr.split()) == ("", ["err", "two"])


@pytest.mark.parametrize(
    ("streams", "why"),
    [
        ({"stdout": subprocess.PIPE}, "stdout of a call must be .*a PIPE.*TemporaryFile.*not PIPE"),
        ({"stderr": subprocess.PIPE}, "stderr of a call must be .*STDOUT.*not PIPE"),
        ({"stdout": subprocess.STDOUT}, "stdout of a call must be .*not STDOUT"),
        ({"stdout": "name"}, "stdout of a call must be .*not 'name'"),
        ({"stderr": -7}, "stderr of a call must be .*not -7"),
    ],
    ids=str,
)
def test_a_stream_that_is_none_is_refused_at_once(streams: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Caller(**streams)


# ---- mistakes are told where they are made


@pytest.mark.parametrize(
    ("fields", "kind", "why"),
    [
        ({"new": "user,moutn"}, ValueError, "'moutn': expected one of user"),
        ({"new": ["pid", "tiem"]}, ValueError, "'tiem'"),
        ({"new": 7}, TypeError, "new must be a sequence, not 7"),
        (
            {"maps": "rot"},
            ValueError,
            'maps must be "root", "current", "auto" or an',
        ),
        ({"maps": 7}, TypeError, "maps must be a word or an IDMappings, not 7"),
        ({"hostname": 7}, TypeError, "hostname must be a string, not 7"),
        ({"cwd": 7}, TypeError, "cwd must be a path, not 7"),
        ({"cgroup": 1.5}, TypeError, "cgroup must be a path or a descriptor"),
        ({"umask": "022"}, TypeError, "umask must be a whole number, .* not '022'"),
        ({"oom_score_adj": True}, TypeError, "oom_score_adj must be a whole number"),
        ({"init": "yes"}, TypeError, "init must be True, False or None"),
        ({"new_session": None}, TypeError, "new_session must be True or False"),
        ({"rlimits": ["nofile"]}, TypeError, "rlimits must be a mapping"),
        ({"rlimits": {"as": "512X"}}, ValueError, "'512X' is neither a number"),
        ({"rlimits": {"as": 1.5}}, ValueError, "1.5 is neither a number"),
        ({"landlock": "/usr"}, TypeError, "landlock must be a mapping"),
        ({"cpus": ["0"]}, TypeError, "cpus must be numbers of processors"),
        ({"groups": 7}, TypeError, "groups must be a sequence"),
        ({"groups": "staff"}, TypeError, "groups must be numbers"),
        ({"time_offsets": [("monotonic", 1)]}, TypeError, "time_offsets must be TimeOffset"),
        ({"mounts": ["/usr"]}, TypeError, "must be Bind, Tmpfs"),
        ({"mounts": [nsenter.Tmpfs("/tmp", size="5 apples")]}, ValueError, "size must be a whole"),
    ],
)
def test_a_mistake_in_options_is_told_when_they_are_made(
    fields: dict[str, Any], kind: type[Exception], why: str
) -> None:
    with pytest.raises(kind, match=why):
        nsenter.Options(**fields)


class Odd:
    """A value that no field takes, and that has no method that one could call by mistake."""


FIELDS_THAT_TAKE_ALL = {"seccomp"}


@pytest.mark.parametrize("field", sorted(nsenter.Options._fields.keys() - FIELDS_THAT_TAKE_ALL))
@pytest.mark.parametrize(
    "value", [Odd(), 1.5, [Odd()], {1.5: Odd()}], ids=lambda v: type(v).__name__
)
def test_what_no_field_of_options_takes_is_refused_by_its_name(field: str, value: object) -> None:
    what = "namespace type" if field in ("new", "join") else field
    with pytest.raises((TypeError, ValueError), match=f"{field}|{what}"):
        nsenter.Options(**{"new": "all", field: value})


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"join": "/run/netns/x"}, "join='/run/netns/x': expected a pid"),
        ({"join": -1}, "join=-1: a pid must be 1"),
        ({"join": [1, 1 << 70]}, "a pid must be 1"),
        ({"join": {"net": "a\0b"}}, "without NUL"),
        ({"join": {"net": ""}}, "a path or a name"),
        ({"join": {"tun": 1}}, "unknown namespace type 'tun'"),
        ({"groups": b"a"}, "groups must be numbers of groups, not b'a'"),
        ({"cgroup": -1}, "cgroup must be a descriptor, 0 … 2147483647, not -1"),
        ({"cgroup": ""}, "cgroup must be a path without NUL"),
        ({"capabilities": [1]}, r"names of capabilities, not \(1,\)"),
        ({"landlock": {1: "r"}}, "landlock must be a mapping whose keys are paths"),
        ({"root": True}, "root must be a path"),
        ({"mounts": [nsenter.Bind("/usr", writable="no")]}, "writable must be True or False"),  # type: ignore[arg-type]
        ({"mounts": [nsenter.Bind(7)]}, "target must be a path, not 7"),  # type: ignore[arg-type]
        ({"mounts": [nsenter.Tmpfs("/t", mode="755")]}, "mode must be 0"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_could_only_fail_later_is_refused_at_once(fields: dict[str, Any], why: str) -> None:
    with pytest.raises((TypeError, ValueError), match=why):
        nsenter.Options(**{"new": "mnt", **fields})


def test_ports_can_be_any_iterable_and_the_options_used_twice() -> None:
    options = nsenter.Options(landlock_bind=iter([80, 81]))
    assert options.replace().landlock_bind == options.landlock_bind == (80, 81)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"trusted": "no"}, "trusted must be True or False, not 'no'"),
        ({"imports": None}, "imports must be True or False"),
        ({"files": 0}, "files must be True or False"),
        ({"modules": 7}, "modules must be a sequence of names, not 7"),
        ({"modules": None}, "modules must be a sequence of names"),
        ({"extensions": [b"x"]}, "extensions must be a sequence of names"),
        ({"env": "A=B"}, "env must be a mapping or None, not 'A=B'"),
        ({"max_answer": True}, "max_answer must be a number of bytes"),
    ],
)
def test_wrong_types_for_a_call_are_refused_by_name(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        Caller(**settings)
    with pytest.raises(TypeError, match=why):
        NamespaceExecutor(1, **settings)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"max_workers": "4"}, "max_workers must be a whole number or None, not '4'"),
        ({"max_workers": 1.5}, "max_workers must be a whole number"),
        ({"max_tasks_per_child": "1"}, "max_tasks_per_child must be a whole number"),
        ({"initializer": 3}, "initializer must be a callable, not 3"),
        ({"initargs": 3}, "initargs must be a sequence, not 3"),
        ({"fresh": "yes"}, "fresh must be True or False"),
    ],
)
def test_wrong_types_for_an_executor_are_refused_by_name(given: dict[str, Any], why: str) -> None:
    with pytest.raises(TypeError, match=why):
        NamespaceExecutor(**given)


@pytest.mark.parametrize("size", ["1M", "1 MiB", "1024k", 1 << 20, "1mb", "1048576"])
def test_sizes_have_units(size: int | str) -> None:
    options = nsenter.Options(
        new="user,mnt", root="tmpfs", mounts=[nsenter.Tmpfs("/tmp", size=size)],
        rlimits={"fsize": size},
    )  # fmt: skip
    plainly = options.replace(
        mounts=[nsenter.Tmpfs("/tmp", size=1 << 20)], rlimits={"fsize": 1 << 20}
    )
    assert options.mounts[0]._record() == plainly.mounts[0]._record()  # type: ignore[index]
    from nsenter._message.limits import encode_rlimits

    assert options.rlimits is not None and plainly.rlimits is not None
    assert encode_rlimits(options.rlimits) == encode_rlimits(plainly.rlimits)


@pytest.mark.parametrize(
    ("settings", "kind", "why"),
    [
        ({"timeout": "1"}, TypeError, "timeout must be seconds or None, not '1'"),
        ({"timeout": -1}, ValueError, "at least 0"),
        ({"max_answer": "1M"}, TypeError, "max_answer must be a number of bytes"),
        ({"modules": "json"}, TypeError, "modules must be a sequence of names"),
        ({"options": nsenter.presets.sandbox}, TypeError, "not <function sandbox.*call it"),
    ],
    ids=["timeout of a text", "timeout", "max_answer", "modules", "options"],
)
def test_a_mistake_in_a_call_is_told_at_once(
    settings: dict[str, Any], kind: type[Exception], why: str
) -> None:
    with pytest.raises(kind, match=why):
        Caller(**settings)
    with pytest.raises(kind, match=why):
        NamespaceExecutor(1, **settings)
