"""A GPT of tokens of steps, each of which has D: pre-LN blocks, learnt positions, and an output matrix of its own for each of the D.

    x ← x + Attention(LN(x))    x ← x + W₂ gelu(W₁ LN(x))    logits_{i+1} = W_{i mod D} LN(x_i)

Attention is causal, and no token sees the last token of a step (a value to go, which would tell the answer). A token of bin b of number j
is embedded as j N + b; token N says that the episode has ended, whatever the number. Decoding keeps the keys and values of the steps before
(`Cache`), which the continuations of one beam share, and those of the step that is being written. Sources: GPT-2 (Radford et al. 2019);
Trajectory Transformer (Janner et al. 2021, app. A), whose sizes are in agents/trajectory_transformer.py.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import struct

from ...base import Params

INIT = 0.02  # standard deviation of fresh weights and embeddings


class Cache(struct.PyTreeNode):
    """Keys and values `[L, b, n, heads, width / heads]` of n tokens of b beams in L layers."""

    keys: jax.Array
    values: jax.Array

    def repeat(self, times: int) -> Cache:
        """Each beam so many times, one after the other."""
        return jax.tree.map(lambda x: jnp.repeat(x, times, axis=1), self)


@dataclasses.dataclass(frozen=True)
class GPT:
    """The model: sizes alone, its weights are given to each method.

    Attributes:
        dims: D, tokens of a step.
        steps: T, the most steps that it sees at once.
        bins: N, tokens of a number; one more says that the episode has ended.
        layers, width, heads, dropout: of the transformer; `width` is a multiple of `heads`.
    """

    dims: int
    steps: int
    bins: int
    layers: int = 4
    width: int = 128
    heads: int = 4
    dropout: float = 0.1

    def init(self, key: jax.Array) -> Params:
        """Fresh weights, those of the layers stacked along a first axis."""
        keys = iter(jax.random.split(key, 6))
        stack, width = self.layers, self.width

        def dense(inputs: int, outputs: int) -> Params:
            return {"kernel": INIT * jax.random.normal(next(keys), (stack, inputs, outputs)), "bias": jnp.zeros((stack, outputs))}

        def norm(*shape: int) -> Params:
            return {"scale": jnp.ones((*shape, width)), "bias": jnp.zeros((*shape, width))}

        reach = 1.0 / math.sqrt(width)
        return {
            "token": {"embedding": INIT * jax.random.normal(next(keys), (self.dims * self.bins + 1, width))},
            "position": {"embedding": jnp.zeros((self.steps * self.dims, width))},
            "layers": {
                "attention_norm": norm(stack),
                "attention": dense(width, 3 * width),
                "attended": dense(width, width),
                "mlp_norm": norm(stack),
                "widened": dense(width, 4 * width),
                "narrowed": dense(4 * width, width),
            },
            "norm": norm(),
            "head": {"kernel": jax.random.uniform(next(keys), (self.dims, width, self.bins + 1), minval=-reach, maxval=reach)},
        }

    def logits(self, params: Params, tokens: jax.Array, dropout: jax.Array | None = None) -> jax.Array:
        """The logits `[B, n, N + 1]` of each token's successor, of tokens `[B, n]` that begin with a step. With a key, units drop."""
        x, _ = self._trunk(params, tokens, dropout)
        rows, count = tokens.shape
        steps = -(-count // self.dims)
        x = jnp.pad(x, ((0, 0), (0, steps * self.dims - count), (0, 0))).reshape(rows, steps, self.dims, self.width)
        each = jnp.einsum("btdw,dwn->btdn", x, params["head"]["kernel"])
        return each.reshape(rows, steps * self.dims, self.bins + 1)[:, :count]

    def read(self, params: Params, tokens: jax.Array, steps: jax.Array) -> tuple[Cache, jax.Array]:
        """Of whole steps, tokens `[b, C]` of which the first `steps` `[]` steps count: what decoding asks of them, and the logits
        `[b, N + 1]` of the first token of the next step."""
        x, cache = self._trunk(params, tokens, None)
        last = jax.lax.dynamic_index_in_dim(x, jnp.maximum(steps * self.dims - 1, 0), axis=1, keepdims=False)
        return cache, last @ params["head"]["kernel"][-1]

    def blank(self, beams: int) -> Cache:
        """The cache of a step of which nothing is written."""
        zeros = jnp.zeros((self.layers, beams, self.dims, self.heads, self.width // self.heads))
        return Cache(zeros, zeros)

    def decode(
        self, params: Params, past: tuple[Cache, jax.Array], own: Cache, token: jax.Array, place: jax.Array
    ) -> tuple[Cache, jax.Array]:
        """One token more.

        Args:
            past: of the steps before, as `read` gave it for b beams, and how many steps count.
            own: of the step that is being written, of P continuations: P / b for each beam, side by side.
            token: `[P]`, the token of the number `place` `[]` of that step.

        Returns:
            `own` with the token, and the logits `[P, N + 1]` of the next one.
        """
        before, steps = past
        x = self._embedded(params, token, place) + params["position"]["embedding"][steps * self.dims + place][None]  # [P, W]
        earlier, here = jnp.arange(before.keys.shape[2]), jnp.arange(self.dims)
        seen = jnp.concatenate([(earlier < steps * self.dims) & self._shown(earlier), (here <= place) & self._shown(here)])

        def layer(x: jax.Array, inputs: tuple[Params, Cache, Cache]) -> tuple[jax.Array, Cache]:
            weights, before, own = inputs
            query, key, value = self._projected(weights, x)
            own = Cache(own.keys.at[:, place].set(key), own.values.at[:, place].set(value))
            grouped = query.reshape(before.keys.shape[0], -1, *query.shape[1:])  # [b, P / b, heads, w]
            scores = jnp.einsum("behw,bchw->behc", grouped, before.keys).reshape(*query.shape[:2], -1)
            scores = jnp.concatenate([scores, jnp.einsum("phw,pchw->phc", query, own.keys)], axis=-1)
            share = self._softmax(scores, seen[None, None])
            old, new = jnp.split(share, [before.keys.shape[1]], axis=-1)
            found = jnp.einsum("behc,bchw->behw", old.reshape(*grouped.shape[:3], -1), before.values).reshape(query.shape)
            found += jnp.einsum("phc,pchw->phw", new, own.values)
            x = x + _dense(weights["attended"], found.reshape(x.shape))
            return x + self._mlp(weights, x), own

        x, own = jax.lax.scan(layer, x, (params["layers"], before, own))
        return own, _norm(params["norm"], x) @ params["head"]["kernel"][place]

    def _trunk(self, params: Params, tokens: jax.Array, dropout: jax.Array | None) -> tuple[jax.Array, Cache]:
        """Normalised outputs `[B, n, W]` of tokens `[B, n]`, and their keys and values."""
        place = jnp.arange(tokens.shape[1])
        first_key, keys = (None, None) if dropout is None else (dropout, jax.random.split(jax.random.fold_in(dropout, 1), self.layers))
        x = self._embedded(params, tokens, (place % self.dims)[None]) + params["position"]["embedding"][None, : tokens.shape[1]]
        x = self._dropped(x, first_key)
        seen = (place[:, None] >= place[None]) & self._shown(place)[None]  # [n, n]

        def layer(x: jax.Array, inputs: tuple[Params, jax.Array | None]) -> tuple[jax.Array, Cache]:
            weights, key = inputs
            share_key, attended_key, mlp_key = [None] * 3 if key is None else jax.random.split(key, 3)
            query, keys, values = self._projected(weights, x)
            share = self._softmax(jnp.einsum("bqhw,bkhw->bhqk", query, keys), seen[None, None])
            found = jnp.einsum("bhqk,bkhw->bqhw", self._dropped(share, share_key), values).reshape(x.shape)
            x = x + self._dropped(_dense(weights["attended"], found), attended_key)
            return x + self._dropped(self._mlp(weights, x), mlp_key), Cache(keys, values)

        x, cache = jax.lax.scan(layer, x, (params["layers"], keys))
        return _norm(params["norm"], x), cache

    def _shown(self, place: jax.Array) -> jax.Array:
        """Which places others may see: not a step's last."""
        return place % self.dims != self.dims - 1

    def _embedded(self, params: Params, tokens: jax.Array, number: jax.Array) -> jax.Array:
        return params["token"]["embedding"][jnp.where(tokens == self.bins, self.dims * self.bins, number * self.bins + tokens)]

    def _projected(self, weights: Params, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Queries, keys and values `[..., heads, w]` of `[..., W]`."""
        all_three = _dense(weights["attention"], _norm(weights["attention_norm"], x))
        query, key, value = jnp.split(all_three.reshape(*x.shape[:-1], 3 * self.heads, -1), 3, axis=-2)
        return query / math.sqrt(query.shape[-1]), key, value

    def _softmax(self, scores: jax.Array, seen: jax.Array) -> jax.Array:
        return jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1)

    def _mlp(self, weights: Params, x: jax.Array) -> jax.Array:
        wide = jax.nn.gelu(_dense(weights["widened"], _norm(weights["mlp_norm"], x)), approximate=False)
        return _dense(weights["narrowed"], wide)

    def _dropped(self, x: jax.Array, key: jax.Array | None) -> jax.Array:
        if key is None or self.dropout == 0:
            return x
        return jnp.where(jax.random.bernoulli(key, 1.0 - self.dropout, x.shape), x / (1.0 - self.dropout), 0.0)


def _dense(weights: Params, x: jax.Array) -> jax.Array:
    return x @ weights["kernel"] + weights["bias"].reshape((1,) * (x.ndim - 1) + (-1,))


def _norm(weights: Params, x: jax.Array) -> jax.Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    scale, bias = (weights[name].reshape((1,) * (x.ndim - 1) + (-1,)) for name in ("scale", "bias"))
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(axis=-1, keepdims=True) + 1e-5) * scale + bias
