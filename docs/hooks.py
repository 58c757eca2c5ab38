"""Pages that are made with the site: commands from `--help`, Python from docstrings, a notebook.

MkDocs calls `on_files` and the others (https://www.mkdocs.org/user-guide/plugins/#events).
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from mkdocs.structure.files import File

import farm_merge
from farm_merge.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

_ROOT = Path(__file__).parents[1]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made, and leave out what is no page."""
    made = {"commands.md": _commands(), "api.md": _python(), "tutorial.md": _tutorial()}
    for name, text in made.items():
        files.append(File.generated(config, name, content=text))
    for name in ("hooks.py", "tutorial.ipynb"):
        if found := files.get_file_from_path(name):
            files.remove(found)
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Let links to what the site does not have lead to the repository's files."""
    markdown = markdown.replace("(tutorial.ipynb)", "(tutorial.md)")
    return re.sub(r"\[([^]]+)\]\(\.\./[^)]+\)", r"\1", markdown)


def _commands() -> str:
    parts = ["# Commands\n", "Made from `farm-merge COMMAND --help`.\n"]
    parent = click.Context(main, info_name="farm-merge", **main.context_settings)
    for name, command in sorted(main.commands.items()):
        text = command.get_help(click.Context(command, info_name=name, parent=parent))
        parts.append(f"## {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _python() -> str:
    parts = ["# Python\n", "What `import farm_merge` offers; made from docstrings.\n"]
    parts += [f"::: {path}\n" for path in _public()]
    return "\n".join(parts)


def _public() -> Iterator[str]:
    """Yield where each public name is defined."""
    for name, home in farm_merge._HOME.items():
        thing = getattr(import_module(f"farm_merge.{home}"), name)
        yield f"{thing.__module__}.{name}"


def _tutorial() -> str:
    """Return the notebook as a page."""
    notebook = json.loads((_ROOT / "docs/tutorial.ipynb").read_text("utf-8"))
    parts = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    return "\n\n".join(parts) + "\n"
