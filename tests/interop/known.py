# SPDX-License-Identifier: Apache-2.0
"""The known differences from the control, which is Debian 12's runc 1.1.5. See `differences`."""

from __future__ import annotations

from interop.differences import Difference
from interop.runtimes import CRUN, PYRUNC

_RAN = r"- 1|\+ 0"
_REFUSED = r"- 0|\+ 1"
_DATED = "fields that runc 1.1 does not know yet, and newer ones do"
_MASK = r"[+-] /\S+ on \S+: (/|/null) of (tmpfs|devtmpfs) .*"


def _pyrunc(topic: str, lines: str, reason: str, cases: str, shown_by: str = "") -> Difference:
    return Difference(PYRUNC, topic, lines, reason, cases, shown_by or cases)


def _crun(
    topic: str, lines: str, reason: str, cases: str, shown_by: str = "", *, of_v1: bool = False
) -> Difference:
    return Difference(CRUN, topic, lines, reason, cases, shown_by or cases, of_v1)


_OF_PYRUNC = (
    Difference(
        PYRUNC,
        "device rules",
        "- c 10:200 rwm",
        "/dev/net/tun is no longer allowed by default, as in crun and in runc 1.2",
        of_v1=True,
    ),
    Difference(
        PYRUNC,
        "mountinfo",
        r"[+-] /sys/fs/cgroup on /sys(/fs/cgroup)?: .*",
        "the folder of cgroup v1's hierarchies is read-only too where the mount asks for `ro`",
        of_v1=True,
    ),
    Difference(
        PYRUNC,
        "mountinfo",
        r"[+-] .* of tmpfs tmpfs .*(size=4k,nr_inodes=1|relatime; ro).*",
        "what covers a masked folder holds nothing, as in runc 1.4",
    ),
    _pyrunc(
        "devices",
        r"[+-] \./mqueue .*",
        "the file system of mqueue is made with its namespace: before there is a root in the user "
        "namespace, or, in runc, a root but no group of it",
        r".*user-namespace.*|rootless-.*|device-in.*",
        "user-namespace",
    ),
    _pyrunc("personality", r"- 0+|\+ 0+8", _DATED, "personality"),
    _pyrunc("stat", r"[+-] .*", _DATED, "scheduler"),
    _pyrunc("domainname", r"[+-] .*", _DATED, "domainname"),
    _pyrunc("exit", _RAN, _DATED, "time|seccomp-flags", "time"),
    _pyrunc("exit", _RAN, "groups that are mapped can be had", "rootless-ids-and-groups"),
    _pyrunc("exit", _REFUSED, "the specification has it refused", "rlimit-twice"),
    _pyrunc("exit", _REFUSED, "the specification has it refused", "version-.*", "version-unknown"),
    _pyrunc("exit", _REFUSED, "not absolute; refused rather than guessed", "masked-relative"),
    _pyrunc("exit", _REFUSED, "what has no effect is a mistake", "maps-without-user-namespace"),
    _pyrunc("exit", _REFUSED, "runc passes its own descriptors on there", "descriptors-missing"),
    _pyrunc("exit", _RAN, "without PATH, execvp(3)'s is searched", "no-path"),
    _pyrunc("exit", _RAN, "a joined user namespace has maps already", "user-namespace-joined"),
    _pyrunc("exit", _RAN, "runc needs a /proc to find its descriptors", "no-mounts|mount-on-root",
            "no-mounts"),
    _pyrunc("exit", _RAN, "made unbindable when nothing is bound to it any more",
            "root-propagation-unbindable"),
    _pyrunc("exit", _RAN, "runc takes type bind for a file system's, up to 1.1",
            "mount-bind-by-its-type-alone"),
    _pyrunc("exit", _RAN, "runc locks itself out", "device-of-a-default's-path"),
    _pyrunc("mountinfo", r"[+-] /\S* on .*", "runc's root is private again when it is pivoted to",
            "root-propagation-(r?shared|unbindable)|.*-in-a-shared-root",
            "root-propagation-shared"),
    _pyrunc("mountinfo", r"[+-] /mnt/[bc] on .*", "flags that are asked to be off are, from 1.2 on",
            "mount-bind-flags-off"),
    _pyrunc("exit", _RAN, "runc 1.1.5 takes the root off twice", "mount-below-the-roots-own-path"),
    _pyrunc("hook poststart", "- poststart", "the start has failed: poststop is next (runtime.md)",
            "hook-fails-startContainer"),
    _pyrunc("root", r"[+-] (/mnt|stat: can't stat '/mnt/\*').*",
            "a tmpfs has the mode that it is given, as in runc 1.2",
            "mount-tmpfs-of-an-owner|mount-twice",
            "mount-twice"),
    _pyrunc("left in the root", r"[+-] mnt/\S+ -rw.*",
            "a file that is only mounted on is no program", "mount-bind-file|script-.*",
            "mount-bind-file"),
    _pyrunc("stderr", "- said", "runc warns of them", "capabilities-unknown|mount-relative",
            "mount-relative"),
    _pyrunc("stderr", r"\+ said", "runc warns of them from 1.3 on", "capabilities-ambient-not-.*",
            "capabilities-ambient-not-permitted"),
    _pyrunc(
        "hook poststart",
        r"[+-] .*",
        "the container runs when its poststart hooks do; runc tells them that it is created",
        "hooks|hooks-without-env",
        "hooks",
    ),
    _pyrunc("hook all", r"\+ poststop", "one that fails does not stop the next, as specified",
            "hook-fails-poststop"),
)  # fmt: skip

_OF_CRUN = (
    Difference(CRUN, "descriptors", r"[+-] [012] .*", "it passes stdio on"),
    Difference(CRUN, "device rules", "- c 10:200 rwm|[+] c 5:1 rwm", "other defaults", of_v1=True),
    Difference(CRUN, "devices", r"\+ './core' -> '/proc/kcore'.*", "a link more"),
    Difference(CRUN, "mountinfo", r"[+-] /sys(/fs/cgroup)? on .*", "flags of the file systems"),
    Difference(CRUN, "mountinfo", _MASK, "covers of masked paths, and what a device is bound from"),
    Difference(
        CRUN, "mountinfo|cgroup", r"[+-] (/sys/fs/cgroup/memory|4:memory|0:).*",
        "cgroups that are relative to its own in runc are not in crun; v2 is hidden from it",
        of_v1=True,
    ),
    _crun("mountinfo", r"[+-] /sys/fs/cgroup/\w+ on .*", "their source", "cgroup-new", of_v1=True),
    _crun("environment", "- HOME=/", "without a known user no HOME",
          "user-of-no-name|masked(-relative)?", "user-of-no-name"),
    _crun("exit", r"[+-] .*", "it takes what runc refuses",
          "cwd-relative|mount-of-the-host|namespace-twice|user-namespace-(joined|without-network)|"
          "root-propagation-unbindable|no-mounts|mount-on-a-file-of-proc|device-of-.*|seccomp-flags|"
          "rootless-ids-and-groups", "namespace-twice"),
    _crun("exit", r"[+-] .*", "the specification has it refused", "version-.*", "version-unknown"),
    _crun("exit", r"[+-] .*", "another status", "hook-.*", "hook-fails-prestart"),
    _crun("stderr", "- said", "runc warns",
          "capabilities-unknown|mount-relative|hook-fails-poststop",
          "capabilities-unknown"),
    _crun("personality", r"- 0+|\+ 0+8", _DATED, "personality"),
    _crun("domainname", r"[+-] .*", _DATED, "domainname"),
    _crun("devices", r"[+-] \./(mqueue|fuse) .*", "as whom it is made",
          ".*user-namespace.*|rootless-.*", "user-namespace"),
    _crun("mountinfo", r"[+-] /dev/\w+ on /dev: .* of (devtmpfs|tmpfs) .*",
          "flags of bound devices",
          ".*user-namespace.*|rootless-.*", "user-namespace"),
    _crun("mountinfo", r"[+-] /mnt/[bc] on .*", "flags of the source go, whatever is asked for",
          "mount-bind-(of-another|flags-off)", "mount-bind-of-another"),
    _crun("exit", _RAN, "runc 1.1.5 takes the root off twice", "mount-below-the-roots-own-path"),
    _crun("mountinfo", r"[+-] /mnt on .*", "it gives all mounts the root's propagation",
          "root-propagation-and-shared"),
    _crun("mountinfo", r"[+-] /\S* on .*", "the same as pyrunc's",
          "root-propagation-(r?shared|unbindable)|.*-in-a-shared-root", "root-propagation-shared"),
    _crun("left in the root", r"[+-] \S+ [-d]rwx.*", "other modes of what it makes",
          "mount-.*|script-.*", "mount-bind"),
    _crun("left in the root", r"\+ dev/core .*", "a link more", "mount-no-dev"),
    _crun("mountinfo", r"- /proc/(keys|timer_list) on .*", "not masked without a /dev/null",
          "mount-no-dev"),
    _crun("root", r"[+-] (/mnt|/etc|stat: can't).*", "a tmpfs has its own mode", "mount-.*",
          "mount-twice"),
    _crun("hook .*", r"[+-] .*", "other fields, states and folders", "hooks?.*", "hooks"),
    _crun("environment", r"[+-] (LISTEN_FDS|HOME)=.*", "it adds them in another order",
          "descriptors-of-(systemd|both)", "descriptors-of-both"),
    _crun("environment", r"\+ LISTEN_PID=1", "it passes on what is another's",
          "descriptors-of-systemd-for-another"),
    _crun("descriptors", r"- 4 /sys/fs/cgroup", "runc's own, that it passes on",
          "descriptors-missing", of_v1=True),
    _crun("mountinfo", r"[+-] /mnt/a on .*", "options that it leaves out",
          "mount-bind-(nosymfollow|r?shared|r?unbindable)", "mount-bind-shared"),
    _crun("mountinfo", "- /sys/fs/cgroup/unified .*", "it is hidden from it", "rootless-.*",
          "rootless-alone", of_v1=True),
    _crun("exit", r"[+-] .*", "it cannot", "rootless-device"),
    _crun("exit", r"[+-] .*", "it ignores what it cannot limit", "rootless-resources"),
)  # fmt: skip

KNOWN = (*_OF_PYRUNC, *_OF_CRUN)
