"""How fast data sets are read, beside the libraries whose formats they are, and in how much memory.

The cases `load_…` of run.py: 100,000 transitions of 39 observed numbers and 28 action numbers in 500 episodes, in a file that the
machine's memory has cached. A rate counts from the path to all episodes in memory, in transitions a second; `megabytes` is the same in MB
of the file. Minari is a dependency and measured in this process; d3rlpy and LeRobot by formats_peers.py, in environments of their own
(BENCH_PEERS, BENCH_LEROBOT). `stream` walks through a file of 4 GB and gives the memory that it took beyond a small file.
"""

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from warmloop.data.episode import Episode, make_steps
from warmloop.data.formats import iterate_episodes, load_episodes, write_episodes

EPISODES, LENGTH, OBSERVATION, ACTION = 500, 200, 39, 28
ROUNDS = 3
STREAMED_BYTES = 4 * 10**9


def episodes() -> list[Episode]:
    rng = np.random.default_rng(0)
    made = []
    for number in range(EPISODES):
        whole = rng.standard_normal((LENGTH + 1, OBSERVATION), dtype=np.float32)
        action = rng.uniform(-1, 1, (LENGTH, ACTION)).astype(np.float32)
        reward = rng.standard_normal(LENGTH, dtype=np.float32)
        steps = make_steps(whole[:-1], action, reward, whole[1:], np.zeros(LENGTH, bool), episode=number)
        made.append(Episode(steps, None, "made", number))
    return made


def write_hdf5(path: Path) -> None:
    """D4RL's layout."""
    steps = [episode.steps for episode in episodes()]
    names = {"observations": "observation", "next_observations": "next_observation", "actions": "action", "rewards": "reward"}
    with h5py.File(path, "w") as file:
        for name, field in {**names, "timeouts": "truncated"}.items():
            file[name] = np.concatenate([getattr(part, field) for part in steps])
        file["terminals"] = np.zeros(EPISODES * LENGTH, bool)


def write_d3rlpy(path: Path) -> None:
    """The layout of d3rlpy's dump, whose own writer takes minutes over it."""
    with h5py.File(path, "w") as file:
        file["columns"] = ["observations", "actions", "rewards", "terminated"]
        file["num_episodes"] = EPISODES
        for episode in episodes():
            steps, number = episode.steps, episode.number
            file[f"observations_{number}"], file[f"actions_{number}"] = steps.observation, steps.action
            file[f"rewards_{number}"], file[f"terminated_{number}"] = steps.reward[:, None], False
        file["version"] = "2.1"


def write_minari(path: Path) -> None:
    """What Minari itself records, by its own storage; our writer adds what Minari has no place for."""
    import gymnasium as gym
    import minari
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    (path / "data").mkdir(parents=True)
    spaces = gym.spaces.Box(-np.inf, np.inf, (OBSERVATION,), np.float32), gym.spaces.Box(-1, 1, (ACTION,), np.float32)
    storage = MinariStorage.new(path / "data", *spaces)
    storage.update_metadata({"dataset_id": "bench/data-v0", "minari_version": minari.__version__})
    for episode in episodes():
        steps = episode.steps
        whole = np.concatenate([steps.observation, steps.next_observation[-1:]])
        ends = {"terminations": steps.mask == 0, "truncations": steps.truncated}
        storage.update_episodes(
            [EpisodeBuffer(id=episode.number, observations=whole, actions=steps.action, rewards=steps.reward, **ends, infos={})]
        )


def minari_rate(path: Path) -> float:
    """Minari's own iteration, each episode's arrays in memory."""
    from minari import MinariDataset

    def walk() -> int:
        return sum(len(episode.rewards) for episode in MinariDataset(path / "data").iterate_episodes())

    return best(walk)


def peer(interpreter: str, library: str, path: Path) -> dict[str, float]:
    """The rates of another library's own loaders; none where no environment is named."""
    if not os.environ.get(interpreter):
        return {}
    command = [os.environ[interpreter], str(Path(__file__).with_name("formats_peers.py")), library, str(path)]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1])


FILES: dict[str, tuple[str, Callable[[Path], None], Callable[[Path], dict[str, float]]]] = {
    "npz": ("data.npz", lambda path: write_episodes(path, episodes()), lambda path: {}),
    "hilserl": ("data.pkl", lambda path: write_episodes(path, episodes()), lambda path: {}),
    "hdf5": ("data.hdf5", write_hdf5, lambda path: {}),
    "d3rlpy": ("data.h5", write_d3rlpy, lambda path: peer("BENCH_PEERS", "d3rlpy", path)),
    "minari": ("data-v0", write_minari, lambda path: {"minari": minari_rate(path)}),
    "lerobot": ("data.lerobot", lambda path: write_episodes(path, episodes()), lambda path: peer("BENCH_LEROBOT", "lerobot", path)),
}


def load_case(name: str, seconds: float) -> dict[str, Any]:
    """Ours, the peers', and ours again: the better of each is compared."""
    file, write, peers = FILES[name]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file
        write(path)
        size = path.stat().st_size if path.is_file() else sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
        load = functools.partial(lambda: sum(map(len, load_episodes(path))))
        first, beside, again = best(load), peers(path), best(load)
    rate = max(first, again)
    return {
        "value": rate,
        "unit": "transitions/s",
        "gemm_share": None,
        "megabytes": rate * size / (EPISODES * LENGTH) / 1e6,
        "peers": beside,
    }


def best(load: Callable[[], int]) -> float:
    """Transitions a second, the best of some rounds."""
    rates = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        count = load()
        rates.append(count / (time.perf_counter() - start))
    return max(rates)


def stream_case(seconds: float) -> dict[str, Any]:
    """Peak memory of walking through 4 GB of .npz, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.npz"
        rows = STREAMED_BYTES // (4 * (2 * OBSERVATION + ACTION + 1) + 1)
        numbers = np.random.default_rng(0).standard_normal((rows + 1, OBSERVATION), dtype=np.float32)
        arrays = {"observations": numbers[:-1], "next_observations": numbers[1:]}
        others = {"actions": np.zeros((rows, ACTION), np.float32), "rewards": np.zeros(rows, np.float32)}
        np.savez(path, **arrays, **others, timeouts=np.arange(rows) % LENGTH == LENGTH - 1)
        size = path.stat().st_size
        del numbers, arrays, others
        program = "import sys; sys.path.insert(0, sys.argv[1]); import formats; formats.walk(sys.argv[2])"
        command = [sys.executable, "-c", program, str(Path(__file__).parent), str(path)]
        shown = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    rate = size / 1e6 / shown["seconds"]
    return {"value": shown["mebibytes"], "unit": "MiB", "gemm_share": None, "megabytes": rate, "file_bytes": size, "peers": {}}


def walk(path: str) -> None:
    """Reads a file episode by episode; prints the peak memory beyond that of the imports."""
    before, start = peak_kibibytes(), time.perf_counter()
    count = sum(map(len, iterate_episodes(path)))
    grown = (peak_kibibytes() - before) / 1024
    print(json.dumps({"rows": count, "mebibytes": grown, "seconds": time.perf_counter() - start}))


def peak_kibibytes() -> int:
    """The most memory that this process has had; `getrusage` would begin with its parent's."""
    return int(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))


CASES: dict[str, Callable[[float], dict[str, Any]]] = {f"load_{name}": functools.partial(load_case, name) for name in FILES}
CASES |= {"stream": stream_case}
