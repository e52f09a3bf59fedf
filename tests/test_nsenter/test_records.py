"""nsenter._host.records: immutable records that compare, print and convert by their fields."""

from __future__ import annotations

import copy
import inspect
import json
import marshal
import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsenter._host.records import Value


class Point(Value):
    x: int
    y: int = 0


class Named(Point):
    name: str = "?"


class Shape(Value):
    nested: ClassVar[Mapping[str, type[Value]]] = {"centre": Point, "corners": Point}  # type: ignore[misc]

    centre: Point
    corners: tuple[Point, ...] = ()
    tags: Mapping[str, str] = {}
    colour: str | None = None


class Positive(Value):
    number: int

    def __post_init__(self) -> None:
        if self.number <= 0:
            raise ValueError(f"{self.number} is not positive")


def test_fields_are_given_by_place_or_name() -> None:
    assert Point(1, 2) == Point(x=1, y=2) == Point(1, y=2)
    assert (Point(1).x, Point(1).y) == (1, 0)


def test_a_subclass_has_the_fields_of_its_base_first() -> None:
    assert Named(1, 2, "a").__dict__ == {"x": 1, "y": 2, "name": "a"}


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Point(), "Point needs x"),  # type: ignore[call-arg]
        (lambda: Point(1, 2, 3), "Point takes 2 values"),  # type: ignore[call-arg]
        (lambda: Point(1, x=1), "Point: a field is given twice"),  # type: ignore[misc]
        (lambda: Point(1, z=1, a=2), "Point has no field a, z"),  # type: ignore[call-arg]
    ],
)
def test_what_does_not_fit_is_refused(make: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=f"^{reason}$"):
        make()


def test_a_value_does_not_change() -> None:
    point = Point(1)

    with pytest.raises(AttributeError, match=r"^Point\.x: a value does not change$"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x
    with pytest.raises(AttributeError):
        point.z = 2  # type: ignore[attr-defined]
    assert point == Point(1)


def test_what_it_was_made_of_may_change() -> None:
    corners, tags = [Point(1)], {"a": "b"}
    shape = Shape(Point(0), corners, tags)  # type: ignore[arg-type]
    corners.clear()
    tags.clear()

    assert shape.corners == (Point(1),)
    assert shape.tags == {"a": "b"}


def test_defaults_are_shared_by_nobody() -> None:
    Shape(Point(0)).tags["a"] = "b"  # type: ignore[index]

    assert Shape(Point(0)).tags == {}


def test_it_is_checked_when_it_is_made_and_when_it_is_replaced() -> None:
    with pytest.raises(ValueError, match=r"^0 is not positive$"):
        Positive(0)
    with pytest.raises(ValueError, match=r"^-1 is not positive$"):
        Positive(1).replace(number=-1)


def test_it_can_be_taken_apart_by_its_fields_in_order() -> None:
    assert (Point.__match_args__, Named.__match_args__) == (("x", "y"), ("x", "y", "name"))
    match Named(1, 2, "here"):
        case Named(x, y, name):
            assert (x, y, name) == (1, 2, "here")


def test_it_is_copied_with_changes_as_copy_replace_does() -> None:
    assert Named(1).__replace__(y=3) == Named(1, 3)
    with pytest.raises(ValueError, match=r"^-1 is not positive$"):
        Positive(1).__replace__(number=-1)
    with pytest.raises(TypeError, match="Point has no field z"):
        Point(1).__replace__(z=1)


def test_values_are_equal_by_type_and_fields() -> None:
    assert Point(1, 2) == Point(1, 2)
    assert Point(1, 2) != Point(1, 3)
    assert Point(1, 2) != Named(1, 2)
    assert Point(1) != {"x": 1, "y": 0}


def test_equal_values_have_the_same_hash() -> None:
    first = Shape(Point(0), [Point(1)], {"a": "b", "c": "d"})  # type: ignore[arg-type]
    second = Shape(Point(0), (Point(1),), {"c": "d", "a": "b"})

    assert first == second and hash(first) == hash(second)
    assert len({first, second, Shape(Point(0))}) == 2


def test_it_shows_what_is_not_at_its_default() -> None:
    assert repr(Named(1, name="a")) == "Named(x=1, name='a')"
    assert repr(Shape(Point(1, 2))) == "Shape(centre=Point(x=1, y=2))"


def test_a_copy_has_other_values() -> None:
    point = Point(1, 2)

    assert point.replace(y=5) == Point(1, 5)
    assert point == Point(1, 2)
    with pytest.raises(TypeError, match=r"^Point has no field z$"):
        point.replace(z=1)


def test_copies_and_pickles_are_equal() -> None:
    shape = Shape(Point(0), (Point(1),), {"a": "b"})

    assert copy.copy(shape) == copy.deepcopy(shape) == shape
    assert pickle.loads(pickle.dumps(Point(1, 2))) == Point(1, 2)


def test_plain_data_leaves_out_defaults_unless_asked() -> None:
    assert Shape(Point(1)).to_data() == {"centre": {"x": 1}}
    assert Shape(Point(1)).to_data(full=True) == {
        "centre": {"x": 1, "y": 0},
        "corners": [],
        "tags": {},
        "colour": None,
    }


@pytest.mark.parametrize(
    ("plain", "reason"),
    [
        ({}, "Shape needs centre"),
        ({"centre": {"x": 1}, "z": 1}, "Shape has no field z"),
        ({"centre": {"q": 1}}, "Point has no field q"),
    ],
)
def test_plain_data_that_does_not_fit_is_refused(plain: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=f"^{reason}$"):
        Shape.from_data(plain)


points = st.builds(Point, st.integers(), st.integers())
shapes = st.builds(
    Shape,
    centre=points,
    corners=st.lists(points, max_size=3).map(tuple),
    tags=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
    colour=st.none() | st.text(max_size=3),
)


@given(shapes, st.booleans())
def test_a_value_comes_back_from_json_and_marshal(shape: Shape, full: bool) -> None:
    plain = shape.to_data(full=full)

    assert Shape.from_data(json.loads(json.dumps(plain))) == shape
    assert Shape.from_data(marshal.loads(marshal.dumps(plain))) == shape


@given(shapes)
def test_a_value_comes_back_from_its_fields(shape: Shape) -> None:
    again = Shape(**shape.__dict__)

    assert again == shape and hash(again) == hash(shape)
    assert Shape(*shape.__dict__.values()) == shape


def test_the_module_imports_nothing() -> None:
    code = (
        "import sys; before = set(sys.modules); import nsenter._host.records;"
        "print(*set(sys.modules) - before)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert {name for name in shown.stdout.split() if not name.startswith("nsenter")} <= {
        "__future__"
    }


def test_help_shows_the_fields() -> None:
    class Point(Value):
        x: int
        y: int = 2

    class Named(Value):
        name: str

        def __init__(self, first: str) -> None:
            super().__init__(first)

    assert list(inspect.signature(Point).parameters) == ["x", "y"]
    assert inspect.signature(Point).parameters["y"].default == 2
    assert str(inspect.signature(Named)) == "(first: 'str') -> 'None'"
