# SPDX-License-Identifier: Apache-2.0
"""Which devices a list of rules allows, and the files of cgroup v1 that say so.

The files are described in admin-guide/cgroup-v1/devices of the kernel's documentation.
"""

from __future__ import annotations

from errno import EINVAL

from nsenter._cgroups.files import read, write
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from libcontainer.configs import DeviceRule

    Device = tuple[str, int, int]  # type, major, minor; -1: any

ALL = "a"


def effective(rules: Iterable[DeviceRule]) -> tuple[bool, list[DeviceRule]]:
    """What counts of a list: whether all is allowed at first, and the rules after that.

    A rule for all devices is the end of all before it. Without one, nothing is allowed at first.
    """
    default = False
    kept: list[DeviceRule] = []
    for rule in rules:
        if rule.type == ALL:
            default, kept = rule.allow, []
        else:
            kept.append(rule)
    return default, kept


class Access:
    """What one cgroup of v1 allows: all or nothing, but for exceptions.

    Attributes:
        default: whether what is no exception is allowed.
        exceptions: letters of "rwm" by device.
    """

    def __init__(self, default: bool = False) -> None:
        self.default = default
        self.exceptions: dict[Device, set[str]] = {}

    @classmethod
    def of(cls, rules: Iterable[DeviceRule]) -> Access:
        """What the rules come to.

        Raises:
            Failure: v1 cannot say it, a part taken out of "any", for one.
        """
        default, rest = effective(rules)
        access = cls(default)
        for rule in rest:
            device = (rule.type, rule.major, rule.minor)
            if rule.allow != default:
                access.exceptions.setdefault(device, set()).update(rule.permissions)
            else:
                access._take_back(device, set(rule.permissions))
        return access

    def _take_back(self, device: Device, letters: set[str]) -> None:
        for other, theirs in self.exceptions.items():
            if other != device and _overlap(other, device) and theirs & letters:
                raise Failure(
                    "set", f"devices: {line(device, letters)}", EINVAL,
                    f"cgroup v1 cannot take it out of {line(other, theirs)}; "
                    "write linux.resources.devices without the overlap",
                )  # fmt: skip
        if device in self.exceptions:
            self.exceptions[device] -= letters
            if not self.exceptions[device]:
                del self.exceptions[device]

    @classmethod
    def listed(cls, text: str) -> Access:
        """What devices.list says: "a *:* rwm", or what is allowed line by line.

        The exceptions of "all" are not told by the kernel.
        """
        lines = [text_line.split() for text_line in text.splitlines()]
        access = cls(any(words[0] == ALL for words in lines))
        for kind, number, letters in lines if not access.default else []:
            major, minor = (-1 if n == "*" else int(n) for n in number.split(":"))
            access.exceptions[kind, major, minor] = set(letters)
        return access

    def changes_to(self, other: Access) -> Iterator[tuple[str, str]]:
        """The writes, file and line, that make this the other."""
        mine = self.exceptions
        if other.default or self.default:
            # What the kernel does not tell is cleared, too.
            yield _file(other.default), ALL
            mine = {}
        for device, letters in mine.items():
            if rest := letters - other.exceptions.get(device, set()):
                yield _file(other.default), line(device, rest)
        for device, letters in other.exceptions.items():
            if rest := letters - mine.get(device, set()):
                yield _file(not other.default), line(device, rest)


def _file(allow: bool) -> str:
    return "devices.allow" if allow else "devices.deny"


def _overlap(one: Device, other: Device) -> bool:
    numbers = zip(one[1:], other[1:], strict=True)
    return one[0] == other[0] and all(a == b or -1 in (a, b) for a, b in numbers)


def line(device: Device, letters: Iterable[str]) -> str:
    """Return the line of a rule, such as "c 1:3 rwm"."""
    kind, *numbers = device
    major, minor = ("*" if number < 0 else str(number) for number in numbers)
    return f"{kind} {major}:{minor} {''.join(x for x in 'rwm' if x in letters)}"


def apply(path: str, rules: Iterable[DeviceRule]) -> None:
    """Have the cgroup of v1 at `path` allow what the rules do, with as few writes as it takes.

    Raises:
        Failure: names the file and the line.
    """
    now = Access.listed(read(f"{path}/devices.list"))
    for file, text in now.changes_to(Access.of(rules)):
        write(f"{path}/{file}", text)
