"""The imports of the package run one way: from a floor to those below it, and never in a circle."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import keras_sgdr

PACKAGE = Path(keras_sgdr.__file__).parent

# From the ground up. A module may import from its own floor and from those before it.
FLOORS = (
    "_checks",
    "_files",
    "_folder_lock",
    "_optional",
    "_options",
    "_text",
    "_model_state",
    "_executions",
    "environment",
    "schedules",
    "optimizers",
    "snapshots",
    "callbacks",
    "range_test",
    "plotting",
    "cli",
    "models",
    "data",
    "study",
    "__init__",
    "__main__",
)


def modules(package: Path) -> dict[str, Path]:
    """The modules of the package by their dotted names below it; of a subpackage its `__init__`."""
    return {
        ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__"): path
        for path in package.rglob("*.py")
    }


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules of the package that a file imports, wherever in it: in functions and under `TYPE_CHECKING` too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            below = name.removeprefix("keras_sgdr").removeprefix(".") if name.startswith("keras_sgdr") else None
            while below:
                if below in known:
                    yield below
                    break
                below = below.rpartition(".")[0]
            else:
                if below == "":
                    yield "__init__"


def graph(package: Path) -> dict[str, set[str]]:
    known = modules(package)
    return {name: set(imported(path, known)) - {name} for name, path in known.items()}


def downward(edges: dict[str, set[str]]) -> list[str]:
    """The imports from a floor above."""
    floor = {name: FLOORS.index(name.partition(".")[0]) for name in edges}
    return sorted(f"{name} -> {other}" for name in edges for other in edges[name] if floor[other] > floor[name])


def circle(edges: dict[str, set[str]]) -> list[str]:
    """A circle of imports, [] if there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            for other in sorted(edges[name]):
                if around := visit(other, [*path, name]):
                    return around
            done.add(name)
        return []

    return next(filter(None, (visit(name, []) for name in sorted(edges))), [])


def test_every_module_has_a_floor() -> None:
    assert {name.partition(".")[0] for name in modules(PACKAGE)} == set(FLOORS)


def test_no_import_runs_to_a_floor_above() -> None:
    assert downward(graph(PACKAGE)) == []


def test_no_imports_form_a_circle() -> None:
    assert circle(graph(PACKAGE)) == []


@pytest.mark.parametrize(
    ("file", "line", "is_downward"),
    [
        ("schedules/exact.py", "from keras_sgdr.schedules.warm_restarts import WarmRestarts", False),
        ("schedules/grid.py", "def late():\n    from keras_sgdr import schedules", False),
        ("range_test/range_test.py", "if TYPE_CHECKING:\n    from keras_sgdr.plotting import plot_range_test", True),
        ("study/trainer.py", "import keras_sgdr.study.study", False),
        ("_checks.py", "import keras_sgdr", True),
    ],
)
def test_the_control_an_import_put_in_is_seen(file: str, line: str, is_downward: bool, tmp_path: Path) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "keras_sgdr", ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / file).open("a", encoding="utf-8") as module:
        module.write(f"\n{line}\n")
    edges = graph(copy)
    assert circle(edges)
    assert bool(downward(edges)) == is_downward


def test_files_and_folders_stay_small() -> None:
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in modules(PACKAGE).items()}
    assert {name: length for name, length in lengths.items() if length > 300} == {}
    folders = [PACKAGE, *(path for path in PACKAGE.iterdir() if path.is_dir())]
    assert all(len(list(folder.glob("*.py"))) <= 12 for folder in folders)


def test_no_test_imports_another() -> None:
    tests = Path(__file__).parent
    for path in [*tests.rglob("*.py"), *(tests.parent / "parity_tests").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                assert not node.module.rpartition(".")[2].startswith("test_"), f"{path} imports {node.module}"
