# SPDX-License-Identifier: Apache-2.0
"""A contract for import-linter: no modules import one another in a circle, at whatever depth.

The contract "acyclic_siblings" compares whole packages, and packages of one floor may use modules
of each other. Imports that only type checkers see are left out by the settings in pyproject.toml,
unless the contract has `with_types`.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

from grimp import ImportGraph, build_graph
from importlinter import Contract, ContractCheck, fields, output


class NoCircles(Contract):
    """Kept if the modules can be put in an order in which each imports only earlier ones.

    Attributes:
        with_types: a package. Only its modules are looked at, with what type checkers import.
    """

    with_types = fields.StringField(required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        if self.with_types:
            graph = build_graph(
                self.with_types, exclude_type_checking_imports=False, cache_dir=None
            )
        imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
        circle = circle_in(imports)
        return ContractCheck(kept=not circle, metadata={"circle": circle})

    def render_broken_contract(self, check: ContractCheck) -> None:
        output.print_error(" -> ".join(check.metadata["circle"]))


def circle_in(imports: dict[str, set[str]]) -> list[str]:
    """Return the modules of a circle, with the first again at the end; [] if there is no circle."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []
