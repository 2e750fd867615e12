"""What holds for the source of every example script. `tests/test_packaging.py` starts each, away from the checkout."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SCRIPTS = sorted(path for path in EXAMPLES.glob("*.py") if path.name != "__init__.py")


def imported(node: ast.stmt) -> set[str]:
    """The packages that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {str(node.module).partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_no_script_imports_another(script: Path) -> None:
    statements = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.stmt)]
    packages = set().union(*map(imported, statements))
    assert not packages & {"examples", "tests", *(other.stem for other in SCRIPTS)}


@pytest.mark.parametrize("name", ["compare_schedules", "finetune_ants_bees", "snapshot_ensemble"])
def test_onednn_is_turned_on_before_tensorflow_is_imported(name: str) -> None:
    """On processors where it is off by default, an update of a ResNet on small images takes five times as long."""
    assert is_set_before_keras(name, "TF_ENABLE_ONEDNN_OPTS", "1")


@pytest.mark.parametrize("name", ["compare_schedules", "finetune_ants_bees", "snapshot_ensemble", "make_figures"])
def test_the_log_of_tensorflow_is_held_back(name: str) -> None:
    assert is_set_before_keras(name, "TF_CPP_MIN_LOG_LEVEL", "3")


def is_set_before_keras(name: str, variable: str, value: str) -> bool:
    """Whether a script sets a variable, unless the user has, before anything imports a backend."""
    body = ast.parse((EXAMPLES / f"{name}.py").read_text()).body
    line = [ast.unparse(node) for node in body].index(f"os.environ.setdefault('{variable}', '{value}')")
    return line < min(place for place, node in enumerate(body) if imported(node) & {"keras", "keras_sgdr"})
