"""Every way to start a command: by its file's path from anywhere, as a module, by its installed name, and by `python -m warmloop`."""

import importlib
import importlib.metadata
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from warmloop.__main__ import first_line
from warmloop.launch.starting.commands import COMMANDS, VERBS

LAUNCH = Path(importlib.import_module("warmloop.launch").__path__[0])


def started(folder: Path, *line: str | Path, environment: dict[str, str] | None = None) -> str:
    """What a process printed that ended well."""
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, cwd=folder, env=environment, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.long
@pytest.mark.parametrize("module", COMMANDS.values())
def test_a_command_is_started_by_its_files_path_from_any_folder(tmp_path, module):
    shown = started(tmp_path, sys.executable, LAUNCH / f"{module}.py", "--help")
    assert shown.startswith(first_line(module))
    assert "Flags:" in shown


@pytest.mark.parametrize("module", COMMANDS.values())
def test_a_command_says_what_it_is_before_jax_is_loaded(tmp_path, module):
    looked = f"import sys, warmloop.launch.{module}; print(sorted({{'jax', 'flax', 'torch', 'gymnasium'}} & set(sys.modules)))"
    assert started(tmp_path, sys.executable, "-c", looked) == "[]\n"


def test_every_command_is_installed_has_a_verb_and_is_listed_with_a_line():
    installed = {entry.name: entry.value for entry in importlib.metadata.distribution("warmloop").entry_points}
    commands = {name: f"warmloop.launch.{module}:cli" for name, module in COMMANDS.items()}
    assert installed == commands | {"warmloop": "warmloop.__main__:cli"}
    assert all("def cli() -> None:" in (LAUNCH / f"{module}.py").read_text() for module in COMMANDS.values())
    assert sorted(VERBS.values()) == sorted(COMMANDS)


def test_warmloop_lists_the_commands_and_runs_them_by_verb_name_or_module(tmp_path):
    scripts = Path(sysconfig.get_path("scripts"))
    listed = started(tmp_path, sys.executable, "-m", "warmloop")
    assert listed == started(tmp_path, scripts / "warmloop") == started(tmp_path, scripts / "warmloop", "--help")
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in listed.splitlines() if line.startswith("  ")}
    assert {verb: name for verb, (name, _) in lines.items()} == VERBS
    for verb, (name, says) in lines.items():
        assert says == first_line(COMMANDS[name]), verb
    first = lines["credentials"][1]
    for name in ("credentials", "warmloop-credentials"):
        assert started(tmp_path, sys.executable, "-m", "warmloop", name, "--help").startswith(first)
    assert started(tmp_path, scripts / "warmloop-credentials", "--help").startswith(first)
    assert started(tmp_path, scripts / "warmloop", "merge", "--help").startswith(lines["merge"][1])


def test_the_list_of_commands_imports_no_library_that_takes_seconds(tmp_path):
    code = "import sys; sys.argv = ['warmloop']; from warmloop.__main__ import cli; cli()"
    heavy = "print(sorted({'jax', 'numpy', 'absl'} & set(sys.modules)))"
    assert started(tmp_path, sys.executable, "-c", f"{code}; {heavy}").splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("typed", "meant"), [("warmloop-colect", "warmloop-collect"), ("fine-tune", "finetune"), ("train_rldp", "train_rlpd")]
)
def test_a_misspelt_command_is_told_its_near_match(tmp_path, typed, meant):
    done = subprocess.run([sys.executable, "-m", "warmloop", typed], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, f'error: there is no command "{typed}"; did you mean "{meant}"?\n')


@pytest.mark.long
def test_the_copy_whose_file_is_started_runs_in_its_workers_too_though_no_copy_or_another_is_installed(tmp_path):
    """Another one stands first on PYTHONPATH; it would fail at once."""
    (tmp_path / "other" / "warmloop").mkdir(parents=True)
    (tmp_path / "other" / "warmloop" / "__init__.py").write_text("raise SystemExit('the other copy')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "other")}
    line = ("--env=Pendulum-v1", "--success=reward>=-0.01", "--policy=random", "--episodes=2", "--workers=2", "--out=new.npz")
    assert "new.npz" in started(tmp_path, sys.executable, LAUNCH / "collect.py", *line, environment=environment)
