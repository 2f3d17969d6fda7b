"""What a run tells of its observations: numbers that hardly vary offline, and those that leave the offline data online, once for each."""

from __future__ import annotations

import logging

import jax
import jax.numpy as jnp
import numpy as np

from ...agents.networks.normaliser import NOISE, Normaliser
from ...data.replay.replay import ReplayState
from ...data.transition import Leaf, PyTree, Spec, Transition

MOVED = 1e-2  # of its size, by which a number that was constant offline has moved
SHOWN = 4  # numbers that a sentence names

log = logging.getLogger("warmloop")


def tell_held(spec: Spec, offline: ReplayState, normaliser: Normaliser) -> None:
    """Logs which numbers of the offline pool vary so little that `agent.observation_floor` holds them."""
    leaves, (low, high) = _vectors(spec), _range(spec, offline)
    scale, size = np.asarray(normaliser.scale), np.maximum(np.abs(low), np.abs(high))
    own = (high - low) * scale >= 2.0  # what is divided by its own deviation spans two of them at least
    held = np.flatnonzero(~own & (high - low > NOISE * size) & (scale != 1))
    if held.size:
        log.info(
            "Observations that hardly vary are divided by %.2g and not by their own deviation: %s. Where they matter, give them in a "
            "larger unit, or set agent.observation_floor lower.",
            1 / scale[held[0]],
            _listed([f"{name} ({low[at]:.3g} to {high[at]:.3g})" for at, name in enumerate(_names(leaves)) if at in held]),
        )


class Departures:
    """Watches online rows for numbers that the offline data did not prepare the networks for.

    Args:
        offline: the pool whose rows say what was constant; empty where there are none.
        normaliser: says what is far away, from half of its bound on.
    """

    def __init__(self, spec: Spec, offline: ReplayState, normaliser: Normaliser):
        self._leaves = _vectors(spec)
        self._names = _names(self._leaves)
        self._mean, self._scale = np.asarray(normaliser.mean), np.asarray(normaliser.scale)
        known = (self._mean != 0) | (self._scale != 1)
        self._limit = np.where(known & (normaliser.bound > 0), 0.5 * normaliser.bound, np.inf)
        low, high = _range(spec, offline)
        size = np.maximum(np.abs(low), np.abs(high))
        constant = high - low <= NOISE * size  # of an empty pool, whose range is empty, nothing
        self._constant = np.where(constant & (low <= high), low, np.nan)
        self._moved = np.where(size > 0, MOVED * size, NOISE)
        self._told = np.zeros(len(self._names), bool)

    def watch(self, rows: Transition) -> None:
        """Takes in rows `[n]` and logs which numbers left the offline data, if they had not before."""
        if self._told.all():
            return
        seen = self._flat(rows.observation)  # [n, D]
        with np.errstate(invalid="ignore"):
            moved = (np.abs(seen - self._constant) > self._moved) & ~self._told
            far = (np.abs(seen - self._mean) * self._scale > self._limit) & ~self._told & ~moved.any(axis=0)
        for found, say in ((moved, self._say_moved), (far, self._say_far)):
            if (places := np.flatnonzero(found.any(axis=0))).size:
                self._told[places] = True
                say(places, seen[found.argmax(axis=0)[places], places])

    def _say_moved(self, places: np.ndarray, values: np.ndarray) -> None:
        found = zip(places, values, strict=True)
        each = [f"{self._names[at]} ({self._constant[at]:.4g} offline, {value:.4g} online)" for at, value in found]
        log.warning(
            "Online observations move in what the offline data never changes: %s. The warm-up has learnt nothing of it; record it as it "
            "varies, or leave it out (environment.unseen).",
            _listed(each),
        )

    def _say_far(self, places: np.ndarray, values: np.ndarray) -> None:
        found, mean, deviation = zip(places, values, strict=True), self._mean, 1 / self._scale
        each = [f"{self._names[at]} ({mean[at]:.4g} ± {deviation[at]:.2g} offline, {value:.4g} online)" for at, value in found]
        log.warning(
            "Online observations leave the offline data: %s. From %.0f deviations on, differences count less and less; add offline data "
            "that vary more, or set agent.observation_bound higher.",
            _listed(each),
            self._limit[places[0]],
        )

    def _flat(self, observation: PyTree) -> np.ndarray:
        parts = [np.asarray(observation[leaf.name] if leaf.name else observation) for leaf in self._leaves]
        return np.concatenate(parts, axis=-1) if parts else np.zeros((1, 0))


def _vectors(spec: Spec) -> list[Leaf]:
    return [leaf for leaf in spec.observation if leaf.dtype != "uint8"]


def _names(leaves: list[Leaf]) -> list[str]:
    return [f"{leaf.name or 'observation'}[{index}]" for leaf in leaves for index in range(leaf.shape[0])]


def _range(spec: Spec, pool: ReplayState) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest of each number over a pool's rows, `[D]`; infinite, the wrong way round, where it has none."""
    low, high = _range_of(pool, tuple(leaf.name for leaf in _vectors(spec)))
    return np.asarray(low), np.asarray(high)


@jax.jit(static_argnames="names")
def _range_of(pool: ReplayState, names: tuple[str, ...]) -> tuple[jax.Array, jax.Array]:
    stored = pool.rows.observation
    parts = [stored[name] if name else stored for name in names]
    flat = jnp.concatenate(parts, axis=-1) if parts else jnp.zeros((pool.capacity, 0))
    there = (jnp.arange(pool.capacity) < pool.size)[:, None]
    return jnp.where(there, flat, jnp.inf).min(axis=0), jnp.where(there, flat, -jnp.inf).max(axis=0)


def _listed(each: list[str]) -> str:
    return ", ".join(each[:SHOWN]) + (f" and {len(each) - SHOWN} more" if len(each) > SHOWN else "")
