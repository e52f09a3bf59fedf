# SPDX-License-Identifier: Apache-2.0
"""All benchmarks: `make bench`, as root. README.md says what they measure and what they found."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cases import CASES
from harness import Effort, Samples, run_case
from kit import Kit, made_kit
from report import case_document, machine, table
from waterfall import waterfalls

_RESULTS = Path(__file__).with_name("results")
_QUICK = Effort(rounds=12, least=3, share=0.05, warm_up=1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--quick", action="store_true",
                        help="a trial of a minute: does everything work?")  # fmt: skip
    parser.add_argument("--only", action="append", choices=CASES, metavar="CASE",
                        help=f"may be repeated; of {', '.join(CASES)}")  # fmt: skip
    parser.add_argument("--results", type=Path, metavar="FOLDER",
                        help="where results and pictures go; without it those of the whole run "
                        "are kept in benchmarks/results, and told in its README.md")  # fmt: skip
    parser.add_argument("--pause", type=float, default=0.0, metavar="SECONDS",
                        help="before each measurement; 0 keeps the machine warm")  # fmt: skip
    return parser.parse_args()


def _run(kit: Kit, names: list[str], effort: Effort) -> tuple[dict[str, Any], dict[str, Samples]]:
    """All that can be made; one that fails is told, and the others are made."""
    found: dict[str, Any] = {}
    samples: dict[str, Samples] = {}
    for name in names:
        started = time.monotonic()
        try:
            with ExitStack() as stack:
                case = CASES[name](kit, stack)
                samples[name] = run_case(case, effort)
        except Exception:
            traceback.print_exc()
            continue
        found[name] = case_document(case, samples[name])
        print(f"{table(found[name])}\n  ({time.monotonic() - started:.0f} s)\n", flush=True)
    return found, samples


def main() -> None:
    arguments = _arguments()
    if os.geteuid() != 0:
        sys.exit("benchmarks/run.py: must be root: the peers make no user namespace")
    effort = _QUICK if arguments.quick else Effort(pause=arguments.pause)
    with made_kit(quick=arguments.quick) as kit:
        about = machine(kit)
        document = {"machine": about, "waterfalls": waterfalls(kit)}
        names = arguments.only or list(CASES)
        document["cases"], samples = _run(kit, names, effort)
    partial = arguments.quick or arguments.only
    folder = arguments.results or (None if partial else _RESULTS)
    if folder is not None:
        _keep(document, samples, folder)
    failed = [name for name in names if name not in samples]
    if failed:
        sys.exit(f"benchmarks/run.py: these cases failed, see above: {', '.join(failed)}")


def _keep(document: dict[str, Any], samples: dict[str, Samples], folder: Path) -> None:
    """Write results and pictures; those of the whole run are told in README.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")

    # Not above: what they import is large, and the caller's size is among what is measured.
    import suite
    from pictures import draw
    from readme import update

    suite.write(document["cases"], samples, folder / "pyperf.json")
    draw(document, folder)
    if folder == _RESULTS:
        update(document)


if __name__ == "__main__":
    main()
