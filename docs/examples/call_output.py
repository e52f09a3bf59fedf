# SPDX-License-Identifier: Apache-2.0
"""What a function prints, beside what it returns. See docs/sandbox.md."""

from __future__ import annotations

import subprocess
import tempfile

import nsenter

LARGEST_OUTPUT = 1 << 16


# --- call
def mean(numbers: list[int]) -> float:
    print(f"{len(numbers)} numbers")
    return sum(numbers) / len(numbers)


def call_with_output(numbers: list[int]) -> tuple[float, str]:
    """What `mean` returns, and what it prints."""
    with tempfile.TemporaryFile() as output:
        caller = nsenter.Caller(
            nsenter.presets.sandbox(rlimits={"fsize": LARGEST_OUTPUT}),
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=5,
        )
        value = caller.call(mean, numbers)
        output.seek(0)
        return value, output.read(LARGEST_OUTPUT).decode(errors="replace")


if __name__ == "__main__":
    print(call_with_output([1, 2, 6]))
