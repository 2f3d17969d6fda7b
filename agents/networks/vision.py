"""Encoders of camera images, shared by an agent's networks: a small CNN, and ResNet-10 with spatial-learned embeddings.

An encoder turns every camera's image into `features` numbers in (−1, 1), which stand beside the normalised rest of the observation
(proprioception) in what the policy and the critics see. The critics' loss trains it; the policy sees it without gradient (DrQ, Kostrikov
et al. 2021; DrQ-v2, Yarats et al. 2022, whose targets also use the trained encoder and not a copy that lags).

`cnn`       3×3 convolutions of stride 2 and a linear layer with LayerNorm and tanh, as D4PG's and DrQ's
`MODULE:NAME`  a Flax module class of one's own, made without arguments for each camera: `[B, H, W, C]` float32 in [0, 1] to `[B, …]`
`resnet10`  He et al. 2016 with GroupNorm, one trunk for all cameras, and per camera spatial-learned embeddings (HIL-SERL, Luo et al. 2024)
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import traverse_util
from jax.core import Tracer

from ...data.doors.door import Door
from ...data.errors import WarmloopError
from ...data.replay.frames import image_shape, stack_of
from ...data.transition import Leaf, PyTree, Spec
from ..base import Params
from .networks import NETWORK, initialise, own_network
from .normaliser import Normaliser
from .resnet_weights import read_trunk

IMAGENET_MEAN, IMAGENET_DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
RESNET = "trunk"
ENCODER = Door("an encoder", NETWORK.wanted, ("cnn", "resnet10"))
WHERE = "agent.vision.encoder"


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """Settings of the encoder; without cameras nothing of it is used.

    Attributes:
        encoder: "cnn", "resnet10", or MODULE:NAME of one's own.
        features: numbers that each camera's image becomes.
        channels: of the CNN's layers, each of which halves the image.
        embeddings: of ResNet-10's last feature map, spatial-learned, per channel.
        weights: a file with a pretrained trunk of ResNet-10: HIL-SERL's resnet10_params.pkl, the model.safetensors of LeRobot's
            helper2424/resnet10, or safetensors with HIL-SERL's names; "" begins at random.
        frozen: leave ResNet-10's trunk as it is and train what stands on it.
    """

    encoder: str = "cnn"
    features: int = 64
    channels: tuple[int, ...] = (32, 32, 32, 32)
    embeddings: int = 8
    weights: str = ""
    frozen: bool = False

    def __post_init__(self):
        ENCODER.check(self.encoder, WHERE)
        if self.encoder != "resnet10" and (self.weights or self.frozen):
            raise WarmloopError("agent.vision.weights and agent.vision.frozen are for encoder=resnet10; others are trained from the start.")
        if min(self.features, self.embeddings, *self.channels) < 1:
            raise WarmloopError("agent.vision.features, embeddings and channels must be at least 1.")

    @property
    def frozen_modules(self) -> tuple[str, ...]:
        """Names of the encoder's modules that stay as they are."""
        return (RESNET,) if self.frozen else ()


class Encoder(nn.Module):
    """Images by camera, `[B, H, W, C]` or stacks `[B, k, H, W, C]` uint8, to `[B, cameras · features]`."""

    cameras: tuple[Leaf, ...]
    config: VisionConfig

    @nn.compact
    def __call__(self, images: dict[str, jax.Array]) -> jax.Array:
        residual = self.config.encoder == "resnet10"
        trunk = ResNet10(name=RESNET) if residual else None
        views = []
        for place, camera in enumerate(self.cameras):
            pixels = _with_channels(images[camera.name], camera).astype(jnp.float32) / 255.0
            if self.config.encoder not in ENCODER.known:
                x = own_network(ENCODER, self.config.encoder, WHERE, pixels, f"camera_{place}")
                x = x.reshape(x.shape[0], -1)
            elif trunk is None:
                x = Convolutions(self.config.channels, name=f"camera_{place}")(pixels - 0.5)
            else:
                x = trunk(pixels)
                x = SpatialEmbeddings(self.config.embeddings, name=f"camera_{place}")(jax.lax.stop_gradient(x) if self.config.frozen else x)
            x = nn.Dense(self.config.features, name=f"features_{place}")(x)
            views.append(jnp.tanh(nn.LayerNorm(name=f"norm_{place}")(x)))
        return jnp.concatenate(views, axis=-1)


class Convolutions(nn.Module):
    """3×3 convolutions of stride 2: `[B, H, W, C]` gives `[B, F]`."""

    channels: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.channels:
            x = nn.relu(nn.Conv(width, (3, 3), (2, 2), kernel_init=nn.initializers.orthogonal(2**0.5))(x))
        return x.reshape(x.shape[0], -1)


class SpatialEmbeddings(nn.Module):
    """Weighted sums of each channel over the image, `embeddings` of them, learned: `[B, h, w, C]` gives `[B, C · embeddings]`."""

    embeddings: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (*x.shape[1:], self.embeddings))
        return jnp.einsum("bhwc,hwce->bce", x, kernel).reshape(x.shape[0], -1)


class ResNet10(nn.Module):
    """Images `[B, H, W, 3]` in [0, 1] to a feature map `[B, H/32, W/32, 512]`: a stem and four stages of one residual block."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        stacked = x.shape[-1] // 3
        mean, deviation = (jnp.asarray(np.tile(each, stacked), jnp.float32) for each in (IMAGENET_MEAN, IMAGENET_DEVIATION))
        x = (x - mean[None, None, None]) / deviation[None, None, None]
        x = nn.Conv(64, (7, 7), (2, 2), padding=[(3, 3), (3, 3)], use_bias=False, name="conv_init")(x)
        x = nn.relu(nn.GroupNorm(4, epsilon=1e-5, name="norm_init")(x))
        x = nn.max_pool(x, (3, 3), (2, 2), padding="SAME")
        for stage in range(4):
            x = ResidualBlock(64 << stage, 1 if stage == 0 else 2, name=f"ResNetBlock_{stage}")(x)
        return x


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions with GroupNorm beside a shortcut, projected where its shape differs."""

    channels: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        norm, strides = functools.partial(nn.GroupNorm, 4, epsilon=1e-5), (self.stride, self.stride)
        y = nn.relu(norm(name="MyGroupNorm_0")(nn.Conv(self.channels, (3, 3), strides, use_bias=False, name="Conv_0")(x)))
        y = norm(name="MyGroupNorm_1")(nn.Conv(self.channels, (3, 3), use_bias=False, name="Conv_1")(y))
        if x.shape != y.shape:
            x = norm(name="norm_proj")(nn.Conv(self.channels, (1, 1), strides, use_bias=False, name="conv_proj")(x))
        return nn.relu(x + y)


@dataclasses.dataclass(frozen=True)
class Vision:
    """What an agent sees: the normalised observation and, where its spec has cameras, their features beside it."""

    config: VisionConfig
    spec: Spec

    @property
    def encoder(self) -> Encoder:
        """The encoder's module."""
        return Encoder(self.spec.cameras, self.config)

    @property
    def dim(self) -> int:
        """D, numbers that the networks see."""
        return self.spec.observation_dim + len(self.spec.cameras) * self.config.features

    def init(self, key: jax.Array) -> Params:
        """The encoder's parameters, its trunk from the config's file unless only shapes are asked for; nothing without cameras.

        Raises:
            WarmloopError: ResNet-10 and a camera that is not of three channels, or a file that does not fit.
        """
        if not self.spec.cameras:
            return ()
        stack_of(self.spec)
        for leaf in self.spec.cameras if self.config.encoder == "resnet10" else ():
            if image_shape(leaf)[2] != 3:
                channels = image_shape(leaf)[2]
                raise WarmloopError(f'Camera "{leaf.name}" has {channels} channels and ResNet-10 takes 3; set agent.vision.encoder=cnn.')
        params = initialise(self.encoder, key, {leaf.name: jnp.zeros((1, *leaf.shape), jnp.uint8) for leaf in self.spec.cameras})
        return params if isinstance(key, Tracer) else with_weights(params, self.config)

    def step(self, params: Params, moments: optax.OptState, gradient: Params, learning_rate: float) -> tuple[Params, optax.OptState]:
        """The encoder, and Adam's state, after one step; as they are without cameras."""
        if not self.spec.cameras:
            return params, moments
        change, moments = optax.adam(learning_rate).update(gradient, moments)
        return optax.apply_updates(params, change), moments

    def __call__(self, params: Params, normaliser: Normaliser, observation: PyTree) -> jax.Array:
        """What the networks see of an observation, `[..., D]`; uint8 images with the same leading axes as the rest."""
        if not self.spec.cameras:
            return normaliser(observation)
        images = {leaf.name: observation[leaf.name] if leaf.name else observation for leaf in self.spec.cameras}
        first = self.spec.cameras[0]
        lead = images[first.name].shape[: -len(first.shape)]
        flat = {name: x.reshape(-1, *x.shape[len(lead) :]) for name, x in images.items()}
        seen: Any = self.encoder.apply(params, flat)
        seen = seen.reshape(*lead, -1)
        return jnp.concatenate([normaliser(observation), seen], axis=-1) if self.spec.observation_dim else seen


def with_weights(params: Params, config: VisionConfig) -> Params:
    """An encoder's parameters with its trunk from the file that the config names; as they are where it names none.

    Raises:
        WarmloopError: the file cannot be read, or does not hold exactly the trunk's arrays.
    """
    if not config.weights or not params:
        return params
    trunk: dict[str, Any] = traverse_util.flatten_dict(params["params"][RESNET], sep="/")
    given = read_trunk(Path(config.weights).expanduser(), {name: x.shape for name, x in trunk.items()})
    loaded = traverse_util.unflatten_dict({name: jnp.asarray(x) for name, x in given.items()}, sep="/")
    return {"params": params["params"] | {RESNET: loaded}}


def _with_channels(images: jax.Array, camera: Leaf) -> jax.Array:
    """`[B, H, W, k·C]` of stacks `[B, k, H, W, C]`; `[B, H, W, C]` of single images."""
    moved = jnp.moveaxis(images, 1, 3) if len(camera.shape) == 4 else images  # [B, H, W, k, C]
    return moved.reshape(moved.shape[0], *image_shape(camera)[:2], -1)
