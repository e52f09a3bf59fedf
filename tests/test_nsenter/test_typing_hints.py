"""typing.get_type_hints works on all public objects, because documentation tools use it."""

from __future__ import annotations

import inspect
import typing
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

import libcontainer
import nsenter
from nsenter import idmap, presets, seccomp

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGES = [nsenter, libcontainer, idmap, presets, seccomp]
SPECIAL = ("__init__", "__new__", "__enter__", "__exit__", "__call__", "__iter__", "__getitem__")


def public(package: ModuleType) -> Iterator[tuple[str, Any]]:
    for name in package.__all__:
        value = getattr(package, name)
        yield name, value
        if inspect.isclass(value):
            yield from ((f"{name}.{method}", function) for method, function in methods(value))


def methods(cls: type) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that are defined in these packages."""
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in ("nsenter", "libcontainer"):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") and name not in SPECIAL:
                continue
            function = member.fget if isinstance(member, property) else member
            function = getattr(function, "__func__", function)
            if inspect.isfunction(function):
                yield name, function


def failure(value: object) -> str | None:
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        return None
    try:
        typing.get_type_hints(value)
    except (NameError, TypeError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_the_hints_of_each_public_object_can_be_had(package: ModuleType) -> None:
    found = {name: failure(value) for name, value in public(package)}
    assert len(found) > len(package.__all__) / 2
    assert {name: why for name, why in found.items() if why} == {}


def test_hints_name_the_classes_of_these_packages() -> None:
    launch = typing.get_type_hints(nsenter.Options.launch)
    assert launch["return"] is nsenter.Child
    assert launch["target"] == nsenter.Program | nsenter.PythonInit
    start = typing.get_type_hints(libcontainer.Container.start)
    assert start["process"] is libcontainer.Process
    assert typing.get_type_hints(nsenter.run)["options"] == nsenter.Options | None


def test_the_hints_of_a_record_are_its_fields() -> None:
    hints = typing.get_type_hints(nsenter.IDMap)
    assert list(hints) == ["container_id", "host_id", "size"]
    assert set(hints.values()) == {int}
    assert "nested" not in typing.get_type_hints(libcontainer.Config)
