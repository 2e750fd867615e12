"""Builds `playing_with_sgdr.ipynb` from its script, with outputs: `python examples/make_notebook.py`."""

from __future__ import annotations

import tempfile
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbformat import NotebookNode

__all__ = ["NOTEBOOK", "SCRIPT", "main", "read", "run"]

SCRIPT = Path(__file__).with_name("playing_with_sgdr.py")
NOTEBOOK = SCRIPT.with_suffix(".ipynb")


def main() -> None:
    """Run the script's cells and write the notebook beside it."""
    jupytext.write(run(read()), NOTEBOOK)


def read() -> NotebookNode:
    """The script as a notebook without outputs. Its cells are numbered: their ids would be random otherwise."""
    notebook: NotebookNode = jupytext.read(SCRIPT)
    for number, cell in enumerate(notebook.cells):
        cell.id = str(number)
    return notebook


def run(notebook: NotebookNode) -> NotebookNode:
    """Run a notebook in an empty folder.

    Returns:
        The notebook with its outputs, except logs, which depend on the machine.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell raises.
    """
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(notebook, timeout=600, record_timing=False, resources={"metadata": {"path": folder}})
        client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return notebook


if __name__ == "__main__":
    main()
