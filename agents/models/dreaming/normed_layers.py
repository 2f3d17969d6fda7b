"""The layers of DreamerV3: linear → RMSNorm → SiLU, linear maps in blocks, and heads on top of hidden layers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

EPSILON = 1e-4  # of the norms
FAN_IN = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


class NormedLayer(nn.Module):
    """`[..., X]` gives `[..., width]`."""

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.silu(nn.RMSNorm(epsilon=EPSILON)(nn.Dense(self.width, kernel_init=FAN_IN)(x)))


class BlockLinear(nn.Module):
    """A linear map of each of G blocks by itself: `[..., G, X]` gives `[..., G, width]`.

    Its kernel `[G, X, width]` begins as small as that of one map of all G·X numbers, as in the authors' code.
    """

    width: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param("kernel", FAN_IN, (*x.shape[-2:], self.width))
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-2], self.width))
        return jnp.einsum("...gx,gxw->...gw", x, kernel) + bias.reshape((1,) * (x.ndim - 2) + bias.shape)


class NormedHead(nn.Module):
    """Hidden layers and a linear one whose kernel begins `scale` times as large as theirs: `[..., X]` gives `[..., outputs]`."""

    hidden: tuple[int, ...]
    outputs: int
    scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for number, width in enumerate(self.hidden):
            x = NormedLayer(width, name=f"hidden_{number}")(x)
        return nn.Dense(self.outputs, kernel_init=scaled(self.scale), name="output")(x)


def scaled(scale: float) -> nn.initializers.Initializer:
    """The layers' initialiser, times `scale`; zeros where that is 0."""
    if scale == 0:
        return nn.initializers.zeros
    return nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")
