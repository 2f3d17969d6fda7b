"""What a checkpoint says of the best policy: the same bytes as ever for the same episodes, and what earlier versions wrote is read."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest

from warmloop.data.wire.weights import Snapshot
from warmloop.learner.config import LearnerConfig
from warmloop.learner.judging.best import BestPolicy
from warmloop.learner.judging.reported import EVALUATION, TRAINING

EPISODES = 160
# SHA-256 of all the states, as JSON, that a run's checkpoints after each episode would hold.
DIGESTS = {
    "keep training success": "1e252413da1f2d5c500b5c563f94e090884077da8f8083a7f6e437a9ca2bfac9",
    "keep training return": "2abddd310030f9b2c6aa9a2a5298f15184d10957612938ff630963f740531ed6",
    "keep evaluation success": "34d31c0cf52e7455817265b23c028cee5414b64ca0ebc8c56552853c4241334f",
    "keep evaluation return": "cd1818a691925a20de8c8c2453b7da2b715c9430d153734956e720543642e47b",
    "act training success": "5cae9f8f8b195078cfe5466b353d96067485802ba0ca2cd68b831f30f48ba05d",
    "act training return": "bdbe726c3b7f66a3dfa925be879fa5746e1508328167943f7a7b73995bef7f50",
    "act evaluation success": "ef5656abb9192e32631a665195f5b72e6d177064e6b5eda282cd1b6955c51fff",
    "act evaluation return": "dde85a8d8f8c46cedc9c7c4fe6c494cf00f9ed18947ece7d53326d84c197efa8",
}
# A checkpoint within a fall, as written before there was `acting`, `ahead` and `in_a_row`.
BEFORE: dict[str, Any] = {
    "policies": [25], "kept": {"policy": 0, "steps": 200, "number": 4, "tally": [46, 38.0, 38.0]}, "blocks": [], "middle": [],
    "open": [[3, 2.0, 2.0]], "rival": [[6, 3.0, 3.0]], "probes": [[1, 1.0, 1.0], [1, 1.0, 1.0], [1, 0.0, 0.0]],
    "noise": [[10, 9.0, 9.0], [10, 9.0, 9.0], [10, 8.0, 8.0], [10, 9.0, 9.0], [10, 0.0, 0.0], [10, 0.0, 0.0]],
    "counts": [6, 5, 9, 0], "judged": "training", "fallen": True,
}  # fmt: skip


def snapshot(version: int) -> Snapshot:
    return Snapshot.of(version, {"w": np.zeros(1, np.float32)})


def played(mode: str, judged: str, success: bool) -> list[str]:
    """The states of a run that does well, falls and comes back; the best policy, where it acts, always does well."""
    best, rng = BestPolicy(LearnerConfig(keep_best=mode, best_window=10), judged, success), np.random.default_rng(0)
    best.published(snapshot(0))
    states = []
    for step in range(1, EPISODES + 1):
        best.published(snapshot(step))
        acted = best.offered.version
        skill = 0.8 if not 50 < step <= 100 or acted != step else 0.05
        value = float(rng.random() < skill) if success else float(rng.normal(10 * skill, 1))
        name = "success_rate" if success else "episode_return"
        best.heard({f"actor/{name}": value, "actor/policy_version": acted, "actor/intervention_rate": float(step % 17 == 0)}, 5 * step)
        if judged == EVALUATION and step % 5 == 0:
            about = {f"evaluation/{name}": skill if success else value, "evaluation/episodes": 20, "evaluation/return_std": 1.0}
            best.heard(about | {"evaluation/policy_version": acted}, 5 * step)
        states.append(json.dumps(best.state(lambda policies: [{"version": one.version} for one in policies])))
    return states


@pytest.mark.parametrize("case", DIGESTS)
def test_the_states_of_a_run_are_the_same_bytes_as_before(case):
    mode, judged, measure = case.split()
    states = played(mode, judged, measure == "success")
    assert any('"fallen": true' in state for state in states)
    assert hashlib.sha256("\n".join(states).encode()).hexdigest() == DIGESTS[case]


def resumed(mode: str) -> BestPolicy:
    best = BestPolicy(LearnerConfig(keep_best=mode, best_window=20))
    best.restore(BEFORE, [snapshot(version) for version in BEFORE["policies"]])
    best.published(snapshot(70))
    return best


def test_a_checkpoint_within_a_fall_of_before_the_turns_is_read_and_the_best_policy_acts_on():
    best = resumed("act")
    assert best.fallen and best.acting and best.offered.version == 25
    assert best.kept is not None and (best.kept.tally.count, best.kept.steps) == (46, 200)
    acted = []
    for step in range(71, 131):
        best.published(snapshot(step))
        acted.append(best.offered.version == 25)
        best.heard({"actor/success_rate": 0.8 if acted[-1] else 0.0, "actor/policy_version": best.offered.version}, 5 * step)
    assert 0.5 < np.mean(acted) < 0.7, "two episodes of three, and the third is the trained policy's"
    assert best.ahead and best.fallen
    state = best.state(lambda policies: [{"version": one.version} for one in policies])
    assert state is not None and state["acting"] in (True, False) and state["ahead"] and state["in_a_row"] in (0, 1, 2)


def test_a_checkpoint_within_a_fall_of_before_the_turns_is_read_where_the_trained_policy_acts():
    best = resumed("keep")
    assert best.fallen and best.ahead and not best.acting and best.offered.version == 70
    for step in range(71, 131):
        best.published(snapshot(step))
        best.heard({"actor/success_rate": 1.0, "actor/policy_version": step}, 5 * step)
    assert not best.fallen and best.kept is not None and best.kept.policy.version > 70


def test_other_episodes_judged_now_leave_a_checkpoint_of_before_nothing_but_its_policy():
    best = BestPolicy(LearnerConfig(keep_best="act"), EVALUATION)
    best.restore(BEFORE | {"judged": TRAINING}, [snapshot(25)])
    assert best.kept is not None and best.kept.tally.count == 0 and not best.fallen and not best.acting
