"""setgroups(2) is denied in the user namespace of a caller that may not drop groups.

This is CVE-2014-8989. A group can *deny* its members access (a mode such as 0705). A user who could
leave such a group in a user namespace would gain that access. So the kernel, and this package, deny
setgroups(2) before the gid map is written. The mapping tools are not used here, because they deny
it themselves.
"""

from __future__ import annotations

import sys

import pytest

import rootless
from launching import PYTHONPATH

_TELL = """
import nsenter, os, sys
os.environ["PATH"] = "/nowhere"
options = nsenter.Options(new="user,pid,mnt", maps="current", **{fields})
with open("/proc/self/setgroups") as file:
    print("outside", file.read().strip())
done = nsenter.run(["/bin/cat", "/proc/self/setgroups", "/proc/self/gid_map"], options,
                   capture_output=True, text=True)
sys.exit(done.stderr) if done.returncode else print("inside", *done.stdout.split())
"""

# The child writes its maps itself if it is cloned straight into its namespaces; a working directory
# or a PID 1 that stays takes the stages, of which stage 0 writes them.
_WAYS = {
    "directly": "{'init': False}",
    "by-stage-0": "{'cwd': '/'}",
    "below-an-init": "{'init': True}",
}


@pytest.mark.parametrize("way", _WAYS)
def test_a_users_namespace_denies_setgroups(way: str) -> None:
    code = _TELL.replace("{fields}", _WAYS[way])
    done = rootless.as_user(["env", f"PYTHONPATH={PYTHONPATH}", sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    outside, inside = done.stdout.splitlines()
    assert outside == "outside allow"
    own = str(rootless.UID)
    assert inside.split() == ["inside", "deny", own, own, "1"]
