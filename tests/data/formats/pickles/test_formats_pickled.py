"""DAPG's and Stable-Baselines3's pickles: broken ones get one sentence, and nothing that a pickle names is run or imported."""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from buffers import rewritten, standing
from hypothesis import given, settings
from hypothesis import strategies as st

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.formats.pickles import safe_pickle
from warmloop.data.formats.pickles.sb3 import INERT

FIXTURES = Path(__file__).resolve().parents[3] / "fixtures"
FILES = ["dapg.pickle", "sb3-ring.pkl", "sb3-dict.pkl", "sb3-halved.pkl", "sb3-her.pkl"]


def path_of(rows=4, **changed):
    """One of DAPG's paths."""
    rng = np.random.default_rng(0)
    whole = {
        "observations": rng.normal(size=(rows, 3)),
        "actions": rng.uniform(-1, 1, (rows, 2)),
        "rewards": rng.normal(size=rows),
        "init_state_dict": {"qpos": np.zeros(2)},
        "env_infos": {},
    }
    return {name: value for name, value in (whole | changed).items() if value is not None}


def save(path, value):
    path.write_bytes(pickle.dumps(value))
    return path


@pytest.fixture
def dapg(tmp_path):
    return lambda paths: load_episodes(save(tmp_path / "demos.pickle", paths))


def refusal(path):
    with pytest.raises(WarmloopError) as caught:
        load_episodes(path)
    sentence = str(caught.value)
    assert str(path) in sentence and sentence.endswith((".", "?")) and "\n" not in sentence
    return sentence


def test_a_path_that_terminated_keeps_its_last_row_unless_a_time_limit_ended_it(dapg):
    limited = {"TimeLimit.truncated": np.array([False, False, False, True])}
    over, cut = dapg([path_of(terminated=True), path_of(terminated=True, env_infos=limited)])
    assert over.steps.mask.tolist() == [1, 1, 1, 0]
    assert cut.steps.mask.tolist() == [1, 1, 1] and cut.steps.truncated.tolist() == [False, False, True]


def test_only_some_paths_may_say_success(dapg):
    first, second = dapg([path_of(env_infos={"success": np.array([0, 1, 1, 0])}), path_of()])
    assert first.success.tolist() == [False, True, True] and second.success is None


def test_objects_that_are_not_needed_do_not_matter(dapg):
    assert len(dapg([path_of(env_infos={"notes": np.array([None, "a"], object)})])[0]) == 3


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        ([path_of(), path_of(rewards=None)], "episode 1 has no `rewards`"),
        ([path_of(), path_of(rewards=np.zeros(3))], "episode 1: `rewards` has 3 rows and `actions` has 4"),
        ([path_of(), path_of(observations=np.zeros((4, 5)))], "episode 1: a row of `observations` is (5,) float64, and in episode 0 (3,)"),
        ([path_of(), path_of(actions=np.array([[None, 1]] * 4, object))], "episode 1: `actions` is an array of Python objects"),
        ([path_of(), path_of(rewards=np.array(["a"] * 4))], "episode 1: `rewards` holds <U1 values"),
        ([path_of(), path_of(rewards=[0.0] * 4)], "episode 1: `rewards` is a list"),
        ([path_of(), path_of(rewards=np.array([0, 1, np.nan, 0]))], "episode 1, step 2: `rewards` holds nan"),
        ([path_of(), path_of(actions=np.full((4, 2), np.inf))], "episode 1, step 0: `actions` holds inf"),
        ([path_of(), path_of(rows=0)], "episode 1: `actions` has no rows"),
        ([path_of(env_infos={"success": np.zeros(3)})], "episode 0: `success` has 3 rows and `actions` has 4"),
        ([path_of(rows=1)], "holds no transition whose next observation is known"),
        ([path_of(), "init_state_dict"], "and not DAPG's list of episodes"),
    ],
)  # fmt: skip
def test_paths_that_contradict_themselves_are_refused(tmp_path, paths, said):
    assert said in refusal(save(tmp_path / "demos.pickle", paths))


def test_a_rewritten_buffer_is_read_as_the_one_it_was(tmp_path):
    path = rewritten(tmp_path, "sb3-ring.pkl", lambda state: None)
    assert [len(e) for e in load_episodes(path)] == [len(e) for e in load_episodes(FIXTURES / "sb3-ring.pkl")]


def discrete(state):
    state["action_space"] = standing("gymnasium.spaces.discrete", "Discrete")()


def poisoned(state):
    state["rewards"][3, 1] = np.nan


BROKEN = [
    (lambda state: state.pop("rewards"), "the buffer has no `rewards`"),
    (lambda state: state.pop("timeouts"), "the buffer has no `timeouts`"),
    (lambda state: state.pop("action_space"), "the buffer has no `action_space`"),
    (discrete, "its actions are of a Discrete; only continuous ones (Box)"),
    (lambda state: state.update(rewards=state["rewards"][:3]), "`rewards` has shape (3, 2)"),
    (lambda state: state.update(rewards=None), "`rewards` is a NoneType"),
    (lambda state: state.update(actions=state["actions"].astype(object)), "`actions` is an array of Python objects"),
    (lambda state: state.update(actions=state["actions"].astype("U4")), "`actions` holds <U4 values"),
    (lambda state: state.update(next_observations=state["next_observations"][..., :2]), "`next_observations` has shape (24, 2)"),
    (lambda state: state.update(pos=99), "`pos` is 99 and `full` True, which no buffer of 12 rows can be"),
    (lambda state: state.update(pos="3"), "`pos` is '3'"),
    (lambda state: state.update(full=False, pos=0), "holds no transitions"),
    (poisoned, "`rewards` holds nan"),
]


@pytest.mark.parametrize(("change", "said"), BROKEN, ids=[said for _, said in BROKEN])
def test_a_buffer_that_contradicts_itself_is_refused(tmp_path, change, said):
    assert said in refusal(rewritten(tmp_path, "sb3-ring.pkl", change))


def test_what_is_no_buffer_but_names_one_of_its_classes_is_refused(tmp_path):
    path = tmp_path / "device.pkl"
    path.write_bytes(b"cstable_baselines3.her.goal_selection_strategy\nGoalSelectionStrategy\n)R.")
    assert "holds no replay buffer" in refusal(path)


@pytest.mark.parametrize("named", ["stable_baselines3.common.save_util\nload_from_pkl", "stable_baselines3.common.buffers\nBaseBuffer"])
def test_another_name_of_the_same_package_is_refused(tmp_path, named):
    path = tmp_path / "buffer.pkl"
    path.write_bytes(b"c" + named.encode() + b"\n(S'/etc/hostname'\ntR.")
    assert f"it names {named.replace(chr(10), '.')}" in refusal(path)


class Calls:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def test_a_call_hidden_in_a_buffer_or_a_path_is_never_run(tmp_path):
    canary = tmp_path / "canary"
    call = Calls(os.system, f"touch {canary}")
    hidden = rewritten(tmp_path, "sb3-her.pkl", lambda state: state.update(infos=np.array([[{"a": call}]], object)))
    for path in (hidden, save(tmp_path / "demos.pickle", [path_of(env_infos={"a": np.array([call], object)})])):
        assert "system" in refusal(path) and "nothing was run" in refusal(path)
    assert not canary.exists()


@pytest.mark.long
def test_no_class_that_a_buffer_names_is_imported():
    script = (
        "import sys; from warmloop.data.formats import load_episodes; before = set(sys.modules); "
        f"load_episodes({str(FIXTURES / 'sb3-her.pkl')!r}); new = set(sys.modules) - before; "
        "sys.exit(str(new) if any(name.split('.')[0] in ('torch', 'stable_baselines3') for name in sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


@pytest.mark.parametrize("state", [b"(N}S'named'\nS'x'\nst", b"}S'named'\nS'x'\ns"], ids=["slots", "dict"])
def test_a_record_s_class_cannot_be_altered(tmp_path, state):
    path = tmp_path / "buffer.pkl"
    path.write_bytes(b"cstable_baselines3.common.buffers\nReplayBuffer\n" + state + b"b.")
    assert "is not a readable pickle" in refusal(path)
    assert len(load_episodes(FIXTURES / "sb3-ring.pkl")) == 8


def test_a_record_says_what_the_pickle_said(tmp_path):
    path = tmp_path / "device.pkl"
    path.write_bytes(b"ctorch\ndevice\n(S'cpu'\ntR.")
    device = safe_pickle.load(path, INERT)
    assert isinstance(device, safe_pickle.Record)
    assert (device.named, device.arguments, device.state) == ("torch.device", ("cpu",), None)
    assert "it names torch.device" in refusal(path), "to a reader that does not expect one"


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("keep", [0.01, 0.1, 0.5, 0.99])
def test_a_pickle_cut_short_is_refused(tmp_path, name, keep):
    content = (FIXTURES / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(keep * len(content))])
    assert "cut short: record or copy it again" in refusal(tmp_path / name)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FILES), st.data())
def test_damage_anywhere_gives_episodes_or_one_sentence(name, data):
    content = bytearray((FIXTURES / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, min(len(content), 1500) - 1))  # before the long arrays
        content[place] = data.draw(st.integers(0, 255).filter(lambda byte: byte != ord("r")))  # a memo slot as large as memory
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            load_episodes(path)
        except WarmloopError as error:
            assert str(path) in str(error)
