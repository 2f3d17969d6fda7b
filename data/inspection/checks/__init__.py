"""All checks by name. To add one: a function that yields faults, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..episode_facts import Fault, View
from ..survey import Survey
from . import actions, continuity, endings, environment, repeats, rewards, values

EPISODE_CHECKS: dict[str, Callable[[View], Iterator[Fault]]] = {
    "non-finite values": values.non_finite,
    "sensor spikes": values.spikes,
    "observation jumps": values.jumps,
    "actions out of range": actions.out_of_range,
    "bang-bang actions": actions.bang_bang,
    "idle actions": actions.idle,
    "next observations": continuity.next_observations,
    "step numbers": continuity.step_numbers,
    "time gaps": continuity.time_gaps,
    "terminal inside an episode": endings.terminal_inside,
    "timeout inside an episode": endings.timeout_inside,
    "terminal and timeout": endings.terminal_and_timeout,
}

DATA_CHECKS: dict[str, Callable[[Survey], Iterator[Fault]]] = {
    "shapes": environment.shapes,
    "outside the observation space": environment.outside_the_space,
    "stuck sensors": values.stuck_sensors,
    "constant columns": values.constant_columns,
    "scales": values.scales,
    "precision": values.precision,
    "constant actions": actions.constant_actions,
    "small actions": actions.small_actions,
    "actions on another scale": actions.scaled_episodes,
    "saturated actions": actions.saturated_columns,
    "saturated episodes": actions.saturated_episodes,
    "rough actions": actions.rough_actions,
    "terminal at the time limit": endings.terminal_at_the_limit,
    "episode lengths": endings.lengths,
    "no ends": endings.no_ends,
    "duplicated episodes": repeats.duplicates,
    "near-duplicates": repeats.near_duplicates,
    "reward of successes": rewards.success_is_not_rewarded,
    "unpaid success": rewards.unpaid_success,
    "unflagged success": rewards.unflagged_success,
    "success never signalled": rewards.success_never_signalled,
    "one reward": rewards.one_reward,
    "returns of successes": rewards.returns,
    "reward spikes": rewards.reward_spikes,
    "reward against the environment": rewards.rewards_against_the_environment,
    "outcome in the observation": rewards.leaked_outcome,
}
