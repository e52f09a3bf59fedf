"""Programs that use a module in the three forms that people write, in namespaces.

As a script: importing.py PLACE with lines of "MODULE EXPRESSION" on its standard input, of which it
writes what went wrong as JSON: {"MODULE FORM": "what"}.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PLACES = ("own root", "sandbox")
_SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
import nsenter

{imports}

def executed(code, expression):
    import warnings
    warnings.simplefilter("ignore")
    names = {{}}
    exec(code, names)
    return repr(eval(expression, names))

{functions}

def tried(name, function, *args):
    try:
        found = executor.submit(function, *args).result()
    except Exception as error:
        failed[name] = f"{{type(error).__name__}}: {{error}}"[:500]
    else:
        if found != expected[name.partition(" ")[0]]:
            failed[name] = f"{{found}} instead of {{expected[name.partition(' ')[0]]}}"[:500]

if __name__ == "__main__":
    place = sys.argv[1]
    options = nsenter.presets.sandbox() if place == "sandbox" else None
    failed, expected = {{}}, {{}}
    with nsenter.NamespaceExecutor(1, options, timeout=300, stderr=-3) as executor:
{calls}
    print(json.dumps(failed))
"""


def _program(uses: Mapping[str, str]) -> str:
    imports, functions, calls = [], [], []
    for number, (module, expression) in enumerate(uses.items()):
        imports.append(f"import {module}")
        functions.append(f"def top_{number}(): return repr({expression})")
        functions.append(f"def inside_{number}():\n    import {module}\n    return top_{number}()")
        calls += [
            f"expected[{module!r}] = top_{number}()",
            f"tried('{module} executed', executed, 'import {module}', {expression!r})",
            f"tried('{module} in the function', inside_{number})",
            f"tried('{module} at the top', top_{number})",
        ]
    return _SCRIPT.format(
        imports="\n".join(imports),
        functions="\n".join(functions),
        calls="\n".join(f"        {line}" for line in calls),
    )


def failures(uses: Mapping[str, str], place: str) -> dict[str, str]:
    """What does not give in namespaces what it gives in this Python.

    Args:
        uses: modules, each with an expression that uses it.
        place: one of PLACES.
    """
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "script.py")
        script.write_text(_program(uses))
        done = subprocess.run(
            [sys.executable, script, place], capture_output=True, text=True, timeout=600
        )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found
