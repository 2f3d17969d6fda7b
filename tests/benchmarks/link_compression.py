"""What lossless compression of a camera's pictures would save on the link and in the journal, and what it costs: none is built in.

    python tests/benchmarks/link_compression.py               # writes runs/bench_link_compression.json

The pictures are gym-hil's two cameras, drawn while a policy of chance moves the arm, as they are and with the noise of a sensor (normal, of
so many of 255 steps). The ways are those of the libraries that warmloop needs anyway: zlib, plain and after a difference that makes
numbers small (to the pixel on the left, or to the picture before; red and blue as what they have more than green), and Pillow's PNG and
WebP. Each picture must come back exactly. Costs are processor time, the least of some tries; other work on the machine changes it little.
"""

import argparse
import io
import itertools
import json
import os
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("MUJOCO_GL", "egl")

import numpy as np
from PIL import Image

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.simulators.gym_hil_tasks import PICK_CUBE

Picture = np.ndarray  # [height, width, 3] uint8
NOISES = (0.0, 1.0, 2.0, 4.0)
TRIES = 3


class Way(NamedTuple):
    """How a picture becomes bytes, given the one before it, and how it comes back."""

    encode: Callable[[Picture, Picture], bytes]
    decode: Callable[[bytes, Picture], Picture]


def deflated(data: Any, level: int, strategy: int = zlib.Z_DEFAULT_STRATEGY) -> bytes:
    made = zlib.compressobj(level, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
    return made.compress(data) + made.flush()


def inflated(data: bytes, like: Picture) -> Picture:
    return np.frombuffer(zlib.decompress(data), np.uint8).reshape(like.shape)


def beside_green(picture: Picture) -> Picture:
    """In place: red and blue less green."""
    picture[..., ::2] -= picture[..., 1:2]
    return picture


def with_green(picture: Picture) -> Picture:
    """The inverse of `beside_green`, a new picture."""
    whole = picture.copy()
    whole[..., ::2] += picture[..., 1:2]
    return whole


def beside_left(picture: Picture) -> Picture:
    """Each pixel less the one on its left."""
    made = picture.copy()
    made[:, 1:] -= picture[:, :-1]
    return made


def with_left(made: Picture) -> Picture:
    return np.cumsum(made, axis=1, dtype=np.uint8)


def image_file(kind: str, **settings: Any) -> Way:
    """As a file of Pillow's."""

    def encode(picture: Picture, before: Picture) -> bytes:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, kind, **settings)
        return file.getvalue()

    return Way(encode, lambda data, before: np.asarray(Image.open(io.BytesIO(data))))


WAYS = {
    "zlib 1": Way(lambda picture, before: deflated(picture, 1), inflated),
    "zlib 6": Way(lambda picture, before: deflated(picture, 6), inflated),
    "left, zlib 1": Way(
        lambda picture, before: deflated(beside_green(beside_left(picture)), 1),
        lambda data, before: with_left(with_green(inflated(data, before))),
    ),
    "before, Huffman": Way(
        lambda picture, before: deflated(beside_green(picture - before), 1, zlib.Z_HUFFMAN_ONLY),
        lambda data, before: with_green(inflated(data, before)) + before,
    ),
    "PNG 1": image_file("PNG", compress_level=1),
    "WebP": image_file("WEBP", lossless=True, method=0, quality=0),
}


def drawn(pictures: int) -> dict[str, Picture]:
    """Of each camera, pictures `[pictures, 128, 128, 3]` that follow each other."""
    environment = make_environment(EnvironmentConfig(PICK_CUBE, {"image_obs": True, "shadows": False}))
    rng, action = np.random.default_rng(0), np.zeros(environment.spec.action_dim, np.float32)
    seen = [environment.reset(0)]
    for _ in range(pictures - 1):
        action = np.clip(0.8 * action + 0.3 * rng.standard_normal(action.shape), -1, 1).astype(np.float32)
        seen.append(environment.step(action).next_observation)
    environment.close()
    return {leaf.name: np.stack([one[leaf.name] for one in seen]) for leaf in environment.spec.cameras}


def noisy(pictures: Picture, noise: float, rng: np.random.Generator) -> Picture:
    """As a sensor would give them."""
    if not noise:
        return pictures
    return np.clip(np.round(pictures + noise * rng.standard_normal(pictures.shape)), 0, 255).astype(np.uint8)


def processor(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call gives, and the microseconds of this thread's processor that the quickest of some took."""
    least, given = float("inf"), None
    for _ in range(TRIES):
        began = time.thread_time()
        given = call()
        least = min(least, time.thread_time() - began)
    return given, 1e6 * least


def cost(way: Way, pictures: Picture) -> dict[str, float]:
    """Means of one picture: its share of the bytes, and microseconds there and back. Raises ValueError unless each comes back exactly."""
    share, there, back = [], [], []
    for before, picture in itertools.pairwise(pictures):
        data, took = processor(partial(way.encode, picture, before))
        again, took_back = processor(partial(way.decode, data, before))
        if not np.array_equal(again, picture):
            raise ValueError("A picture came back otherwise than it was.")
        share.append(len(data) / picture.nbytes)
        there.append(took)
        back.append(took_back)
    return {"share": float(np.mean(share)), "there_us": float(np.mean(there)), "back_us": float(np.mean(back))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=5, help="of each camera")
    parser.add_argument("--out", type=Path, default=Path("runs/bench_link_compression.json"))
    given = parser.parse_args()
    found, rng = dict[str, Any](), np.random.default_rng(1)
    for camera, pictures in drawn(given.pictures).items():
        for noise in NOISES:
            shown = noisy(pictures, noise, rng)
            for name, way in WAYS.items():
                one = found.setdefault(camera, {}).setdefault(f"{noise:g}", {})[name] = cost(way, shown)
                print(f"{camera:<14} noise {noise:g}  {name:<16}", *(f"{key} {value:.3g}" for key, value in one.items()), flush=True)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
