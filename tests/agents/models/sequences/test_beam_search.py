"""The search: of width 1 it is greedy, wide enough it finds the best plan of a known MDP, and an episode that has ended gains no more."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from warmloop.agents.models.sequences.beam_search import BeamSearch, Context, first_alike
from warmloop.agents.models.sequences.discretiser import Discretiser
from warmloop.agents.models.sequences.gpt import GPT

KEY, BINS, DISCOUNT = jax.random.key(0), 4, 0.9
WORTH = Discretiser(jnp.repeat(jnp.arange(BINS + 1.0)[:, None] - 0.5, 2, axis=1))  # the reward and value of bin i are i


class Written(struct.PyTreeNode):
    """What the table remembers of a step: its tokens `[P, 4]`."""

    tokens: jax.Array

    def repeat(self, times):
        return Written(jnp.repeat(self.tokens, times, axis=0))


class Table:
    """A deterministic MDP of 4 states and 4 actions as a model of sequences: all tokens but the action are certain. Where `ends`, the
    episode has ended after action 0."""

    def __init__(self, seed, ends=False):
        rng = np.random.default_rng(seed)
        self.following, self.reward = (jnp.asarray(rng.integers(0, BINS, (BINS, BINS))) for _ in range(2))
        self.value, self.ends = jnp.asarray(rng.integers(0, BINS, BINS)), ends

    def read(self, params, tokens, steps):
        last = tokens.reshape(len(tokens), -1, 4)[:, jnp.maximum(steps - 1, 0)]
        after = self.following[last[:, 0], last[:, 1]]
        ended = (last[:, 0] == BINS) | ((last[:, 1] == 0) & self.ends)
        return last, self.certain(jnp.where(ended, BINS, after))

    def blank(self, beams):
        return Written(jnp.zeros((beams, 4), jnp.int32))

    def decode(self, params, past, own, token, place):
        tokens = own.tokens.at[:, place].set(token)
        state, action = tokens[:, 0], tokens[:, 1]
        follows = self.certain(self.reward[state, action]), self.certain(self.value[self.following[state, action]])
        return Written(tokens), jnp.where(place == 0, 0.0, jnp.where(place == 1, *follows))

    def certain(self, token):
        return jnp.where(jnp.arange(BINS + 1)[None] == token[:, None], 1e3, 0.0)

    def score(self, state, actions):
        """What a plan is worth."""
        total = 0.0
        for number, action in enumerate(actions):
            total += DISCOUNT**number * float(self.reward[state, action])
            state = int(self.following[state, action])
            if self.ends and action == 0:
                return total + (DISCOUNT ** len(actions) * float(self.value[state]) if number == len(actions) - 1 else 0.0)
        return total + DISCOUNT ** len(actions) * float(self.value[state])


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_wide_enough_it_finds_the_best_plan_of_a_known_mdp(seed, ends):
    table, search = Table(seed, ends), BeamSearch(1, 1, steps=3, beams=BINS**3, expand=32, cut=0.0, discount=DISCOUNT)
    run = jax.jit(lambda state: search(table, None, WORTH, Context.empty(2, 4), state, KEY))
    for state in range(BINS):
        plan, score = run(jnp.array([state]))
        best = max(table.score(state, actions) for actions in itertools.product(range(BINS), repeat=3))
        assert float(score) == pytest.approx(best, rel=1e-5)
        live = list(itertools.takewhile(lambda step: step[0] != BINS, np.asarray(plan).tolist()))
        assert live[0][0] == state and all(after[0] == int(table.following[now[0], now[1]]) for now, after in itertools.pairwise(live))
        if len(live) == 3:
            assert table.score(state, [step[1] for step in live]) == pytest.approx(best, rel=1e-5)


def test_of_one_step_and_all_actions_it_is_the_argmax_of_reward_and_value():
    table, search = Table(7), BeamSearch(1, 1, steps=1, beams=16, expand=8, cut=0.0, discount=DISCOUNT)
    run = jax.jit(lambda state: search(table, None, WORTH, Context.empty(2, 4), state, KEY))
    for state in range(BINS):
        plan, score = run(jnp.array([state]))
        worth = np.asarray(table.reward[state] + DISCOUNT * table.value[table.following[state]])
        assert float(score) == pytest.approx(worth.max(), rel=1e-5) and worth[plan[0, 1]] == pytest.approx(worth.max())


GPTS = GPT(dims=5, steps=4, bins=6, layers=1, width=16, heads=2)
CONTEXT = 3
logits_of = jax.jit(GPTS.logits)


@pytest.fixture(scope="module")
def params():
    return jax.tree.map(lambda x: x + 0.5 * jax.random.normal(jax.random.key(x.size), x.shape), GPTS.init(KEY))


def greedy(params, before, observation, steps):
    """Token by token, each the likeliest by the whole model on the last steps, without a cache."""
    sequence, found = [list(map(int, step)) for step in before], []
    for number in range(steps):
        step = list(map(int, observation)) if number == 0 else []
        while len(step) < GPTS.dims:
            seen = np.concatenate([*sequence[1 - CONTEXT :], step]).astype(np.int32)
            padded = np.pad(seen, (0, CONTEXT * GPTS.dims - len(seen)))  # what comes after changes nothing
            logits = np.asarray(logits_of(params, jnp.asarray(padded)[None])[0, len(seen) - 1])
            stopped = bool(step) and step[0] == GPTS.bins
            free = logits if not step else logits[:-1]
            step.append(GPTS.bins if stopped else int(free.argmax()))
        sequence.append(step)
        found.append(step)
    return found


@partial(jax.jit, static_argnums=0)
def searched(search, params, worth, context, observation):
    return search(GPTS, params, worth, context, observation, KEY)


@pytest.mark.parametrize("known", [0, 1, 2])
def test_of_width_one_it_is_greedy_decoding_without_a_cache_also_where_the_context_slides(params, known):
    rng = np.random.default_rng(known)
    before, observation = rng.integers(0, GPTS.bins, (known, GPTS.dims)), rng.integers(0, GPTS.bins, 2)
    context = Context.empty(CONTEXT - 1, GPTS.dims)
    for step in before:
        context = context.with_step(jnp.asarray(step, jnp.int32))
    search = BeamSearch(2, 1, steps=4, beams=1, expand=1, cut=1.0, discount=DISCOUNT)
    worth = Discretiser(jnp.repeat(jnp.linspace(-1, 1, GPTS.bins + 1)[:, None], 2, axis=1))
    plan, _ = searched(search, params, worth, context, jnp.asarray(observation, jnp.int32))
    assert np.asarray(plan).tolist() == greedy(params, before, observation, 4)


def test_actions_are_drawn_from_the_likeliest_bins_alone():
    """By the authors' rule: bins are left out that are no likelier than the last at which the mass from below is less than the cut."""
    chances = np.array([[0.1, 0.4, 0.2, 0.3], [0.97, 0.01, 0.01, 0.01], [0.25, 0.25, 0.25, 0.25]])
    kept = {
        cut: np.isfinite(np.asarray(BeamSearch(1, 1, 1, 1, 1, cut, 0.9).likely(jnp.log(jnp.asarray(chances))))).tolist()
        for cut in (0.0, 0.55, 1.0)
    }
    assert kept[0.0] == [[True] * 4] * 3
    assert kept[0.55] == [[False, True, False, True], [True, False, False, False], [True] * 4]
    assert kept[1.0] == [[False, True, False, False], [True, False, False, False], [True] * 4]


def test_copies_are_named_after_the_first():
    np.testing.assert_array_equal(first_alike(jnp.array([[0, 0, 1, 0, 1], [2, 3, 2, 2, 2]])), [0, 1, 2, 0, 2])


def test_a_context_keeps_the_last_steps_in_order():
    context, shown = Context.empty(2, 3, 1), []
    for number in range(1, 6):
        context = context.with_step(jnp.full((2, 1), number))
        shown.append((context.tokens[0, :, 0].tolist(), int(context.count)))
    assert shown == [([1, 0, 0], 1), ([1, 2, 0], 2), ([1, 2, 3], 3), ([2, 3, 4], 3), ([3, 4, 5], 3)]
