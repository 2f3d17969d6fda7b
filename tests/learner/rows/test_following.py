"""Rows of a learner's pools know what follows them: from several actors, with interventions, across lost rows, and after a resumption."""

import dataclasses

import jax
import numpy as np
import pytest
from intervened import REWARD, Run, episode_of, parts_of

from warmloop.data.errors import WarmloopError
from warmloop.data.replay import replay
from warmloop.data.transition import concatenate, take
from warmloop.learner.journal.streams import LOST
from warmloop.learner.rows.ingest import Ingest, RowRules
from warmloop.learner.starting_state import fine_tune, resume
from warmloop.learner.state import create
from warmloop.learner.step import run_steps

STEPS = 3


@pytest.fixture(scope="module", params=["states", "cameras"])
def parts(request):
    plain = parts_of(request.param)
    agent = dataclasses.replace(plain.agent, config=dataclasses.replace(plain.agent.config, n_step=STEPS))
    return dataclasses.replace(plain, agent=agent)


def begun(parts):
    state = fine_tune(parts, 0, episode_of(parts.agent.spec, 20, 1000), None)
    return state, Ingest(parts, RowRules(REWARD), state)


def followed(pool):
    """(episode, step) of each row and of the row that follows it, for those that have one."""
    rows, following = pool.rows, np.asarray(pool.following)
    names = np.stack([np.asarray(rows.episode), np.asarray(rows.step)], 1)
    alive = following >= max(int(pool.inserted) - pool.capacity, 0)
    return [(tuple(names[slot]), tuple(names[following[slot] % pool.capacity])) for slot in np.flatnonzero(alive)]


def in_order(episode, steps):
    return [((episode, step), (episode, step + 1)) for step in steps]


def test_recorded_rows_are_linked_from_the_start_and_episodes_of_one_number_are_not(parts):
    twice = [episode_of(parts.agent.spec, 3, 0), episode_of(parts.agent.spec, 2, 0)]
    state = create(parts, 0, concatenate(twice))
    assert followed(state.offline) == [*in_order(0, range(2)), *in_order(0, range(1))]


def test_rows_of_two_actors_are_linked_within_their_episodes_however_they_come(parts):
    state, ingest = begun(parts)
    episodes = {name: episode_of(parts.agent.spec, 6, number) for number, name in enumerate("ab")}
    for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
        for name, rows in episodes.items():
            state = ingest.insert(state, name, take(rows, part))
    assert sorted(followed(state.online)) == sorted(in_order(0, range(5)) + in_order(1, range(5)))


def test_interventions_are_linked_among_demonstrations_only_where_one_follows_the_other(parts):
    state, ingest = begun(parts)
    rows = episode_of(parts.agent.spec, 8, 5, intervened=(2, 3, 4, 6))
    for part in (slice(0, 4), slice(4, 8)):
        state = ingest.insert(state, "arm", take(rows, part))
    assert followed(state.offline) == [*in_order(1000, range(19)), ((5, 2), (5, 3)), ((5, 3), (5, 4))]


def test_a_gap_is_no_link(parts):
    state, ingest = begun(parts)
    rows = episode_of(parts.agent.spec, 6, 0)
    state = ingest.insert(state, "arm", take(rows, np.array([0, 1, 3, 4])))  # the third was refused
    assert followed(state.online) == [((0, 0), (0, 1)), ((0, 3), (0, 4))]
    state, ingest = begun(parts)
    state = ingest.insert(state, "arm", take(rows, slice(0, 2)))
    state = ingest.insert(state, LOST, take(rows, slice(2, 3)))
    state = ingest.insert(state, "arm", take(rows, slice(3, 6)))
    assert followed(state.online) == [((0, 0), (0, 1)), ((0, 3), (0, 4)), ((0, 4), (0, 5))]


def test_the_pools_wrap_leaves_no_link_to_a_row_that_is_gone(parts):
    state, ingest = begun(parts)
    for number in range(10):
        state = ingest.insert(state, "arm", episode_of(parts.agent.spec, 9, number))
    oldest = 90 - state.online.capacity
    whole = [pair for number in range(10) for pair in in_order(number, range(8))]
    kept = [pair for pair in whole if pair[0][0] * 9 + pair[0][1] >= oldest]
    assert sorted(followed(state.online)) == sorted(kept)


@pytest.mark.long
def test_a_resumed_run_has_the_links_that_it_stopped_with_and_goes_on_linking(parts, tmp_path):
    run = Run(tmp_path, parts, "first")
    rows = episode_of(parts.agent.spec, 12, 3, intervened=range(4, 9))
    run.send(take(rows, slice(0, 7)))
    run.learner.save()
    links = [followed(getattr(run.learner.state, pool)) for pool in ("offline", "online")]
    assert links[1] == in_order(3, range(5)), "the newest row is held until it is known how it ends"
    run.journal.close()
    again = Run(tmp_path, parts, "first")
    assert [followed(getattr(again.learner.state, pool)) for pool in ("offline", "online")] == links
    again.send(take(rows, slice(7, 12)))
    assert followed(again.learner.state.online) == in_order(3, range(11))
    again.journal.close()


def test_a_run_whose_rows_are_linked_is_not_resumed_without_links_nor_the_other_way_round(parts, tmp_path):
    plain = dataclasses.replace(parts, agent=dataclasses.replace(parts.agent, config=dataclasses.replace(parts.agent.config, n_step=1)))
    for name, begun_with, resumed_with in (("linked", parts, plain), ("plain", plain, parts)):
        run = Run(tmp_path / name, begun_with, "first")
        run.learner.save()
        run.journal.close()
        with pytest.raises(WarmloopError, match=r"learns from .*, and this configuration from .*; resume it with its own agent.n_step"):
            resume(tmp_path / name / "checkpoints", resumed_with)


def test_an_update_learns_n_step_returns_from_both_pools(parts):
    state, ingest = begun(parts)
    state = ingest.insert(state, "arm", episode_of(parts.agent.spec, 12, 0))
    pool, slot = state.online, np.arange(12)
    rows = jax.jit(replay.windows.take, static_argnums=2)(pool, slot, parts.window)
    discount = parts.agent.problem.discount
    np.testing.assert_allclose(rows.reward, np.append(np.zeros(9), discount ** np.array([2, 1, 0])), rtol=1e-5)
    np.testing.assert_allclose(rows.mask, np.append(np.full(9, discount**2), np.zeros(3)), rtol=1e-5)
    state, metrics = run_steps(state, parts)
    assert np.isfinite(float(metrics["critic/loss"]))
