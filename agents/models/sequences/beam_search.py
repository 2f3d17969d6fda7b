"""Planning by beam search in a model of sequences: what it is likely to be paid decides, not what is likely.

    x_0 … x_{H-1} = argmax Σ_{i≤H-1} γ^i E[r_i] + γ^H E[V_{H-1}]

At each step every one of B beams gets E sampled actions, each action's reward and value to go are the model's expectations, the best B of
the B·E by the sum so far and the value are kept, and their next observation is the likeliest. Actions are drawn from the likeliest bins
alone, so that the plan stays where the data are: those of the least mass `cut` are left out; at 1 all but the likeliest. An observation
may begin by the token that says that the episode has ended; what such a plan gains ends there. The model sees the last steps, within and
before the plan. Copies of a plan come behind all others, or they would fill the beam where few actions are likely. Source: Trajectory
Transformer (Janner et al. 2021, alg. 1 and its code, which keeps copies and lets any number say that the episode has ended).
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct

from .discretiser import Discretiser


class SequenceModel(Protocol):
    """What is asked of a model, such as `gpt.GPT`, which documents these methods."""

    def read(self, params: Any, tokens: jax.Array, steps: jax.Array) -> tuple[Any, jax.Array]: ...
    def blank(self, beams: int) -> Any: ...
    def decode(self, params: Any, past: Any, own: Any, token: jax.Array, place: jax.Array) -> tuple[Any, jax.Array]: ...


class Context(struct.PyTreeNode):
    """The last steps as tokens `[..., C, D]`, oldest first, and how many of the C there are, `count` `[]`."""

    tokens: jax.Array
    count: jax.Array

    @classmethod
    def empty(cls, *shape: int) -> Context:
        return cls(jnp.zeros(shape, jnp.int32), jnp.int32(0))

    def with_step(self, step: jax.Array) -> Context:
        """The same with a step `[..., D]` more, and without the oldest where there is no room."""
        room = self.tokens.shape[-2]
        moved = jnp.where(self.count == room, jnp.roll(self.tokens, -1, axis=-2), self.tokens)
        return Context(moved.at[..., jnp.minimum(self.count, room - 1), :].set(step), jnp.minimum(self.count + 1, room))

    def of(self, beams: jax.Array) -> Context:
        """That of these beams, `[b]`."""
        return self.replace(tokens=self.tokens[beams])


class Beams(struct.PyTreeNode):
    """B plans under way.

    Attributes:
        context: what the model sees, `[B, C, D]`.
        plan: `[B, H, D]`, the steps that are planned so far.
        paid, score: `[B]`, the discounted rewards so far, and the same with the value to go; -inf of a copy.
        name: `[B]`, alike for copies.
    """

    context: Context
    plan: jax.Array
    paid: jax.Array
    score: jax.Array
    name: jax.Array


@dataclasses.dataclass(frozen=True)
class BeamSearch:
    """How to search. Tokens of a step: `observation_dim`, then `action_dim`, reward, value.

    Attributes:
        steps, beams, expand: H, B and E.
        cut: mass of the unlikeliest bins of which no action is drawn.
        discount: γ.
    """

    observation_dim: int
    action_dim: int
    steps: int
    beams: int
    expand: int
    cut: float
    discount: float

    def __call__(
        self, model: SequenceModel, params: Any, worth: Discretiser, context: Context, observation: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The best plan `[H, D]` from an observation's tokens `[S]` after a context `[C, D]`, and its score `[]`.

        `worth` has the bins of reward and value.
        """
        tiled = jnp.repeat(context.tokens[None], self.beams, axis=0)
        nothing = jnp.zeros((self.beams, self.steps, tiled.shape[-1]), jnp.int32)
        zero = jnp.zeros(self.beams)
        begin = Beams(Context(tiled, context.count), nothing, zero, zero, zero.astype(jnp.int32))

        def step(beams: Beams, inputs: tuple[jax.Array, jax.Array]) -> tuple[Beams, None]:
            number, key = inputs
            past, following = self._read(model, params, beams.context)
            seen, own, logits = self._observe(model, params, past, following, (observation, number == 0))
            acted, own, logits = self._act(model, params, past, (own, logits, seen[0] == worth.bins), key)
            paid, value, ends = self._valued(model, params, past, (own, logits, acted[0] == worth.bins), worth)
            return self._kept(beams, number, (paid, value), (seen, jnp.concatenate([acted, ends]))), None

        numbers = jnp.arange(self.steps), jax.random.split(key, self.steps)
        done, _ = jax.lax.scan(step, begin, numbers)
        best = done.score.argmax()
        return done.plan[best], done.score[best]

    def _read(self, model: SequenceModel, params: Any, context: Context) -> tuple[tuple[Any, jax.Array], jax.Array]:
        """What the model keeps of the steps before, and the logits `[B, N + 1]` of what follows them."""
        cache, following = model.read(params, context.tokens.reshape(self.beams, -1), context.count)
        return (cache, context.count), following

    def _observe(
        self, model: SequenceModel, params: Any, past: Any, following: jax.Array, given: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, Any, jax.Array]:
        """The likeliest observation `[S, B]`, or the one `[S]` that is `given` where that says so; and what decoding it left."""
        observation, known = given
        first = jnp.where(known, observation[0], following.argmax(axis=-1))
        stopped, bins = first == following.shape[-1] - 1, following.shape[-1] - 1

        def write(carry: tuple[Any, jax.Array], inputs: tuple[jax.Array, jax.Array]) -> tuple[tuple[Any, jax.Array], Any]:
            (own, token), (place, known_next) = carry, inputs
            own, logits = model.decode(params, past, own, token, place)
            likeliest = jnp.where(stopped, bins, logits[:, :-1].argmax(axis=-1))
            return (own, jnp.where(known, known_next, likeliest)), (token, logits)

        inputs = jnp.arange(self.observation_dim), jnp.roll(observation, -1)
        (own, _), (tokens, logits) = jax.lax.scan(write, (model.blank(self.beams), first), inputs)
        return tokens, own, logits[-1]

    def _act(
        self, model: SequenceModel, params: Any, past: Any, written: tuple[Any, jax.Array, jax.Array], key: jax.Array
    ) -> tuple[jax.Array, Any, jax.Array]:
        """Sampled actions `[A, B·E]` after what is written for each of B beams, and what decoding them left."""
        own, logits, stopped = written
        own, logits, stopped = own.repeat(self.expand), jnp.repeat(logits, self.expand, axis=0), jnp.repeat(stopped, self.expand)

        def write(carry: tuple[Any, jax.Array], inputs: tuple[jax.Array, jax.Array]) -> tuple[tuple[Any, jax.Array], jax.Array]:
            (own, logits), (place, key) = carry, inputs
            token = jnp.where(stopped, logits.shape[-1] - 1, jax.random.categorical(key, self.likely(logits[:, :-1])))
            return model.decode(params, past, own, token, place), token

        places = self.observation_dim + jnp.arange(self.action_dim)
        (own, logits), tokens = jax.lax.scan(write, (own, logits), (places, jax.random.split(key, self.action_dim)))
        return tokens, own, logits

    def _valued(
        self, model: SequenceModel, params: Any, past: Any, written: tuple[Any, jax.Array, jax.Array], worth: Discretiser
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """E[r] and E[V] `[B·E]` each, 0 where a plan has stopped, and their likeliest tokens `[2, B·E]`."""
        own, logits, stopped = written
        reward = jnp.where(stopped, worth.bins, logits[:, :-1].argmax(axis=-1))
        _, after = model.decode(params, past, own, reward, jnp.int32(self.observation_dim + self.action_dim))
        value = jnp.where(stopped, worth.bins, after[:, :-1].argmax(axis=-1))
        chances = jax.nn.softmax(jnp.stack([logits, after], axis=1))[..., :-1]  # [B·E, 2, N]
        paid, to_go = jnp.where(stopped[:, None], 0.0, worth.expected(chances)).T
        return paid, to_go, jnp.stack([reward, value])

    def _kept(self, beams: Beams, number: jax.Array, worth: tuple[jax.Array, jax.Array], written: tuple[jax.Array, jax.Array]) -> Beams:
        """The best B of B·E continuations: their observation `[S, B]` and what follows it, `[A + 2, B·E]`."""
        (reward, value), (seen, rest) = worth, written
        discount = jnp.float32(self.discount) ** number
        paid = jnp.repeat(beams.paid, self.expand) + discount * reward
        names = jnp.repeat(beams.name, self.expand)
        names = first_alike(jnp.concatenate([names[None], rest[: self.action_dim]]))
        alone = names == jnp.arange(len(names))
        score, chosen = jax.lax.top_k(jnp.where(alone, paid + discount * self.discount * value, -jnp.inf), self.beams)
        parent = chosen // self.expand
        step = jnp.concatenate([seen[:, parent], rest[:, chosen]]).T  # [B, D]
        plan = beams.plan[parent].at[:, number].set(step)
        return Beams(beams.context.of(parent).with_step(step), plan, paid[chosen], score, names[chosen])

    def likely(self, logits: jax.Array) -> jax.Array:
        """Logits `[P, N]` without the unlikeliest bins: those which, with all that are no likelier, have less than the mass `cut`. The
        likeliest always stays."""
        chances = jax.nn.softmax(logits)
        below = jnp.sum(jnp.where(chances[:, None, :] <= chances[:, :, None], chances[:, None, :], 0.0), axis=-1)  # [P, N]
        stays = (below >= self.cut) if self.cut < 1 else jnp.zeros_like(below, bool)
        return jnp.where(stays | (chances == chances.max(axis=-1, keepdims=True)), logits, -jnp.inf)


def first_alike(columns: jax.Array) -> jax.Array:
    """For columns of `[n, P]` the place `[P]` of the first that is like each."""
    return jnp.all(columns[:, :, None] == columns[:, None, :], axis=0).argmax(axis=1).astype(jnp.int32)
