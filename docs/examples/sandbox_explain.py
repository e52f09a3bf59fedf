# SPDX-License-Identifier: Apache-2.0
"""What the filter of a sandbox denies to a program. See docs/sandbox.md."""

from __future__ import annotations

import nsenter


# --- explain
def explain(args: list[str]) -> nsenter.Result:
    """Run a program, and learn what it was not allowed to do."""
    with nsenter.Sandbox(timeout=10) as box:
        return box.run(args, explain=True)


if __name__ == "__main__":
    result = explain(["unshare", "--net", "true"])
    print(result.returncode, *result.denied)
