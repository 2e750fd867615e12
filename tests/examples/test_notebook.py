"""The notebook is built from its script, and it runs."""

from __future__ import annotations

import jupytext
import pytest
from nbformat import NotebookNode

from examples.make_notebook import NOTEBOOK, read, run


@pytest.fixture(scope="module")
def executed() -> NotebookNode:
    return run(read())


def test_the_notebook_is_the_script() -> None:
    written, made = jupytext.read(NOTEBOOK), read()
    assert [(cell.cell_type, cell.source) for cell in written.cells] == [
        (cell.cell_type, cell.source) for cell in made.cells
    ], "Run `make notebook`."


@pytest.mark.slow
def test_every_cell_runs_and_has_its_pictures(executed: NotebookNode) -> None:
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    drawn = sum(cell.source.count("plt.show()") for cell in executed.cells)
    assert len(pictures) == drawn == 7
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "cycle ends after epoch 6: rates 0.0000" in printed
    assert "cycle 3, 8 epochs: rate from 0.050" in printed
    assert "ensemble" in printed
    (summary,) = (output for output in outputs if output.output_type == "execute_result")
    assert summary.data["text/html"].count("<table>") == 4


@pytest.mark.slow
def test_the_written_notebook_has_the_pictures_too(executed: NotebookNode) -> None:
    written = jupytext.read(NOTEBOOK)
    for ours, theirs in zip(executed.cells, written.cells, strict=True):
        kinds = [
            [sorted(output.get("data", {"stream": None})) for output in cell.get("outputs", [])]
            for cell in (ours, theirs)
        ]
        assert kinds[0] == kinds[1]
