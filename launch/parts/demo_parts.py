"""What the demonstrations of this package share: their folder, the commands that they run, and what they show at the end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...data.errors import WarmloopError
from ..flags.common import log
from ..reports.writing import write_report
from ..run import run_history as history
from ..starting.processes import run_command


def fresh_folder(out: Path) -> None:
    """Makes the folder of the results anew. Raises WarmloopError where it holds something that is not a demo's."""
    if out.exists():
        if any(out.iterdir()) and not (out / "summary.json").exists() and not (out / "demos.npz").exists():
            raise WarmloopError(f"{out} holds something that is not a demo's; choose another folder with --out.")
        shutil.rmtree(out)
    out.mkdir(parents=True)


def stage(number: int, title: str) -> None:
    """Says which of the five stages begins."""
    print(f"\n== {number} of 5: {title}", flush=True)


def say(text: str) -> None:
    """Passes on what a command printed."""
    print(text.rstrip(), flush=True)


def evaluate(checkpoint: Path, episodes: int, seed: int, *flags: str) -> dict[str, Any]:
    """The success rate of a checkpoint's policy, alone, over so many episodes."""
    shown = json.loads(run_command("evaluate", f"--checkpoint={checkpoint}", f"--episodes={episodes}", f"--seed={seed}", *flags, "--json"))
    print(f"success {shown['success_rate']:.2f} (95 % interval {shown['success_low']:.2f} to {shown['success_high']:.2f})")
    return shown


def summarise(
    out: Path, task: str, seed: int, demo_success: float, before: Mapping[str, Any], after: Mapping[str, Any], seconds: float, **more: Any
) -> None:
    """summary.json, the picture and the closing table."""
    from ...learner.diagnosis.metrics import read
    from ...learner.diagnosis.plot import plot_run

    last = read(out)[-1]
    summary = {
        "task": task,
        "seed": seed,
        "demo_success": round(demo_success, 3),
        "success_after_warmup": before["success_rate"],
        "success_after_finetune": after["success_rate"],
        "episodes_per_evaluation": after["episodes"],
        "env_steps": int(last["environment_steps"]),
        "wall_seconds": round(seconds, 1),
        "updates": int(last["updates"]),
        "mean_length_after_warmup": before["mean_length"],
        "mean_length_after_finetune": after["mean_length"],
        **more,
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    judged = [evaluation_record(0, before), evaluation_record(summary["env_steps"], after)]
    for phase, shown in (("warmup", before), ("online", after)):
        history.note(out, history.JUDGED, phase, **shown)
    plot_run(out, f"{task}: success while fine-tuning (seed {seed})", judged)
    print(f"\n{task:<24}{'success':>10}{'95 % interval':>18}{'mean steps':>12}")
    print(f"{'demonstrations':<24}{demo_success:>10.2f}")
    for name, shown in (("after the warm-up", before), ("after the fine-tuning", after)):
        interval = f"{shown['success_low']:.2f} to {shown['success_high']:.2f}"
        print(f"{name:<24}{shown['success_rate']:>10.2f}{interval:>18}{shown['mean_length']:>12.0f}")
    print(f"\n{summary['env_steps']} environment steps, {summary['updates']} updates, {seconds:.0f} seconds")
    print(f"results in {out}: {write_report(out).name}, summary.json, curves.png", flush=True)


def evaluation_record(steps: float, shown: Mapping[str, Any]) -> dict[str, float]:
    """One of the two evaluations, as the plot takes it."""
    return {"environment_steps": steps} | {f"evaluation/{name}": shown[name] for name in ("success_rate", "success_low", "success_high")}


def record(out: Path, *flags: str) -> None:
    """A short video of the final policy, or a sentence why there is none."""
    try:
        run_command("evaluate", f"--checkpoint={out}/checkpoints", "--episodes=1", *flags, "--json", f"--video={out}/final.mp4")
        print(f"video in {out}/final.mp4")
        write_report(out)
    except WarmloopError:
        log.warning("There is no video: this machine cannot render (see above).")
