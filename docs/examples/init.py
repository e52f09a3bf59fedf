# SPDX-License-Identifier: Apache-2.0
"""A PID 1 in Python that talks with its parent. As root or not."""

# --- init
import os

import nsenter


def main(channel: int, name: str) -> int:
    """Runs as PID 1; `channel` is a descriptor of a socket to the parent."""
    os.write(channel, f"hello from {name} {os.getpid()}".encode())
    return 3


if __name__ == "__main__":
    with nsenter.Options(new="all").launch(nsenter.PythonInit("init:main", ("PID",))) as child:
        print(os.read(child.channel_fd, 100))
        print(child.wait())
