"""The built wheel, installed away from the checkout: what it holds, what it pulls in, what it imports."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Set
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from hatchling.build import build_wheel

import keras_sgdr

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    with contextlib.chdir(CHECKOUT):
        return folder / build_wheel(str(folder))


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the wheel's contents, which is all that installing it puts on the path."""
    target = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def run(code: str, installed: Path, backend: str, *, absent: Set[str] = frozenset()) -> None:
    """Run `code` after importing the installed wheel, on a machine that lacks the `absent` packages."""
    setup = f"""
import sys

class Without:  # a finder of modules that does not find the absent ones
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.partition(".")[0] in {absent!r} else self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
sys.path[:] = [entry for entry in sys.path if entry != {str(CHECKOUT)!r}]  # An editable install points there.
sys.path.insert(0, {str(installed)!r})

def packages():
    return {{name.partition(".")[0] for name in sys.modules}}

import keras
before = packages()
import keras_sgdr
assert keras_sgdr.__file__.startswith({str(installed)!r}), keras_sgdr.__file__
"""
    # Coverage of this copy of the package would count as files that the report does not know.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", setup + code],
        cwd=installed,
        env=environment | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name for name in names if ".dist-info/" not in name}
    tracked = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "keras_sgdr").rglob("*.py")}
    assert packed == tracked | {"keras_sgdr/py.typed"}
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_needs_only_keras_and_numpy(metadata: Message) -> None:
    requirements = metadata.get_all("Requires-Dist", [])
    plain = [requirement for requirement in requirements if "extra ==" not in requirement]
    assert sorted(requirement.split(">=")[0] for requirement in plain) == ["keras", "numpy"]


def test_offers_the_extras_that_the_documentation_names(metadata: Message) -> None:
    extras = {"tensorflow", "gpu", "jax", "torch", "plot", "study", "ray", "dask", "docs", "dev"}
    assert extras == set(metadata.get_all("Provides-Extra", []))


def test_version_is_the_same_everywhere(metadata: Message) -> None:
    assert metadata["Version"] == keras_sgdr.__version__
    assert f"\nversion: {keras_sgdr.__version__}\n" in (CHECKOUT / "CITATION.cff").read_text()


def test_addresses(metadata: Message) -> None:
    labels = [address.partition(",")[0] for address in metadata.get_all("Project-URL", [])]
    assert sorted(labels) == ["Changelog", "Documentation", "Issues", "Paper", "Source"]


def test_command_line_is_installed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        assert archive.read(name).decode().split() == ["[console_scripts]", "keras-sgdr", "=", "keras_sgdr.cli:main"]


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        (["--help"], "List the snapshots of a folder"),
        (["--version"], f"keras-sgdr {keras_sgdr.__version__}"),
        (["plan", "--epochs", "70", "--n_cycles", "3"], "10, 30, 70"),
        (["plot", "--epochs", "70", "-o", "lr.png"], "Cycles end after epochs: 10, 30, 70."),
    ],
    ids=lambda words: str(words[0]),
)
def test_the_command_line_needs_no_keras_for_arithmetic(
    words: list[str], printed: str, installed: Path, tmp_path: Path
) -> None:
    """It takes seconds to import, and fails without a backend."""
    (tmp_path / "keras.py").write_text("raise ImportError('Keras was imported.')")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, (tmp_path, installed)))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "keras_sgdr", *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    done = run(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert printed in done.stdout
    # What does need it says why not.
    assert run("snapshots", ".").stderr == "keras-sgdr: error: Keras was imported.\n"


def test_import_and_examples(installed: Path) -> None:
    """The package imports nothing that Keras has not imported; each example runs by itself, from any folder."""
    # Keras itself imports matplotlib and more where they are installed, so only the difference is ours.
    code = f"""
assert packages() - before - sys.stdlib_module_names == {{"keras_sgdr"}}
assert not packages() & {{"tensorflow", "torch"}}

import runpy
for script in {sorted(map(str, (CHECKOUT / "examples").glob("*.py")))!r}:
    with open(script) as file:
        options = "tyro" in file.read()
    if options:
        sys.argv = [script, "--help"]
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            assert end.code == 0, script
        else:
            raise AssertionError(script + " ran")
"""
    run(code, installed, "jax")


def test_everything_imports_where_only_the_backend_is_installed(installed: Path) -> None:
    """The missing parts name the command that installs them, and the command line works."""
    code = """
import importlib, pkgutil
for module in pkgutil.walk_packages(keras_sgdr.__path__, "keras_sgdr."):
    importlib.import_module(module.name)
assert keras_sgdr.__all__, "no public names"
for name in keras_sgdr.__all__:
    getattr(keras_sgdr, name)

from keras_sgdr.cli import run
run(["plan", "--epochs", "9"])
try:
    keras_sgdr.plotting.plot_history({"loss": [1.0]}, metrics=["loss"])
except ImportError as error:
    assert 'pip install "keras-sgdr[plot]"' in str(error), error
else:
    raise AssertionError("matplotlib was not missed")
"""
    others = {"tensorflow", "jax"}
    optional = {"matplotlib", "tyro", "PIL", "safetensors", "torchvision", "joblib", "pandas", "scipy", "tabulate"}
    run(code, installed, "torch", absent=others | optional | {"ray", "dask", "distributed"})
