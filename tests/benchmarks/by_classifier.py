"""A policy learnt on a classifier's word alone: gym-hil's cube, the figures of docs/classifier.md.

    python tests/benchmarks/by_classifier.py --out=runs/by_classifier

Records labelled frames, trains a classifier on them, records noisy demonstrations that it judges, warms up and fine-tunes on its word (a
scripted teacher takes over where the policy is stuck), all by the commands of a user. The simulator's own success is used for the labels,
and at the end: to judge the policy, and to tell how often the classifier was right where it ended an episode. The policy sees the
state; pictures are for the classifier alone. What is done is not done again. Writes OUT/by_classifier.json and .png.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt

from warmloop.actor.environment.environment import make_environment
from warmloop.actor.policies.policy import AgentPolicy
from warmloop.configs import load
from warmloop.data.formats import load_episodes
from warmloop.learner.checkpoints.checkpoint import load_policy
from warmloop.learner.diagnosis.metrics import read

CUBE = Path(__file__).with_name("cube_by_picture.py")
NOISY = ("--noise=0.6", "--random_share=0.3")  # as in demo-hil


def command(module: str, *flags: str) -> str:
    """One of warmloop's commands; what it printed."""
    began = time.perf_counter()
    call = [sys.executable, "-m", f"warmloop.launch.{module}", *flags]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(call)} failed:\n{done.stderr[-2000:]}")
    print(f"{module}: {time.perf_counter() - began:.0f} s", flush=True)
    return done.stdout


def train_classifier(given: argparse.Namespace) -> Path:
    """The classifier's folder."""
    frames, out = given.out / "frames.npz", given.out / "classifier"
    if not frames.exists():
        varied = ("--noise=0,0.3,0.8", "--random_share=0,0.1,0.5")
        command("collect", f"--config={CUBE}", "--policy=scripted", "--label", "--episodes=40", *varied, f"--out={frames}")
    if not out.exists():
        command("train_classifier", f"--data={frames}", f"--out={out}", "--updates=300", "--batch_size=32")
    return out


def learn(rule: str, given: argparse.Namespace) -> Path:
    """The run's folder."""
    config, demos, run = f"--config={CUBE}:{rule}", given.out / "demos.npz", given.out / "run"
    names = (config, "--exp_name=run", f"--runs={given.out}", f"--seed={given.seed}")
    if not demos.exists():
        command("collect", config, "--policy=scripted", "--episodes=20", *NOISY, f"--seed={given.seed}", f"--out={demos}")
    if not (run / "warmup").exists():
        plain = ("--config.learner.held_out=0.0", "--config.learner.warmup_checkpoints=1")
        data = (f"--offline_data_path=demos={demos}", "--warmup_steps=2000", f"--checkpoint_path={run / 'warmup'}")
        command("train_offline_warmup", *names, *plain, *data)
    if not (run / "checkpoints").exists():
        online = (f"--checkpoint_path={run / 'warmup'}", f"--demo_path={demos}", f"--online_steps={given.steps}", "--intervention=teacher")
        command("train_rlpd", *names, *online, "--config.learner.log_every=100")
    return run


def by_the_simulator(checkpoints: Path, episodes: int) -> dict[str, Any]:
    """The policy alone, judged by the simulator's own success."""
    flags = (f"--checkpoint={checkpoints}", "--env=gym_hil/PandaPickCube-v0", f"--episodes={episodes}", "--seed=777", "--json")
    return json.loads(command("evaluate", *flags))


def by_both(checkpoints: Path, rule: str, episodes: int) -> dict[str, int]:
    """The policy alone where the classifier ends episodes: how many it ended, and in how many of these the simulator agrees."""
    agent, params, _ = load_policy(str(checkpoints), None)
    config, policy = load(f"{CUBE}:{rule}"), AgentPolicy(agent, params, deterministic=True)
    environment = make_environment(config.environment, config.reward)
    ended = agreed = missed = 0
    for seed in range(900, 900 + episodes):
        observation = environment.reset(seed)
        policy.begin(seed)
        called, truly = [], []  # after each step: the classifier's word, and the simulator's
        while not environment.over:
            result = environment.step(policy(observation, len(called)))
            observation = result.next_observation
            called.append(result.success)
            truly.append(bool(result.info["succeed"]))
        ended += called[-1]
        agreed += called[-1] and truly[-1]
        missed += any(truly) and not called[-1]
    environment.close()
    return {"episodes": episodes, "ended by the classifier": ended, "rightly": agreed, "successes that it missed": missed}


def draw(run: Path, path: Path) -> None:
    """The share of the teacher's steps, and of episodes that ended by the classifier's word, while training."""
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, label, color in (
        ("actor/success_rate", "episodes that the classifier calls a success", "#1f4e79"),
        ("actor/intervention_rate", "steps by the teacher", "#c7772e"),
    ):
        seen = [each for each in read(run) if name in each]
        axis.plot([each["environment_steps"] for each in seen], [each[name] for each in seen], color=color, label=label)
    axis.set(xlabel="environment steps", ylabel="share, of the last 20 episodes", ylim=(-0.02, 1.02))
    axis.grid(alpha=0.25)
    axis.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=3_000, help="environment steps of the fine-tuning")
    parser.add_argument("--episodes", type=int, default=50, help="of each evaluation")
    parser.add_argument("--options", default="", help="of the classifier's rule, as in consecutive=2")
    parser.add_argument("--out", type=Path, default=Path("runs/by_classifier"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    classifier = train_classifier(given)
    rule = ",".join(filter(None, (str(classifier), given.options)))
    run = learn(rule, given)
    demonstrations = load_episodes(given.out / "demos.npz")
    found = {
        "classifier": json.loads((classifier / "classifier.json").read_text())["measured"],
        "demonstrations": {"episodes": len(demonstrations), "success": float(np.mean([each.succeeded for each in demonstrations]))},
        "after the warm-up": by_the_simulator(run / "warmup", given.episodes),
        "after the fine-tuning": by_the_simulator(run / "checkpoints", given.episodes),
        "words": by_both(run / "checkpoints", rule, given.episodes),
    }
    (given.out / "by_classifier.json").write_text(json.dumps(found, indent=1) + "\n")
    draw(run, given.out / "by_classifier.png")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
