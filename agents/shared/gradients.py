"""Gradient steps, Adam with a decay that can be taken away again, and gradients accumulated over parts of a batch."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from ...data.transition import PyTree


def adam(
    learning_rate: float | jax.Array | optax.Schedule, weight_decay: float = 0.0, frozen: Collection[str] = (), eps: float = 1e-8
) -> optax.GradientTransformation:
    """Adam or, with a decay, AdamW on the kernels (Loshchilov and Hutter 2019); biases and norms do not decay, and no module of a name
    in `frozen` does.

    Its state is plain Adam's either way, so that an algorithm with a decay hands over to one without.
    """
    plain = optax.adam(learning_rate, eps=eps)
    if weight_decay == 0:
        return plain
    mask, without = partial(decaying, frozen=frozen), optax.MaskedState(optax.EmptyState())
    adamw = optax.adamw(learning_rate, eps=eps, weight_decay=weight_decay, mask=mask)

    def update(updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None) -> tuple[optax.Updates, optax.OptState]:
        moments, steps = cast(tuple[Any, Any], state)
        change, found = adamw.update(updates, (moments, without, steps), params)
        moments, _, steps = cast(tuple[Any, Any, Any], found)
        return change, (moments, steps)

    return optax.GradientTransformation(plain.init, update)


def descend(
    loss: Callable[[PyTree], tuple[jax.Array, PyTree]],
    params: PyTree,
    optimizer: optax.GradientTransformation,
    optimizer_state: optax.OptState,
) -> tuple[PyTree, optax.OptState, PyTree]:
    """One step of `optimizer` on `loss(params) -> (scalar, auxiliary)`: new parameters, its new state, and the auxiliary."""
    gradient, auxiliary = jax.grad(loss, has_aux=True)(params)
    change, optimizer_state = optimizer.update(gradient, optimizer_state, params)
    return optax.apply_updates(params, change), optimizer_state, auxiliary


def begun_anew(over: jax.Array, optimizer: optax.GradientTransformation, params: PyTree, moments: optax.OptState) -> optax.OptState:
    """`moments`, and where `over` `[]` fresh ones: for the end of a phase in which most of `params` had no gradient.

    Adam counts steps for all parameters together. After thousands without a gradient it corrects the moments of a first one no longer, and
    the steps that follow are three to six times as large as asked for.
    """
    return jax.tree.map(lambda fresh, old: jnp.where(over, fresh, old), optimizer.init(params), moments)


def accumulated_gradient(loss: Callable[..., tuple[jax.Array, PyTree]], params: PyTree, rows: tuple[Any, ...], parts: int):
    """`loss(params, *rows)` with its gradient, computed on `parts` equal parts of the rows one after another.

    Args:
        loss: gives a mean over rows, and auxiliary arrays whose first axis is the rows'.
        rows: PyTrees with leading axis B, divisible by `parts`.

    Returns:
        the loss, the auxiliary arrays of all rows, and the gradient: what one pass over all rows gives, up to rounding.
    """
    differentiate = jax.value_and_grad(loss, has_aux=True)
    if parts == 1:
        (value, auxiliary), gradient = differentiate(params, *rows)
        return value, auxiliary, gradient

    def add(total: PyTree, part: tuple[Any, ...]) -> tuple[PyTree, PyTree]:
        (value, auxiliary), gradient = differentiate(params, *part)
        return jax.tree.map(lambda a, b: a + b / parts, total, (value, gradient)), auxiliary

    zero = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    split = jax.tree.map(lambda x: x.reshape(parts, -1, *x.shape[1:]), rows)
    (value, gradient), auxiliary = jax.lax.scan(add, zero, split)
    return value, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), auxiliary), gradient


def decaying(params: PyTree, frozen: Collection[str] = ()) -> PyTree:
    """Which leaves a decay holds for: the kernels, but for those of modules named in `frozen`."""

    def decays(path: tuple[Any, ...], _: jax.Array) -> bool:
        return "kernel" in jax.tree_util.keystr(path[-1:]) and not any(getattr(part, "key", None) in frozen for part in path)

    return jax.tree_util.tree_map_with_path(decays, params)
