"""Training a reward classifier on recorded frames, and what it is worth on episodes that it never saw.

The frame after every step is a sample, the recorded success signal its label. Episodes are held out whole: neighbouring frames look alike.
Held-out episodes decide the temperature and the threshold; to be fair to new ones, each is judged by those that the others give.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from ...agents.base import Metrics
from ...agents.classifiers.classifier import Classifier, ClassifierConfig, ClassifierParams, MemberState
from ...agents.networks.normaliser import Normaliser
from ...data.episode import Episode
from ...data.errors import WarmloopError
from ...data.files.digest import of_episode
from ...data.replay import frames
from ...data.transition import PyTree, Spec
from ..soundness import NotFinite, is_sound

UPDATES_SHOWN, FRAMES_AT_ONCE = 25, 64


class Labelled(NamedTuple):
    """Labelled frames.

    Attributes:
        observation: `[N, ...]`.
        success: `[N]` bool, what they show.
        episode: `[N]` which of the episodes, from 0, each is of.
    """

    observation: PyTree
    success: np.ndarray
    episode: np.ndarray

    def of(self, episodes: np.ndarray) -> Labelled:
        """The frames of episodes `[E]` bool."""
        chosen = episodes[self.episode]
        return Labelled(jax.tree.map(lambda leaf: leaf[chosen], self.observation), self.success[chosen], self.episode[chosen])


class Pool(struct.PyTreeNode):
    """Frames on the device, to draw from: images in `store`, at `slots` `[N, k]`, other leaves `[N, ...]`, and which show what."""

    store: frames.Frames
    slots: jax.Array
    others: PyTree
    positive: jax.Array
    negative: jax.Array


def labelled(episodes: Sequence[Episode]) -> tuple[Labelled, Spec]:
    """The frames of episodes, those that occur twice once, and the spec of their observations.

    Raises:
        WarmloopError: an episode has no success signal, or the episodes differ in shape.
    """
    several = list({of_episode(episode): episode for episode in episodes}.values())
    specs = [Spec.of(episode.steps) for episode in several]
    for episode, spec in zip(several, specs, strict=True):
        if episode.success is None:
            raise WarmloopError(f"{episode.origin}, episode {episode.number}, has no success signal; record it with `collect --label`.")
        if difference := specs[0].difference(spec, several[0].origin, f"{episode.origin}, episode {episode.number},"):
            raise WarmloopError(f"A classifier sees one kind of observation: {difference}.")
    observation = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(episode.steps.next_observation for episode in several))
    success = np.concatenate([np.asarray(episode.success, bool) for episode in several])
    return Labelled(observation, success, np.repeat(np.arange(len(several)), [len(episode) for episode in several])), specs[0]


def hold_out(data: Labelled, share: float, seed: int) -> np.ndarray:
    """Which episodes `[E]` bool are held out: that share of those with a success, and of those without, at least one of each kind.

    Raises:
        WarmloopError: too few episodes for frames of success and of failure on both sides.
    """
    count = int(data.episode.max()) + 1
    won = np.bincount(data.episode, data.success, count) > 0
    held, rng = np.zeros(count, bool), np.random.default_rng(seed)
    for kind in (won, ~won):
        members = rng.permutation(np.flatnonzero(kind))
        held[members[: max(round(share * len(members)), int(len(members) > 1))]] = True
    for part, name in ((held, "held out"), (~held, "trained on")):
        shown = data.success[part[data.episode]]
        if not shown.any() or shown.all():
            missing = "failure" if shown.any() else "success"
            raise WarmloopError(
                f"Of {count} episodes, {won.sum()} with a success, {part.sum()} are {name}, and these have no frame of {missing}; at "
                "least two episodes with frames of both are needed. Collect more, or check --success."
            )
    return held


def train(
    classifier: Classifier, data: Labelled, seed: int, progress: Callable[[int, Mapping[str, float]], None] = lambda *_: None
) -> ClassifierParams:
    """The ensemble, trained on frames of both kinds, one member after the other; `progress` is called now and then with the updates done
    by all of them and metrics. Raises NotFinite where one has diverged."""
    config, pool, normaliser = classifier.config, make_pool(classifier, data), classifier.normaliser(data.observation)
    members = []
    for member, member_key in enumerate(jax.random.split(jax.random.key(seed), config.members)):
        init_key, train_key = jax.random.split(member_key)
        state = classifier.init(init_key)
        for update in range(1, config.updates + 1):
            state, metrics = _step(classifier, state, normaliser, pool, jax.random.fold_in(train_key, update))
            if update % UPDATES_SHOWN == 0 or update == config.updates:
                progress(member * config.updates + update, {name: float(value) for name, value in metrics.items()})
        if not is_sound(state.params):
            raise NotFinite(
                f"After {config.updates} updates a classifier of the ensemble has diverged, and nothing is written. Look for absurd values "
                "in the data (inspect_data), or lower ClassifierConfig.learning_rate."
            )
        members.append(state.params)
    return classifier.assembled(members, normaliser)


@functools.partial(jax.jit, static_argnames="classifier", donate_argnames="state")
def _step(classifier: Classifier, state: MemberState, normaliser: Normaliser, pool: Pool, key: jax.Array) -> tuple[MemberState, Metrics]:
    """One update on a batch of its own; one program per update, as convolutions are slow in XLA's loops on a CPU."""
    return classifier.update(state, normaliser, *draw(pool, key, classifier.config))


def make_pool(classifier: Classifier, data: Labelled) -> Pool:
    """Frames to draw from, on the device."""
    seen, count = classifier.seen, len(data.success)
    leaves = classifier.look(data.observation)
    images = {leaf.name: leaves[leaf.name] if leaf.name else leaves for leaf in seen.cameras}
    single = {leaf.name: images[leaf.name].reshape(-1, *frames.image_shape(leaf)) for leaf in seen.cameras}
    stack = frames.stack_of(seen)
    store = frames.create(seen, count * stack, frames.FramesConfig(random_shift=classifier.config.random_shift))
    slots = np.arange(count * stack, dtype=np.int32).reshape(count, stack)
    store = frames.put(store, slots.ravel(), single)
    others = {} if "" in images else jax.tree.map(jnp.asarray, _without(leaves, images))
    return Pool(store, jnp.asarray(slots), others, jnp.flatnonzero(data.success), jnp.flatnonzero(~data.success))


def draw(pool: Pool, key: jax.Array, config: ClassifierConfig) -> tuple[PyTree, jax.Array]:
    """A batch `[B, ...]`, half of it of success, with its images shifted and lit at random; and what it shows, `[B]` float32."""
    won_key, lost_key, shift_key, light_key = jax.random.split(key, 4)
    count, half = config.batch_size, config.batch_size // 2
    won = jax.random.randint(won_key, (half,), 0, len(pool.positive))
    lost = jax.random.randint(lost_key, (count - half,), 0, len(pool.negative))
    rows = jnp.concatenate([pool.positive[won], pool.negative[lost]])
    images = frames.look_up(pool.store, pool.slots[rows], frames.random_shifts(pool.store, shift_key, (count,)))
    for name, camera_key in zip(images, jax.random.split(light_key, max(1, len(images))), strict=False):
        images[name] = lit(images[name], camera_key, config.brightness)
    others = jax.tree.map(lambda leaf: leaf[rows], pool.others)
    observation = images[""] if "" in images else others | images if isinstance(others, dict) else others
    return observation, (jnp.arange(count) < half).astype(jnp.float32)


def lit(images: jax.Array, key: jax.Array, brightness: float) -> jax.Array:
    """Images `[B, ..., C]` uint8, each brighter or darker by a factor of its own in 1 ± brightness."""
    factor = jax.random.uniform(key, (images.shape[0], *(1,) * (images.ndim - 1)), minval=1 - brightness, maxval=1 + brightness)
    return jnp.clip(jnp.round(images * factor), 0, 255).astype(jnp.uint8)


def logits(classifier: Classifier, params: ClassifierParams, observation: PyTree) -> np.ndarray:
    """All members' logits `[M, N]` float64 of any number of observations `[N, ...]`, as they are."""
    seen = classifier.look(observation)
    count = len(jax.tree.leaves(seen)[0])
    found = []
    for start in range(0, count, FRAMES_AT_ONCE):
        part = jax.tree.map(lambda leaf, start=start: _padded(leaf[start : start + FRAMES_AT_ONCE]), seen)
        found.append(np.asarray(_logits(classifier, params, part), np.float64))
    return np.concatenate(found, axis=1)[:, :count]


_logits = jax.jit(Classifier.logits, static_argnums=0)


def _padded(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, np.zeros((FRAMES_AT_ONCE - len(rows), *rows.shape[1:]), rows.dtype)])


def _without(leaves: Any, images: Mapping[str, Any]) -> Any:
    return {name: leaf for name, leaf in leaves.items() if name not in images} if isinstance(leaves, dict) else leaves
