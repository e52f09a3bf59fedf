"""An exception of a function can be caught by its class, or by the nearest known class.

All exceptions of this package can be caught by one class.
"""

from __future__ import annotations

import builtins
import importlib
import pickle
import pkgutil
from types import ModuleType
from typing import Any

import pytest

import call_targets
import libcontainer
import nsenter
from nsenter import BadAnswer, Caller, RemoteError, RemoteTraceback
from nsenter.calling import _EXCEPTIONS, rebuilt

# The class of an exception there, and what catches it here.
CAUGHT = {
    "json.JSONDecodeError": ValueError,
    "struct.error": Exception,
    "zlib.error": Exception,
    "shutil.Error": OSError,
    "socket.gaierror": OSError,
    "queue.Empty": Exception,
    "decimal.DivisionByZero": ZeroDivisionError,
    "ipaddress.AddressValueError": ValueError,
    "argparse.ArgumentTypeError": Exception,
    "call_targets.OfTwo": LookupError,
    "call_targets.OfNone": RemoteError,
    "call_targets.OfStop": RemoteError,
}


def throw(name: str, *args: object) -> None:
    module = name.rpartition(".")[0]
    importlib.import_module(module)
    Caller(modules=[module]).call(call_targets.throw_named, name, *args)


@pytest.mark.parametrize("name", CAUGHT)
def test_an_exception_is_caught_by_its_nearest_builtin_class(name: str) -> None:
    with pytest.raises(CAUGHT[name]) as caught:
        throw(name)
    error = caught.value
    assert isinstance(error, RemoteError)
    assert isinstance(error, nsenter.NsenterError)
    assert error.kind.endswith(name.rpartition(".")[2])
    assert isinstance(error.__cause__, RemoteTraceback)
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), back.kind, back.text) == (type(error), error.kind, error.text)


def test_an_oserror_keeps_its_number() -> None:
    with pytest.raises(OSError, match="shutil") as caught:
        throw("shutil.SpecialFileError", 5, "words\x1b[0m")
    assert (caught.value.errno, caught.value.strerror) == (5, "words\\x1b[0m")


@pytest.mark.parametrize("name", sorted(_EXCEPTIONS))
def test_each_builtin_class_can_be_the_nearest(name: str) -> None:
    error = RemoteError("some.Kind", "words", name)
    if name != "ExceptionGroup":
        assert isinstance(error, getattr(builtins, name))
    assert str(error) == "some.Kind: words"
    assert type(pickle.loads(pickle.dumps(error))) is type(error)


@pytest.mark.parametrize("bases", [("int",), ("SystemExit",), ("StopIteration", "x"), ("Caller",)])
def test_a_base_that_is_no_exception_of_pythons_is_passed_over(bases: tuple[str, ...]) -> None:
    error = rebuilt(("m", "K", None, "text", "", bases))
    assert type(error) is RemoteError


def test_a_group_has_the_exceptions_that_it_had() -> None:
    caught: list[Any] = []
    try:
        nsenter.call(call_targets.throw_group)
    except* ValueError as values:
        caught += values.exceptions
    except* OSError as numbers:
        (inner,) = numbers.exceptions
        assert isinstance(inner, ExceptionGroup) and inner.message == "inner"
        caught += inner.exceptions
    except* RemoteError as others:
        assert others.message == "outer\\x1b[0m"
        assert isinstance(others.__cause__, RemoteTraceback)
        (inner,) = others.exceptions  # type: ignore[assignment]
        assert isinstance(inner, ExceptionGroup)
        caught += inner.exceptions
    value, number, other = caught
    assert str(value) == "one" and isinstance(value.__cause__, RemoteTraceback)
    assert isinstance(number, FileNotFoundError) and number.filename == "/path"
    assert isinstance(other, RemoteError) and other.kind == "struct.error"


def test_a_group_of_a_class_of_its_own_names_it() -> None:
    with pytest.raises(ExceptionGroup, match="OfAGroup: words") as caught:
        nsenter.call(call_targets.throw_own_group)
    assert type(caught.value) is ExceptionGroup


def test_what_is_no_exception_is_told_of_in_a_group_too() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        nsenter.call(call_targets.throw_group_of_any)
    interrupted, value = caught.value.exceptions
    assert isinstance(interrupted, RemoteError) and interrupted.kind == "KeyboardInterrupt"
    assert isinstance(value, ValueError)


@pytest.mark.parametrize("depth", [20, 50, 5000])
def test_a_group_that_is_nested_however_deep_comes_back(depth: int) -> None:
    with pytest.raises((ExceptionGroup, RemoteError), match="words"):
        nsenter.call(call_targets.throw_nested, depth)


@pytest.mark.parametrize(
    "args", [(), ("x",), ("x", []), ("x", ()), (1, (1,)), ("x", (("builtins", "int"),), 1)]
)
def test_a_group_that_has_no_exceptions_is_only_told(args: tuple[object, ...]) -> None:
    error = rebuilt(("builtins", "ExceptionGroup", args, "text", "", ("ExceptionGroup",)))
    assert type(error) is RemoteError


@pytest.mark.parametrize("member", [1, (), ("builtins", "int"), ("m", "K", 1, 2, 3, ())])
def test_a_group_of_what_are_no_exceptions_is_refused(member: object) -> None:
    with pytest.raises(BadAnswer):
        rebuilt(("builtins", "ExceptionGroup", ("x", (member,)), "text", "", ()))


def exceptions_of(package: ModuleType) -> set[type[BaseException]]:
    """Each class of an exception that a module of the package makes."""
    found = set()
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if info.name.endswith(("__main__", "_shim")) or "._" in info.name:
            continue
        if info.name.endswith(
            ("popen_types", "pyrunc.find")
        ):  # for type checkers; run by the file pyrunc
            continue
        values = vars(importlib.import_module(info.name)).values()
        kinds = {kind for kind in values if isinstance(kind, type)}
        found |= {
            kind
            for kind in kinds
            if issubclass(kind, BaseException) and kind.__module__ == info.name
        }
    return found


# What no caller of the packages sees.
INNER = {
    "NotData", "Malformed", "TooLarge", "TooSlow", "Unfit", "Ragged",  # of calling's codec
    "ForeignFolderError", "_HasNoName",  # of nsenter's own way to itself
    "Usage", "UsageError", "OutputClosed", "Aborted", "ImageError",  # of the commands
    "_InterruptedError",  # of a dump by netlink, which is asked for again
    "PeerGoneError",  # between a container's init and its parent
    "PreloadFailed", "_TemplateDied",  # between an executor and its template
    "Failure",  # of system calls; its callers name it
}  # fmt: skip


@pytest.mark.parametrize("package", [nsenter, libcontainer], ids=["nsenter", "libcontainer"])
def test_each_exception_is_at_the_top_and_of_one_base(package: ModuleType) -> None:
    for kind in exceptions_of(package):
        if kind.__name__ in INNER:
            continue
        assert issubclass(kind, nsenter.NsenterError), kind
        assert getattr(package, kind.__name__) is kind
        assert kind.__name__ in package.__all__
