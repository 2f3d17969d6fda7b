"""SAC of stable-baselines3 or sbx on a Gymnasium task, at its defaults: one curve as JSON. `plain_sac.py` runs it and compares.

    PEERS/bin/python tests/benchmarks/plain_sac_peers.py --library=sb3 --task=HalfCheetah-v5 --steps=100000 --seed=0 --out=CURVE.json

It never imports warmloop and runs in an environment of its own (see peers.py). The policy's mode is judged every `--every` steps, by
`--episodes` episodes whose starts are the same for every library and seed.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}

import gymnasium
import numpy as np

STARTS = 12_345  # seed of the episodes that policies are judged by, as in behaviour.py


def judge(model, task: str, episodes: int) -> float:
    """Mean return of the policy's mode."""
    environment, returns = gymnasium.make(task), []
    for number in range(episodes):
        observation, _ = environment.reset(seed=STARTS + number)
        total, over = 0.0, False
        while not over:
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = environment.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", choices=("sb3", "sbx"), required=True)
    parser.add_argument("--task", default="HalfCheetah-v5")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=10_000, help="steps between two looks")
    parser.add_argument("--episodes", type=int, default=10, help="of each look")
    parser.add_argument("--random_steps", type=int, default=100, help="of random actions before learning starts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.library == "sb3":
        import torch
        from stable_baselines3 import SAC

        torch.set_num_threads(1)
    else:
        from sbx import SAC
    model = SAC("MlpPolicy", gymnasium.make(given.task), learning_starts=given.random_steps, seed=given.seed)
    curve = {"steps": [], "seconds": [], "returns": []}
    seconds = 0.0
    for done in range(given.every, given.steps + 1, given.every):
        began = time.perf_counter()
        model.learn(given.every, reset_num_timesteps=done == given.every)
        seconds += time.perf_counter() - began
        curve["steps"].append(done)
        curve["seconds"].append(seconds)
        curve["returns"].append(judge(model, given.task, given.episodes))
        print(f"{given.library} {given.task} seed {given.seed}, {done} steps: return {curve['returns'][-1]:.0f}", flush=True)
        given.out.write_text(json.dumps(curve) + "\n")


if __name__ == "__main__":
    main()
