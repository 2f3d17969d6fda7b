"""How fast other libraries read their own formats: one line of JSON, transitions a second by loader.

    python tests/benchmarks/formats_peers.py d3rlpy FILE | lerobot FOLDER

It never imports warmloop and runs in the library's own environment; formats.py calls it.
"""

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROUNDS = 3
LEROBOT_BATCHES = 20  # of its DataLoader, of 256 frames: it takes minutes over all


def best(load: Callable[[], int]) -> float:
    rates = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        count = load()
        rates.append(count / (time.perf_counter() - start))
    return max(rates)


def d3rlpy(path: Path) -> Iterator[tuple[str, float]]:
    """`ReplayBuffer.load`: all episodes in memory."""
    from d3rlpy.dataset import InfiniteBuffer, ReplayBuffer

    def load() -> int:
        with open(path, "rb") as file:
            return ReplayBuffer.load(file, InfiniteBuffer()).transition_count

    yield "d3rlpy", best(load)


def lerobot(path: Path) -> Iterator[tuple[str, float]]:
    """Frames by its DataLoader in order, which is how its trainings read."""
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("bench/set", root=path)

    def by_loader() -> int:
        loader = torch.utils.data.DataLoader(dataset, batch_size=256)
        return sum(len(batch["action"]) for batch in itertools.islice(loader, LEROBOT_BATCHES))

    yield "lerobot's DataLoader", best(by_loader)


if __name__ == "__main__":
    print(json.dumps(dict({"d3rlpy": d3rlpy, "lerobot": lerobot}[sys.argv[1]](Path(sys.argv[2])))))
