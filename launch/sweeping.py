"""The work of a sweep: its runs, their seeds, and what is made of the results."""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..configs import load
from ..configs.schema import RunConfig, from_dict, to_dict
from ..data.errors import WarmloopError
from ..data.formats.files import replacing
from ..learner import checkpoint
from ..learner.scores import interquartile_mean, interval, normalised
from ..learner.seeds import bytes_of_a_seed, one_seed, run_seeds, start_seeds

if TYPE_CHECKING:
    from ..data.episode import Episode
    from ..learner.state import LearnerParts

Runs = dict[str, RunConfig]
RESULTS = "results.jsonl"


def runs_of(task: str, algorithms: Sequence[str], settings: Sequence[str], learner: Mapping[str, Any]) -> Runs:
    """The configurations to compare, by name.

    Raises:
        WarmloopError: an unknown algorithm or setting, or a value of another type.
    """
    choices = [_values(setting) for setting in settings]
    runs = {}
    for algorithm in algorithms or [""]:
        base = load(f"{task},{algorithm}" if algorithm else task).replace(learner={n: v for n, v in learner.items() if v is not None})
        for chosen in itertools.product(*choices):
            plain = to_dict(base)
            for path, value in chosen:
                _put(plain, path, value)
            name = " ".join([algorithm or base.warmup_agent.name, *(f"{path.rpartition('.')[2]}={value}" for path, value in chosen)])
            runs[name] = from_dict(plain)
    return runs


def _values(setting: str) -> list[tuple[str, Any]]:
    """`SECTION.NAME=A,B` as one pair for each value."""
    path, equals, text = setting.partition("=")
    if not equals or "." not in path:
        raise WarmloopError(f'--set={setting}: write SECTION.NAME=VALUE,VALUE, as in --set="warmup_agent.actor_lr=1e-4,3e-4".')
    try:
        found = ast.literal_eval(f"[{text}]")
    except (ValueError, SyntaxError):
        found = text.split(",")
    return [(path, value) for value in found]


def _put(plain: dict[str, Any], path: str, value: Any) -> None:
    section, _, name = path.partition(".")
    if section not in plain:
        raise WarmloopError(f"--set: there is no section {section}; there are {', '.join(plain)}.")
    plain[section] = {**plain[section], name: value}


def data_of(runs: Runs, arguments: Sequence[str]) -> list[Episode]:
    """The recorded episodes, which must fit the environment; the same for all runs."""
    from .sources import recorded_data

    return recorded_data(next(iter(runs.values())), arguments)


class Results:
    """The finished seeds, a line each in OUT/results.jsonl; what another configuration or other data gave is not taken for this one's."""

    def __init__(self, out: Path, episodes: int, arguments: Sequence[str]):
        out.mkdir(parents=True, exist_ok=True)
        self._path, self._judged_by = out / RESULTS, {"episodes": episodes, "data": sorted(arguments)}
        lines = self._path.read_text().splitlines(keepends=True) if self._path.exists() else []
        whole = [line for line in lines if line.endswith("\n")]
        if len(whole) < len(lines):  # the last one was broken off
            with replacing(self._path) as file:
                file.write("".join(whole).encode())
        self._lines = [json.loads(line) for line in whole]

    def missing(self, name: str, config: RunConfig, seeds: int) -> list[int]:
        """The seeds, 0 and up, that are still to be run."""
        key = self._key(config)
        over = {line["seed"] for line in self._lines if line["run"] == name and line["key"] == key}
        return [seed for seed in range(seeds) if seed not in over]

    def add(self, name: str, config: RunConfig, result: Mapping[str, Any]) -> None:
        """Keeps a seed's result, at once."""
        line = {"run": name, "key": self._key(config), **result}
        self._lines.append(line)
        with open(self._path, "a") as file:
            file.write(json.dumps(line) + "\n")

    def of(self, runs: Runs, seeds: int) -> dict[str, list[dict[str, Any]]]:
        """Each run's results by seed."""
        keys = {name: self._key(config) for name, config in runs.items()}
        found = {name: {line["seed"]: line for line in self._lines if line["run"] == name and line["key"] == keys[name]} for name in runs}
        return {name: [lines[seed] for seed in range(seeds)] for name, lines in found.items()}

    def _key(self, config: RunConfig) -> str:
        said = json.dumps([to_dict(config), self._judged_by], sort_keys=True, default=str)
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def train_and_judge(
    name: str, config: RunConfig, recorded: list[Episode], seeds: Sequence[int], episodes: int, out: Path, memory: int
) -> Iterator[dict[str, Any]]:
    """Warms up the seeds of a run, as many side by side as `memory` bytes hold, and yields what each was judged to be."""
    from ..learner.offline import prepare
    from .assemble import warm_parts

    if not seeds:
        return
    data = prepare(recorded, config.reward, config.quality, config.tasks)
    parts, rows = warm_parts(config, data.spec), data.rows
    together = max(1, min(len(seeds), memory // bytes_of_a_seed(parts, rows)))
    for some in _batched(seeds, together):
        began, states = time.perf_counter(), start_seeds(parts, some, rows)
        for count in _calls(config.learner.warmup_steps, config.learner.updates_per_call):
            states, _ = run_seeds(states, parts, count)
        np.asarray(states.updates)
        seconds = (time.perf_counter() - began) / len(some)
        for index, seed in enumerate(some):
            target = out / _folder(name) / f"seed-{seed}"
            meta = {"config": to_dict(config), "phase": "warmup", "seed": seed}
            state = one_seed(states, index)
            checkpoint.save(target, state, parts.agent, meta, config.learner.keep_checkpoints)
            yield {"seed": seed, "seconds": seconds, "together": len(some)} | _judged(config, parts, state, seed, episodes)


def _judged(config: RunConfig, parts: LearnerParts, state: Any, seed: int, episodes: int) -> dict[str, Any]:
    from ..actor.environment import make_environment
    from ..actor.policy import AgentPolicy
    from ..actor.rollout import evaluate

    environment = make_environment(config.environment, config.reward, tasks=config.tasks)
    shown = evaluate(environment, AgentPolicy(parts.agent, parts.agent.actor_params(state.agent), deterministic=True), seed, episodes)
    environment.close()
    score = normalised(config.environment.id, shown.mean_return)
    return {"mean_return": shown.mean_return, "success_rate": shown.success_rate, "normalised": score}


def table(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A Markdown table: interquartile mean over seeds, its interval, success and time."""
    lines = ["| run | seeds | return | 95 % interval | normalised | success | seconds a seed |", "|---|---|---|---|---|---|---|"]
    for name, runs in results.items():
        returns = np.array([[one["mean_return"]] for one in runs])
        low, high = interval(returns)
        scores = [one["normalised"] for one in runs if one["normalised"] is not None]
        scaled = f"{interquartile_mean(np.array(scores)):.1f}" if scores else ""
        means = (np.mean([one[key] for one in runs]) for key in ("success_rate", "seconds"))
        success, seconds = means
        cells = (f"{interquartile_mean(returns):.1f}", f"{low:.1f} to {high:.1f}", scaled, f"{success:.2f}", f"{seconds:.0f}")
        lines.append(f"| {name} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def chart(results: Mapping[str, Sequence[Mapping[str, Any]]], out: Path) -> Path:
    """`scores.png`: each run's interquartile mean with its interval, and its seeds as dots."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    scaled = all(one["normalised"] is not None for runs in results.values() for one in runs)
    key = "normalised" if scaled else "mean_return"
    figure, axis = plt.subplots(figsize=(8, 1.2 + 0.45 * len(results)), layout="constrained")
    for place, runs in enumerate(reversed(list(results.values()))):
        scores = np.array([[one[key]] for one in runs])
        low, high = interval(scores)
        axis.plot([low, high], [place, place], color="#1f4e79", linewidth=8, alpha=0.3, solid_capstyle="butt")
        axis.plot(scores[:, 0], np.full(len(scores), place), "o", color="#c7772e", markersize=4, alpha=0.8)
        axis.plot(interquartile_mean(scores), place, "|", color="#1f4e79", markersize=16, markeredgewidth=3)
    axis.set_yticks(range(len(results)), list(results)[::-1])
    axis.set_ylim(-0.6, len(results) - 0.4)
    axis.set(xlabel="normalised score" if scaled else "mean return", title="interquartile mean over seeds, 95 % interval; dots: seeds")
    axis.grid(axis="x", alpha=0.25)
    path = out / "scores.png"
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _calls(updates: int, most: int) -> Iterator[int]:
    """Updates of each call: whole programs first, so that two serve any number."""
    yield from [most] * (updates // most)
    yield from [1] * (updates % most)


def _batched(values: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for low in range(0, len(values), size):
        yield values[low : low + size]


def _folder(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_=.," else "_" for letter in name)
