# SPDX-License-Identifier: Apache-2.0
"""A container from Python, of this machine's root. Takes root."""

# --- container
import os
import tempfile

from libcontainer import Container, Process
from libcontainer.specconv import config_from_spec, process_from_spec
from libcontainer.specconv.example import example

name = f"c1-{os.getpid()}"  # of its cgroup too
spec = example() | {"root": {"path": "/", "readonly": True}, "hostname": "c1"}
spec["process"] |= {"terminal": False, "args": ["sh", "-c", "echo I am $$ on $(uname -n)"]}

with tempfile.TemporaryDirectory() as state:
    container = Container.create(state, name, config_from_spec(spec, id=name, bundle="/"))
    process = Process(process_from_spec(spec["process"]))
    container.run(process)
    print(process.wait(), container.status())
    container.destroy()
