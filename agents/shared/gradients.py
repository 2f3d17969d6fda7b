"""Gradient steps, and gradients accumulated over parts of a batch whose activations fit a CPU's cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from ...data.transition import PyTree


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
