"""Every format that is written gives back each property of a recording, or refuses it in words: none is dropped."""

import dataclasses
import importlib.util

import numpy as np
import pytest
from recorded import assert_identical

from warmloop.data.episode import Episode, make_steps
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import FORMATS, load_episodes, write_episodes
from warmloop.data.transition import Source

ROWS = 5
ROW = np.arange(ROWS)
WRITTEN = {"npz": "a.npz", "hilserl": "a.pkl", "minari": "a-v0", "lerobot": "a.lerobot"}
NUMBERS, PICTURES = np.float32, np.uint8


def recording(number=0, **leaves):
    """An episode whose observation has leaves of these shapes, uint8 where their name begins with `camera`; `bare` is an array."""
    rng = np.random.default_rng(number)
    whole = {
        name: rng.integers(0, 256, (ROWS + 1, *shape), PICTURES)
        if name.startswith("camera")
        else rng.standard_normal((ROWS + 1, *shape), dtype=NUMBERS)
        for name, shape in (leaves or {"state": (4,)}).items()
    }
    here, after = ({name: leaf[part] for name, leaf in whole.items()} for part in (slice(-1), slice(1, None)))
    if "bare" in whole:
        here, after = here["bare"], after["bare"]
    steps = make_steps(
        here, rng.uniform(-1, 1, (ROWS, 2)), rng.standard_normal(ROWS), after, np.zeros(ROWS, bool), episode=number
    )
    return Episode(steps, None, "made", number)


def steps(**changed):
    return [dataclasses.replace(recording(), steps=recording().steps.replace(**changed))]


def about(**changed):
    return [dataclasses.replace(recording(), **changed)]


def led_to(change):
    return steps(next_observation={"state": recording().steps.next_observation["state"] + change})


def mask(terminal):
    return np.where(terminal, 0, 1).astype(np.float32)


PROPERTIES = {
    "a bare observation": lambda: [recording(bare=(3,))],
    "a bare matrix": lambda: [recording(bare=(2, 3))],
    "a bare matrix of one row": lambda: [recording(bare=(1, 3))],
    "a single number": lambda: [recording(width=())],
    "a matrix": lambda: [recording(matrix=(2, 3), state=(4,))],
    "a matrix of one row": lambda: [recording(matrix=(1, 3))],
    "numbers of three axes": lambda: [recording(field=(2, 3, 5))],
    "a picture": lambda: [recording(camera=(4, 5, 3), state=(4,))],
    "a grey picture": lambda: [recording(camera=(4, 5, 1))],
    "a grey picture without channels": lambda: [recording(camera=(4, 5))],
    "a picture with an axis of history of one step": lambda: [recording(camera=(1, 4, 5, 3), state=(1, 4))],
    "a stack of frames": lambda: [recording(camera=(3, 4, 5, 3), state=(4,))],
    "a base policy's proposals": lambda: [recording(state=(3,), base_action=(2,))],
    "a history of several states": lambda: about(extras={"history_steps.state": np.full(ROWS, 2, np.int32)}),
    "interventions": lambda: steps(intervened=ROW % 2 == 0),
    "tasks": lambda: [dataclasses.replace(recording(), task="öffne die Tür"), recording(1)],
    "a success that is over": lambda: steps(mask=mask(ROW == ROWS - 1), truncated=ROW < 0),
    "an end within the episode": lambda: steps(mask=mask(ROW == 2)),
    "a cut within the episode": lambda: steps(truncated=ROW == 2),
    "a last step that is over and cut": lambda: steps(mask=mask(ROW == ROWS - 1), truncated=ROW == ROWS - 1),
    "an episode that nothing ended": lambda: steps(truncated=ROW < 0),
    "a final observation of its own": lambda: led_to((ROW == 4)[:, None]),
    "next observations that lead elsewhere": lambda: led_to(1),
    "quality": lambda: steps(quality=ROW.astype(np.float32)),
    "returns": lambda: steps(mc_return=np.float32([1, -np.inf, 2, 3, -0.0])),
    "rows of several kinds": lambda: [dataclasses.replace(e, source=Source.ONLINE) for e in steps(source=np.int32([3, 4, 3, 0, 1]))],
    "versions of the policy": lambda: steps(policy_version=np.int32([-1, 2, 3, 2**31 - 1, 0])),
    "steps that do not begin at 0": lambda: steps(step=(ROW + 7).astype(np.int32)),
    "numbers of episodes": lambda: [recording(7), recording(3)],
    "success of some": lambda: [dataclasses.replace(recording(n), success=flags) for n, flags in enumerate((ROW == 3, None, ROW < 0))],
    "other numbers": lambda: about(extras={"time": ROW / 10, "count": ROW, "flag": ROW > 2, "force": np.ones((ROWS, 3))}),
    "a grasp penalty": lambda: about(extras={"grasp_penalty": -0.02 * ROW}),
    "a grasp penalty of two hands": lambda: about(extras={"grasp_penalty": np.ones((ROWS, 2))}),
    "a name with a slash": lambda: [recording(**{"arm/joints": (2,)})],
    "an extra with a slash": lambda: about(extras={"arm/force": ROW / 10}),
    "a name with a dot and a space": lambda: [recording(**{"robot.joints": (2,), "a b": (3,)})],
    "a mask between 0 and 1": lambda: steps(mask=np.full(ROWS, 0.5, np.float32)),
    "rewards of 0 and 1": lambda: steps(reward=np.float32(ROW == 4)),
    "a part of an episode": lambda: [recording().part(slice(1, 3))],
    "pieces of episodes": lambda: [recording().piece(slice(1, 3)), recording(1).piece(slice(0, 2))],
    "a single step": lambda: [recording().part(slice(4, 5))],
}  # fmt: skip
REFUSED = {
    ("minari", "next observations that lead elsewhere"): "which Minari cannot hold; write .npz",
    ("lerobot", "next observations that lead elsewhere"): "which LeRobot cannot hold; write .npz",
    ("minari", "a name with a slash"): "Minari takes the slash in `arm/joints` for a folder's",
    ("minari", "an extra with a slash"): "Minari takes the slash in `arm/force` for a folder's",
} | {(name, "a mask between 0 and 1"): "step 0 of episode 0 of made has a mask of 0.5" for name in WRITTEN}


def test_every_format_that_is_written_is_tried():
    assert {name for name, found in FORMATS.items() if found.write} == WRITTEN.keys()


@pytest.mark.parametrize("property_", PROPERTIES)
@pytest.mark.parametrize("name", WRITTEN)
def test_a_property_is_read_again_or_refused(name, property_, tmp_path):
    if name == "lerobot" and importlib.util.find_spec("pyarrow") is None:
        pytest.skip("pyarrow is not installed")
    episodes, path = PROPERTIES[property_](), tmp_path / WRITTEN[name]
    if said := REFUSED.get((name, property_)):
        with pytest.raises(WarmloopError, match=said):
            write_episodes(path, episodes)
        assert not path.exists()
        return
    write_episodes(path, episodes)
    read = load_episodes(path)
    assert len(read) == len(episodes)
    for written, found in zip(episodes, read, strict=True):
        assert_identical(written.steps, found.steps)
        assert_identical(written.success, found.success)
        assert_identical(dict(written.extras), dict(found.extras))
        assert (written.number, written.source, written.task) == (found.number, found.source, found.task)
        assert (written.undiscounted_return, written.succeeded) == (found.undiscounted_return, found.succeeded)
        assert (written.whole is None) == (found.whole is None)


@pytest.mark.parametrize("name", WRITTEN)
def test_metadata_are_in_every_file(name, tmp_path):
    write_episodes(tmp_path / WRITTEN[name], [recording()], {"environment": "Arm-v0"})
    files = [path for path in (tmp_path / WRITTEN[name], *(tmp_path / WRITTEN[name]).rglob("*")) if path.is_file()]
    assert any(b"Arm-v0" in path.read_bytes().replace(b"\0", b"") for path in files)  # NumPy's texts are UTF-32
