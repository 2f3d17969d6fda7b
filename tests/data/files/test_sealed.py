"""What this project wrote is read as it was written, or not at all: every bit of an archive counts, its directory's names too."""

import zipfile

import numpy as np
import pytest
from recorded import assert_identical, episode

from warmloop.data.errors import WarmloopError
from warmloop.data.files import sealed
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.formats.npz import MEMBERS


def written(path):
    """A small file of episodes, and its bytes."""
    write_episodes(path, [episode(6, success=np.arange(6) == 5).piece(slice(1, 4)), episode(3, 1, success=np.zeros(3))])
    return path.read_bytes()


def test_no_flip_of_a_bit_changes_what_is_read(tmp_path):
    path = tmp_path / "file.npz"
    content, clean = written(path), load_episodes(path)
    rng, noticed = np.random.default_rng(0), 0
    for place in rng.choice(len(content), 400, replace=False):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            found = load_episodes(path)
        except WarmloopError:
            noticed += 1
            continue
        assert_identical([e.steps for e in found], [e.steps for e in clean])
    assert noticed > 390, "what is not noticed is a flip in the seal's own first words"


def test_every_flip_in_the_directory_s_names_is_noticed(tmp_path):
    path = tmp_path / "file.npz"
    content = written(path)
    begin = content.index(b"PK\x01\x02")
    with zipfile.ZipFile(path) as archive:
        members = [info.filename.encode() for info in archive.infolist()]
    for name in members:
        changed = bytearray(content)
        changed[content.index(name, begin) + 1] ^= 1
        path.write_bytes(changed)
        with pytest.raises(WarmloopError, match=r"file\.npz"):
            load_episodes(path)


@pytest.mark.parametrize("name", ["succesr", "qualitz", "wholes/rewarda", "notes"])
def test_a_member_that_no_file_of_ours_has_is_an_error_in_one_without_a_seal_too(tmp_path, name):
    path = tmp_path / "file.npz"
    written(path)
    with np.load(path, allow_pickle=False) as archive:
        members = {key: archive[key] for key in archive.files}
    np.savez(path, **members)
    assert len(load_episodes(path)) == 2, "as earlier versions wrote it"
    np.savez(path, **members, **{name: np.zeros(9)})
    with pytest.raises(WarmloopError, match=f"`{name}`, which it does not write"):
        load_episodes(path)


def test_all_members_that_are_written_are_known(tmp_path):
    path = tmp_path / "file.npz"
    e = episode(6, success=np.arange(6) == 5, observation="images")
    write_episodes(path, [e.piece(slice(1, 4))])
    with np.load(path, allow_pickle=False) as archive:
        assert {name for name in archive.files if not name.startswith(("observations/", "next_observations/"))} <= MEMBERS


def test_a_sealed_archive_is_any_archive_to_numpy_and_is_loaded_whole(tmp_path):
    path = tmp_path / "rows.npz"
    arrays = {"number": np.arange(3), "reason": np.array(["bad", "", "worse"]), "nothing": np.zeros((0, 4))}
    with open(path, "w+b") as file:
        sealed.write(file, arrays.items())
    with np.load(path, allow_pickle=False) as archive:
        assert_identical({name: archive[name] for name in archive.files if name != "reason"}, {k: arrays[k] for k in ("number", "nothing")})
    assert sealed.load(path)["reason"].tolist() == ["bad", "", "worse"]
    np.savez(path, **arrays)
    with pytest.raises(WarmloopError, match="no seal"):
        sealed.load(path)
