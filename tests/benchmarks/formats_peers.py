"""How fast other libraries read their own formats: one line of JSON, transitions a second by loader.

    python tests/benchmarks/formats_peers.py d3rlpy FILE | lerobot FOLDER

It never imports warmloop and runs in the library's own environment; formats.py calls it.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROUNDS = 3


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
    """Opening the set and taking every frame once: by its DataLoader in order, and by its table of frames whole."""
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    def by_loader() -> int:
        loader = torch.utils.data.DataLoader(LeRobotDataset("bench/set", root=path), batch_size=1024)
        return sum(len(batch["action"]) for batch in loader)

    def by_table() -> int:
        frames = LeRobotDataset("bench/set", root=path).hf_dataset.with_format("numpy")[:]
        return len(frames["action"])

    yield "lerobot's DataLoader", best(by_loader)
    yield "lerobot's table", best(by_table)


if __name__ == "__main__":
    print(json.dumps(dict({"d3rlpy": d3rlpy, "lerobot": lerobot}[sys.argv[1]](Path(sys.argv[2])))))
