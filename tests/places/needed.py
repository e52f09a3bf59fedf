"""Which rights a test needs: by the table, and all of them if it is not there."""

from __future__ import annotations

from places.table import NEEDS

NO_THREAD = "test_where_no_thread_can_be_made_the_filter_is_installed_all_the_same"
MACHINE = frozenset(("namespaces", "proc", "ids", "machine"))

# Why some need the machine's root, though most of their file run where an ordinary user has ids.
REASONS = {
    ("test_libcontainer/test_pyrunc_confinement.py", NO_THREAD): (
        "limits a cgroup's processes: a user has no cgroup with the controller pids"
    ),
    ("test_nsenter/test_commands.py", "test_a_user_maps_itself_or_its_subordinate_ids"): (
        "makes a user with the ids from 300000 on, which a user namespace with 65,537 has not"
    ),
    ("test_nsenter/test_idmap.py", "test_the_command_of_the_advice_works"): (
        "has usermod(8) change a copy of /etc, of which the machine's root alone may read all"
    ),
    ("test_nsenter/test_enemy_root.py", "*"): (
        "opens /dev/fuse, which may be of a mode that leaves it to the machine's root"
    ),
}


def needed(file: str, test: str) -> frozenset[str]:
    """The names of the rights (see places.rights) of a test.

    Args:
        file: its file below tests/.
        test: the name of its function.
    """
    for need, tests in NEEDS.get(file, {}).items():
        if test in tests.split() or tests == "*":
            return MACHINE if "machine" in need.split() else frozenset(need.split())
    return MACHINE
