"""A seed's checkpoints as they come back from another machine."""

from warmloop.launch.sweeps.seed_files import packed, unpack
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints


def test_a_checkpoint_comes_whole_to_another_folder_and_takes_the_place_of_those_there(pendulum_checkpoint, tmp_path):
    out, folder = tmp_path / "out", tmp_path / "out" / "checkpoints"
    files = packed(pendulum_checkpoint.parent)
    assert all(name.startswith("checkpoints/") for name in files)
    (folder / "notes").mkdir(parents=True)
    unpack({name.replace("/00000000/", "/00000007/"): data for name, data in files.items()}, out, [folder])
    unpack(files, out, [folder])
    assert [path.name for path in complete_checkpoints.steps(folder)] == ["00000000"] and (folder / "notes").is_dir()
    agent, _, meta = checkpoint.load_policy(folder)
    assert (agent, meta["phase"]) == (checkpoint.load_policy(pendulum_checkpoint)[0], "warmup")


def test_what_says_that_a_checkpoint_is_whole_is_written_last(pendulum_checkpoint, tmp_path, monkeypatch):
    files = packed(pendulum_checkpoint.parent)
    (tmp_path / "checkpoints" / "00000000" / "meta.json").mkdir(parents=True)  # where no file can be written
    try:
        unpack(files, tmp_path, [])
    except IsADirectoryError:
        assert complete_checkpoints.steps(tmp_path / "checkpoints") == []
    else:
        raise AssertionError("nothing failed")
