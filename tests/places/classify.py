"""Writes places/table.py from what passed where.

In each place run all tests, and keep the results:

    NSENTER_TEST_ALL=1 make test TESTS=--junitxml=FILE
    PYTHONPATH=tests python -m places.classify RIGHTS=FILE…

where RIGHTS are the rights of that place's workers, with commas between. A test gets the least
that it needs: in all places that have it, it passed. What fails everywhere needs the machine. With
NSENTER_TEST_SECONDS=10 no test waits longer for what cannot come.
"""

from __future__ import annotations

import collections
import sys
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from xml.etree import ElementTree

from places.needed import MACHINE

Rights = frozenset[str]
_TABLE = Path(__file__).with_name("table.py")
_HEAD = '''"""The rights that tests need (see places.rights), by file; places.classify makes it.

"*" is all others of the file. A test that is not here needs the rights of the machine's root.
"""

NEEDS: dict[str, dict[str, str]] = {
'''
# From the least to the most.
_CANDIDATES = [
    frozenset(words.split())
    for words in ("", "namespaces", "namespaces proc", "namespaces ids", "namespaces proc ids")
]


def _results(path: Path) -> Iterator[tuple[str, str, bool]]:
    """(file, test, whether it passed) for each case."""
    for case in ElementTree.parse(path).iter("testcase"):
        module = case.get("classname", "")
        if module.startswith("tests."):
            file = module.removeprefix("tests.").replace(".", "/") + ".py"
            bad = any(child.tag in ("failure", "error") for child in case)
            yield file, case.get("name", "").partition("[")[0], not bad


def _least(passed: Mapping[Rights, bool], places: Set[Rights]) -> Rights:
    """What was not run in a place has not passed there."""
    for need in _CANDIDATES:
        tried = [passed.get(place, False) for place in places if need <= place]
        if tried and all(tried):
            return need
    return MACHINE


def main(words: list[str]) -> None:
    passed: dict[tuple[str, str], dict[Rights, bool]] = collections.defaultdict(dict)
    all_places = set()
    for word in words:
        rights, _, file = word.partition("=")
        place = frozenset(filter(None, rights.split(",")))
        all_places.add(place)
        for name, test, good in _results(Path(file)):
            passed[name, test][place] = passed[name, test].get(place, True) and good
    files: dict[str, dict[Rights, list[str]]] = collections.defaultdict(dict)
    for (name, test), places in sorted(passed.items()):
        path = _TABLE.parent.parent / name
        if not path.exists() or f"def {test}(" not in path.read_text():
            continue  # it was there when the results were made
        files[name].setdefault(_least(places, all_places), []).append(test)
    _TABLE.write_text(_HEAD + "".join(_lines(files)) + "}\n")


def _lines(files: Mapping[str, Mapping[Rights, list[str]]]) -> Iterator[str]:
    for name, needs in sorted(files.items()):
        *some, (most, _) = sorted(needs.items(), key=lambda item: len(item[0]))
        yield f'    "{name}": {{\n'
        for need, tests in some:
            yield f'        "{_words(need)}": """\n'
            yield from (f"            {test}\n" for test in tests)
            yield '        """,\n'
        yield f'        "{_words(most)}": "*",\n    }},\n'


def _words(need: Rights) -> str:
    return "machine" if need == MACHINE else " ".join(sorted(need))


if __name__ == "__main__":
    main(sys.argv[1:])
