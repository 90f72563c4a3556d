"""The built wheel in an empty virtual environment: what users get, without anything of the repository."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, Cli, clean_host

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this work tree."""
    folder = tmp_path_factory.mktemp("wheel")
    line = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(line, check=True, capture_output=True)
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """`stackpy` installed from it."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=True)
    line = [str(folder / "venv/bin/pip"), "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(line, check=True, capture_output=True)
    with clean_host(Cli(folder / "root", [str(folder / "venv/bin/stackpy")], {"PYTHONPATH": ""})) as command:
        yield command


def test_the_wheel_has_both_packages_and_the_templates(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "stackpy/py.typed",
        "stackpy/templates/init/service/stack.py.jinja",
        "stackpy/templates/init/flask/app/main.py",
        "stackpy/templates/ci/.gitlab-ci.yml",
        "stackpy_runtime/py.typed",
        "stackpy_runtime/engine.py",
    } <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"stackpy", "stackpy_runtime"}


@pytest.mark.root
def test_the_quickstart_from_a_copied_folder(installed: Cli, example: Callable[[str], Path], free_port: int) -> None:
    assert installed("version").stdout.startswith("stackpy 0.")
    here = {"cwd": example("quickstart"), "environment": {"STACKPY_VAR_port": str(free_port)}}
    installed("apply", "--yes", **here)
    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/", timeout=60) as answer:
        assert answer.read().decode().endswith("visit 1\n")
    installed("destroy", "--volumes", "--images", "--yes", "--allow-data-loss", "volume.*", **here)


@pytest.mark.root
def test_a_new_stack(installed: Cli, tmp_path: Path, free_port: int) -> None:
    written = installed("init", "shop", cwd=tmp_path).stdout.split()
    assert written == ["shop/app.toml.j2", "shop/stack.py", "shop/stackpy.toml", "shop/app/main.py"]
    here = {"cwd": tmp_path / "shop", "environment": {"STACKPY_VAR_port": str(free_port)}}
    installed("apply", "--yes", **here)
    with urllib.request.urlopen(f"http://127.0.0.1:{free_port}/", timeout=60) as answer:
        assert answer.read().decode() == "Hello from shop\n"
    installed("destroy", "--volumes", "--images", "--yes", "--allow-data-loss", "volume.*", **here)
