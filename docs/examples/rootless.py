# SPDX-License-Identifier: Apache-2.0
"""Namespaces of an ordinary user: root inside, nobody special outside. See docs/rootless.md."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import nsenter


# --- root
def root_inside() -> None:
    """Map the user's own id to root, and no other id. This requires no privilege."""
    options = nsenter.Options(new="user,mnt,pid,net,uts", hostname="box", maps="root")
    print(
        nsenter.check_output(["sh", "-c", "id -u; hostname; echo $$"], options, text=True).split()
    )


# --- current
def same_user_inside() -> None:
    """Map it to itself: the process keeps its user, and has all capabilities in its namespaces."""
    options = nsenter.Options(new="user,net", maps="current")
    print(nsenter.check_output(["id", "-u"], options, text=True).strip() == str(os.geteuid()))


# --- auto
def other_users_inside() -> None:
    """Map other users too. Requires ranges in /etc/subuid and /etc/subgid, and newuidmap(1)."""
    maps = nsenter.idmap.map_auto()
    print([(row.container_id, row.size) for row in maps.uid])
    options = nsenter.Options(new="user,mnt", maps=maps)
    with tempfile.TemporaryDirectory() as folder:
        script = 'touch "$0/file" && chown 1000:1000 "$0/file" && stat -c %u:%g "$0/file"'
        print(nsenter.check_output(["sh", "-c", script, folder], options, text=True).strip())
        print("outside it is ours:", Path(folder, "file").stat().st_uid == os.geteuid())


# --- preset
def as_a_build_does() -> None:
    """Map root and the ranges of the user if there are any, otherwise root alone."""
    words = ["sh", "-c", "id -u; wc -l < /proc/self/uid_map"]
    print(nsenter.check_output(words, nsenter.presets.rootless_root(), text=True).split())


# --- errors
def what_errors_look_like() -> None:
    of_root = (nsenter.idmap.IDMap(0, 0, 1),)
    refused = nsenter.Options(new="user", maps=nsenter.idmap.IDMappings(of_root, of_root))
    for options in (nsenter.Options(new="net"), refused):
        try:
            nsenter.run(["true"], options, check=True)
        except nsenter.BootstrapError as error:
            print(f"{error.stage}: {error.operation}: {error.strerror}")
            print(f"    {error.hint}")


# --- use
if __name__ == "__main__":
    root_inside()
    same_user_inside()
    try:
        other_users_inside()
    except LookupError as error:
        print(error)
    as_a_build_does()
    what_errors_look_like()
