"""Recorded episodes to write, read, weigh and retain, and what makes two of them the same."""

import dataclasses

import jax
import numpy as np
from hypothesis import strategies as st

from warmloop.data.episode import Episode, make_steps
from warmloop.data.transition import Source

ACTION_DIM = 2


def episode(
    length=6,
    number=0,
    *,
    source=Source.DEMOS,
    terminated=False,
    success=None,
    rewards=None,
    intervened=None,
    observation="array",
    seed=0,
):
    """An episode of random numbers whose next observations are the following rows' observations."""
    rng = np.random.default_rng([seed, number])
    whole = rng.normal(size=(length + 1, 3)).astype(np.float32)
    if observation != "array":
        whole = {"state": whole, "wrist": rng.integers(0, 256, (length + 1, 4, 5, 3), np.uint8)}
    steps = make_steps(
        jax.tree.map(lambda x: x[:-1], whole),
        rng.uniform(-1, 1, (length, ACTION_DIM)),
        rng.normal(size=length) if rewards is None else rewards,
        jax.tree.map(lambda x: x[1:], whole),
        np.arange(length) == (length - 1 if terminated else -1),
        source=source,
        episode=number,
        intervened=intervened,
    )
    return Episode(steps, None if success is None else np.asarray(success, bool), "memory", number, source)


@st.composite
def episode_lists(draw, success=("none", "some", "all")):
    """One to four episodes of one spec, with or without images, success signals and interventions."""
    observation = draw(st.sampled_from(["array", "images"]))
    known = draw(st.sampled_from(success))
    episodes = []
    for number in range(draw(st.integers(1, 4))):
        length = draw(st.integers(1, 8))
        flags = st.lists(st.booleans(), min_size=length, max_size=length)
        signal = draw(flags) if known == "all" or (known == "some" and number % 2 == 0) else None
        episodes.append(
            episode(
                length,
                number,
                terminated=draw(st.booleans()),
                success=signal,
                intervened=np.array(draw(flags)),
                source=draw(st.sampled_from(list(Source))),
                observation=observation,
                seed=draw(st.integers(0, 2**32 - 1)),
            )
        )
    return episodes


def assert_identical(a, b):
    """Two trees have the same keys, dtypes, shapes and bits."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.dtype, x.shape) == (y.dtype, y.shape)
        assert x.tobytes() == y.tobytes()


def assert_same_experience(written, read):
    """The fields that every format has are the same, bit for bit."""
    assert len(written) == len(read)
    for a, b in zip(written, read, strict=True):
        for name in ("observation", "action", "reward", "mask", "next_observation", "truncated", "intervened", "step"):
            assert_identical(getattr(a.steps, name), getattr(b.steps, name))
        assert (a.success is None) == (b.success is None)
        if a.success is not None:
            assert_identical(a.success, b.success)


def returns_by_loop(rewards, terminated, discount):
    """Discounted returns to go, the plain way."""
    returns, ahead = [], 0.0
    for reward, over in zip(reversed(rewards), reversed(terminated), strict=True):
        ahead = float(reward) + (0.0 if over else discount * ahead)
        returns.insert(0, ahead)
    return np.array(returns)


def enriched(episodes):
    """The episodes with every field that a transition and an episode can have, none of them at its default."""
    rich = []
    for e in episodes:
        rng, count = np.random.default_rng(e.number), len(e)
        fields = {
            "quality": rng.uniform(0, 2, count).astype(np.float32),
            "mc_return": np.where(rng.random(count) < 0.3, -np.inf, rng.normal(size=count)).astype(np.float32),
            "source": rng.integers(0, len(Source), count).astype(np.int32),
            "policy_version": rng.integers(-1, 99, count).astype(np.int32),
            "step": np.arange(count, dtype=np.int32) + 7,
            "episode": np.full(count, e.number + 40, np.int32),
        }
        extras = {"grasp_penalty": rng.normal(size=count).astype(np.float32), "force": rng.normal(size=(count, 3)).astype(np.float32)}
        rich.append(
            dataclasses.replace(e, steps=e.steps.replace(**fields), number=e.number + 40, task=f"tür {e.number % 2}", extras=extras)
        )
    return rich


def assert_same_whole(a, b):
    """Both are whole, or cut out of the same."""
    assert (a is None) == (b is None)
    if a is not None:
        assert a.first == b.first and (a.success is None) == (b.success is None)
        assert np.array_equal(a.reward, b.reward) and np.array_equal(a.mask, b.mask)
        assert a.success is None or np.array_equal(a.success, b.success)


def assert_lossless(written, read):
    """Everything but the file that it was read from is the same, bit for bit."""
    assert len(written) == len(read)
    for a, b in zip(written, read, strict=True):
        assert_identical(a.steps, b.steps)
        assert (a.number, a.source, a.task) == (b.number, b.source, b.task)
        assert (a.success is None) == (b.success is None)
        assert a.success is None or np.array_equal(a.success, b.success)
        assert_identical(dict(a.extras), dict(b.extras))
        assert_same_whole(a.whole, b.whole)
