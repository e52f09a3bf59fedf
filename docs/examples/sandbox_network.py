# SPDX-License-Identifier: Apache-2.0
"""A sandbox that reaches some hosts. See docs/sandbox.md."""

from __future__ import annotations

import nsenter


# --- egress
def fetch(url: str) -> nsenter.Result:
    """Run curl where some hosts are allowed, by HTTPS alone."""
    network = nsenter.Egress(["packages.example.org:443", "*.example.com:443"])
    with nsenter.Sandbox(network=network, timeout=30) as box:
        return box.run(["curl", "-sS", "--max-time", "20", url])


if __name__ == "__main__":
    result = fetch("https://other.example.net/")
    print(result.returncode, result.refused[0].partition(" ")[2])
