"""An operator that cosmic-ray lacks: a statement that does something does nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cosmic_ray.operators.operator import Example, Operator
from parso.python.tree import Name

if TYPE_CHECKING:
    from collections.abc import Iterator

_DOING = {"assert_stmt", "atom_expr", "del_stmt", "raise_stmt"}
"""Kinds of statements: `assert x`, `f(x)` (or `x.y` alone), `del x`, `raise x`."""


class DropStatement(Operator):
    """Put `pass` in the place of a call, a raise, an assignment in place, a deletion."""

    def mutation_positions(self, node: Any) -> Iterator[tuple[Any, Any]]:
        if node.type == "simple_stmt" and _does_something(node.children[0]):
            yield node.children[0].start_pos, node.children[0].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        old = node.children[0]
        node.children[0] = Name("pass", old.start_pos, old.get_first_leaf().prefix)
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("if x:\n    raise y\n", "if x:\n    pass\n"),)


def _does_something(statement: Any) -> bool:
    if statement.type == "expr_stmt":  # x += 1, x.y = 1, x[y] = 1
        target, operator = statement.children[:2]
        return operator.type == "operator" and (operator.value != "=" or target.type == "atom_expr")
    return statement.type in _DOING


class Provider:
    """What cosmic-ray asks for operators."""

    def __iter__(self) -> Iterator[str]:
        return iter([DropStatement.__name__])

    def __getitem__(self, name: str) -> type[Operator]:
        return {DropStatement.__name__: DropStatement}[name]
