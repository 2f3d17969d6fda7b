"""DreamerV3's encoder and decoder of observations: numbers through layers, cameras through convolutions.

Numbers are passed through symlog, and predicted as such. All cameras' pictures lie over each other as channels, in [0, 1]. The encoder
halves them up to four times, by 5×5 convolutions and max-pooling, and the decoder doubles them; the smallest has 4 to 16 pixels a side.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

from ....data.errors import WarmloopError
from ....data.replay.frames import image_shape, stack_of
from ....data.transition import PyTree, Spec
from ..symlog import symlog
from .normed_layers import EPSILON, FAN_IN, BlockLinear, NormedHead, NormedLayer
from .rssm import BLOCKS, Latent

MULTIPLES = (2, 3, 4, 4)  # of the depth: channels of the convolutions; the last ones where pictures are halved less often
LEAST_SIDE, MOST_SIDE = 4, 16  # pixels of the smallest picture


class ObservationEncoder(nn.Module):
    """Numbers `[..., D]` and pictures `[..., H, W, C]`, either of them None, to tokens `[..., E]`."""

    hidden: tuple[int, ...]
    depth: int

    @nn.compact
    def __call__(self, numbers: jax.Array | None, pictures: jax.Array | None) -> jax.Array:
        tokens = []
        if numbers is not None:
            x = symlog(numbers)
            for place, width in enumerate(self.hidden):
                x = NormedLayer(width, name=f"hidden_{place}")(x)
            tokens.append(x)
        if pictures is not None:
            x = pictures.reshape(-1, *pictures.shape[-3:]) - 0.5
            for place, multiple in enumerate(MULTIPLES[-halvings(*pictures.shape[-3:-1]) :]):
                x = nn.Conv(self.depth * multiple, (5, 5), kernel_init=FAN_IN, name=f"conv_{place}")(x)
                x = nn.max_pool(x, (2, 2), (2, 2))
                x = nn.silu(nn.RMSNorm(epsilon=EPSILON, name=f"norm_{place}")(x))
            tokens.append(x.reshape(*pictures.shape[:-3], -1))
        return jnp.concatenate(tokens, axis=-1)


class ObservationDecoder(nn.Module):
    """A latent state to the symlog of the numbers, `[..., D]`, and to pictures, `[..., H, W, C]` in (0, 1); None for what is not there."""

    hidden: tuple[int, ...]
    depth: int
    numbers: int
    pictures: tuple[int, int, int] | None

    @nn.compact
    def __call__(self, latent: Latent) -> tuple[jax.Array | None, jax.Array | None]:
        numbers = NormedHead(self.hidden, self.numbers, name="numbers_head")(latent.features) if self.numbers else None
        if self.pictures is None:
            return numbers, None
        height, width, channels = self.pictures
        times = halvings(height, width)
        depths = [self.depth * multiple for multiple in MULTIPLES[-times:]]
        x = self._smallest(latent, (height >> times, width >> times, depths[-1]))
        for place, depth in reversed(list(enumerate(depths[:-1]))):
            x = nn.Conv(depth, (5, 5), kernel_init=FAN_IN, name=f"conv_{place}")(_doubled(x))
            x = nn.silu(nn.RMSNorm(epsilon=EPSILON, name=f"norm_{place}")(x))
        x = nn.sigmoid(nn.Conv(channels, (5, 5), kernel_init=FAN_IN, name="picture")(_doubled(x)))
        return numbers, x.reshape(*latent.deter.shape[:-1], height, width, channels)

    def _smallest(self, latent: Latent, shape: tuple[int, int, int]) -> jax.Array:
        """The picture `[N, h, w, C]` from which the others are made; every block of h makes some of its channels."""
        height, width, channels = shape
        blocks = latent.deter.reshape(-1, BLOCKS, latent.deter.shape[-1] // BLOCKS)  # [N, 8, D/8]
        of_deter = BlockLinear(math.prod(shape) // BLOCKS, name="of_deter")(blocks)
        of_deter = of_deter.reshape(-1, BLOCKS, height, width, channels // BLOCKS)
        of_deter = jnp.moveaxis(of_deter, 1, 3).reshape(-1, *shape)
        x = latent.stoch.reshape(-1, math.prod(latent.stoch.shape[-2:]))
        x = NormedLayer(2 * self.hidden[0], name="of_stoch")(x)
        x = nn.Dense(math.prod(shape), kernel_init=FAN_IN, name="to_picture")(x).reshape(-1, *shape)
        return nn.silu(nn.RMSNorm(epsilon=EPSILON, name="norm")(x + of_deter))


def _doubled(pictures: jax.Array) -> jax.Array:
    """Pictures `[N, H, W, C]` as `[N, 2H, 2W, C]`."""
    return pictures.repeat(2, axis=-2).repeat(2, axis=-3)


def halvings(height: int, width: int) -> int:
    """How often pictures of this size are halved, at most four times."""
    times = 0
    while times < len(MULTIPLES) and not (height % 2 or width % 2) and min(height, width) >= 2 * LEAST_SIDE:
        height, width, times = height // 2, width // 2, times + 1
    return times


def picture_shape(spec: Spec) -> tuple[int, int, int] | None:
    """Height, width and channels of all cameras' pictures and stacks together; None without cameras.

    Raises:
        WarmloopError: the cameras' sizes differ, or cannot be halved down to at most 16 pixels a side.
    """
    if not spec.cameras:
        return None
    sizes = {leaf.name: image_shape(leaf)[:2] for leaf in spec.cameras}
    height, width = next(iter(sizes.values()))
    if len(set(sizes.values())) > 1:
        raise WarmloopError(f"Dreamer lays cameras' pictures over each other, and their sizes differ: {sizes}; resize them alike.")
    times = halvings(height, width)
    if not times or max(height, width) >> times > MOST_SIDE:
        raise WarmloopError(
            f"Dreamer halves pictures up to four times, to {LEAST_SIDE} to {MOST_SIDE} pixels a side, and these have {height}×{width}; "
            "take the wrapper resize:64."
        )
    return height, width, stack_of(spec) * sum(image_shape(leaf)[2] for leaf in spec.cameras)


def pictures_of(spec: Spec, observation: PyTree) -> jax.Array | None:
    """The cameras' uint8 images as one picture `[..., H, W, C]` float32 in [0, 1]; None without cameras."""
    if not spec.cameras:
        return None
    layers = []
    for leaf in spec.cameras:
        image = observation[leaf.name] if leaf.name else observation
        if len(leaf.shape) == 4:  # [..., k, H, W, C]
            image = jnp.moveaxis(image, -4, -2)
        lead = image.ndim - len(leaf.shape)
        layers.append(image.reshape(*image.shape[:lead], *image_shape(leaf)[:2], -1))
    return jnp.concatenate(layers, axis=-1).astype(jnp.float32) / 255.0
