"""The wheel alone, installed in an environment of its own and used from another folder: what a user has who has no clone."""

import glob
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from runs import SMALL

ROOT = Path(__file__).resolve().parents[3]
CODE = ("data", "agents", "learner", "actor", "launch", "configs")
OF_THE_CLONE = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because setuptools leaves a folder `build` behind, whose old files would get into the next wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "runs", "tests", "docs", "*.egg-info")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", f"--wheel-dir={folder}", str(folder / "source"))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def outside(tmp_path: Path, demos: Path) -> Path:
    """A folder that knows nothing of the clone, with a recording in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    shutil.copy(demos, folder / "demos.npz")
    return folder


def pip(*arguments: str, python: Path | None = None) -> None:
    where = ("--python", str(python)) if python else ()
    line = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *where, *arguments]
    done = subprocess.run(line, capture_output=True, text=True, timeout=800, env=without_clone())
    assert done.returncode == 0, done.stderr


def without_clone() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in OF_THE_CLONE}


def environment(folder: Path, python: str | Path = sys.executable) -> Path:
    """A virtual environment without any package; its folder of programs."""
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True, env=without_clone())
    return folder / "bin"


def a_python(version: str) -> str:
    """An interpreter of that version, on the path or among pyenv's."""
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for found in (*glob.glob(f"{kept}/{version}.*/bin/python"), shutil.which(f"python{version}")):
        if found and subprocess.run([found, "-c", "import ensurepip, ssl"], capture_output=True).returncode == 0:
            return found
    pytest.skip(f"there is no Python {version} here")


def assert_usable(programs: Path, folder: Path) -> None:
    """Shows help, inspects a recording, learns from it and judges the result, each by the installed command."""

    def run(*line: str) -> str:
        name, *arguments = line
        done = subprocess.run(
            [programs / name, *arguments], capture_output=True, text=True, timeout=600, cwd=folder, env=without_clone(), check=False
        )
        assert done.returncode == 0, (line, done.stderr)
        return done.stdout

    shown = run("python", "-c", "import warmloop; print(warmloop.__file__)").strip()
    assert Path(shown).is_relative_to(programs.parent), f"{shown} is the clone's"
    assert "finetune" in run("warmloop", "--help")
    assert "--checkpoint_path" in run("train_rlpd", "--help")
    assert "episodes       3" in run("warmloop", "inspect", "demos.npz")
    data = ("--offline_data_path=demos=demos.npz", "--warmup_steps=4", "--eval_n_trajs=0")
    run("warmloop", "warmup", "--exp_name=small", *SMALL, *data)
    assert "return" in run("warmloop", "evaluate", f"--checkpoint={folder / 'runs' / 'small' / 'warmup'}", "--episodes=1")


def test_it_holds_the_package_and_nothing_else(wheel: Path):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path.relative_to(ROOT) for folder in CODE for path in (ROOT / folder).rglob("*") if path.is_file()]
    written = {f"warmloop/{path}" for path in files if "__pycache__" not in path.parts}
    assert names == written | {"warmloop/__init__.py", "warmloop/__main__.py", "warmloop/py.typed"}


@pytest.mark.long
def test_it_is_used_from_another_folder(wheel: Path, tmp_path: Path, outside: Path):
    """With the dependencies of the environment that runs this test; the next test installs them."""
    programs = environment(tmp_path / "environment")
    (packages,) = (tmp_path / "environment" / "lib").glob("python*/site-packages")
    # The path alone, because a .pth file in a folder that such a line adds is not read: the clone stays hidden.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip("install", "--no-deps", "--no-index", "--ignore-installed", str(wheel), python=programs / "python")
    assert_usable(programs, outside)


@pytest.mark.slow  # installs some 60 packages
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_it_is_installed_with_its_dependencies_by_every_python(wheel: Path, tmp_path: Path, outside: Path, version: str):
    programs = environment(tmp_path / "environment", a_python(version))
    pip("install", f"--constraint={ROOT / 'requirements.lock'}", str(wheel), python=programs / "python")
    assert_usable(programs, outside)
