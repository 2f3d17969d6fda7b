"""Checks of rewards: against the success flag, against each other, and against the environment's own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...luck import mixed_outcomes
from ...transition import Source
from ..episode_facts import SUSTAINED, Fault
from ..findings import Severity
from ..survey import Survey
from .repeat_checks import named

FEWEST = 3  # successes, and failures, before their returns are compared
OPPOSED = -0.5  # correlation with the environment's own rewards
SPIKE = 20.0  # times the greatest reward of nine in ten episodes
NEARLY = 0.05  # of the way from a success's reward back to the others'


def success_is_not_rewarded(survey: Survey) -> Iterator[Fault]:
    """The steps flagged as successful are paid no more than the others, or less."""
    won, lost = survey.success_reward
    example = next((facts for facts in survey.facts if np.isfinite(facts.success_reward)), None)
    if example is None or not np.isfinite(lost):
        return
    first = example.steps_to_success - 1
    if won < lost:
        what = f"Steps flagged as successful are paid {won:.3g}, the others {lost:.3g}: the reward's sign looks reversed."
        yield Fault(
            Severity.BREAKS, what, "Turn the sign, or train on the success flag (--config.reward.signal=success).", first, example, True
        )
    elif won == lost:
        what = f"Steps flagged as successful are paid {won:.3g}, as all others: the reward says nothing of success."
        yield Fault(Severity.BREAKS, what, "Train on the success flag (--config.reward.signal=success).", first, example, True)


def unpaid_success(survey: Survey) -> Iterator[Fault]:
    """One episode's successful steps are paid unlike the others'."""
    won, lost = survey.success_reward
    if not won > lost:
        return
    for facts in survey.facts:
        if np.isfinite(facts.success_reward) and facts.success_reward < (won + lost) / 2:
            what = f"Its successful steps are paid {facts.success_reward:.3g}; in the median episode they are paid {won:.3g}."
            advice = "See whether its flag or its reward is wrong; leave the episode out, or train on the flag alone."
            yield Fault(Severity.HARMS, what, advice, facts.steps_to_success - 1, facts)


def unflagged_success(survey: Survey) -> Iterator[Fault]:
    """Rewards like those of a success, and no flag."""
    won, lost = survey.success_reward
    if not won > lost:
        return
    bound = won - NEARLY * (won - lost)
    for facts in survey.facts:
        if facts.flagged and not facts.success and facts.top_reward >= bound:
            what = f"{SUSTAINED} steps or more are paid {facts.top_reward:.3g}, as successes are ({won:.3g}), and none is flagged as one."
            yield Fault(Severity.HARMS, what, "See whether its success flag was lost.", facts.top_step, facts)


def success_never_signalled(survey: Survey) -> Iterator[Fault]:
    if any(facts.success for facts in survey.facts) or survey.random_play:
        return
    if survey.kinds_are_known and Source.DEMOS not in survey.kinds:
        return
    flagged = any(facts.flagged for facts in survey.facts)
    how = "The success flag is never set" if flagged else "There is no success flag, and no episode ends with a positive terminal reward"
    what = f"{how}, in any of {len(survey.facts)} episodes."
    advice = "If these are demonstrations, record the flag; else name them suboptimal=PATH, or train on the reward."
    yield Fault(Severity.HARMS, what, advice, survey.facts[0].length - 1)


def mixed_outcomes_of_one_start(survey: Survey) -> Iterator[Fault]:
    """Episodes that start alike and end differently: by luck, or by what was done."""
    spread = np.nan_to_num(survey.observations.std)
    first = np.nan_to_num(np.stack([facts.first for facts in survey.facts]))
    found = mixed_outcomes(first, spread, np.array([facts.success for facts in survey.facts]))
    if found is not None:
        example, other = (survey.facts[index] for index in found.example)
        advice = f"Compare it with {named(other, example)}; where it was luck, turn monte_carlo_target, self_imitation and calibrated off."
        yield Fault(Severity.NOTE, f"{found}.", advice, 0, example, True)


def one_reward(survey: Survey) -> Iterator[Fault]:
    if survey.rewards.constant[0] and not any(facts.success and facts.flagged for facts in survey.facts):
        what = f"The reward is {survey.rewards.low[0]:.3g} on every step, and no success is flagged: there is nothing to learn from."
        advice = "If every episode succeeded, add --success=end (in training --config.data.success=end); else record a reward or a flag."
        yield Fault(Severity.BREAKS, what, advice, 0)


def returns(survey: Survey) -> Iterator[Fault]:
    """Successful episodes return less than failed ones of the same length."""
    flagged = [facts for facts in survey.facts if facts.flagged and np.isfinite(facts.undiscounted_return)]
    won = np.array([facts.undiscounted_return / facts.length for facts in flagged if facts.success])
    lost = np.array([facts.undiscounted_return / facts.length for facts in flagged if not facts.success])
    if min(len(won), len(lost)) < FEWEST:
        return
    better = (won[:, None] > lost).mean() + 0.5 * (won[:, None] == lost).mean()
    if better < 0.2:
        example = next(facts for facts in flagged if facts.success)
        what = f"Successful episodes are paid {won.mean():.3g} a step and failed ones {lost.mean():.3g}: reward and success disagree."
        yield Fault(Severity.BREAKS, what, "Find which of the two is wrong; one of them may have its sign reversed.", 0, example, True)


def reward_spikes(survey: Survey) -> Iterator[Fault]:
    spikes = np.array([facts.spike for facts in survey.facts])
    usual = float(np.quantile(spikes, 0.9))
    if len(spikes) < 10 or usual == 0:
        return
    won = abs(survey.success_reward[0])
    for facts in survey.facts:
        if facts.spike > SPIKE * max(usual, won if np.isfinite(won) else 0):
            what = f"One reward is {facts.spike:.3g} in size; nine in ten episodes stay below {usual:.3g}."
            yield Fault(Severity.HARMS, what, "See whether the value is an error; clip or cut it: one such target shakes every Q-value.",
                        facts.spike_step, facts)  # fmt: skip


def rewards_against_the_environment(survey: Survey) -> Iterator[Fault]:
    """On states like those of random play, the reward goes down where the environment's own goes up."""
    for agreement in survey.agreement.values():
        if agreement.correlation < OPPOSED:
            assert survey.reference is not None
            what = (
                f"The rewards run against those of {survey.reference.name}: correlation {agreement.correlation:.2f} on the "
                f"{agreement.rows} steps that are like random play in it. The sign of the reward, or of a term of it, is reversed."
            )
            advice = "Train on the success flag (--config.reward.signal=success), or replay the actions in the environment."
            yield Fault(Severity.HARMS, what, advice, agreement.step, agreement.first, True)


def leaked_outcome(survey: Survey) -> Iterator[Fault]:
    """A column that stays the same throughout each episode, has two values, and is the episode's outcome."""
    outcome = np.array([facts.success for facts in survey.facts])
    if min(outcome.sum(), (~outcome).sum()) < FEWEST:
        return
    frozen = np.all([facts.stuck >= facts.length - 1 for facts in survey.facts], axis=0)
    first = np.stack([facts.first for facts in survey.facts])
    won, lost = first[outcome], first[~outcome]
    tells = frozen & (won == won[:1]).all(axis=0) & (lost == lost[:1]).all(axis=0) & (won[0] != lost[0])
    for column in np.flatnonzero(tells):
        name = survey.observations.names[column]
        what = f"{name} is {won[0, column]:.3g} throughout each episode that will succeed and {lost[0, column]:.3g} in each that will not."
        yield Fault(Severity.BREAKS, what, "Leave the column out: it tells the outcome ahead, and a robot will not have it.", 0)
