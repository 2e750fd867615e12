"""The README and the guide: their Python blocks and command lines run, their links lead somewhere."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import matplotlib as mpl
import pytest

import keras_sgdr
from tests.support.pages import CHECKOUT, PAGES, backends_of, is_target, run_page

README = CHECKOUT / "README.md"
GUIDE = CHECKOUT / "docs" / "guide"
# They train for longer than the others.
LONG = {"recipes", "snapshots", "study"}
# Run by `test_trackers`, which reads what the tools have stored.
ELSEWHERE = {"trackers"}
SITES = r"github\.com/keras-sgdr/keras-sgdr/(?:blob|tree)|raw\.githubusercontent\.com/keras-sgdr/keras-sgdr"
REPOSITORY = rf"https://(?:{SITES})/main/"


def parametrized(page: Path) -> object:
    return pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.stem in LONG else [])


@pytest.mark.parametrize("page", [parametrized(page) for page in PAGES if page.stem not in ELSEWHERE])
def test_blocks_and_commands_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mpl.use("Agg")
    names = run_page(page)
    if page == README:
        assert [cycle["length"] for cycle in names["sgdr"].cycles] == [2, 4, 8]
        assert (tmp_path / "learning_rate.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "backend"),
    [pytest.param(page, each, id=f"{page.stem}-{each}") for page in PAGES for each in sorted(backends_of(page))],
)
def test_blocks_of_a_backend_run_on_it(page: Path, backend: str, tmp_path: Path) -> None:
    if backend == keras.config.backend():
        pytest.skip("Run above.")
    environment = os.environ | {"KERAS_BACKEND": backend, "MPLBACKEND": "Agg", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "tests.support.pages", str(page)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_a_table_in_the_readme_is_what_is_printed() -> None:
    table = str(keras_sgdr.WarmRestarts.plan(epochs=70, n_cycles=3))
    for page in (README, GUIDE / "choosing.md"):
        assert "\n".join(f"    {line}" for line in table.splitlines()) in page.read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_and_targets_are_there(page: Path) -> None:
    """`make docs` follows what is on the site; this the rest, such as source code."""
    text = page.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    absolute = [link[found.end() :] for link in links if (found := re.match(REPOSITORY, link))]
    relative = [page.parent / link.partition("#")[0] for link in links if not re.match("https?:|#", link)]
    if page == README:
        assert not relative, "On an index page a relative link leads nowhere."
    assert [str(path) for path in (*relative, *(CHECKOUT / link for link in absolute)) if not path.exists()] == []
    assert [name for name in re.findall(r"`make ([\w-]+)", text) if not is_target(name)] == []


def test_each_page_of_the_guide_is_in_the_navigation() -> None:
    navigation = (CHECKOUT / "mkdocs.yml").read_text()
    pages = [str(path.relative_to(CHECKOUT / "docs")) for path in PAGES if path != README]
    assert len(pages) > 8
    assert [page for page in pages if page not in navigation] == []


def texts(node: ast.expr) -> str:
    """The text of an expression, with `…` for what is inserted."""
    if isinstance(node, ast.JoinedStr):
        return "".join(texts(value) for value in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "…"


def messages() -> list[tuple[Path, str]]:
    """Of errors and warnings the text that says the rule, by module; those that are written in the call."""
    found = []
    for path in Path(keras_sgdr.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in {"invalid", "SnapshotError", "warn"} and node.args:
                found.append((path, texts(node.args[0])))
    return found


def explained() -> list[str]:
    """The messages of the page on troubleshooting."""
    rows = re.findall(r"^\| (.+?) \| .+ \|$", (GUIDE / "troubleshooting.md").read_text(), re.MULTILINE)
    return [row for row in rows if row != "message"]


def test_each_message_that_is_explained_is_one_of_the_package() -> None:
    trees = [ast.parse(path.read_text()) for path in Path(keras_sgdr.__file__).parent.rglob("*.py")]
    every = "\n".join(texts(node) for tree in trees for node in ast.walk(tree) if isinstance(node, ast.expr))
    parts = {part.strip() for message in explained() for part in message.split("…") if len(part.strip()) > 2}
    assert [part for part in sorted(parts) if part not in every] == []


def test_each_message_of_a_training_is_explained() -> None:
    """Of callbacks, the range test and snapshots, beyond those of arguments that are out of range."""
    folders = {"callbacks", "range_test", "snapshots"}
    rules = {
        re.split(r" Received: | That cycle", text)[0]
        for path, text in messages()
        if folders & set(path.parts) and text.strip("…")
    }
    assert len(rules) > 40
    known = explained()
    assert [rule for rule in sorted(rules) if not any(message.rstrip("…. ") in rule for message in known)] == []
