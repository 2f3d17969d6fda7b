"""`evaluate --offline`: a folder's checkpoints compared by recorded data, and then, where wanted, by episodes in the environment."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.errors import WarmloopError
from ..flags.common import progress
from ..flags.overrides import changed_checkpoint
from ..run.recorded_data import warmup_data
from .select import divided, select, table

if TYPE_CHECKING:
    from ...actor.episodes.bandit import Outcome
    from ...learner.judging.selection import Ranked
    from .judge import Subject


def compare_checkpoints(
    subject: Subject, paths: Sequence[str], episodes: int, seed: int, absent: bool = False
) -> tuple[dict[str, Any], str]:
    """Ranks the checkpoints in the subject's folder on `paths`, or on the data that they were trained on, and with `episodes` plays them
    off.

    With the environment `absent` the data are not checked against it. Returns what --json prints and what a person reads.

    Raises:
        WarmloopError: the data or the environment do not fit the checkpoints, or the episodes are too few.
    """
    from ...configs.saved import config_of
    from ...learner.checkpoints import complete_checkpoints
    from ...learner.judging.selection import read

    directory = str(subject.checkpoint)
    saved = complete_checkpoints.newest(directory)
    if saved.path == Path(directory).absolute():
        raise WarmloopError(f"{directory} is a single checkpoint; name the folder that it is in, to compare those there.")
    config = changed_checkpoint(config_of(saved.meta), subject.changes, directory)
    if paths:
        config = config.replace(data=dataclasses.replace(config.data, sources=()))
    config, data = warmup_data(config, paths, None if episodes else absent)
    ranking = select(directory, config, divided(config, data, seed, directory), seed, subject.stochastic)
    text = table(ranking)
    if episodes:
        text += "\n\n" + _said(play_off(subject, ranking, episodes, seed))
    return read(directory), text


def play_off(subject: Subject, ranking: Sequence[Ranked], episodes: int, seed: int) -> dict[str, Any]:
    """Lets `episodes` episodes in the environment choose among the ranked checkpoints, marks that one, and says how good it is.

    Those that are out by the ranking do not play.

    Raises:
        WarmloopError: all are out, the episodes are too few, the checkpoints do not fit the environment, or only a person could tell a
            success.
    """
    from ...actor.endings.success import check_unattended
    from ...actor.environment.guard import guarded
    from ...actor.episodes.bandit import halving, rounds
    from ...actor.episodes.rollout import EpisodePlan, run_episode
    from ...actor.seeds import EVALUATION_STREAM, SELECTION_STREAM, episode_seed
    from ...learner.judging import selection

    directory = str(subject.checkpoint)
    playing = [ranked for ranked in ranking if not ranked.reason]
    if not playing:
        raise WarmloopError(
            f"All checkpoints in {directory} are out ({', '.join(sorted({ranked.reason for ranked in ranking}))}), so that none can play; "
            "warm up with smaller learning rates, or compare them on other data."
        )
    numbers = [ranked.candidate.updates for ranked in playing]
    rounds(len(numbers), episodes)
    subjects = [dataclasses.replace(subject, step=number) for number in numbers]
    world, first = subjects[0].load()
    policies = [first, *(other.checkpointed()[1] for other in subjects[1:])]
    by_success = world.reward.signal == "success"
    if by_success:
        check_unattended(world.config.success, f"--bandit_episodes={episodes}")
    with contextlib.closing(world), guarded(world), progress("playing off, episodes", episodes) as advance:

        def value(stream: int, arm: int, number: int) -> float:
            episode = run_episode(world, policies[arm], episode_seed(seed, stream, number, len(world.tasks)), EpisodePlan(number=number))
            advance()
            return float(episode.succeeded) if by_success else episode.undiscounted_return

        streams = (lambda arm, number: value(SELECTION_STREAM, arm, number), lambda arm, number: value(EVALUATION_STREAM, arm, number))
        outcome = halving(len(numbers), episodes, *streams)
    shown = _shown(outcome, playing) | {"environment": world.config.id, "measure": "success rate" if by_success else "return"}
    selection.write(directory, ranking, numbers[outcome.chosen], "episodes", {"play_off": shown})
    return shown | {"chosen": numbers[outcome.chosen]}


def _shown(outcome: Outcome, ranking: Sequence[Ranked]) -> dict[str, Any]:
    """What the episodes showed, as plain values."""
    import numpy as np

    from ...data.statistics import spearman

    low, high = outcome.interval
    return {
        "mean": outcome.mean,
        "low": low,
        "high": high,
        "fresh_episodes": len(outcome.fresh),
        "episodes": len(outcome.fresh) + sum(map(len, outcome.plays)),
        "rank_correlation": spearman(np.array([ranked.candidate.estimate for ranked in ranking]), outcome.first_means),
        "first_round": {str(ranked.candidate.updates): float(mean) for ranked, mean in zip(ranking, outcome.first_means, strict=True)},
        "first_round_episodes": outcome.first_round,
    }


def _said(shown: dict[str, Any]) -> str:
    """The result of a play-off, for a person."""
    said = (
        f"{shown['environment']}: {shown['episodes']} episodes chose the checkpoint of {shown['chosen']} updates.\n"
        f"Its {shown['measure']} over {shown['fresh_episodes']} fresh episodes is {shown['mean']:.4g} "
        f"(95 % bootstrap interval {shown['low']:.4g} to {shown['high']:.4g})."
    )
    if math.isnan(shown["rank_correlation"]):
        return said
    of = f"the means of the first round, {shown['first_round_episodes']} episodes each"
    return f"{said}\nFQE's rank correlation with {of}: {shown['rank_correlation']:.2f}"
