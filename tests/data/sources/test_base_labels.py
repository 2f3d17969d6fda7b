"""Recorded episodes get what a base policy would have done: asked in order, once for each observation, and not what it had planned."""

import dataclasses

import numpy as np
import pytest

from warmloop.data.action_limits import ActionLimits
from warmloop.data.episode import Episode, make_steps
from warmloop.data.formats import write_episodes
from warmloop.data.sources.base_labels import LABELLED_BY, is_labelled, labelled
from warmloop.data.sources.sources import DataConfig, SourceConfig, Target, load
from warmloop.data.transition import BASE, Leaf, Spec, beside


class Base:
    """Proposes the first number of what it sees, and how often it was asked since it planned."""

    name, count = "lab,sha256=1", 1

    def __init__(self):
        self.asked, self.begun, self.since = [], [], 0

    def begin(self, seed, task=""):
        self.begun.append((seed, task))

    def answer(self, observation, step):
        self.since += 1
        self.asked.append((float(observation[0]), step))
        return np.array([observation[0] / 100, self.since / 10], np.float32)

    def drop_plan(self, done):
        self.since = 0

    def close(self):
        pass


def episode(length=4, first=0.0, jump=False):
    seen = np.arange(first, first + length + 1, dtype=np.float32)[:, None] * np.ones((1, 3), np.float32)
    after = seen[1:].copy()
    if jump:
        after[1] += 50
    steps = make_steps(seen[:-1], np.zeros((length, 2)), np.zeros(length), after, np.zeros(length))
    return Episode(steps, np.zeros(length, bool), "lab.npz", 0)


def test_each_observation_is_answered_once_and_stands_as_the_next_one_s_before_it():
    base = Base()
    (made,) = labelled([episode()], base)
    assert base.asked == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]
    proposals = made.steps.observation[BASE]
    np.testing.assert_allclose(proposals, np.stack([np.arange(4) / 100, np.full(4, 0.1)], axis=1), rtol=1e-6)
    np.testing.assert_array_equal(made.steps.next_observation[BASE][:-1], proposals[1:])
    np.testing.assert_allclose(made.steps.next_observation[BASE][-1], [0.04, 0.1], rtol=1e-6)
    np.testing.assert_array_equal(made.steps.observation["state"], episode().steps.observation)


def test_a_next_observation_that_is_not_the_next_row_s_is_asked_about_by_itself():
    (made,) = labelled([episode(jump=True)], base := Base())
    assert (52, 2) in base.asked and len(base.asked) == 6
    np.testing.assert_allclose(made.steps.next_observation[BASE][:, 0], [0.01, 0.52, 0.03, 0.04], rtol=1e-6)


def test_an_episode_of_one_step_is_asked_about_twice():
    (made,) = labelled([episode(length=1)], base := Base())
    assert base.asked == [(0, 0), (1, 1)]
    assert made.steps.observation[BASE].shape == made.steps.next_observation[BASE].shape == (1, 2)


def test_the_seed_is_the_episode_s_own_wherever_it_stands():
    one, other = episode(), episode(first=9.0)
    ways = Base(), Base()
    labelled([one, other], ways[0])
    labelled([other, one], ways[1])
    assert ways[0].begun == ways[1].begun[::-1] and ways[0].begun[0] != ways[0].begun[1]


TARGET = Target("lab", Spec((Leaf("", (3,), "float32"),), 2), ActionLimits([-1, -1], [1, 1]), base=Base())


@pytest.mark.parametrize(("by", "kept"), [("lab,sha256=1", True), ("lab,sha256=2", False), ("", False)])
def test_a_file_keeps_the_actions_of_this_base_and_not_of_another(tmp_path, by, kept):
    (made,) = labelled([episode()], Base())
    write_episodes(tmp_path / "own.npz", [made], {LABELLED_BY: by} if by else {})
    (read,) = load(DataConfig(sources=(SourceConfig(str(tmp_path / "own.npz")),)), None, TARGET).episodes
    assert is_labelled(read) == kept
    without = dataclasses.replace(TARGET, base=None)
    (plain,) = load(DataConfig(sources=(SourceConfig(str(tmp_path / "own.npz")),)), None, without).episodes
    np.testing.assert_array_equal(plain.steps.observation, episode().steps.observation)


def test_files_with_and_without_go_together_and_all_have_them_in_the_end(tmp_path):
    (made,) = labelled([episode()], Base())
    write_episodes(tmp_path / "with.npz", [made], {LABELLED_BY: Base.name})
    write_episodes(tmp_path / "without.npz", [episode(first=20.0)])
    sources = tuple(SourceConfig(str(tmp_path / f"{name}.npz")) for name in ("with", "without"))
    loaded = load(DataConfig(sources=sources), None, TARGET).episodes
    done, base = [], Base()
    (*_, last) = labelled(loaded, base, lambda: done.append(1))
    assert len(done) == 2 and len(base.begun) == 1
    assert Spec.of(last.steps) == TARGET.whole_spec == Spec.of(made.steps)


def test_a_bare_observation_and_one_of_parts_both_take_them():
    assert set(beside(np.zeros(3), np.zeros(2))) == {"state", BASE} and set(beside({"pose": np.zeros(3)}, np.zeros(2))) == {"pose", BASE}
