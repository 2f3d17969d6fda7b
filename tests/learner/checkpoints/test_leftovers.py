"""What kills leave of checkpoints is gone, or completed, when the next process begins."""

import json
import shutil

import jax.numpy as jnp
import pytest

from warmloop.learner.checkpoints import checkpoint, stored_rows
from warmloop.learner.checkpoints.leftovers import tidy
from warmloop.learner.starting_state import resume
from warmloop.learner.state import create


@pytest.fixture(scope="module")
def whole(parts, make_rows, tmp_path_factory):
    """A folder with the checkpoints of updates 0 and 5, and the state of the latter."""
    folder, state = tmp_path_factory.mktemp("whole"), create(parts, 0, make_rows(40))
    stored = stored_rows.store_offline(folder, state)
    for updates in (0, 5):
        state = state.replace(updates=jnp.int32(updates))
        checkpoint.save(folder, state, parts.agent, {}, offline=stored)
    return folder


def copied(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "checkpoints")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_half_written_or_half_removed_goes_and_what_is_complete_stays(whole, tmp_path, caplog):
    caplog.set_level("INFO")
    folder = copied(whole, tmp_path)
    before = names(folder)
    shutil.copytree(folder / "00000005", folder / "00000009.partial")
    (folder / "00000009.partial" / "agent.orbax-checkpoint-tmp").mkdir()
    for name in ("offline.partial", "offline-0123456789abcdef.npz", "interventions-0123456789abcdef.npz", ".selection.json.77.part"):
        (folder / name).write_bytes(b"torn")
    (folder / "notes of mine.txt").write_text("kept")
    tidy(folder)
    assert names(folder) == sorted([*before, "notes of mine.txt"])
    assert "00000009.partial" in caplog.text and "offline-0123456789abcdef.npz" in caplog.text


def test_a_checkpoint_that_lost_its_manifest_stays_with_the_files_it_names_and_is_told(whole, tmp_path, caplog):
    folder = copied(whole, tmp_path)
    shutil.copytree(folder / "00000005", folder / "00000003")
    (folder / "00000003" / "manifest.json").unlink()
    named = folder / "offline-of-three.npz"
    named.write_bytes(b"rows")
    meta = folder / "00000003" / "meta.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"offline": {"file": named.name}}))
    before = names(folder)
    tidy(folder)
    assert names(folder) == before and "lost their manifest.json" in caplog.text and "00000003" in caplog.text


@pytest.mark.parametrize("moment", ["removed", "cleared"])
def test_a_removal_that_is_cut_short_never_leaves_a_checkpoint_without_its_manifest(whole, tmp_path, parts, make_rows, monkeypatch, moment):
    folder = copied(whole, tmp_path)

    def interrupted(path, ignore_errors=False):
        if path.exists():
            (path / "manifest.json").unlink(missing_ok=True)
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        if moment == "cleared":
            checkpoint.clear(folder)
        else:
            checkpoint.save(folder, create(parts, 0, make_rows(40)).replace(updates=jnp.int32(9)), parts.agent, {}, keep=1)
    monkeypatch.undo()
    assert all((path / "manifest.json").exists() for path in folder.iterdir() if path.name.isdigit())
    tidy(folder)
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize("moment", ["moved away", "replaced"])
def test_a_replacement_that_was_interrupted_ends_with_one_complete_checkpoint(whole, tmp_path, parts, moment):
    folder = copied(whole, tmp_path)
    before = names(folder)
    shutil.copytree(folder / "00000005", folder / "00000005.partial")
    (folder / "00000005").rename(folder / "00000005.old")
    if moment == "replaced":
        (folder / "00000005.partial").rename(folder / "00000005")
    tidy(folder)
    assert names(folder) == before
    assert int(resume(folder, parts)[0].updates) == 5


def test_a_folder_that_is_not_there_and_a_checkpoint_named_by_itself_are_left_alone(whole, tmp_path):
    tidy(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()
    folder = copied(whole, tmp_path)
    (folder / "00000005" / "x.partial").write_bytes(b"")
    tidy(folder / "00000005")
    assert (folder / "00000005" / "x.partial").exists()
