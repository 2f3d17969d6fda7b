"""The settings of an unfinished set: what changed in them is noticed before its episodes go into another set."""

import json
from pathlib import Path

import numpy as np
import pytest

from warmloop.actor.episodes.parts import SETTINGS, Parts, store
from warmloop.data.errors import WarmloopError
from warmloop.data.files.sealed_json import unseal

OURS = {"environment": "Pendulum-v1", "environment_kwargs": [["g", "9.81"]], "seed": 3, "success_only": True, "noise": "0:0.6"}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The file of a set of which one attempt is on disk."""
    parts = Parts.open(tmp_path / "set.npz", OURS)
    store(parts.folder, 0, False)
    parts.close()
    return tmp_path / "set.npz"


def settings_of(out: Path) -> Path:
    return out.with_name(f".{out.name}.part") / SETTINGS


def refused(out: Path, settings: dict) -> str:
    with pytest.raises(WarmloopError, match=r"\.set\.npz\.part.*begin anew with --overwrite\.$") as refusal:
        Parts.open(out, settings)
    return str(refusal.value)


def test_a_byte_that_changed_anywhere_is_noticed(out):
    file, rng = settings_of(out), np.random.default_rng(0)
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << int(rng.integers(8))]) + whole[place + 1 :])
        refused(out, OURS)
    file.write_bytes(whole)
    parts = Parts.open(out, OURS)
    assert parts.over() == {0: False}
    parts.close()


def test_settings_that_were_changed_to_those_of_this_run_are_noticed(out):
    file = settings_of(out)
    file.write_bytes(file.read_bytes().replace(b'"seed": 3', b'"seed": 4'))
    assert "was changed or damaged since it was written" in refused(out, OURS | {"seed": 4})
    file.unlink()
    assert "cannot be read: No such file" in refused(out, OURS)


def test_settings_of_a_version_that_did_not_seal_them_are_held_to_and_told_of(out, caplog):
    settings_of(out).write_text(json.dumps(OURS, indent=1))
    parts = Parts.open(out, OURS)
    assert parts.over() == {0: False} and "settings.json is older than the sha256 of such files" in caplog.text
    parts.close()
    assert "its seed was 3 and is now 4" in refused(out, OURS | {"seed": 4})


def test_where_the_settings_are_damaged_overwrite_begins_anew(out):
    file = settings_of(out)
    file.write_bytes(file.read_bytes()[:-20])
    parts = Parts.open(out, OURS, overwrite=True)
    assert parts.over() == {} and unseal(file.read_text(), "", "") == OURS
    parts.close()
