"""JSON is read as pyrunc and the doctor require it; an error speaks of JSON and names the place."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys

import pytest

from nsenter._host import json_text

NO_JSON = {
    "": "no JSON value at line 1, column 1",
    '{"a": 1,\n "b": ?}': "no JSON value at line 2, column 7",
    "[1] ]": "no JSON value at line 1, column 5",
    "{} x": "no JSON value at line 1, column 4",
    "\ufeff{}": "no JSON value at line 1, column 1",
    "{": "line 1 column 2",
    "[1 2]": "Expecting ',' delimiter: line 1 column 4",
    '"a\nb"': "Invalid control character at: line 1 column 3",
    '{"a": NaN}': "NaN is no JSON",
    "-Infinity": "-Infinity is no JSON",
    "[" * 200_000: "nested too deeply",
    "9" * 5000: "a number has too many digits",
}


@pytest.mark.parametrize("text", NO_JSON, ids=range(len(NO_JSON)))
def test_what_is_no_json_is_told_with_its_place(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        json_text.loads(text)
    assert type(caught.value) is ValueError
    assert NO_JSON[text] in str(caught.value)


@pytest.mark.parametrize("indent", [0, 2, 4])
def test_a_document_is_read_as_it_was_written(indent: int) -> None:
    value = {"a": [1, -2.5, "é\n", {}], "b": [], "c": {"d": None, "e": True}}
    text = json_text.dumps(value, indent=indent)
    assert json_text.loads(f" \n{text}\t") == json.loads(text) == value
    assert text.isascii()
    assert (" " in text) == bool(indent)


@pytest.mark.parametrize("indent", [0, 2])
@pytest.mark.parametrize("value", [math.nan, math.inf, b"", {"a": {1}}])
def test_what_json_has_not_is_not_written(value: object, indent: int) -> None:
    with pytest.raises((TypeError, ValueError)):
        json_text.dumps(value, indent=indent)


def test_a_value_can_be_followed_by_anything() -> None:
    assert json_text.loads_at('"a":  {"b": 1}, "c": tru', 4) == {"b": 1}
    for text in ("", "tru", '{"b": ', "[" * 200_000):
        with pytest.raises(ValueError, match="no whole JSON value"):
            json_text.loads_at(text, 0)


def test_errors_are_the_same_if_the_json_module_is_not_imported() -> None:
    """Whoever starts a container does not have it: it is imported for an error only."""
    script = (
        "import ast, sys\n"
        f"sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "from nsenter._host import json_text\n"
        "assert json_text.loads('[1, {}]') == [1, {}] and json_text.dumps([1]) == '[1]'\n"
        "assert 'json' not in sys.modules or hasattr(sys, 'gettotalrefcount')\n"
        "try:\n"
        "    json_text.loads(ast.literal_eval(sys.argv[1]))\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    for text, said in NO_JSON.items():
        if len(text) > 10_000:  # no argument of a program may be that long
            continue
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", script, repr(text)],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert said in done.stdout


@pytest.mark.parametrize("value", [math.nan, {1, 2}, {(1,): 2}], ids=repr)
def test_what_has_no_json_is_refused_in_the_words_of_json(value: object) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        json_text.dumps(value)
    with pytest.raises(type(caught.value), match=re.escape(str(caught.value))):
        json.dumps(value, allow_nan=False)
