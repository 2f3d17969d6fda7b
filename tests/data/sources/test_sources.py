"""Several sources at once: kinds, weights, mappings, units, and what is refused."""

import dataclasses

import numpy as np
import pytest
from layouts import write_npz, write_robomimic
from recorded import assert_identical, assert_same_experience, episode

from warmloop.data.action_limits import ActionLimits
from warmloop.data.episode import Episode, make_steps
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, load_sources, write_episodes
from warmloop.data.quality import QualityConfig, weigh
from warmloop.data.sources.sources import DataConfig, SourceConfig, Target, load, mark
from warmloop.data.transition import Leaf, Source, Spec

OWN = ActionLimits([-2.0, -2.0], [2.0, 2.0])
TARGET = Target("Arm-v0", Spec((Leaf("", (3,), "float32"),), 2), OWN)


def recorded(leaves, actions, number=0):
    """An episode of T random rows; `leaves` gives the shape of each leaf, or of the one bare array."""
    rng = np.random.default_rng(number)
    count = len(actions)
    whole = {name: rng.normal(size=(count + 1, *shape)).astype(np.float32) for name, shape in dict(leaves).items()}
    whole = whole[""] if set(whole) == {""} else whole
    halves = [
        {name: leaf[rows] for name, leaf in whole.items()} if isinstance(whole, dict) else whole[rows]
        for rows in (slice(-1), slice(1, None))
    ]
    steps = make_steps(halves[0], np.asarray(actions, np.float32), np.zeros(count), halves[1], np.zeros(count, bool), episode=number)
    return Episode(steps, None, "memory", number)


def refusal(*arguments):
    with pytest.raises(WarmloopError) as caught:
        load(*arguments)
    return str(caught.value)


def one(path, scaling="none", limits=None, target=None, **source):
    return load(DataConfig((SourceConfig(str(path), **source),), action_scaling=scaling), limits, target)


def test_leaves_are_joined_in_order_and_those_not_named_are_dropped(tmp_path):
    e = recorded({"eef": (3,), "object": (7,), "gripper": (), "front": (4,)}, np.zeros((5, 2)))
    write_robomimic(tmp_path / "a.hdf5", [e])
    (read,) = one(tmp_path / "a.hdf5", observation={"": ("object[5:7]", "gripper", "eef[0,2]")}).episodes
    for got, had in ((read.steps.observation, e.steps.observation), (read.steps.next_observation, e.steps.next_observation)):
        assert_identical(got, np.concatenate([had["object"][:, 5:], had["gripper"][:, None], had["eef"][:, [0, 2]]], axis=1))
    (read,) = one(tmp_path / "a.hdf5", observation={"camera": "front", "arm": ("eef",)}).episodes
    assert_identical(read.steps.observation, {"camera": e.steps.observation["front"], "arm": e.steps.observation["eef"]})


def test_a_bare_array_is_named_by_nothing_and_can_be_split(tmp_path):
    e = episode(4)
    write_npz(tmp_path / "a.npz", [e])
    (read,) = one(tmp_path / "a.npz", observation={"position": "[:2]", "speed": ("[2]",)}).episodes
    assert_identical(read.steps.observation, {"position": e.steps.observation[:, :2], "speed": e.steps.observation[:, 2:]})


def test_action_columns_come_in_the_environment_s_order(tmp_path):
    e = recorded({"": (3,)}, np.random.default_rng(0).uniform(-1, 1, (4, 7)))
    write_npz(tmp_path / "a.npz", [e])
    (read,) = one(tmp_path / "a.npz", action=(6, 0)).episodes
    assert_identical(read.steps.action, e.steps.action[:, [6, 0]])


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({"observation": {"": "stat"}}, 'there is no observation `stat`; there are `state`, `wrist`; did you mean "state"?'),
        ({"observation": {"": ("state", "wrist")}}, "`state` of shape (3,) and `wrist` of shape (4, 5, 3) cannot be joined"),
        ({"observation": {"": "state[2:4]"}}, "`state[2:4]` takes columns that are not there: it has 3, 0 to 2"),
        ({"observation": {"": "state[1,,2]"}}, "`state[1,,2]` names no column"),
        ({"action": (0, 2)}, "takes action column 2, and there are 2, 0 to 1"),
    ],
)
def test_a_mapping_to_what_the_file_does_not_have_is_refused(tmp_path, source, says):
    write_npz(tmp_path / "a.npz", [episode(4, observation="images")])
    with pytest.raises(WarmloopError) as caught:
        one(tmp_path / "a.npz", **source)
    assert says in str(caught.value) and "a.npz" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SourceConfig(), "no path"),
        (lambda: SourceConfig("a", kind="demo"), 'did you mean "demos"'),
        (lambda: SourceConfig("a", weight=0.0), "weight of a in data.sources is 0.0"),
        (lambda: SourceConfig("a", action_units="scale"), 'did you mean "scaled"'),
        (lambda: SourceConfig("a", action=(-1,)), "from 0"),
        (lambda: SourceConfig("a", observation={"front": 3}), "maps the environment's names"),
        (lambda: SourceConfig("a", observation={"": "x", "front": "y"}), "one or the other"),
        (lambda: DataConfig(action_scaling="limit"), 'did you mean "limits"'),
        (lambda: DataConfig().adding(["demo=a.npz"]), 'did you mean "demos"'),
    ],
)
def test_a_mistaken_setting_is_refused_by_name(make, says):
    with pytest.raises(WarmloopError) as caught:
        make()
    assert says in str(caught.value)


def test_kinds_weights_tasks_and_numbers_are_those_of_their_source(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_npz(tmp_path / name, [episode(3, 0, success=[0, 0, 0]), episode(2, 1, success=[0, 0])])
    config = DataConfig((SourceConfig(f"{tmp_path}/a.npz", "random", 3.0, task="open"),)).adding([f"suboptimal={tmp_path}/b.npz"])
    episodes = weigh(load(config, None, TARGET).episodes, QualityConfig())
    assert [e.number for e in episodes] == [0, 1, 2, 3] and [e.task for e in episodes] == ["open", "open", "", ""]
    assert [e.source for e in episodes] == [Source.RANDOM] * 2 + [Source.SUBOPTIMAL] * 2
    assert [e.steps.quality[0] for e in episodes] == [1.5, 1.5, 1.0, 1.0]


def test_a_source_s_weight_survives_being_written_and_read(tmp_path):
    write_npz(tmp_path / "a.npz", [episode(3, success=[0, 0, 0])])
    write_episodes(tmp_path / "kept.npz", one(tmp_path / "a.npz", weight=3.0).episodes)
    assert weigh(one(tmp_path / "kept.npz").episodes, QualityConfig())[0].steps.quality.tolist() == [6.0] * 3


def test_without_mappings_and_scaling_the_sources_are_what_the_readers_give(tmp_path):
    write_npz(tmp_path / "a.npz", [episode(3), episode(4, 1)])
    write_episodes(tmp_path / "b.npz", [episode(2, 5)])
    arguments = [f"demos={tmp_path}/a.npz", f"random={tmp_path}/b.npz"]
    assert_same_experience(load_sources(arguments), load(DataConfig().adding(arguments), None, None).episodes)


def test_the_source_that_does_not_fit_the_environment_is_named_with_the_difference(tmp_path):
    write_npz(tmp_path / "good.npz", [episode(3)])
    write_npz(tmp_path / "images.npz", [episode(3, observation="images")])
    write_npz(tmp_path / "wide.npz", [recorded({"": (3,)}, np.zeros((3, 4)))])
    sentence = refusal(DataConfig().adding([f"{tmp_path}/good.npz", f"{tmp_path}/images.npz"]), None, TARGET)
    assert "images.npz does not fit the environment: Arm-v0 has observations of array (3,) float32" in sentence
    assert "state (3,) float32, wrist (4, 5, 3) uint8" in sentence and "good.npz" not in sentence
    sentence = refusal(DataConfig().adding([f"{tmp_path}/wide.npz"]), None, TARGET)
    assert "Arm-v0 has 2 action dimensions and" in sentence and "wide.npz 4" in sentence
    sentence = refusal(DataConfig().adding([f"{tmp_path}/good.npz", f"{tmp_path}/images.npz"]), None, None)
    assert "images.npz does not go with" in sentence and "good.npz has observations of array (3,) float32" in sentence


RAW = np.array([[-1.0, 0.5], [2.0, 0.5], [0.25, 0.5]], np.float32)


@pytest.fixture
def raw(tmp_path):
    """A file of actions in the environment's units."""
    return write_npz(tmp_path / "raw.npz", [recorded({"": (3,)}, RAW)])


def test_limits_scale_the_recorded_actions_to_minus_one_to_one(raw):
    assert "run from -1 to 2" in refusal(DataConfig().adding([str(raw)]), None, TARGET)
    loaded = one(raw, "limits", None, TARGET)
    assert loaded.limits is None and np.array_equal(loaded.episodes[0].steps.action, RAW / 2)
    given = ActionLimits([-1.0, 0.0], [3.0, 1.0])
    assert one(raw, "limits", given, TARGET).episodes[0].steps.action.tolist() == [[-1, 0], [0.5, 0], [-0.375, 0]]
    assert one(raw, "limits", given, None).limits == given


def test_limits_from_the_data_are_their_extremes_and_hold_what_never_changes(raw):
    for target in (TARGET, None):
        loaded = one(raw, "data", None, target)
        assert loaded.limits == ActionLimits([-1.0, 0.5], [2.0, 0.5])
        assert loaded.episodes[0].steps.action.tolist() == [[-1, 0], [1, 0], [np.float32(-1 / 6), 0]]
    given = ActionLimits([-2.0, 0.0], [2.0, 1.0])
    assert one(raw, "data", given, TARGET).limits == given, "limits that are set are not taken from the data again"


def test_an_action_that_is_held_is_not_refused_for_its_rounding(tmp_path):
    write_npz(tmp_path / "a.npz", [recorded({"": (3,)}, [[0.5, 0.1], [1.0, 0.1]])])
    held = ActionLimits([0.0, 0.1], [1.0, 0.1])
    episodes = one(tmp_path / "a.npz", "limits", held, TARGET).episodes
    assert episodes[0].steps.action.tolist() == [[0, 0], [1, 0]]
    write_episodes(tmp_path / "b.npz", episodes, mark(held))
    assert np.allclose(one(tmp_path / "b.npz", "limits", None, TARGET).episodes[0].steps.action, [[0.25, 0.05], [0.5, 0.05]])


def test_actions_beyond_the_limits_are_refused_with_their_range_and_rounding_is_not(raw, tmp_path):
    narrow = ActionLimits([-1.0, 0.0], [1.0, 1.0])
    for scaling in ("limits", "data"):
        with pytest.raises(WarmloopError, match=r"raw\.npz, episode 0: action 0 runs from -1 to 2, .* -1 and 1, .*action_scaling=data"):
            one(raw, scaling, narrow, TARGET)
    small = Target("Arm-v0", TARGET.spec, narrow)
    for scaling in ("limits", "data"):
        with pytest.raises(WarmloopError, match="environment's own; check the units"):
            one(raw, scaling, None, small)
    write_npz(tmp_path / "near.npz", [recorded({"": (3,)}, RAW * np.float32(1.0004))])
    loaded = one(tmp_path / "near.npz", "limits", None, TARGET)
    assert loaded.episodes[0].steps.action.max() == 1.0
    limits = one(tmp_path / "near.npz", "data", None, TARGET).limits
    assert limits is not None and limits.high[0] == 2.0, "the environment's own limit holds"


def test_without_an_environment_its_limits_must_be_given(raw):
    with pytest.raises(WarmloopError, match=r"set environment\.action_low and action_high"):
        one(raw, "limits")


def test_a_file_of_our_own_is_scaled_already_and_says_by_which_limits(raw, tmp_path):
    loaded = one(raw, "data", None, TARGET)
    write_episodes(tmp_path / "ours.npz", loaded.episodes, mark(loaded.limits))
    write_episodes(tmp_path / "plain.npz", [recorded({"": (3,)}, RAW / 2)], mark(None))
    again = one(tmp_path / "ours.npz", "data", loaded.limits, TARGET)
    assert_identical(again.episodes[0].steps, loaded.episodes[0].steps)
    assert_identical(one(tmp_path / "ours.npz", "none", loaded.limits, None).episodes[0].steps, loaded.episodes[0].steps)
    for path in ("ours.npz", "plain.npz"):
        assert np.allclose(one(tmp_path / path, "none", None, TARGET).episodes[0].steps.action, RAW / 2, atol=1e-7)
        wider = one(tmp_path / path, "limits", ActionLimits([-2.0, -1.0], [4.0, 1.0]), TARGET)
        assert np.allclose(wider.episodes[0].steps.action, (RAW - [1.0, 0.0]) / [3.0, 1.0], atol=1e-7)
    assert one(tmp_path / "plain.npz", "data", None, TARGET).limits == ActionLimits([-1.0, 0.5], [2.0, 0.5])
    assert "not known here" in refusal(DataConfig(action_scaling="data").adding([f"{tmp_path}/plain.npz"]), None, None)


def test_sources_of_both_units_go_together(raw, tmp_path):
    write_npz(tmp_path / "scaled.npz", [recorded({"": (3,)}, [[1.0, -1.0], [0.0, 0.5]])])
    sources = (SourceConfig(str(raw)), SourceConfig(str(tmp_path / "scaled.npz"), action_units="scaled"))
    first, second = load(DataConfig(sources, action_scaling="limits"), None, TARGET).episodes
    assert np.array_equal(first.steps.action, RAW / 2) and second.steps.action.tolist() == [[1, -1], [0, 0.5]]
    first, second = load(DataConfig(sources, action_scaling="data"), None, TARGET).episodes
    assert second.steps.action.tolist() == [[1, -1], [np.float32(-1 / 3), 1]]
    assert load(DataConfig(sources, action_scaling="data"), None, TARGET).limits == ActionLimits([-1.0, -2.0], [2.0, 1.0])


def test_shapes_that_differ_are_refused_with_the_one_mapping_that_fits(tmp_path):
    write_npz(tmp_path / "lab.npz", [recorded({"pose": (3,), "extra": (2,)}, np.zeros((3, 2)))])
    said = refusal(DataConfig().adding([f"{tmp_path}/lab.npz"]), None, TARGET)
    assert said.endswith("""; --config.data.observation='{"": "pose"}' maps them.""")
    write_npz(tmp_path / "two.npz", [recorded({"pose": (3,), "other": (3,)}, np.zeros((3, 2)))])
    assert "map its arrays by data.observation" in refusal(DataConfig().adding([f"{tmp_path}/two.npz"]), None, TARGET)
    write_npz(tmp_path / "bare.npz", [recorded({"": (4,)}, np.zeros((3, 2)))])
    assert "map its arrays by data.observation" in refusal(DataConfig().adding([f"{tmp_path}/bare.npz"]), None, TARGET)


def test_what_was_mapped_before_is_not_mapped_by_the_section_s_default_again(tmp_path):
    write_npz(tmp_path / "lab.npz", [recorded({"pose": (3,), "extra": (2,)}, np.zeros((3, 2)))])
    config = DataConfig(observation={"": "pose"})
    mapped = load(config.adding([f"{tmp_path}/lab.npz"]), None, TARGET).episodes
    write_episodes(tmp_path / "kept.npz", mapped, mark(None))
    assert_same_experience(mapped, load(config.adding([f"{tmp_path}/kept.npz"]), None, TARGET).episodes)
    write_episodes(tmp_path / "unmarked.npz", load_episodes(tmp_path / "lab.npz"))
    assert_same_experience(mapped, load(config.adding([f"{tmp_path}/unmarked.npz"]), None, TARGET).episodes)


def test_a_file_of_our_own_that_does_not_say_its_units_is_asked_about(tmp_path):
    path = tmp_path / "ours.npz"
    write_episodes(path, [recorded({"": (3,)}, RAW / 2)])
    with pytest.raises(WarmloopError, match=r'does not say; list it in data\.sources with action_units="scaled"'):
        one(path, "limits", None, TARGET)
    assert np.array_equal(one(path, "limits", None, TARGET, action_units="scaled").episodes[0].steps.action, RAW / 2)
    assert np.array_equal(one(path, "limits", None, TARGET, action_units="environment").episodes[0].steps.action, RAW / 4)


def test_a_damaged_mark_is_refused(tmp_path):
    for limits in ([[1.0]], [["a"], ["b"]], [[1.0], [0.0]], 3, [[0.0], [1.0]]):
        write_episodes(tmp_path / "a.npz", [episode(3)], {"action_limits": limits})
        with pytest.raises(WarmloopError, match=r"a\.npz.*`action_limits` in its metadata"):
            one(tmp_path / "a.npz")


def test_limits_of_another_number_of_dimensions_are_refused_where_no_environment_says_so(raw):
    with pytest.raises(WarmloopError, match=r"raw\.npz has 2 action dimensions, and environment\.action_low 1"):
        one(raw, "limits", ActionLimits([-2.0], [2.0]))


@pytest.mark.parametrize(
    ("lengths", "time_limit", "says"),
    [
        ((900,), 200, "an episode has 900 steps, and the environment cuts them after 200; where these are several"),
        ((30, 450), 200, "an episode has 450 steps"),
        ((300, 350), 200, None),
        ((1500,), None, "all 1500 steps are one episode, and no end is marked; where these are several"),
        ((1500, 20), None, None),
        ((900,), None, None),
    ],
)
def test_a_file_whose_episodes_run_together_is_named(tmp_path, caplog, lengths, time_limit, says):
    ends = np.cumsum(lengths)
    rows = np.random.default_rng(0).normal(size=(ends[-1], 3))
    arrays = {"observations": rows, "actions": np.zeros((ends[-1], 2)), "rewards": np.zeros(ends[-1])}
    if len(lengths) > 1:
        arrays["timeouts"] = np.isin(np.arange(ends[-1]), ends - 1)
    np.savez(tmp_path / "a.npz", next_observations=np.roll(rows, -1, axis=0), **arrays)
    one(tmp_path / "a.npz", target=dataclasses.replace(TARGET, time_limit=time_limit))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (says is not None) and all(f"{tmp_path}/a.npz: {says}" in sentence for sentence in said)


@pytest.mark.parametrize("shape", [(2, 5), ()])
def test_numbers_that_do_not_lie_along_one_axis_are_refused_before_any_training(tmp_path, shape):
    write_robomimic(tmp_path / "a.hdf5", [recorded({"eef": (3,), "history": shape}, np.zeros((5, 2)))])
    with pytest.raises(WarmloopError) as caught:
        one(tmp_path / "a.hdf5")
    assert f'observations "history" of shape {shape}, and numbers must lie along one axis' in str(caught.value)
