"""How one camera's pictures lie in a store of frames: as they are, or with their colour at half the resolution.

A picture is one row of bytes. A look-up has two parts: `take` copies the lines of shifted pictures from there, as runs of memory, and
`decode` makes pictures of them, on whichever device learns from them.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from ..transition import Array

Taken = tuple[jax.Array, ...]  # what a layout's `take` gives to its `decode`, `[n, k, H, …]` uint8 each


@dataclasses.dataclass(frozen=True)
class Exact:
    """Pictures `[H, W, C]` as they are, their lines lengthened by `margin` pixels on both sides, which repeat the edge.

    A line of a shifted picture is then one run of memory: it costs no more than a line of one that is not shifted.
    """

    height: int
    width: int
    channels: int
    margin: int

    @property
    def size(self) -> int:
        """Bytes of a picture."""
        return self.height * (self.width + 2 * self.margin) * self.channels

    def encode(self, pictures: Array) -> jax.Array:
        """Pictures `[m, H, W, C]` uint8 as rows `[m, size]` uint8."""
        padded = jnp.pad(pictures, ((0, 0), (0, 0), (self.margin, self.margin), (0, 0)), mode="edge")
        return padded.reshape(padded.shape[0], self.size)

    def take(self, pixels: jax.Array, slots: jax.Array, shift: jax.Array) -> Taken:
        """The pictures in slots `[n, k]` of rows `[F, size]`, moved down and right by `margin − shift` pixels, `[n, 2]`."""
        line = _lines_seen(self.height, shift[:, :1] - self.margin)
        start = (line * (self.width + 2 * self.margin) + shift[:, 1:]) * self.channels
        return (_runs(pixels, slots, start, self.width * self.channels),)

    def decode(self, taken: Taken) -> jax.Array:
        """What `take` gave, as pictures `[n, k, H, W, C]` uint8."""
        (lines,) = taken
        return lines.reshape(*lines.shape[:-1], self.width, self.channels)


@dataclasses.dataclass(frozen=True)
class Subsampled:
    """Pictures `[H, W, 3]` with a brightness for every pixel and a colour for every 2 × 2 of them (4:2:0): half of their bytes.

    Luma Y = (R + 2G + B) / 4 and chroma Co = (R − B) / 2, Cg = (2G − R − B) / 4 (YCoCg, Malvar and Sullivan 2003), rounded; three
    planes one after the other, with room for a shifted line before the first and after the last. Pictures move by an even number of
    pixels horizontally, as their chroma does, the odd ones by one less.
    """

    height: int
    width: int
    margin: int

    @property
    def size(self) -> int:
        """Bytes of a picture."""
        return self.height * self.width * 3 // 2 + 2 * self.margin

    def encode(self, pictures: Array) -> jax.Array:
        """Pictures `[m, H, W, 3]` uint8 as rows `[m, size]` uint8."""
        red, green, blue = (jnp.asarray(pictures[..., channel], jnp.int32) for channel in range(3))
        squares = (len(pictures), self.height // 2, 2, self.width // 2, 2)
        co = ((red - blue).reshape(squares).sum((2, 4)) + 4) >> 3
        cg = ((2 * green - red - blue).reshape(squares).sum((2, 4)) + 8) >> 4
        planes = (red + 2 * green + blue + 2) >> 2, co + 128, cg + 128
        rows = jnp.concatenate([_bytes(plane).reshape(len(pictures), -1) for plane in planes], axis=1)
        return jnp.pad(rows, ((0, 0), (self.margin, self.margin)))

    def take(self, pixels: jax.Array, slots: jax.Array, shift: jax.Array) -> Taken:
        """As `Exact.take`: luma `[n, k, H, W]`, and Co and Cg `[n, k, H, W / 2]`."""
        line, half = _lines_seen(self.height, shift[:, :1] - self.margin), self.width // 2
        move = shift[:, 1:] - self.margin
        move = jnp.sign(move) * (abs(move) // 2)  # of Co and Cg
        co = self.margin + self.height * self.width + line // 2 * half
        cg = co + self.height // 2 * half
        luma = self._plane(pixels, slots, self.margin + line * self.width, 2 * move, self.width)
        return luma, *(self._plane(pixels, slots, start, move, half) for start in (co, cg))

    def decode(self, taken: Taken) -> jax.Array:
        """As `Exact.decode`: R = Y − Cg + Co, G = Y + Cg, B = Y − Cg − Co."""
        luma, co, cg = (plane.astype(jnp.int16) for plane in taken)
        shape = (*co.shape, 2, 3)  # [n, k, H, W / 2, 2, 3]
        channel = jax.lax.broadcasted_iota(jnp.int16, shape, len(shape) - 1)
        # By signs, (1, 0, −1) and (−1, 1, −1): channels that are made singly and then stacked are ten times slower on a CPU.
        change = (co - 128)[..., None, None] * (1 - channel) + (cg - 128)[..., None, None] * (channel % 2 * 2 - 1)
        return _bytes(luma.reshape(*shape[:-1], 1) + change).reshape(*luma.shape, 3)

    def _plane(self, pixels: jax.Array, slots: jax.Array, start: jax.Array, move: jax.Array, width: int) -> jax.Array:
        """Lines `[n, k, H, width]` of a plane, which begin at `start` `[n, H]`, seen `move` `[n, 1]` to the right; past an end, the end."""
        lines = _runs(pixels, slots, start + move, width)
        if self.margin == 0:
            return lines
        column = (jnp.arange(width)[None] + move)[:, None, None]
        first, last = (_runs(pixels, slots, start + end, 1) for end in (0, width - 1))
        return jnp.where(column < 0, first, jnp.where(column >= width, last, lines))


Layout = Exact | Subsampled


def _lines_seen(height: int, move: jax.Array) -> jax.Array:
    """Which line of a picture each line of the moved one is, `[n, H]`; past an end, the end. `move` `[n, 1]`."""
    return jnp.clip(jnp.arange(height)[None] + move, 0, height - 1)


def _runs(pixels: jax.Array, slots: jax.Array, start: jax.Array, size: int) -> jax.Array:
    """`size` bytes from `start` `[n, H]` of the rows in slots `[n, k]`: `[n, k, H, size]`."""
    where = jnp.broadcast_arrays(slots[:, :, None], start[:, None])  # [n, k, H] each
    return jax.lax.gather(
        pixels,
        jnp.stack(where, axis=-1),
        jax.lax.GatherDimensionNumbers(offset_dims=(3,), collapsed_slice_dims=(0,), start_index_map=(0, 1)),
        slice_sizes=(1, size),
        mode="promise_in_bounds",
    )


def _bytes(values: jax.Array) -> jax.Array:
    return jnp.clip(values, 0, 255).astype(jnp.uint8)
