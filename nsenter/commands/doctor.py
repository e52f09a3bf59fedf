# SPDX-License-Identifier: Apache-2.0
"""Show whether namespaces work here for this user, and if not, why and what to do.

The command looks at the kernel and its settings, at what surrounds this process (a container, a
chroot), and at ids, cgroups and limits. Then it tries each kind of namespace alone, all of them
together, and Python as the init. `limited` marks what not everybody needs. The exit status is 1 if
something is `broken`, and 0 otherwise.
"""

from __future__ import annotations

from nsenter._host.printable import printable
from nsenter.commands import read
from nsenter.commands.table import Option
from nsenter.doctor import BROKEN, OK, Finding, diagnose

UNWELL = 1

_OPTIONS = (
    Option(("--problems",), "", "leave out what is ok", "problems"),
    Option(("--json",), "", "print JSON", "json"),
)


def main(words: list[str]) -> int:
    """Print the findings; return 1 if something is broken."""
    given = read("doctor", __doc__, _OPTIONS, words)
    if given is None:
        return 0
    findings = diagnose()
    shown = [f for f in findings if f.state != OK] if given.all("problems") else findings
    if given.all("json"):
        import json

        print(json.dumps([finding.to_data(full=True) for finding in shown], indent=2))
    else:
        for finding in shown:
            _print(finding)
    return UNWELL if any(finding.state == BROKEN for finding in findings) else 0


def _print(finding: Finding) -> None:
    print(f"{finding.state:8} {finding.name:28} {printable(finding.seen)}")
    for text in filter(None, (finding.means, finding.do and f"try: {finding.do}")):
        print(f"{'':37} {text}")
