# SPDX-License-Identifier: Apache-2.0
"""The benchmark of launching: `make bench`, as root. README.md says what it measures."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from cases import CASES
from harness import run_rounds
from kit import made_kit
from report import as_json, as_table, machine

_RESULTS = Path(__file__).with_name("results") / "launch.json"
_ROUNDS = 300
_QUICK_ROUNDS = 30
_WARM_UP_SHARE = 10  # one round of so many, and not fewer than:
_WARM_UP_LEAST = 5


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/launch.py", description=__doc__)
    parser.add_argument("--rounds", type=int, metavar="N", help=f"default {_ROUNDS}")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK_ROUNDS} rounds")
    parser.add_argument("--only", action="append", choices=CASES, metavar="CASE",
                        help=f"may be repeated; of {', '.join(CASES)}")  # fmt: skip
    parser.add_argument("--json", type=Path, default=_RESULTS, metavar="PATH",
                        help="where the results go (%(default)s)")  # fmt: skip
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS",
                        help="before each measurement; 0 keeps the machine warm")  # fmt: skip
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (_QUICK_ROUNDS if arguments.quick else _ROUNDS)
    return arguments


def main() -> None:
    arguments = _arguments()
    if os.geteuid() != 0:
        sys.exit("benchmarks/launch.py: must be root: the peers make no user namespace")
    with ExitStack() as stack:
        kit = stack.enter_context(made_kit())
        names = arguments.only or list(CASES)
        cases = {name: CASES[name](kit, stack) for name in names}
        about = machine(kit)
        samples = run_rounds(
            cases.values(),
            arguments.rounds,
            warm_up=max(_WARM_UP_LEAST, arguments.rounds // _WARM_UP_SHARE),
            pause=arguments.pause,
        )
    print(as_table(cases, samples, about))
    settings = {"rounds": arguments.rounds, "pause": arguments.pause}
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(as_json(cases, samples, about, settings))


if __name__ == "__main__":
    main()
