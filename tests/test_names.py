"""`__all__` is true in both directions: what others import is in it, and what is in it is used."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {
    module_of(path): path.read_text()
    for path in (ROOT / "farm_merge").rglob("*.py")
    if path.name != "__main__.py"  # to import it is to run it
}
OTHERS = [
    path.read_text()
    for pattern in ("README.md", "docs/*.md", "tests/**/*.py", "benchmarks/*.py")
    for path in ROOT.glob(pattern)
]


def imports(module: str) -> set[tuple[str, str]]:
    """Return what a module imports from others of the package, by their names."""
    nodes = ast.walk(ast.parse(SOURCES[module]))
    return {
        (node.module, alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module in SOURCES.keys() - {module}
        for alias in node.names
        if f"{node.module}.{alias.name}" not in SOURCES
    }


def test_what_is_imported_from_others_is_in_their_all():
    imported = {pair for module in SOURCES for pair in imports(module)}
    private = {
        (other, name) for other, name in imported if name not in import_module(other).__all__
    }
    assert private == set()


def test_what_is_in_all_exists_and_is_used():
    words = {module: set(re.findall(r"\w+", text)) for module, text in SOURCES.items()}
    others = set(re.findall(r"\w+", " ".join(OTHERS)))
    idle = []
    for module in SOURCES:
        used = others.union(*(found for name, found in words.items() if name != module))
        loaded = import_module(module)
        # What functions return is part of them, though nobody names its class.
        idle += [
            (module, name)
            for name in getattr(loaded, "__all__", ())
            if not isinstance(getattr(loaded, name), type) and name not in used
        ]
    assert idle == []
