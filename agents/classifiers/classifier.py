"""A reward classifier: an ensemble that says how likely an observation, of which it sees the camera images, shows success.

    L_i  = −mean_B [ y log σ(f_i(s)) + (1 − y) log(1 − σ(f_i(s))) ],    half of every batch shows success
    p(s) = mean_i σ(f_i(s) / T)   or, to be strict,   min_i σ(f_i(s) / T)

Each member has an encoder, a head, batches and augmentation of its own. The temperature T and the threshold that p must reach are found on
episodes that were held out (`learner/classifiers/classifier_training.py`). Sources: HIL-SERL (Luo et al. 2024) for success told from
images; deep ensembles (Lakshminarayanan et al. 2017); temperature scaling (Guo et al. 2017).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from ...data.errors import WarmloopError
from ...data.transition import PyTree, Spec, example
from ..base import Metrics, Params
from ..networks.networks import initialise
from ..networks.normaliser import Normaliser
from ..networks.vision import Vision, VisionConfig
from ..shared.gradients import adam, descend

COMBINED = ("mean", "min")


@dataclasses.dataclass(frozen=True)
class ClassifierConfig:
    """Settings of a classifier and of its training.

    Attributes:
        vision: the encoder of each member.
        hidden: layers of the head on top of it.
        members: of the ensemble.
        combine: "mean" of the members' probabilities, or "min", which all must reach.
        proprioception: also see what is no image; without cameras it is all there is, and is seen in any case.
        updates, batch_size, learning_rate, weight_decay: of each member's AdamW.
        random_shift: pixels by which images are shifted at random in training, at most.
        brightness: share by which images are made brighter or darker at random in training, at most.
    """

    vision: VisionConfig = VisionConfig()
    hidden: tuple[int, ...] = (64,)
    members: int = 3
    combine: str = "mean"
    proprioception: bool = False
    updates: int = 500
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    random_shift: int = 4
    brightness: float = 0.2

    def __post_init__(self):
        if self.combine not in COMBINED:
            raise WarmloopError(f'combine is "{self.combine}"; it must be {" or ".join(COMBINED)}.')
        for name, least in {"members": 1, "updates": 1, "batch_size": 2, "random_shift": 0, "weight_decay": 0.0}.items():
            if getattr(self, name) < least:
                raise WarmloopError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        if min(self.hidden, default=1) < 1:
            raise WarmloopError(f"hidden is {self.hidden}; each width must be at least 1.")
        if not 0 < self.learning_rate < math.inf or not 0 <= self.brightness < 1:
            raise WarmloopError(f"learning_rate must be above 0, brightness in [0, 1): not {self.learning_rate} and {self.brightness}.")


class ClassifierParams(struct.PyTreeNode):
    """What is needed to judge: `members` `[M, ...]` by "encoder" and "head", and the statistics of what is no image."""

    members: Params
    normaliser: Normaliser


class MemberState(struct.PyTreeNode):
    """One member in training: parameters by "encoder" and "head"."""

    params: Params
    optimizer: optax.OptState


class Head(nn.Module):
    """`[B, D]` to a logit `[B]`."""

    hidden: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.hidden:
            x = nn.relu(nn.LayerNorm()(nn.Dense(width)(x)))
        return nn.Dense(1)(x)[..., 0]


@dataclasses.dataclass(frozen=True)
class Classifier:
    """The ensemble for observations of a spec."""

    config: ClassifierConfig
    spec: Spec

    @property
    def seen(self) -> Spec:
        """The leaves that it sees."""
        whole = self.config.proprioception or not self.spec.cameras
        return dataclasses.replace(self.spec, observation=self.spec.observation if whole else self.spec.cameras)

    @property
    def vision(self) -> Vision:
        return Vision(self.config.vision, self.seen)

    def look(self, observation: PyTree) -> PyTree:
        """The part of an observation that it sees."""
        return {leaf.name: observation[leaf.name] for leaf in self.seen.observation} if isinstance(observation, dict) else observation

    def init(self, key: jax.Array) -> MemberState:
        """A fresh member. Raises WarmloopError as `Vision.init`."""
        encoder_key, head_key = jax.random.split(key)
        head = initialise(Head(self.config.hidden), head_key, jnp.zeros((1, self.vision.dim)))
        params = {"encoder": self.vision.init(encoder_key), "head": head}
        return MemberState(params, self.optimizer.init(params))

    def normaliser(self, observation: PyTree) -> Normaliser:
        """The statistics of what is no image in observations `[N, ...]`."""
        return Normaliser.of(example(self.seen).replace(observation=self.look(observation)), True)

    def assembled(self, members: Sequence[Params], normaliser: Normaliser) -> ClassifierParams:
        """The ensemble of trained members."""
        return ClassifierParams(jax.tree.map(lambda *leaves: jnp.stack(leaves), *members), normaliser)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """AdamW, which leaves biases, norms and a frozen trunk as they are."""
        return adam(self.config.learning_rate, self.config.weight_decay, self.config.vision.frozen_modules)

    def logit(self, member: Params, normaliser: Normaliser, observation: PyTree) -> jax.Array:
        """One member's logits `[B]` of observations `[B, ...]`."""
        x = self.vision(member["encoder"], normaliser, self.look(observation))
        return Head(self.config.hidden).apply(member["head"], x)  # pyright: ignore[reportReturnType] (linen's apply is untyped)

    def loss(self, member: Params, normaliser: Normaliser, observation: PyTree, success: jax.Array) -> tuple[jax.Array, Metrics]:
        """Cross-entropy of one member on rows `[B, ...]` that show `success` `[B]` in {0, 1}."""
        logit = self.logit(member, normaliser, observation)  # [B]
        loss = optax.sigmoid_binary_cross_entropy(logit, success).mean()
        return loss, {"classifier/loss": loss, "classifier/accuracy": jnp.mean((logit > 0) == success)}

    def update(self, state: MemberState, normaliser: Normaliser, observation: PyTree, success: jax.Array) -> tuple[MemberState, Metrics]:
        """One gradient step of one member on its rows."""
        params, moments, metrics = descend(
            lambda member: self.loss(member, normaliser, observation, success), state.params, self.optimizer, state.optimizer
        )
        return MemberState(params, moments), metrics

    def logits(self, params: ClassifierParams, observation: PyTree) -> jax.Array:
        """All members' logits `[M, B]` of the same observations `[B, ...]`; unrolled, as convolutions are slow in XLA's loops on a CPU."""
        members = [jax.tree.map(lambda leaf, i=i: leaf[i], params.members) for i in range(self.config.members)]
        return jnp.stack([self.logit(member, params.normaliser, observation) for member in members])

    def probability(self, logits: jax.Array, temperature: jax.Array | float = 1.0) -> jax.Array:
        """p of the ensemble, `[...]` of logits `[M, ...]`."""
        each = jax.nn.sigmoid(logits / temperature)
        return each.mean(axis=0) if self.config.combine == "mean" else each.min(axis=0)
