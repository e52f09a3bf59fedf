# SPDX-License-Identifier: Apache-2.0
"""List the namespace types.

Each line has the name, the clone flag, whether this kernel supports the type, and how many
namespaces of the type one user may create (/proc/sys/user/max_*_namespaces).
"""

from __future__ import annotations

from nsenter._host.hints import read_line
from nsenter.commands import read
from nsenter.namespaces import is_namespace_supported, namespace_types


def main(words: list[str]) -> int:
    """Print the table; return 0, also if a type is not supported."""
    if read("types", __doc__, (), words) is None:
        return 0
    print(f"{'type':8} {'OCI name':9} {'clone flag':11} {'supported':10} limit")
    for kind in namespace_types():
        supported = "yes" if is_namespace_supported(kind) else "no"
        limit = read_line(f"/proc/sys/user/max_{kind.ns_name()}_namespaces") or "-"
        print(
            f"{kind.ns_name():8} {kind.oci_name:9} {kind.clone_flag:#010x}  {supported:10} {limit}"
        )
    return 0
