"""Its tokens are what happened, and no more; it learns one batch by heart; its plans are better than its data."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blocks import KEY, SPEC, assert_same, block_of, rows_of

from warmloop.agents import TrajectoryTransformer, TrajectoryTransformerConfig
from warmloop.agents.base import Problem
from warmloop.agents.export import Exported, write
from warmloop.agents.models.sequences.beam_search import Context
from warmloop.configs.schema import AgentChoice, build_agent
from warmloop.data.errors import WarmloopError
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig, replay
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner.judging import fqe, heldout
from warmloop.learner.starting_state import fine_tune
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import draw, run_many, run_steps

SETTINGS = {"hidden": (16, 16), "batch_size": 8, "length": 4, "bins": 8, "beams": 4, "plan_steps": 3, "context": 3, "dropout": 0.0}
AGENT = TrajectoryTransformer(TrajectoryTransformerConfig(**SETTINGS), SPEC, Problem(0.9))
N, DIMS = AGENT.config.bins, AGENT.dims
PARTS = LearnerParts(AGENT, ReplayConfig(capacity=64), MixingConfig())


@pytest.fixture(scope="module")
def state():
    return AGENT.init(KEY, rows_of(40))


@pytest.fixture(scope="module")
def batch():
    """Windows of 4, 4, 2, 2 and 1 rows; the second and the third end because their episode terminated, the fourth was cut."""
    block = jax.tree.map(lambda x: x[0], block_of(1, 5, window=AGENT.window))
    valid = jnp.arange(4)[None] < jnp.array([4, 4, 2, 2, 1])[:, None]
    mask = jnp.ones((5, 4)).at[1, 3].set(0.0).at[2, 1:].set(0.0)
    return block.replace(valid=valid, mask=mask)


loss = jax.jit(lambda model, state, batch: AGENT.loss(model, state, batch, None)[0])
gradient = jax.jit(jax.grad(lambda model, state, batch: AGENT.loss(model, state, batch, None)[0]))


def test_a_value_is_what_comes_after_the_reward(state):
    rows = rows_of(5).replace(
        reward=np.array([1, 2, 3, 4, 5], np.float32),
        mc_return=np.array([1 + 0.9 * 7, 2, 3, -np.inf, -np.inf], np.float32),
        mask=np.array([1, 1, 0, 1, 0], np.float32),
    )
    value = np.asarray(AGENT.columns(rows, state.normaliser))[:, -1]
    np.testing.assert_allclose(value, [7, 0, 0, -np.inf, 0], atol=1e-6)


def test_what_is_behind_a_terminal_step_is_the_stop_token_and_learnt_and_behind_any_other_end_nothing_is(state, batch):
    tokens, learnt = AGENT.tokens(state, batch)
    there = np.asarray(batch.valid)
    assert (np.asarray(tokens)[~there] == N).all() and (np.asarray(tokens)[there] < N).all()
    assert np.asarray(learnt.all(axis=-1)).tolist() == [[1] * 4, [1] * 4, [1] * 4, [1, 1, 0, 0], [1, 0, 0, 0]]


def test_a_value_that_is_not_known_is_not_learnt_and_the_rest_of_its_row_is(state, batch):
    _, learnt = AGENT.tokens(state, batch.replace(mc_return=batch.mc_return.at[0, 2].set(-jnp.inf)))
    np.testing.assert_array_equal(learnt[0, 2], [True] * (DIMS - 1) + [False])
    assert learnt[0, [0, 1, 3]].all()


def test_the_loss_is_the_weighted_mean_over_the_tokens_that_are_there(state, batch):
    batch = batch.replace(actor_weight=jnp.array([1.0, 2.0, 0.0, 1.0, 3.0]))
    tokens, learnt = (np.asarray(x) for x in AGENT.tokens(state, batch))
    logits = np.asarray(jax.nn.log_softmax(AGENT.gpt.logits(state.model, jnp.asarray(tokens.reshape(5, -1)))))
    kinds, total, count = np.repeat([1.0, 5.0, 1.0], [5, 3, 2]), 0.0, 0
    for row in range(5):
        for place in range(1, 4 * DIMS):  # of the first token nothing is predicted
            if learnt[row].ravel()[place]:
                surprise = -logits[row, place - 1, tokens[row].ravel()[place]]
                total += float(batch.actor_weight[row]) * kinds[place % DIMS] * surprise
                count += 1
    assert float(loss(state.model, state, batch)) == pytest.approx(total / count, rel=1e-4)


def test_rows_that_are_not_there_change_nothing(state, batch):
    def other(x):
        behind = ~batch.valid.reshape(5, 4, *(1,) * (x.ndim - 2))
        return jnp.where(behind, (x + 3).astype(x.dtype), x)

    rows = ("observation", "action", "reward", "mc_return", "next_observation")
    changed = batch.replace(**{name: jax.tree.map(other, getattr(batch, name)) for name in rows})
    assert not np.array_equal(changed.reward, batch.reward)
    assert_same(gradient(state.model, state, changed), gradient(state.model, state, batch))
    weightless = batch.replace(actor_weight=jnp.zeros(5).at[0].set(1.0))
    others = weightless.replace(action=batch.action.at[1:].set(-batch.action[1:]))
    assert_same(gradient(state.model, state, weightless), gradient(state.model, state, others))


@pytest.mark.parametrize(("kind", "columns"), [("action", slice(5, 8)), ("reward", slice(8, 9)), ("value", slice(9, 10))])
def test_a_weight_of_zero_takes_a_kind_of_token_out_of_the_loss(state, batch, kind, columns):
    agent = dataclasses.replace(AGENT, config=dataclasses.replace(AGENT.config, **{f"{kind}_weight": 0.0}))
    np.testing.assert_array_equal(np.asarray(agent.weights[columns]), 0.0)
    full, without = (one.loss(state.model, state, batch, None) for one in (AGENT, agent))
    _, learnt = AGENT.tokens(state, batch)
    share = float(learnt[..., columns].sum() / (learnt.sum() - 5)) * (5.0 if kind == "action" else 1.0)
    assert float(full[0] - without[0]) == pytest.approx(share * float(full[1][f"tokens/{kind}_loss"]), rel=1e-3)


def test_the_step_size_rises_falls_and_stays_at_a_tenth():
    agent = dataclasses.replace(AGENT, problem=Problem(warmup_updates=1000))
    rates = np.asarray(jax.vmap(agent.rate)(jnp.arange(1001)))
    assert rates[0] == pytest.approx(6e-4 / 20) and rates[20] == pytest.approx(6e-4) == rates.max()
    assert rates[210] == pytest.approx(3e-4, rel=1e-3), "half way along the cosine"
    np.testing.assert_allclose(rates[400:], 6e-5, rtol=1e-5)
    assert float(AGENT.rate(jnp.int32(7))) == pytest.approx(6e-5), "and online"


@pytest.mark.slow
def test_it_learns_a_batch_by_heart(batch):
    agent = dataclasses.replace(AGENT, problem=Problem(0.9, warmup_updates=2000))
    agent = dataclasses.replace(agent, config=dataclasses.replace(agent.config, hidden=(64, 64), actor_lr=3e-3, weight_decay=0.0))
    block = jax.tree.map(lambda x: jnp.repeat(x[None], 50, axis=0), batch)
    learnt, metrics, update = agent.init(KEY, rows_of(40)), {}, jax.jit(agent.update)
    for _ in range(4):
        learnt, metrics, _ = update(learnt, block)
    surprise = agent.loss(learnt.model, learnt, batch, None)[1]
    assert float(metrics["actor/loss"]) < 0.5
    # What a first token is, and whether a window goes on, is a matter of chance within the batch; the rest follows from the first numbers.
    assert max(float(surprise[f"tokens/{kind}_loss"]) for kind in ("action", "reward", "value")) < 0.1


@pytest.mark.long
def test_windows_of_both_pools_are_learnt_through_the_learners_step():
    one = jax.tree.map(lambda x: x, rows_of(24)).replace(step=np.arange(24, dtype=np.int32))
    learner = create(PARTS, 0, one)
    online = replay.insert(learner.online, rows_of(16, 3), 16, PARTS.replay)
    online = replay.link(online, np.arange(15, dtype=np.int32), np.arange(1, 16, dtype=np.int32))
    parts = dataclasses.replace(PARTS, mixing=MixingConfig(initial_ratio=0.5, min_ratio=0.5, decay=1.0))
    learner, metrics = run_steps(learner.replace(online=online), parts)
    assert all(np.isfinite(value) for value in metrics.values()) and metrics["learner/effective_offline_ratio"] == 0.5


@pytest.mark.long
def test_the_context_is_what_was_seen_and_done(state):
    actor, act, carry = AGENT.actor_params(state), jax.jit(AGENT.act), ()
    for step in range(4):
        observation = jax.tree.map(lambda x, step=step: x[step], rows_of(8).observation)
        action, carry = act(actor, observation, KEY, carry)
        newest = np.asarray(carry.tokens)[min(step, 1)]
        np.testing.assert_array_equal(newest[:5], actor.discretiser.part(slice(5)).tokens(actor.normaliser(observation)))
        np.testing.assert_array_equal(action, actor.discretiser.part(slice(5, 8)).values(jnp.asarray(newest[5:8])))
    assert isinstance(carry, Context) and carry.tokens.shape == (2, DIMS) and int(carry.count) == 2


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"hidden": (64, 32)}, "have one width, a multiple"),
        ({"heads": 3}, r"a multiple of agent.heads \(3\)"),
        ({"context": 5}, r"at most agent.length \(4\)"),
        ({"rising": 0.5}, "at least agent.rising"),
        ({"spacing": "log"}, "quantile"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(wrong, says):
    with pytest.raises(WarmloopError, match=says):
        TrajectoryTransformerConfig(**SETTINGS | wrong)


def test_data_that_it_can_make_nothing_of_are_refused():
    rows = rows_of(40)
    with pytest.raises(WarmloopError, match=r"reward\.cut_returns=recorded"):
        AGENT.init(KEY, rows.replace(mc_return=np.full(40, -np.inf, np.float32)))
    rare = np.zeros(40, np.float32)
    rare[0] = 1.0
    with pytest.raises(WarmloopError, match=r"agent\.spacing=uniform"):
        AGENT.init(KEY, rows.replace(reward=rare))
    uniform = dataclasses.replace(AGENT, config=dataclasses.replace(AGENT.config, spacing="uniform"))
    uniform.init(KEY, rows.replace(reward=rare))
    with pytest.raises(WarmloopError, match="cannot begin with nothing"):
        fine_tune(PARTS, 0, None, None)


def test_what_asks_for_actions_at_single_states_is_refused(state, tmp_path):
    actor = AGENT.actor_params(state)
    with pytest.raises(WarmloopError, match="acts by what the episode was so far"):
        write(tmp_path, Exported(AGENT, actor, {}))
    with pytest.raises(WarmloopError, match="remember what they saw before: compare them in the environment"):
        fqe.estimates([(AGENT, actor)], [], fqe.FQEConfig(), 0.9, 0)
    assert heldout.measures(AGENT, state, block_of(8)) == {}
    seeing = Spec((Leaf("front", (32, 32, 3), "uint8"),), 2)
    with pytest.raises(WarmloopError, match="learns from states alone"):
        build_agent(AgentChoice("trajectory_transformer", AGENT.config), RewardConfig(), seeing)


def walks(seed, count):
    """Random walks of 12 steps on a line of 8 places, paid 1 at the right end and 0.2 at the left."""
    rng = np.random.default_rng(seed)
    spec, length = Spec((Leaf("", (1,), "float32"),), 1), 12
    place, rows = rng.integers(0, 8, count), []
    for step in range(length):
        action = rng.choice([-1.0, 1.0], count)
        after = np.clip(place + action.astype(int), 0, 7)
        rows.append((place, action, np.where(after == 7, 1.0, np.where(after == 0, 0.2, 0.0)), after, np.full(count, step)))
        place = after
    before, action, reward, after, steps = (np.stack(column, axis=1).astype(np.float32) for column in zip(*rows, strict=True))
    returns = np.array([[sum(0.8**i * r for i, r in enumerate(one[t:])) for t in range(length)] for one in reward], np.float32)
    last = np.broadcast_to(np.arange(length) == length - 1, (count, length))
    return example(spec, count * length).replace(
        observation=before.reshape(-1, 1),
        next_observation=after.reshape(-1, 1),
        action=action.reshape(-1, 1),
        reward=reward.ravel(),
        mc_return=returns.ravel(),
        truncated=last.ravel(),
        episode=np.repeat(np.arange(count), length).astype(np.int32),
        step=steps.ravel().astype(np.int32),
    )


@pytest.fixture(scope="module")
def walker():
    """An agent that has learnt from such walks, and its learner's parts and state."""
    config = TrajectoryTransformerConfig(
        hidden=(32, 32), batch_size=32, dropout=0.0, length=3, context=2, bins=8, spacing="uniform", beams=16, plan_steps=5, actor_lr=3e-3,
        action_cut=0.2,
    )  # fmt: skip
    agent = TrajectoryTransformer(config, Spec((Leaf("", (1,), "float32"),), 1), Problem(0.8, warmup_updates=400))
    parts = LearnerParts(agent, ReplayConfig(capacity=1, alpha=0.0), MixingConfig())
    learnt, metrics = run_many(create(parts, 0, walks(0, 500)), parts, 400)
    return agent, parts, learnt.agent, metrics


@pytest.mark.slow
def test_its_plans_are_better_than_the_data(walker):
    """It goes right."""
    agent, _, state, metrics = walker
    actor, act = agent.actor_params(state), jax.jit(lambda actor, seen: agent.act(actor, seen, KEY, (), True)[0])
    assert [float(act(actor, jnp.array([float(at)]))[0]) > 0 for at in range(4, 8)] == [True] * 4, metrics


@pytest.mark.long
def test_it_expects_walks_that_it_has_not_seen_better_than_the_frequencies_of_their_tokens_do(walker):
    agent, parts, state, _ = walker
    _, block = draw(create(parts, 1, walks(9, 100)), parts)
    unseen = jax.tree.map(lambda x: x[0], block.batch)
    told = jax.jit(agent.loss)(state.model, state, unseen, None)[1]
    tokens, learnt = (np.asarray(x) for x in agent.tokens(state, unseen))
    there = learnt.reshape(-1, agent.dims) & (np.arange(learnt.shape[0] * learnt.shape[1]) % learnt.shape[1] > 0)[:, None]
    frequent = {}
    for place, kind in enumerate(("observation", "action", "reward", "value")):
        counts = np.bincount(tokens.reshape(-1, agent.dims)[there[:, place], place])
        share = counts[counts > 0] / counts.sum()
        frequent[kind] = -(share * np.log(share)).sum()
    found = {kind: float(told[f"tokens/{kind}_loss"]) for kind in frequent}
    assert found["observation"] < 0.2 * frequent["observation"] and found["reward"] < 0.2 * frequent["reward"], (found, frequent)
    assert found["value"] < 0.9 * frequent["value"] and abs(found["action"] - np.log(2)) < 0.05, "which were tossed up"
