"""HIL-SERL's axis of past steps: its files come back as they were, and its buffers get the axis that they index."""

import dataclasses
import pickle

import numpy as np
import pytest
from recorded import assert_identical, episode

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, write_episodes

ROWS = 4


def observe(n, steps):
    past = np.arange(n - steps + 1, n + 1)
    return {"state": np.float32([[p, 7, -p] for p in past]), "wrist": np.stack([np.full((4, 5, 3), p % 256, np.uint8) for p in past])}


def theirs(path, steps=1, pick=lambda observation: observation):
    """HIL-SERL's list of transitions, of observations with a history of so many steps."""
    rows = [
        {
            "observations": pick(observe(n, steps)),
            "actions": np.full(2, 0.5),
            "next_observations": pick(observe(n + 1, steps)),
            "rewards": 0.0,
            "masks": 1.0 - (n == ROWS - 1),
            "dones": n == ROWS - 1,
        }
        for n in range(ROWS)
    ]
    path.write_bytes(pickle.dumps(rows))
    return rows


def shapes(path):
    """Of each transition of a file, the shapes of its observation and of its next observation."""
    rows = pickle.loads(path.read_bytes())
    return [[{name: leaf.shape for name, leaf in row[key].items()} for key in ("observations", "next_observations")] for row in rows]


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("by_way_of", ["", "a.npz", "a-v0", "a.lerobot"])
def test_the_history_of_a_file_of_hil_serl_is_kept_whatever_it_was_in_between(tmp_path, steps, by_way_of):
    rows, source = theirs(tmp_path / "theirs.pkl", steps), tmp_path / "theirs.pkl"
    if by_way_of:
        write_episodes(tmp_path / by_way_of, load_episodes(source))
        source = tmp_path / by_way_of
    write_episodes(tmp_path / "ours.pkl", load_episodes(source))
    ours = pickle.loads((tmp_path / "ours.pkl").read_bytes())
    for key in ("observations", "next_observations"):
        assert_identical([row[key] for row in rows], [row[key] for row in ours])
    assert_identical(load_episodes(tmp_path / "theirs.pkl")[0].steps, load_episodes(tmp_path / "ours.pkl")[0].steps)


def test_a_bare_history_is_kept_too(tmp_path):
    rows = theirs(tmp_path / "theirs.pkl", 2, lambda observation: observation["state"])
    write_episodes(tmp_path / "ours.pkl", load_episodes(tmp_path / "theirs.pkl"))
    ours = pickle.loads((tmp_path / "ours.pkl").read_bytes())
    assert_identical([row["observations"] for row in rows], [row["observations"] for row in ours])


def test_a_picture_goes_whole_into_a_buffer_of_hil_serl(tmp_path):
    """Its buffer takes `picture[0]`, and NumPy repeats the first row of a picture without the axis."""
    (recorded,) = [episode(3, observation="images")]
    write_episodes(tmp_path / "ours.pkl", [recorded])
    for t, row in enumerate(pickle.loads((tmp_path / "ours.pkl").read_bytes())):
        slot, plain = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)
        slot[...] = row["observations"]["wrist"][0]
        plain[...] = row["observations"]["wrist"]  # of an environment without the axis
        assert (slot == recorded.steps.observation["wrist"][t]).all() and (plain == slot).all()
    assert shapes(tmp_path / "ours.pkl") == [[{"state": (1, 3), "wrist": (1, 4, 5, 3)}] * 2] * 3


def test_histories_of_two_lengths_do_not_go_into_one_file(tmp_path):
    for steps in (2, 3):
        theirs(tmp_path / f"{steps}.pkl", steps, lambda observation, k=steps: {"state": observation["state"][:, : 6 // k]})
    both = [*load_episodes(tmp_path / "2.pkl"), *load_episodes(tmp_path / "3.pkl", number_from=1)]
    with pytest.raises(WarmloopError, match='"state" has a history of 2 steps in some episodes and of 3 in others'):
        write_episodes(tmp_path / "ours.pkl", both)
    write_episodes(tmp_path / "ours.npz", both)
    assert [int(e.extras["history_steps.state"][0]) for e in load_episodes(tmp_path / "ours.npz")] == [2, 3]


def test_episodes_of_another_file_take_the_history_that_the_others_know(tmp_path):
    theirs(tmp_path / "theirs.pkl", 2, lambda observation: {"state": observation["state"]})
    known = load_episodes(tmp_path / "theirs.pkl")[0]
    unknown = dataclasses.replace(known, extras={}, number=1)
    write_episodes(tmp_path / "ours.pkl", [unknown, known])
    assert shapes(tmp_path / "ours.pkl")[0] == [{"state": (2, 3)}] * 2
    assert_identical(load_episodes(tmp_path / "ours.pkl")[0].steps.observation, unknown.steps.observation)


def test_a_file_that_was_written_before_is_read_as_it_was(tmp_path):
    write_episodes(tmp_path / "ours.pkl", [episode(3, observation="images")])
    rows = pickle.loads((tmp_path / "ours.pkl").read_bytes())
    for row in rows:
        del row["infos"]["warmloop"]["history"]
        for key in ("observations", "next_observations"):
            row[key] = {name: leaf[0] for name, leaf in row[key].items()}
    (tmp_path / "before.pkl").write_bytes(pickle.dumps(rows))
    assert_identical(load_episodes(tmp_path / "before.pkl")[0].steps, load_episodes(tmp_path / "ours.pkl")[0].steps)


def test_a_damaged_history_is_refused(tmp_path):
    write_episodes(tmp_path / "ours.pkl", [episode(3)])
    rows = pickle.loads((tmp_path / "ours.pkl").read_bytes())
    for said in ({"elbow": 1}, [1], {"": 1, "x": 2}):
        rows[1]["infos"]["warmloop"]["history"] = said
        (tmp_path / "damaged.pkl").write_bytes(pickle.dumps(rows))
        with pytest.raises(WarmloopError, match="of the history of its observations is damaged"):
            load_episodes(tmp_path / "damaged.pkl")
