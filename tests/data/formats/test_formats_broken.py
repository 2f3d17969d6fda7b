"""Every format × every way for a file to be broken: one sentence with file, episode and key; nothing is run and nothing returned.

What one format alone can get wrong is in its own tests (test_formats_*.py). A new format needs a `Layout` in tests/helpers/broken.py, a row
in `COMPRESSIONS` and in `PICKLES`, and, in `ABSENT`, the reasons why it cannot have one of the defects.
"""

import re

import numpy as np
import pytest
from broken import LAYOUTS, Call, fixture, gzipped, no_episodes, save, unknown_filter, unknown_zip_method, xz
from buffers import rewritten

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import FORMATS, load_episodes


def poison_npz(path, canary):
    with np.load(path) as file:
        np.savez(path, **{**file, "rewards": np.array([Call(canary)] * 12, object)})


def poison_hilserl(path, canary):
    save(path, [{"observations": 0, "actions": 0, "next_observations": 0, "rewards": Call(canary), "masks": 0}])


def poison_dict(path, canary):
    save(path, {"observations": 0, "actions": 0, "rewards": Call(canary)})


def poison_dapg(path, canary):
    arrays = {"observations": np.zeros((3, 2)), "actions": np.zeros((3, 2)), "rewards": np.zeros(3)}
    save(path, [arrays | {"init_state_dict": {}, "env_infos": {"a": Call(canary)}}])


def poison_sb3(path, canary):
    rewritten(path.parent, path.name, lambda state: state.update(rewards=Call(canary)))


EDITS = {  # of one array: which, and how
    "wrong dtype": ("rewards", lambda old: np.full(old.shape, "much")),
    "missing key": ("rewards", lambda old: None),
    "ragged lengths": ("rewards", lambda old: old[:-1]),
    "object arrays": ("rewards", lambda old: np.full(old.shape, None, object)),
}
COMPRESSIONS = {
    "npz": (unknown_zip_method, "compression"),
    "hilserl": (xz, "is not a readable pickle"),
    "minari": (unknown_filter, "episode 1: `rewards` cannot be read"),
    "minari (arrow)": (gzipped, "episode 1: its files cannot be read"),
    "lerobot": (gzipped, "file-000.parquet"),
    "d4rl": (unknown_filter, "`rewards` cannot be read"),
    "robomimic": (unknown_filter, "demo_1: `rewards` cannot be read"),
    "isaac": (unknown_filter, "demo_1: `actions` cannot be read"),
    "aloha": (unknown_filter, "`action` cannot be read"),
    "d3rlpy": (unknown_filter, "episode 1: `rewards_1` cannot be read"),
    "dict": (xz, "is not a readable pickle"),
    "dapg": (xz, "is not a readable pickle"),
    "sb3": (xz, "is not a readable pickle"),
    "rlds": (gzipped, "is compressed as a whole"),
}
PICKLES = {"npz": poison_npz, "hilserl": poison_hilserl, "dict": poison_dict, "dapg": poison_dapg, "sb3": poison_sb3}
OTHERS = ("NaN", "truncated", "empty", "wrong compression", "malicious pickle")
DEFECTS = (*EDITS, *OTHERS)
ABSENT = {
    ("rlds", "object arrays"): "a record holds numbers and bytes",
    ("minari (arrow)", "object arrays"): "Arrow's arrays are typed: texts are a wrong dtype",
    **{(name, "malicious pickle"): "nothing in it is pickled" for name in LAYOUTS if name not in PICKLES},
}
TABLE = [(name, defect) for name in LAYOUTS for defect in DEFECTS if (name, defect) not in ABSENT]


def refusal(path):
    with pytest.raises(WarmloopError) as caught:
        load_episodes(path)
    sentence = str(caught.value)
    assert str(path) in sentence and sentence.endswith((".", "?")) and "\n" not in sentence
    return sentence


def test_the_table_has_every_format_and_every_defect():
    assert {name.split(" ")[0] for name in LAYOUTS} == FORMATS.keys() - {"set", "own"}, "a set is a folder of .npz files"
    assert LAYOUTS.keys() == COMPRESSIONS.keys()
    assert len(TABLE) + len(ABSENT) == len(LAYOUTS) * len(DEFECTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_file_that_is_broken_was_good(tmp_path, name):
    path = LAYOUTS[name].make(tmp_path)
    assert [key for key, candidate in FORMATS.items() if candidate.matches(str(path))] == [name.split(" ")[0]]
    whole = load_episodes(path)
    LAYOUTS[name].edit(path, "rewards", lambda old: old)
    LAYOUTS[name].edit(path, "observations", lambda old: old)
    assert [len(e) for e in load_episodes(path)] == [len(e) for e in whole] and len(whole) >= 3


@pytest.mark.parametrize(("name", "defect"), [row for row in TABLE if row[1] in EDITS])
def test_an_array_that_is_wrong_is_named_with_file_and_episode(tmp_path, name, defect):
    layout, (what, change) = LAYOUTS[name], EDITS[defect]
    path = layout.make(tmp_path)
    layout.edit(path, what, change)
    sentence = refusal(path)
    assert layout.reward in sentence and layout.episode in sentence


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_number_that_is_not_finite_is_named_with_file_episode_and_step(tmp_path, name):
    def poisoned(old):
        old = old.astype(np.float32)
        old[LAYOUTS[name].row, ..., 0] = np.nan
        return old

    path = LAYOUTS[name].make(tmp_path)
    LAYOUTS[name].edit(path, "observations", poisoned)
    sentence = refusal(path)
    assert re.search(r"episode \d, step \d: `observations\S*` holds nan", sentence)
    assert "episode 1, step 1" in sentence or name == "sb3", "whose episodes are those of its ring"


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("keep", [0.3, 0.7, 0.98])
def test_a_file_cut_short_is_refused(tmp_path, name, keep):
    path = LAYOUTS[name].make(tmp_path)
    main = path / LAYOUTS[name].main
    main.write_bytes(main.read_bytes()[: int(keep * main.stat().st_size)])
    refusal(path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_empty_file_is_refused(tmp_path, name):
    path = LAYOUTS[name].make(tmp_path)
    (path / LAYOUTS[name].main).write_bytes(b"")
    refusal(path)


@pytest.mark.parametrize("kind", ["hdf5", "arrow"])
def test_a_dataset_without_episodes_is_refused(tmp_path, kind):
    path = fixture(f"minari-{kind}")(tmp_path)
    no_episodes(path)
    assert "holds no episodes" in refusal(path)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_compression_that_is_not_understood_is_refused(tmp_path, name):
    damage, said = COMPRESSIONS[name]
    path = LAYOUTS[name].make(tmp_path)
    damage(path / LAYOUTS[name].main if damage in (gzipped, xz) else path)
    assert said in refusal(path)


@pytest.mark.parametrize("name", PICKLES)
def test_what_a_pickle_would_run_is_not_run(tmp_path, name):
    path, canary = LAYOUTS[name].make(tmp_path), tmp_path / "canary"
    PICKLES[name](path, canary)
    refusal(path)
    assert not canary.exists()
