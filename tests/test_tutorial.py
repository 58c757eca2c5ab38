"""The tutorial runs, from files to a figure, and leaves no output in the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial.ipynb"


def outputs(notebook):
    return [cell["outputs"] for cell in notebook.cells if cell["cell_type"] == "code"]


def test_the_tutorial_runs_from_files_to_a_figure(tmp_path):
    notebook = nbformat.read(TUTORIAL, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=where).execute()
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    shown = [out[-1]["data"]["text/plain"] for out in outputs(notebook) if out]
    assert shown[0] == "(12, 720)"
    assert "merged" in shown[1]
    assert "already merged" in shown[1]
    assert "max_steps.ill" in shown[3]


def test_no_output_is_kept_in_it():
    assert not any(outputs(nbformat.read(TUTORIAL, as_version=4)))
