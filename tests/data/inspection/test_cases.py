"""All that is true of the small data sets of situations that users have (`tests/helpers/data_cases.py`)."""

import json
import pickle

import numpy as np
import pytest
from data_cases import main

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.inspection import repair


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    main(folder)
    return folder


NAMES = (
    "masks_dones_float.npz",
    "masks_dones.npz",
    "gymnasium_names.npz",
    "dones_only.npz",
    "antmaze_like.hdf5",
    "robomimic_without_next.hdf5",
    "sparse_without_flag.pkl",
)


def test_every_case_is_looked_at(cases):
    assert json.loads((cases / "truth.json").read_text()).keys() == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_true_of_a_case_is_read(cases, name):
    truth = json.loads((cases / "truth.json").read_text())[name]
    try:
        episodes = load_episodes(cases / name)
    except WarmloopError as error:
        assert "or" in truth and "`dones`" in str(error)
        return
    found = {
        "episodes": len(episodes),
        "successful": sum(e.succeeded for e in episodes),
        "terminal_rows": sum(int((e.steps.mask == 0).sum()) for e in episodes),
        "truncated_rows": sum(int(e.steps.truncated.sum()) for e in episodes),
    }
    assert {key: found[key] for key in truth if key in found} == {key: truth[key] for key in truth if key in found}
    for e in [*episodes, *repair([str(cases / name)])[0]]:
        leaves = {"": e.steps.observation} if not isinstance(e.steps.observation, dict) else e.steps.observation
        following = {"": e.steps.next_observation} if not isinstance(e.steps.next_observation, dict) else e.steps.next_observation
        same = np.all([(leaves[key] == following[key]).reshape(len(e), -1).all(axis=1) for key in leaves], axis=0)
        assert not (same & (e.steps.mask == 1)).any()


def test_the_penalty_in_the_infos_is_kept_and_written_back(cases, tmp_path):
    write_episodes(tmp_path / "again.pkl", load_episodes(cases / "sparse_without_flag.pkl"))
    penalties = [row["infos"]["grasp_penalty"] for row in pickle.loads((tmp_path / "again.pkl").read_bytes())]
    assert penalties == pytest.approx([-0.02 * (n % 20 == 3) for n in range(80)])
