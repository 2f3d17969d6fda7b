"""`evaluate --model`: how far a checkpoint's model of the dynamics can be trusted, as a table, a picture and JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import WarmloopError
from ..flags.common import check_writable
from ..flags.overrides import Changes, changed_checkpoint
from ..run.recorded_data import warmup_data
from .select import divided

if TYPE_CHECKING:
    from ...agents.models.ensembles.model_quality import Quality

SHOWN = (1, 2, 3, 5, 10, 15)  # steps, in the table
PICTURE = "model.png"


def check_model(
    directory: str, updates: int | None, paths: Sequence[str], absent: bool, seed: int, changes: Changes | None = None
) -> tuple[dict[str, Any], str]:
    """Measures the model of a checkpoint on recorded episodes: `paths`, else the warm-up's own, of which those that were held out, if any
    were. `changes` are settings of the checkpoint's configuration that are others here. Writes model.png and model.json
    beside the checkpoint; returns what --json prints and what a person reads.

    Raises:
        WarmloopError: the checkpoint's agent has no model of observations, or the data do not fit it.
    """
    from ...agents import HasModel
    from ...agents.models.ensembles.model_quality import quality_of
    from ...agents.registry import name_of
    from ...configs.saved import config_of
    from ...learner.checkpoints import checkpoint, complete_checkpoints

    named = complete_checkpoints.is_one(Path(directory))
    saved = complete_checkpoints.newest(directory) if named else complete_checkpoints.chosen(directory, updates)
    agent, state = checkpoint.restore_agent(saved)
    if not isinstance(agent, HasModel):
        raise WarmloopError(
            f'--model judges a learnt model of observations, and "{name_of(type(agent))}", of {saved.path}, has none: warm up by combo, '
            "mopo, mobile or pets."
        )
    picture = saved.path.parent / PICTURE
    check_writable(picture)
    config = changed_checkpoint(config_of(saved.meta), changes or {}, directory)
    if paths:
        config = config.replace(data=dataclasses.replace(config.data, sources=()))
    config, data = warmup_data(config, paths, absent)
    if difference := agent.spec.difference(data.spec, f"the checkpoint in {saved.path}", "the data"):
        raise WarmloopError(f"The checkpoint does not fit: {difference}.")
    held = divided(config, data, seed, directory).held
    episodes = [episode.steps for episode, chosen in zip(data.episodes, held, strict=True) if chosen or not held.any()]
    which = "held out" if held.any() else "given by --offline_data_path" if paths else "learnt from, since none was held out"
    found = quality_of(agent, state, episodes, seed)
    shown = as_plain(found) | {"updates": saved.updates, "episodes": len(episodes), "which_episodes": which}
    draw(found, picture)
    picture.with_suffix(".json").write_text(json.dumps(shown, indent=1) + "\n", encoding="utf-8")
    return shown, f"{table(shown)}\n\nThe picture is {picture}."


def as_plain(found: Quality) -> dict[str, Any]:
    """The measures as plain values; null for what could not be said."""
    import math

    numbers = {"auroc": found.auroc, "rank_correlation": found.rank_correlation}
    return {
        "model_error": [float(each) for each in found.model_error],
        "constant_velocity_error": [float(each) for each in found.guess_error],
        "disagreement_on_data": float(found.on.mean()),
        "disagreement_off_data": float(found.off.mean()),
        **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
    }


def table(shown: dict[str, Any]) -> str:
    """What a person reads."""
    longest = len(shown["model_error"])
    lines = [
        f"model of {shown['updates']} updates, on {shown['episodes']} episodes {shown['which_episodes']}; errors in deviations of the data",
        "",
        "steps ahead  model  constant velocity",
    ]
    for step in sorted({*(each for each in SHOWN if each <= longest), longest}):
        model, guess = (shown[name][step - 1] for name in ("model_error", "constant_velocity_error"))
        lines.append(f"{step:11d}  {model:5.3f}  {guess:17.3f}{'  the guess is better' if guess < model else ''}")
    correlation = shown["rank_correlation"]
    lines += [
        "",
        f"the members disagree by {shown['disagreement_on_data']:.3g} on the data and {shown['disagreement_off_data']:.3g} off them "
        f"(AUROC {shown['auroc']:.2f}: 0.5 is chance)",
    ]
    if correlation is not None:
        lines.append(f"rank correlation of disagreement and error: {correlation:.2f}")
    return "\n".join(lines)


def draw(found: Quality, path: Path) -> Path:
    """Errors by steps ahead, and the disagreements on and off the data; returns the picture's path."""
    import numpy as np
    from matplotlib.figure import Figure

    from ...learner.diagnosis import curves

    with curves.drawing():
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        errors, doubts = figure.subplots(1, 2)
        for values, label, colour, marker in (
            (found.guess_error, "constant velocity", curves.QUIET, "s"),
            (found.model_error, "model", curves.INK, "o"),
        ):
            curves.line(errors, list(enumerate(map(float, values), 1)), label, colour, marker)
        errors.set(xlabel="steps ahead", ylabel="error (deviations of the data)", ylim=(0, None))
        high = max(float(np.quantile(np.concatenate([found.on, found.off]), 0.99)), 1e-12)
        for values, label, colour, style in ((found.off, "off them", curves.QUIET, "--"), (found.on, "on the data", curves.INK, "-")):
            doubts.hist(np.minimum(values, high), np.linspace(0, high, 30), histtype="step", label=label, color=colour, linestyle=style)
        doubts.set(xlabel=f"disagreement of the members (AUROC {found.auroc:.2f})", ylabel="states")
        for axis in (errors, doubts):
            curves.finish(axis)
        return curves.png(figure, path)
