"""All checks by name. To add one: a function that yields faults, and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..episode_facts import Fault, View
from ..survey import Survey
from . import action_checks, camera_checks, continuity_checks, ending_checks, environment_checks, repeat_checks, reward_checks, value_checks

EPISODE_CHECKS: dict[str, Callable[[View], Iterator[Fault]]] = {
    "non-finite values": value_checks.non_finite,
    "sensor spikes": value_checks.spikes,
    "observation jumps": value_checks.jumps,
    "actions out of range": action_checks.out_of_range,
    "bang-bang actions": action_checks.bang_bang,
    "idle actions": action_checks.idle,
    "next observations": continuity_checks.next_observations,
    "step numbers": continuity_checks.step_numbers,
    "time gaps": continuity_checks.time_gaps,
    "terminal inside an episode": ending_checks.terminal_inside,
    "timeout inside an episode": ending_checks.timeout_inside,
    "terminal and timeout": ending_checks.terminal_and_timeout,
}

DATA_CHECKS: dict[str, Callable[[Survey], Iterator[Fault]]] = {
    "shapes": environment_checks.shapes,
    "outside the observation space": environment_checks.outside_the_space,
    "stuck sensors": value_checks.stuck_sensors,
    "constant columns": value_checks.constant_columns,
    "little variation": value_checks.little_variation,
    "pictures that are none": camera_checks.no_pictures,
    "wrongly scaled pictures": camera_checks.wrongly_scaled,
    "black pictures": camera_checks.black,
    "constant pictures": camera_checks.constant,
    "frozen pictures": camera_checks.frozen,
    "scales": value_checks.scales,
    "precision": value_checks.precision,
    "constant actions": action_checks.constant_actions,
    "small actions": action_checks.small_actions,
    "actions on another scale": action_checks.scaled_episodes,
    "saturated actions": action_checks.saturated_columns,
    "saturated episodes": action_checks.saturated_episodes,
    "rough actions": action_checks.rough_actions,
    "terminal at the time limit": ending_checks.terminal_at_the_limit,
    "episode lengths": ending_checks.lengths,
    "no ends": ending_checks.no_ends,
    "duplicated episodes": repeat_checks.duplicates,
    "near-duplicates": repeat_checks.near_duplicates,
    "reward of successes": reward_checks.success_is_not_rewarded,
    "unpaid success": reward_checks.unpaid_success,
    "unflagged success": reward_checks.unflagged_success,
    "success never signalled": reward_checks.success_never_signalled,
    "outcomes of one start": reward_checks.mixed_outcomes_of_one_start,
    "one reward": reward_checks.one_reward,
    "returns of successes": reward_checks.returns,
    "reward spikes": reward_checks.reward_spikes,
    "reward against the environment": reward_checks.rewards_against_the_environment,
    "outcome in the observation": reward_checks.leaked_outcome,
}
