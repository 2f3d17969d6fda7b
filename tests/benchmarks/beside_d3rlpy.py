"""The same data through d3rlpy and warmloop, d3rlpy's settings in both: returns of three seeds. The table of docs/results.md.

    BENCH_PEERS=PEERS/bin/python python tests/benchmarks/beside_d3rlpy.py --data=runs/board/data/hopper/medium-replay.npz

d3rlpy trains in its own environment and acts through a pipe, in the simulator and from the starts that judge warmloop. Every run has one
thread, --jobs of them at a time; warmloop's seeds learn side by side. Writes OUT/DATA.md; what is done is not done again.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from scoreboard import ONE_THREAD, call

from warmloop.actor.environment.environment import make_environment
from warmloop.actor.episodes.rollout import evaluate
from warmloop.configs import load

ROOT = Path(__file__).resolve().parents[2]
# d3rlpy's defaults where warmloop's presets differ; {hidden} is --hidden.
PLAIN = {"hidden": "({hidden},{hidden})", "normalise_observations": "False"}
MATCHED = {
    "bc": {"deterministic": "True", "actor_lr": "1e-3", "batch_size": "100"},
    "td3bc": {},
    "iql": {"cosine_decay": "False"},
    "awac": {"batch_size": "1024", "temperature": "1.0"},
    "bcq": {"batch_size": "100", "vae_hidden": "({hidden},{hidden})", "target_proposals": "100"},
    "cql": {
        "ensemble": "2",
        "critic_layer_norm": "False",
        "lagrange": "True",
        "lagrange_gap": "10.0",
        "lagrange_lr": "1e-4",
        "temperature_lr": "1e-4",
        "target_entropy_per_dim": "-1.0",
    },
}


class Piped:
    """d3rlpy's policy, as a policy of `evaluate`."""

    def __init__(self, process: subprocess.Popen[bytes], action_dim: int):
        self.process, self.size = process, 4 * action_dim

    def begin(self, seed: int) -> None:
        """It has no memory and no noise."""

    def __call__(self, observation: Any, step: int) -> np.ndarray:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(np.asarray(observation, np.float32).tobytes())
        self.process.stdin.flush()
        answer = self.process.stdout.read(self.size)
        assert len(answer) == self.size, "d3rlpy ended"
        return np.frombuffer(answer, np.float32)


def theirs(algorithm: str, seed: int, given: argparse.Namespace) -> dict[str, float]:
    """One seed of d3rlpy."""
    kept = given.out / given.name / f"{algorithm}-{seed}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    config = load(given.config)
    command = [
        os.environ["BENCH_PEERS"],
        Path(__file__).with_name("offline_peers.py"),
        algorithm,
        given.data,
        seed,
        given.updates[algorithm],
        given.hidden,
        given.batch_size,
    ]
    with subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | ONE_THREAD
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        seconds = float(process.stdout.readline())
        environment = make_environment(config.environment, config.reward)
        shown = evaluate(environment, Piped(process, environment.spec.action_dim), seed, given.episodes)
        environment.close()
        process.stdin.close()
    result = {"seed": seed, "seconds": seconds, "mean_return": shown.mean_return}
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(result) + "\n")
    return result


def ours(algorithm: str, given: argparse.Namespace) -> list[dict[str, float]]:
    """All seeds of warmloop."""
    out = given.out / given.name / f"warmloop-{algorithm}"
    matched = PLAIN | MATCHED[algorithm] | ({"batch_size": str(given.batch_size)} if given.batch_size else {})
    settings = [f"--set=warmup_agent.{name}={value.format(hidden=given.hidden)}" for name, value in matched.items()]
    flags = [
        f"--config={given.config}",
        f"--algorithms={algorithm}",
        f"--warmup_steps={given.updates[algorithm]}",
        f"--seeds={len(given.seeds)}",
    ]
    flags += [f"--eval_n_trajs={given.episodes}", f"--offline_data_path=suboptimal={given.data}", f"--out={out}", *settings]
    call("-m", "warmloop.launch.sweep", *flags)
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def report(found: dict[str, dict[str, list[dict[str, float]]]], given: argparse.Namespace) -> str:
    lines = ["| algorithm | updates | warmloop: mean return (seeds) | d3rlpy | s a seed | d3rlpy |", "|---|---|---|---|---|---|"]
    for algorithm, sides in found.items():
        returns = [[one["mean_return"] for one in sides[side]] for side in ("warmloop", "d3rlpy")]
        cells = [f"{np.mean(values):.0f} ({', '.join(f'{value:.0f}' for value in sorted(values))})" for values in returns]
        seconds = [f"{np.mean([one['seconds'] for one in sides[side]]):.0f}" for side in ("warmloop", "d3rlpy")]
        lines.append(f"| {algorithm} | {given.updates[algorithm]:,} | {' | '.join(cells + seconds)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an .npz of D4RL's arrays")
    parser.add_argument("--config", default="configs/mujoco.py:hopper")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--only", nargs="+", choices=list(MATCHED), default=list(MATCHED), help="algorithms")
    parser.add_argument("--steps", type=int, default=5_000, help="updates; of AWAC three fifths, of BCQ half")
    parser.add_argument("--hidden", type=int, default=256, help="width of the two hidden layers")
    parser.add_argument("--batch_size", type=int, default=0, help="0 is d3rlpy's default for each algorithm")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "beside_d3rlpy")
    given = parser.parse_args()
    if not os.environ.get("BENCH_PEERS"):
        sys.exit("BENCH_PEERS names no Python with d3rlpy; see peers.py.")
    share = {"awac": 0.6, "bcq": 0.5}
    given.updates = {algorithm: int(given.steps * share.get(algorithm, 1)) for algorithm in given.only}
    given.name = f"{given.data.parent.name}-{given.data.stem}-{given.hidden}-{given.batch_size or 'default'}"
    with ThreadPoolExecutor(given.jobs) as pool:
        peers = {algorithm: [pool.submit(theirs, algorithm, seed, given) for seed in given.seeds] for algorithm in given.only}
        own = {algorithm: pool.submit(ours, algorithm, given) for algorithm in given.only}
        found = {a: {"warmloop": own[a].result(), "d3rlpy": [one.result() for one in peers[a]]} for a in given.only}
    (given.out / f"{given.name}.md").write_text(report(found, given))
    print(report(found, given))


if __name__ == "__main__":
    main()
