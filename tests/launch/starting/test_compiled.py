"""A command keeps what it has compiled, where the user's caches are, unless told otherwise."""

import os
import subprocess
import sys

import pytest

HELD = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "JAX_ENABLE_COMPILATION_CACHE")
KEPT = """
import sys
{first}
from warmloop.launch.starting.compiled import keep_compiled
keep_compiled()
import jax
print(jax.config.jax_compilation_cache_dir)
jax.jit(lambda x: x * 2)(1.0)
"""


def settings(tmp_path, **more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in HELD} | {"XDG_CACHE_HOME": str(tmp_path)} | more


@pytest.mark.parametrize("first", ["", "import jax"], ids=["before jax is imported", "after it"])
def test_programs_are_kept_in_the_users_cache_folder(tmp_path, first):
    line = [sys.executable, "-c", KEPT.format(first=first)]
    folder = subprocess.run(line, env=settings(tmp_path), capture_output=True, text=True, check=True).stdout.strip()
    assert folder.startswith(str(tmp_path / "warmloop" / "jax")) and os.listdir(folder)


@pytest.mark.long
def test_a_folder_of_ones_own_is_used_and_none_keeps_nothing(tmp_path):
    own, line = tmp_path / "own", [sys.executable, "-c", KEPT.format(first="")]
    subprocess.run(line, env=settings(tmp_path, JAX_COMPILATION_CACHE_DIR=str(own)), check=True)
    subprocess.run(line, env=settings(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false"), check=True)
    assert os.listdir(own) and not (tmp_path / "warmloop").exists()


def test_every_command_asks_for_it(monkeypatch):
    from warmloop.launch.flags import common

    class AskedError(Exception):
        pass

    def ask():
        raise AskedError

    monkeypatch.setattr(common, "keep_compiled", ask)
    with pytest.raises(AskedError):
        common.run(lambda: None)
