# SPDX-License-Identifier: Apache-2.0
"""Writes the man pages of this folder, pynsenter.1 and pyrunc.8.

They are made of the tables that the commands parse their words with, as the commands' own help is.
What the help does not have is here: the exit status, the environment and the files. setup.py
installs the pages; tests/test_man_pages.py checks that they are current.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from libcontainer.pyrunc import help as pyrunc_help
from libcontainer.pyrunc import options as pyrunc
from nsenter import __main__ as pynsenter
from nsenter import commands

HERE = Path(__file__).parent
# The languages of roff give these a meaning, or print them as others.
_CHARACTERS = {"\\": r"\e", "-": r"\-", "~": r"\(ti", "^": r"\(ha", "`": r"\(ga", "'": r"\(aq"}
_ESCAPES = str.maketrans({**_CHARACTERS, "…": "..."})
_CODE = re.compile(r"`+([^`]+)`+|\b((?:[a-z_0-9.-]+)\((?:[1-8])\))")
_SPELLED = "python -m nsenter"
_AS_IT_STANDS = ("  ", "{", ' "')
_HEADING = re.compile(r"^(EXAMPLES?|DESCRIPTION):$|^(examples?): ?(.*)$")

_PYNSENTER = [
    ("EXIT STATUS", """\
`run` ends with the status of the command, or with 128 + N if signal N killed it.
Its other statuses:
""", [
        ("125", "Something failed before the command was executed."),
        ("126", "The command cannot be executed."),
        ("127", "The command does not exist."),
    ]),
    ("", """\
`sandbox` ends like `run`, and with 124 if the time was over.
The other commands end with 0, or with 125 if they failed. `decode` ends with 1 if the message is
refused, `doctor` if something is broken, and `image` if no image can be made.
""", []),
    ("ENVIRONMENT", "", [
        ("NSENTER_IMAGE", "off: use and make no memory image. use: use one, but make none."),
    ]),
    ("SEE ALSO", "unshare(1), nsenter(1), lsns(8), ip-netns(8), namespaces(7), pyrunc(8)", []),
]  # fmt: skip
_PYRUNC = [
    ("EXIT STATUS", """\
`run` and `exec` end with the status of the process, unless --detach is given. Otherwise:
""", [
        ("0", "The command has succeeded."),
        ("1", "The command has failed."),
        ("3", "There is no such command."),
        ("255", "`exec` could not execute the process."),
    ]),
    ("ENVIRONMENT", "", [
        ("PYRUNC_START_TIMEOUT",
         "how many seconds to wait for an answer of a container's init (default: 30); 0: no limit"),
    ]),
    ("FILES", "", [
        ("/run/pyrunc", "the state of the containers, unless --root names another directory"),
        ("$XDG_RUNTIME_DIR/pyrunc", "the same for a user who is not root"),
        ("config.json", "the configuration in a bundle: see the OCI runtime specification"),
    ]),
    ("SEE ALSO", "runc(8), pynsenter(1), namespaces(7), cgroups(7)", []),
]  # fmt: skip

Rows = Iterable[tuple[str, str, str]]  # a name, its value, what it means


def pages() -> dict[str, str]:
    """Return the text of each page, by the name of its file."""
    return {"pynsenter.1": _page_of_pynsenter(), "pyrunc.8": _page_of_pyrunc()}


def _page_of_pynsenter() -> str:
    summary, about = _split_summary(pynsenter.__doc__ or "")
    lines = [
        *_head("PYNSENTER", 1, "pynsenter", summary),
        *(".SH SYNOPSIS", *_synopsis("pynsenter COMMAND [OPTION]... [ARGUMENT]...")),
        *(".SH DESCRIPTION", *_prose(about)),
        *_prose("--help prints the help of a command. `python -m nsenter` calls the same program."),
        ".SH COMMANDS",
    ]  # fmt: skip
    for name in pynsenter._COMMANDS:
        usage, text, options = _described(name)
        lines += [f'.SS "{_escaped(name)}"', *_synopsis(usage), *_prose(text)]
        for group in dict.fromkeys(option.group for option in options):
            lines += [".PP", f"{_escaped(group[:1].upper() + group[1:])}:"]
            lines += _rows(_named(o) for o in options if o.help and o.group == group)
    return _text([*lines, *_sections(_PYNSENTER)])


def _described(name: str) -> tuple[str, str, Any]:
    """Return the usage, the description and the options that a command's help is made of."""
    with mock.patch.object(commands, "help_text") as made, mock.patch("builtins.print"):
        pynsenter._run(name, ["--help"])
    usage, about, options = made.call_args.args
    return usage.replace(_SPELLED, "pynsenter"), about.replace(_SPELLED, "pynsenter"), options


def _named(option: Any) -> tuple[str, str, str]:
    value = option.metavar
    if value.startswith("["):
        return ", ".join(option.names), f"[={value[1:-1]}]", option.help
    return ", ".join(option.names), value and f" {value}", option.help


def _page_of_pyrunc() -> str:
    name, _, rest = pyrunc_help._PYRUNC.partition("\n\n")
    about, _, usage = rest.partition("USAGE:\n")
    summary = name.partition(" - ")[2]
    lines = [
        *_head("PYRUNC", 8, "pyrunc", summary),
        *(".SH SYNOPSIS", *_synopsis(usage.strip())),
        *(".SH DESCRIPTION", *_prose(about)),
        *(".SH GLOBAL OPTIONS", *_rows(map(_row, pyrunc.GLOBAL))),
        ".SH COMMANDS",
    ]
    for command, (line, arguments, _, _, _, options) in pyrunc.COMMANDS.items():
        lines += [f'.SS "{_escaped(command)}"', *_synopsis(f"pyrunc {command} {arguments}".strip())]
        lines += _prose(f"{line[:1].upper()}{line[1:]}.")
        more = pyrunc_help._MORE.get(command, "")
        lines += _prose(re.sub(r"^ {3}(?=\S)", "", more, flags=re.MULTILINE))
        lines += _rows(map(_row, options))
    return _text([*lines, *_sections(_PYRUNC)])


def _row(option: pyrunc.Option) -> tuple[str, str, str]:
    name, letter, kind, _, _ = option
    names = f"--{name}, -{letter}" if letter else f"--{name}"
    return names, "" if kind == pyrunc.FLAG else " value", pyrunc_help._with_default(option)


# --- roff, see groff_man(7)


def _head(title: str, section: int, name: str, summary: str) -> list[str]:
    comment = '.\\" docs/man/generate.py writes this.'
    return [comment, f".TH {title} {section}", ".SH NAME", f"{name} \\- {_escaped(summary)}"]


def _sections(table: Iterable[tuple[str, str, list[tuple[str, str]]]]) -> Iterator[str]:
    for title, text, rows in table:
        if title:
            yield f".SH {title}"
        yield from _prose(text)
        yield from _rows((name, "", meaning) for name, meaning in rows)


def _rows(rows: Rows) -> Iterator[str]:
    for name, value, meaning in rows:
        yield ".TP"
        yield _bold(name) + (_slanted(value) if value else "")
        yield from _filled(meaning)


def _synopsis(usage: str) -> list[str]:
    return [".nf", _filled(usage)[0], ".fi"]


def _prose(text: str) -> Iterator[str]:
    """Paragraphs, and what is indented, or JSON, as it stands."""
    shown, begins = False, True
    for line in text.strip("\n").splitlines():
        found = _HEADING.match(line)
        example = (found and found[3]) or (line.strip() if line.startswith(_AS_IT_STANDS) else "")
        if shown and not (example and not found):
            yield ".fi\n.RE"
            shown, begins = False, True
        if found and found[1] != "DESCRIPTION":
            yield f".PP\n{(found[1] or found[2]).capitalize()}:"
        if example:
            if not shown:
                yield ".PP\n.RS 4\n.nf"
            shown = True
            yield _escaped(example)
        elif found or not line.strip():
            begins = True
        else:
            if begins:
                yield ".PP"
            begins = False
            yield from _filled(line.strip())
    if shown:
        yield ".fi\n.RE"


def _filled(text: str) -> list[str]:
    """One line of words: what is between backquotes, and other man pages, are bold."""
    parts, at = [], 0
    for found in _CODE.finditer(text):
        parts += [_escaped(text[at : found.start()]), _bold(found[1] or found[2])]
        at = found.end()
    line = "".join([*parts, _escaped(text[at:])])
    return [rf"\&{line}" if line.startswith((".", r"\(aq")) else line]


def _bold(text: str) -> str:
    return rf"\fB{_escaped(text)}\fR"


def _slanted(text: str) -> str:
    return rf"\fI{_escaped(text)}\fR"


def _escaped(text: str) -> str:
    escaped = text.translate(_ESCAPES)
    return "".join(c if c.isascii() else rf"\[u{ord(c):04X}]" for c in escaped)


def _split_summary(about: str) -> tuple[str, str]:
    summary, _, rest = about.strip().partition("\n")
    return summary.removeprefix(f"{_SPELLED}: ").rstrip("."), rest


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def main() -> None:
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
