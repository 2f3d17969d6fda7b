"""Rows on which a human intervened: online rows, and demonstrations that stay; with cameras, and across a crash."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from intervened import REWARD, SPECS, Run, episode_of, parts_of

from warmloop.agents import BC, SAC
from warmloop.configs import load
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig
from warmloop.data.quality import QualityConfig
from warmloop.data.replay import frames
from warmloop.data.replay.frames import FramesConfig
from warmloop.data.replay.replay import ReplayConfig, retire
from warmloop.data.replay.windows import ROW
from warmloop.data.transition import Leaf, Source, Spec, example, take
from warmloop.launch.run.assemble import fine_parts
from warmloop.learner.checkpoints import ahead
from warmloop.learner.rows.ingest import Ingest, RowRules
from warmloop.learner.starting_state import fine_tune, resume
from warmloop.learner.state import LearnerParts
from warmloop.learner.step import Stepper, run_steps


@pytest.fixture(scope="module", params=list(SPECS))
def parts(request):
    return parts_of(request.param)


def begun(parts, demonstrations=20):
    state = fine_tune(parts, 0, episode_of(parts.agent.spec, demonstrations, 1000), None)
    return state, Ingest(parts, RowRules(REWARD, quality=QualityConfig(interventions=3.0)), state)


def seen_in(state, pool, serials):
    """The rows of a pool as they came, with their images."""
    return frames.as_seen(state.frames, take(getattr(state, pool).rows, np.asarray(serials)))


def assert_same_steps(found, wanted):
    for name in ("observation", "action", "reward", "mask", "next_observation", "step", "episode", "intervened"):
        jax.tree.map(np.testing.assert_array_equal, getattr(found, name), getattr(wanted, name))


def test_intervened_rows_are_demonstrations_too_flagged_and_weighed_with_the_returns_of_their_episode(parts):
    state, ingest = begun(parts)
    rows = episode_of(parts.agent.spec, 12, 0, intervened=(3, 4, 5, 9))
    state = ingest.insert(state, "arm", take(rows, slice(0, 5)))
    state = ingest.insert(state, "arm", take(rows, slice(5, 12)))
    assert int(state.offline.inserted) == 24 and int(state.online.inserted) == 12 and ingest.demonstrated == 4
    shown = seen_in(state, "offline", range(20, 24))
    assert_same_steps(shown, take(rows, np.array([3, 4, 5, 9])))
    assert set(np.asarray(shown.source)) == {Source.INTERVENTION} and set(np.asarray(shown.quality)) == {3.0}
    np.testing.assert_allclose(shown.mc_return, 0.9 ** np.array([8, 7, 6, 2]), rtol=1e-6)
    assert_same_steps(seen_in(state, "online", range(12)), rows)
    assert_same_steps(seen_in(state, "offline", range(20)), episode_of(parts.agent.spec, 20, 1000))


def test_they_stay_while_the_online_pool_turns_over_and_no_demonstration_makes_room_for_them(parts, caplog):
    state, ingest = begun(parts)
    episodes = [episode_of(parts.agent.spec, 15, number, intervened=range(number, number + 4)) for number in range(12)]
    for rows in episodes:
        state = ingest.insert(state, "arm", rows)
    assert ingest.demonstrated == 40, "ten episodes' four rows fill the room"
    wanted = [take(rows, np.arange(number, number + 4)) for number, rows in enumerate(episodes[:10])]
    for number, rows in enumerate(wanted):
        assert_same_steps(seen_in(state, "offline", range(20 + 4 * number, 24 + 4 * number)), rows)
    assert_same_steps(seen_in(state, "offline", range(20)), episode_of(parts.agent.spec, 20, 1000))
    newest = np.arange(int(state.online.inserted) - 15, int(state.online.inserted)) % 64
    assert_same_steps(seen_in(state, "online", newest), episodes[-1])
    assert caplog.text.count("no room for more interventions") == 1 and "intervention_rows above 40" in caplog.text
    assert "later ones are learnt from as online rows only" in caplog.text


def test_of_an_intervention_that_is_longer_than_the_room_what_fits_is_stored_and_the_rest_is_said(parts, caplog):
    parts = dataclasses.replace(parts, mixing=MixingConfig(initial_ratio=1.0, decay=1.0))
    state, ingest = begun(parts)
    episodes = [episode_of(parts.agent.spec, 30, number, intervened=range(30)) for number in range(2)]
    for rows in episodes:
        state = ingest.insert(state, "arm", rows)
    assert ingest.demonstrated == 40 and int(state.offline.inserted) == 60
    assert_same_steps(seen_in(state, "offline", range(20, 50)), episodes[0])
    assert_same_steps(seen_in(state, "offline", range(50, 60)), take(episodes[1], slice(0, 10)))
    np.testing.assert_allclose(seen_in(state, "offline", range(50, 60)).mc_return, 0.9 ** np.arange(29.0, 19.0, -1), rtol=1e-6)
    assert "later ones are not learnt from" in caplog.text, "offline rows alone are drawn"


def test_interventions_without_room_for_the_frames_they_might_have_are_stored_as_far_as_theirs_go(caplog):
    """Rows apart from each other take two frames each, so frames run out before rows do."""
    parts = dataclasses.replace(parts_of("cameras"), replay=ReplayConfig(capacity=64, intervention_rows=900))
    state, ingest = begun(parts)
    episodes = [episode_of(parts.agent.spec, 250, number, intervened=range(0, 250, 1 + number % 2)) for number in range(5)]
    for rows in episodes:
        state = ingest.insert(state, "arm", rows)
    stored = ingest.shown[1]
    assert 1024 - 2 < stored.stop - stored.start <= 1024 and ingest.demonstrated > 765
    wanted = jax.tree.map(lambda *x: np.concatenate(x), *(take(rows, np.flatnonzero(rows.intervened)) for rows in episodes))
    assert_same_steps(seen_in(state, "offline", range(20, 20 + ingest.demonstrated)), take(wanted, slice(0, ingest.demonstrated)))
    assert_same_steps(seen_in(state, "offline", range(20)), episode_of(parts.agent.spec, 20, 1000))


def test_hg_dagger_has_room_for_every_step_of_a_run():
    config = load("configs/classic.py:pendulum,hgdagger,small").replace(replay={"intervention_rows": 10}, learner={"online_steps": 60})
    spec = SPECS["states"]
    parts = fine_parts(config, spec)
    state, ingest = begun(parts)
    for number in range(3):
        state = ingest.insert(state, "arm", episode_of(spec, 20, number, intervened=range(20)))
    assert ingest.demonstrated == 60 and int(state.offline.inserted) == 80
    assert fine_parts(load("configs/classic.py:pendulum").replace(replay={"intervention_rows": 10}), spec).replay.intervention_rows == 10


@pytest.mark.long
def test_hg_dagger_learns_what_the_hand_did_and_nothing_of_what_the_policy_did():
    """Three places: the demonstrations' at −1, the hand's at 0, the policy's own at 1; each has an action of its own."""
    preset = load("configs/classic.py:pendulum,hgdagger")
    settings = dataclasses.replace(preset.agent.settings, hidden=(32, 32), batch_size=32, actor_lr=3e-3, deterministic=True)
    agent = BC(settings, Spec((Leaf("", (1,), "float32"),), 1))
    parts = LearnerParts(agent, ReplayConfig(capacity=64, alpha=preset.replay.alpha), preset.mixing)

    def episode(place, action, intervened):
        seen = np.full((20, 1), place, np.float32)
        rows = example(agent.spec, 20).replace(observation=seen, next_observation=seen, action=np.full((20, 1), action, np.float32))
        return rows.replace(intervened=np.full(20, intervened), step=np.arange(20, dtype=np.int32))

    state = fine_tune(parts, 0, episode(-1, -0.5, False), None)
    ingest = Ingest(parts, RowRules(REWARD), state)
    state = ingest.insert(state, "arm", episode(0, 0.5, True))
    state = ingest.insert(state, "arm", episode(1, -0.9, False))
    state, metrics = run_steps(state, parts, 600)
    assert float(metrics["learner/effective_offline_ratio"]) == 1.0

    def acts(place):
        return float(agent.act(agent.actor_params(state.agent), jnp.full(1, place), jax.random.key(0), (), True)[0][0])

    np.testing.assert_allclose([acts(-1.0), acts(0.0)], [-0.5, 0.5], atol=0.05)
    assert acts(1.0) > 0, "there it goes on as the hand did"


def test_without_room_they_are_online_rows_only():
    parts = parts_of("states", room=0)
    state, ingest = begun(parts)
    state = ingest.insert(state, "arm", episode_of(parts.agent.spec, 6, 0, intervened=(1, 2)))
    assert int(state.offline.inserted) == state.offline.capacity == 20 and int(state.online.inserted) == 6


def plain(leaf):
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


@pytest.mark.long
def test_a_learner_that_crashed_has_them_again_with_their_pictures_and_none_twice(tmp_path, parts):
    spec, run = parts.agent.spec, Run(tmp_path, parts, "first")
    before = [episode_of(spec, 10, number, intervened=(2, 3, 7)) for number in range(3)]
    after = [episode_of(spec, 10, number, intervened=(5, 6)) for number in range(3, 5)]
    for rows in before:
        run.send(rows)
    run.learner.save()
    for rows in after:  # in the journal alone
        run.send(rows)
    gone = run.learner.state
    run.journal.close()
    again = Run(tmp_path, parts, "second")
    while again.learner.advance():
        pass
    state = again.learner.state
    assert again.learner.ingest.demonstrated == 13 and int(state.offline.inserted) == int(gone.offline.inserted) == 33
    wanted = [take(rows, np.flatnonzero(rows.intervened)) for rows in (*before, *after)]
    begins = 20 + np.cumsum([0, *(len(rows.step) for rows in wanted)])
    for begin, rows in zip(begins, wanted, strict=False):
        serials = range(begin, begin + len(rows.step))
        assert_same_steps(seen_in(state, "offline", serials), rows)
        np.testing.assert_allclose(seen_in(state, "offline", serials).mc_return, 0.9 ** (9.0 - rows.step), rtol=1e-6)
    for number, rows in enumerate((*before, *after)):
        assert_same_steps(seen_in(state, "online", range(10 * number, 10 * number + 10)), rows)
    again.learner.save()
    assert len(list((tmp_path / "checkpoints").glob("interventions-*.npz"))) == 2, "one for each checkpoint that is kept"
    again.learner.state, _ = run_steps(again.learner.state, parts)
    again.journal.close()


def test_interventions_of_an_episode_that_was_open_when_the_learner_stopped_get_their_returns_at_its_end(tmp_path, parts):
    spec, run = parts.agent.spec, Run(tmp_path, parts, "first")
    first, second = (episode_of(spec, 10, number, intervened=(2, 3, 7)) for number in range(2))
    run.send(first)
    run.send(take(second, slice(0, 5)))
    run.learner.save()
    run.journal.close()
    again = Run(tmp_path, parts, "first")
    again.send(take(second, slice(again.sent - 10, 10)))
    wanted = np.concatenate([0.9 ** np.array([7, 6, 2]), 0.9 ** np.array([7, 6, 2])])
    np.testing.assert_allclose(seen_in(again.learner.state, "offline", range(20, 26)).mc_return, wanted, rtol=1e-6)
    again.journal.close()


@pytest.mark.long
@pytest.mark.parametrize(
    ("budget", "subsampled"),
    [(4096, False), pytest.param(0, False, marks=pytest.mark.long), (0, True)],
    ids=["device", "host", "host, subsampled"],
)
def test_a_run_that_stopped_goes_on_bit_for_bit_wherever_its_frames_are(tmp_path, budget, subsampled):
    """With more rows than the pool has, so that those drawn ahead are found again in a ring that begins elsewhere."""
    parts = dataclasses.replace(parts_of("cameras"), frames=FramesConfig(budget_mebibytes=budget, chroma_subsampling=subsampled))
    episodes = [episode_of(parts.agent.spec, 10, number, intervened=(2, 3)) for number in range(12)]
    run = Run(tmp_path / "straight", parts, "first")
    for rows in episodes[:9]:
        run.send(rows)
    run.learner.save()
    assert bool(run.learner.state.ahead) == (budget == 0)
    shutil.copytree(tmp_path / "straight", tmp_path / "stopped")
    again = Run(tmp_path / "stopped", parts, "second")
    for rows in episodes[9:]:
        run.send(rows)
        again.send(rows)
    assert int(run.learner.state.updates) == 24
    straight, stopped = ((one.learner.state.agent, getattr(one.learner.state.ahead, "drawn", ())) for one in (run, again))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(*map(plain, (a, b))), straight, stopped)
    for one in (run, again):
        one.journal.close()


@pytest.mark.long
def test_rows_drawn_ahead_are_drawn_anew_where_batches_have_another_size_or_one_of_them_is_gone(tmp_path):
    parts = dataclasses.replace(parts_of("cameras"), frames=FramesConfig(budget_mebibytes=0))
    run = Run(tmp_path, parts, "first")
    for number in range(7):  # two more rows than the pool has
        run.send(episode_of(parts.agent.spec, 10, number))
    state = run.learner.state
    assert ahead.placed(state.ahead, state.online, ROW) != ()
    drawn = state.ahead.drawn.online_serials[:, ~state.ahead.drawn.offline].ravel()
    assert ahead.placed(state.ahead, retire(jax.tree.map(jnp.copy, state.online), drawn[:1]), ROW) == ()
    run.learner.save()
    run.journal.close()
    other = SAC(dataclasses.replace(parts.agent.config, batch_size=4), parts.agent.spec)
    for agent, kept in ((parts.agent, True), (other, False)):
        found, _ = resume(tmp_path / "checkpoints", dataclasses.replace(parts, agent=agent))
        assert bool(found.ahead) == kept
        Stepper(dataclasses.replace(parts, agent=agent))(found)


@pytest.mark.long
def test_a_run_that_goes_on_with_other_frames_settings_keeps_its_pictures_or_says_which_setting_must_stay(tmp_path):
    parts = parts_of("cameras")
    parts = dataclasses.replace(parts, replay=ReplayConfig(capacity=1200, intervention_rows=1000))
    episodes = [episode_of(parts.agent.spec, 10, number, intervened=(2, 3)) for number in range(6)]
    run = Run(tmp_path, parts, "first")
    for rows in episodes[:3]:
        run.send(rows)
    run.learner.save()
    run.journal.close()
    again = Run(tmp_path, dataclasses.replace(parts, frames=FramesConfig(spare_share=0.2)), "second")
    for rows in episodes[3:]:
        again.send(rows)
    state = again.learner.state
    assert_same_steps(seen_in(state, "offline", range(20)), episode_of(parts.agent.spec, 20, 1000))
    for number, rows in enumerate(episodes):
        assert_same_steps(seen_in(state, "offline", range(20 + 2 * number, 22 + 2 * number)), take(rows, np.array([2, 3])))
        assert_same_steps(seen_in(state, "online", range(10 * number, 10 * number + 10)), rows)
    again.journal.close()
    for other in (FramesConfig(random_shift=0), FramesConfig(chroma_subsampling=True)):
        with pytest.raises(WarmloopError, match=r"would have \d+ now; resume with the frames.random_shift and frames.chroma_subsampling"):
            resume(tmp_path / "checkpoints", dataclasses.replace(parts, frames=other))


def test_frames_that_the_ring_overwrote_take_their_rows_out_of_the_batches():
    """Pictures that never follow each other take two frames a row, more than the ring has for all of the pool's rows."""
    spec = SPECS["cameras"]
    parts = dataclasses.replace(parts_of("cameras"), replay=ReplayConfig(capacity=2000, intervention_rows=0))
    state = fine_tune(parts, 0, episode_of(spec, 20, 1000), None)
    ingest = Ingest(parts, RowRules(REWARD), state)
    apart = [episode_of(spec, 2, seed) for seed in range(1500)]  # of which only each first row comes
    for first in range(0, 1500, 250):
        rows = jax.tree.map(lambda *x: np.concatenate(x), *(take(rows, slice(0, 1)) for rows in apart[first : first + 250]))
        state = ingest.insert(state, "arm", rows.replace(step=np.zeros(250, np.int32)))
    drawable = np.flatnonzero(np.asarray(state.online.quality) > 0)
    room = state.frames.count - 21
    assert len(drawable) == room // 2 < 1500
    np.testing.assert_array_equal(drawable, np.arange(1500 - room // 2, 1500))
    found = seen_in(state, "online", drawable[:3])
    for row, number in enumerate(drawable[:3]):
        np.testing.assert_array_equal(found.observation["front"][row], apart[number].observation["front"][0])
        np.testing.assert_array_equal(found.next_observation["front"][row], apart[number].next_observation["front"][0])
