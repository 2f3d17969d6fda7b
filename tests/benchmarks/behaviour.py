"""Learns a task online from nothing, by SAC, and records it: a curve, and data as D4RL's medium and medium-replay.

    python tests/benchmarks/behaviour.py --config=configs/mujoco.py:hopper --until=1500 --steps=150000 --out=runs/board/data/hopper

Environment and learner take turns in one process, so that --seed decides everything. Every --every steps the policy's mode is judged
by some episodes; training ends at the first mean return of --until, or after --steps. OUT/curve.json has all of it, with seconds of
training alone; OUT/QUALITY.npz episodes of that policy, its actions sampled; OUT/QUALITY-replay.npz every episode that it learnt from.
"""

import argparse
import json
import time
from pathlib import Path

import jax

jax.config.update("jax_cpu_enable_async_dispatch", False)  # acting is one small network at a time

import numpy as np  # noqa: E402

from warmloop import ExpertDataCollector, OfflineRLTrainer  # noqa: E402
from warmloop.actor.environment.environment import make_environment  # noqa: E402
from warmloop.actor.episodes.rollout import Evaluation, evaluate  # noqa: E402

STARTS = 12_345  # seed of the episodes that policies are judged by

SAC = {
    "hidden": (128, 128),
    "ensemble": 2,
    "target_subset": 2,
    "utd": 1,
    "batch_size": 128,
    "actor_lr": 1e-3,
    "critic_lr": 1e-3,
    "backup_entropy": True,
    "initial_temperature": 0.1,
}


def look(trainer: OfflineRLTrainer, episodes: int) -> Evaluation:
    """Episodes of what was learnt, from the same starts for every seed, so that their returns compare."""
    environment = make_environment(trainer.config.environment, trainer.config.reward)
    shown = evaluate(environment, trainer.policy_in(environment), STARTS, episodes)
    environment.close()
    return shown


def learn(config: str, seed: int, steps: int, every: int, until: float, episodes: int, settings: dict) -> tuple[OfflineRLTrainer, dict]:
    """SAC from nothing: what it learnt, and its curve: environment steps, seconds of training so far, mean returns, success rates."""
    run = {"learner": {"frozen_steps": min(1_000, every), "checkpoint_every": 0}, "replay": {"alpha": 0.0, "capacity": steps}}
    trainer = OfflineRLTrainer(config, "", seed=seed, **(SAC | settings), **run)  # the task's own sac, not the preset
    curve = {"steps": [], "seconds": [], "returns": [], "success": []}
    done, seconds = 0, 0.0
    while done < steps and (not curve["returns"] or curve["returns"][-1] < until):
        began = time.perf_counter()
        trainer.finetune_online(None, min(every, steps - done))
        seconds, done = seconds + time.perf_counter() - began, done + min(every, steps - done)
        shown = look(trainer, episodes)
        for name, value in zip(curve, (done, seconds, shown.mean_return, shown.success_rate), strict=True):
            curve[name].append(value)
        print(f"{done} steps: return {shown.mean_return:.0f}", flush=True)
    return trainer, curve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True, help="task, as configs/mujoco.py:hopper")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--steps", type=int, default=150_000, help="environment steps at most")
    parser.add_argument("--every", type=int, default=5_000, help="steps between two looks")
    parser.add_argument("--until", type=float, default=float("inf"), help="mean return at which it is enough")
    parser.add_argument("--judged_by", type=int, default=5, help="episodes of each look")
    parser.add_argument("--episodes", type=int, default=100, help="recorded of the policy")
    parser.add_argument("--quality", default="medium", help="what they are called")
    parser.add_argument("--settings", type=json.loads, default={}, help="of SAC, as '{\"initial_temperature\": 1.0}'")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    trainer, curve = learn(given.config, given.seed, given.steps, given.every, given.until, given.judged_by, given.settings)
    collector = ExpertDataCollector(given.config, given.out, seed=given.seed)
    recorded = collector.collect_from_policy(trainer, given.episodes, kind="suboptimal", stop_at_success=False)
    for name, episodes in {given.quality: recorded, f"{given.quality}-replay": trainer.experience()}.items():
        collector.save_dataset(episodes, f"{name}.npz", overwrite=True)
        returns = [episode.undiscounted_return for episode in episodes]
        curve[name] = {"episodes": len(episodes), "steps": sum(map(len, episodes)), "mean_return": float(np.mean(returns))}
        print(f"{name}: {len(episodes)} episodes, {curve[name]['steps']} steps, mean return {np.mean(returns):.0f}")
    (given.out / "curve.json").write_text(json.dumps(curve) + "\n")
    print(f"return {curve['returns'][-1]:.0f} after {curve['steps'][-1]} steps, {curve['seconds'][-1]:.0f} s of training")


if __name__ == "__main__":
    main()
