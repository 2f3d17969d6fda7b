"""How a file keeps what a piece of an episode was cut out of (`data/episode.py`): as arrays in .npz files, as a text elsewhere."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from ...episode import Episode, Whole
from ...errors import WarmloopError
from .flat import objects
from .recording import Columns

FIELDS = ("rewards", "masks", "success")  # `[M]`, of all whole episodes end to end
ARRAYS = (*(f"wholes/{name}" for name in FIELDS), "wholes/starts", "wholes/success_known", "episode_wholes", "episode_firsts")
HEADER = struct.Struct("<qq?")  # first, steps, whether success is known
LARGEST = 64 << 20


def as_arrays(episodes: Sequence[Episode]) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays that keep the wholes of episodes, by name; none where there are no pieces. Pieces of one whole share its entry."""
    wholes = {id(episode.whole.reward): episode.whole for episode in episodes if episode.whole}
    if not wholes:
        return
    places = {key: place for place, key in enumerate(wholes)}
    lengths = np.array([len(whole) for whole in wholes.values()])
    yield "wholes/rewards", np.concatenate([whole.reward for whole in wholes.values()]).astype(np.float32)
    yield "wholes/masks", np.concatenate([whole.mask for whole in wholes.values()]).astype(np.float32)
    yield "wholes/success", np.concatenate([_flags(whole) for whole in wholes.values()])
    yield "wholes/starts", np.cumsum(lengths) - lengths
    yield "wholes/success_known", np.array([whole.success is not None for whole in wholes.values()])
    yield "episode_wholes", np.array([places[id(episode.whole.reward)] if episode.whole else -1 for episode in episodes])
    yield "episode_firsts", np.array([episode.whole.first if episode.whole else 0 for episode in episodes])


def from_arrays(arrays: Columns, lengths: np.ndarray) -> np.ndarray:
    """`[E]` of Whole or None, from what `as_arrays` gave, for pieces of `lengths` `[E]`. Raises ValueError where they do not agree."""
    columns = [arrays[f"wholes/{name}"] for name in FIELDS]
    starts, known = arrays["wholes/starts"], arrays["wholes/success_known"]
    ends = np.append(starts[1:], len(columns[0]))
    if any(len(column) != len(columns[0]) for column in columns) or not (starts[0] == 0 and (starts < ends).all()):
        raise ValueError("the episodes that pieces were cut out of")
    places, firsts = arrays["episode_wholes"], arrays["episode_firsts"]
    rows = [tuple(column[low:high] for column in columns) for low, high in zip(starts, ends, strict=True)]
    found: list[Whole | None] = []
    for place, first, length in zip(places, firsts, lengths, strict=True):
        if place < 0:
            found.append(None)
            continue
        reward, mask, success = rows[place]
        found.append(_checked(Whole(reward, mask, success if known[place] else None, int(first)), int(length)))
    return objects(found)


def as_text(whole: Whole) -> str:
    """One whole as a text."""
    header = HEADER.pack(whole.first, len(whole), whole.success is not None)
    parts = (header, whole.reward.astype("<f4").tobytes(), (whole.mask == 0).tobytes(), _flags(whole).tobytes())
    return base64.b64encode(zlib.compress(b"".join(parts))).decode()


def from_text(text: str, length: int) -> Whole | None:
    """The whole of a piece of `length` steps out of what `as_text` gave; None for "". Raises ValueError where it is none."""
    if not text:
        return None
    try:
        content = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), LARGEST)
        first, steps, known = HEADER.unpack_from(content)
        if steps < 1 or len(content) != HEADER.size + 6 * steps:
            raise ValueError("its length")
        reward = np.frombuffer(content, "<f4", steps, HEADER.size).astype(np.float32)
        ended, success = (np.frombuffer(content, bool, steps, HEADER.size + at * steps) for at in (4, 5))
    except (struct.error, zlib.error) as error:
        raise ValueError(str(error)) from None
    return _checked(Whole(reward, 1.0 - ended.astype(np.float32), success if known else None, first), length)


def refuse(episode: Episode, holder: str) -> WarmloopError:
    """That a format has no room for what a piece was cut out of."""
    return WarmloopError(
        f"episode {episode.number} of {episode.origin} is a piece of one of {len(episode.outcome)} steps, which is more than {holder} "
        "can keep beside it; write .npz."
    )


def _checked(whole: Whole, length: int) -> Whole:
    if not (whole.first >= 0 and whole.first + length <= len(whole) and np.isfinite(whole.reward).all()):
        raise ValueError("a piece and the episode that it was cut out of")
    return whole


def _flags(whole: Whole) -> np.ndarray:
    return np.zeros(len(whole), bool) if whole.success is None else np.asarray(whole.success, bool)
