"""The built wheel, installed away from the checkout: what it holds, what it pulls in, what it imports."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Set
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(CHECKOUT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the wheel's contents as pip lays them out, and nothing else."""
    target = tmp_path_factory.mktemp("site")
    pip_install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip_install, "--target", target, wheel], check=True, capture_output=True)
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
sys.path[:] = [entry for entry in sys.path if entry != {str(CHECKOUT)!r}]  # there an editable install points
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
    extras = {"tensorflow", "gpu", "jax", "torch", "plot", "study", "dev"}
    assert extras <= set(metadata.get_all("Provides-Extra", []))


def test_command_line_is_installed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
        assert archive.read(name).decode().split() == ["[console_scripts]", "keras-sgdr", "=", "keras_sgdr.cli:main"]


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_import_brings_nothing_that_keras_has_not_brought(installed: Path, backend: str) -> None:
    # Keras itself imports matplotlib and more where they are installed, so only the difference is ours.
    code = f"""
assert packages() - before - sys.stdlib_module_names == {{"keras_sgdr"}}
assert not packages() & {{"tensorflow", "torch"}} - {{{backend!r}}}
"""
    run(code, installed, backend)


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_everything_imports_where_only_the_backend_is_installed(installed: Path, backend: str) -> None:
    code = """
import importlib, pkgutil
for module in pkgutil.walk_packages(keras_sgdr.__path__, "keras_sgdr."):
    importlib.import_module(module.name)
assert keras_sgdr.__all__, "no public names"
for name in keras_sgdr.__all__:
    getattr(keras_sgdr, name)
"""
    # JAX itself needs scipy.
    optional = {
        "matplotlib",
        "tyro",
        "PIL",
        "safetensors",
        "torchvision",
        "joblib",
        "pandas",
        "statsmodels",
        *(["scipy"] if backend != "jax" else []),
    }
    run(code, installed, backend, absent={"tensorflow", "jax", "torch"} - {backend} | optional)


COMMAND = "from keras_sgdr.cli import run; run(['plan', '--epochs', '9'])"
PLOT = "from keras_sgdr.plotting import plot_history; plot_history({}, metrics=[])"


@pytest.mark.parametrize(("package", "extra", "use"), [("matplotlib", "plot", PLOT), ("tyro", "study", COMMAND)])
def test_missing_part_names_the_command_that_installs_it(installed: Path, package: str, extra: str, use: str) -> None:
    code = f"""
try:
    {use}
except ImportError as error:
    assert 'pip install "keras-sgdr[{extra}]"' in str(error), error
else:
    raise AssertionError("{package} was not missed")
"""
    run(code, installed, "jax", absent={package})
