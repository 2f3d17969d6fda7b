"""Files of other formats, most of them made by those formats' own packages (tests/fixtures), hold the episodes that went in."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from warmloop.data.formats import FORMATS, load_episodes

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
WHOLE = [(0, 0, 5, "cut"), (1, 0, 4, "over"), (2, 0, 3, "cut")]  # episode, first step, steps, how it ends
WITHOUT_LAST = [(0, 0, 4, "cut"), (1, 0, 4, "over"), (2, 0, 2, "cut")]
BEGUN = [(0, 0, 5, "cut"), (1, 0, 4, "over"), (2, 0, 1, "cut")]
RING = [  # 12 steps of each of two environments, the oldest in the middle of an episode
    *[(1, 3, 1, "over"), (2, 0, 3, "cut"), (3, 0, 5, "cut"), (4, 0, 3, "cut")],
    *[(4, 3, 1, "over"), (5, 0, 3, "cut"), (6, 0, 5, "cut"), (7, 0, 3, "cut")],
]
DIRECTORIES = ["minari-hdf5", "minari-arrow", "rlds-counting/1.0.0"]
HALVED = [(1, 0, 4, "over"), (2, 0, 3, "over"), (3, 0, 1, "cut")]

FILES = {
    "d4rl.hdf5": ("d4rl", WITHOUT_LAST),
    "d4rl-next.hdf5": ("d4rl", WHOLE),
    "robomimic.hdf5": ("robomimic", WHOLE),
    "robomimic.hdf5::train": ("robomimic", [WHOLE[0], WHOLE[2]]),
    "robomimic.hdf5::valid": ("robomimic", [WHOLE[1]]),
    "d3rlpy.h5": ("d3rlpy", WITHOUT_LAST),
    "d3rlpy-tuple.h5": ("d3rlpy", WITHOUT_LAST),
    "dapg.pickle": ("dapg", WITHOUT_LAST),
    "sb3-ring.pkl": ("sb3", RING),
    "sb3-dict.pkl": ("sb3", BEGUN),
    "sb3-halved.pkl": ("sb3", HALVED),
    "sb3-her.pkl": ("sb3", BEGUN),
    "sb3-nstep.pkl": ("sb3", RING),
    "minari-hdf5": ("minari", WHOLE),
    "minari-arrow": ("minari", WHOLE),
    "rlds-counting/1.0.0": ("rlds", WHOLE),
    "rlds-counting/1.0.0::train": ("rlds", WHOLE[:2]),
    "rlds-counting/1.0.0::val": ("rlds", WHOLE[2:]),
}


def state(observation):
    """The part of an observation that counts, whatever its format calls it."""
    if not isinstance(observation, dict):
        return observation
    return observation[next(name for name in ("state", "robot.state", "observation", "1") if name in observation)]


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_claimed_by_its_format_alone(name):
    assert [key for key, candidate in FORMATS.items() if candidate.matches(str(FIXTURES / name))] == [FILES[name][0]]


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_recognised_by_what_it_holds_and_not_by_its_name(tmp_path, name):
    file, _, mask = name.partition("::")
    renamed = tmp_path / {".h5": "data.hdf5", ".hdf5": "data.npz", ".pkl": "data.npz"}.get(Path(file).suffix, "data")
    (shutil.copytree if (FIXTURES / file).is_dir() else shutil.copyfile)(FIXTURES / file, renamed)
    origin = f"{renamed}::{mask}" if mask else str(renamed)
    assert [key for key, candidate in FORMATS.items() if candidate.matches(origin)] == [FILES[name][0]]
    assert len(load_episodes(origin)) == len(FILES[name][1])


@pytest.mark.parametrize("name", FILES)
def test_a_file_holds_the_episodes_that_went_in(name):
    episodes = load_episodes(FIXTURES / name)
    assert [len(e) for e in episodes] == [steps for _, _, steps, _ in FILES[name][1]]
    for e, (number, first, steps, end) in zip(episodes, FILES[name][1], strict=True):
        now, then = state(e.steps.observation), state(e.steps.next_observation)
        assert (now[:, 0] == number).all()
        assert now[:, 1].tolist() == list(range(first, first + steps))
        assert e.steps.mask.tolist() == [1.0] * (steps - 1) + [0.0 if end == "over" else 1.0]
        assert e.steps.truncated.tolist() == [False] * (steps - 1) + [end == "cut"]
        assert np.allclose(e.steps.reward, now[:, 1] / 10 + e.steps.action[:, 1], atol=1e-6)
        known = slice(None) if end == "cut" else slice(None, -1)  # after a termination, formats may know no next observation
        assert (then[known, 0] == number).all()
        assert np.array_equal(then[known, 1], now[known, 1] + 1)
        assert np.allclose(then[known, 2], np.clip(e.steps.action[known, 0], -1, 1)) or name == "dapg.pickle"


@pytest.mark.parametrize(
    "name", ["d4rl-next.hdf5", "robomimic.hdf5", "sb3-ring.pkl", "sb3-dict.pkl", "sb3-her.pkl", "sb3-nstep.pkl", *DIRECTORIES]
)
def test_a_recorded_next_observation_is_right_even_after_a_termination(name):
    for e in load_episodes(FIXTURES / name):
        assert np.array_equal(state(e.steps.next_observation)[:, 1], state(e.steps.observation)[:, 1] + 1)
        assert np.array_equal(state(e.steps.next_observation)[:, 2], e.steps.action[:, 0])


@pytest.mark.parametrize(
    ("name", "camera", "shape"),
    [
        ("robomimic.hdf5", "agentview_image", (8, 8, 3)),
        ("d3rlpy-tuple.h5", "0", (8, 8, 3)),
        ("sb3-dict.pkl", "camera", (36, 36, 1)),
        ("minari-hdf5", "camera", (32, 32)),
        ("minari-arrow", "camera", (32, 32)),
        ("rlds-counting/1.0.0", "image", (8, 8, 3)),
    ],
)
def test_images_stay_bytes_with_channels_last(name, camera, shape):
    for e in load_episodes(FIXTURES / name):
        image = e.steps.observation[camera]
        assert (image.dtype, image.shape) == (np.uint8, (len(e), *shape))
        expected = 10 * state(e.steps.observation)[:, 0] + state(e.steps.observation)[:, 1]
        assert (image.reshape(len(e), -1) == expected[:, None]).all()


def test_demonstrations_of_a_filter_key_keep_their_numbers():
    assert [e.number for e in load_episodes(FIXTURES / "robomimic.hdf5::train")] == [0, 2]


def test_dapg_says_success_and_its_actions_are_clipped_as_the_environment_does():
    first, _, third = load_episodes(FIXTURES / "dapg.pickle")
    assert [np.asarray(e.success).tolist() for e in (first, third)] == [[False, False, True, True], [False, False]]
    assert first.steps.action[0, 0] == 1, "1.5 in the file"


def test_goals_of_a_her_buffer_are_parts_of_the_observation():
    observation = load_episodes(FIXTURES / "sb3-her.pkl")[0].steps.observation
    assert set(observation) == {"observation", "achieved_goal", "desired_goal"}
