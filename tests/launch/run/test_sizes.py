"""What a training command says before it begins, and the numbers that are left to it, in proportion to the data and the warm-up."""

import os

import pytest

from warmloop.actor.environment import EnvironmentConfig
from warmloop.configs.recipes.algorithms import apply
from warmloop.configs.schema import AgentChoice, RunConfig
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Leaf, Spec
from warmloop.launch.run.sizes import fine_tuning_told, fitted, fqe_of, slow_pictures, told, warm_up_told

OWN = RunConfig(EnvironmentConfig("my_lab:Arm-v0", horizon=150), RewardConfig(signal="environment"))
STATES = Spec((Leaf("arm", (14,), "float32"), Leaf("goal", (4,), "float32")), 3)


def seen(side: int, cameras: int = 1, numbers: int = 7) -> Spec:
    pictures = tuple(Leaf(f"camera_{index}", (side, side, 3), "uint8") for index in range(cameras))
    return Spec((*pictures, *((Leaf("state", (numbers,), "float32"),) if numbers else ())), 3)


def test_the_line_names_the_algorithm_the_machine_what_is_seen_and_the_size():
    line = told(OWN.agent, STATES)
    assert line == (
        f"sac on cpu ({os.cpu_count()} cores): 18 numbers to 3, 2 critics and a policy, layers of 256×256, "
        "2 gradient steps of 128 rows an update"
    )
    assert "a picture of 48×48×3 and a picture of 48×48×3 to 3" in told(OWN.agent, seen(48, cameras=2, numbers=0))
    assert "7 numbers and a picture of 48×48×3 to 3" in told(OWN.agent, seen(48))
    assert "bc on cpu" in told(apply(OWN, ["bc"]).agent, STATES) and "critics" not in told(apply(OWN, ["bc"]).agent, STATES)
    assert "10 critics and a policy, layers of 256×256, 20 gradient steps of 256 rows" in told(apply(OWN, ["rlpd"]).agent, STATES)


def test_a_warm_up_says_its_updates_and_how_its_checkpoints_are_compared():
    config = fitted(OWN.replace(learner={"warmup_steps": 2_000}), 375)
    assert warm_up_told(config, STATES).endswith("2000 updates, 10 checkpoints, compared by 293 FQE steps each")
    short = fitted(OWN.replace(learner={"warmup_steps": 300}), 375)
    assert warm_up_told(short, STATES).endswith("300 updates, one checkpoint")


def test_a_fine_tuning_says_its_steps_and_its_pace():
    config = OWN.replace(learner={"online_steps": 5_000, "max_utd": 0.5})
    assert fine_tuning_told(config, STATES) == f"{told(config.agent, STATES)}; 5000 environment steps, 0.5 updates for each"
    assert fine_tuning_told(OWN.replace(learner={"max_utd": 1.0}), STATES).endswith("environment steps, 1 update for each")


@pytest.mark.parametrize(
    ("updates", "rows", "checkpoints", "steps"),
    [
        (2_000, 375, 10, 293),  # a hundred passes over few rows; it was 30,000
        (2_000, 1_000_000, 10, 3_000),
        (100, 1_000_000, 1, 1_600),  # no more than the warm-up itself
        (20, 5, 1, 4),
    ],
)
def test_what_is_left_to_the_warm_up_is_in_proportion_to_it_and_to_its_data(updates, rows, checkpoints, steps):
    config = fitted(OWN.replace(learner={"warmup_steps": updates}), rows)
    assert (config.learner.warmup_checkpoints, config.fqe.steps) == (checkpoints, steps)
    assert config == fitted(config, 10 * rows), "a resume keeps what was saved"


def test_what_is_asked_for_stays():
    asked = OWN.replace(learner={"warmup_steps": 2_000, "warmup_checkpoints": 3}, fqe={"steps": 77})
    assert fitted(asked, 375) == asked
    three = fitted(OWN.replace(learner={"warmup_steps": 400, "warmup_checkpoints": 3}), 10**6)
    assert (three.learner.warmup_checkpoints, three.fqe.steps) == (3, 8 * 400 * 2 // 3), "their comparison is as long as they are many"
    assert fqe_of(OWN, 10**6, 3, 800) == three.fqe


def test_pictures_that_a_processor_would_take_days_for_are_told_with_the_time_and_small_ones_are_not(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    said = slow_pictures(OWN.agent, seen(480), 10_000)
    assert "The pictures are large for a processor (480×480×3): an update takes about" in said and "resize:64" in said
    hours = float(said.split(" of them ")[1].split(" h.")[0])
    assert 10 < hours < 200
    double = float(slow_pictures(OWN.agent, seen(480, cameras=2), 10_000).split(" of them ")[1].split(" h.")[0])
    assert double == pytest.approx(2 * hours, rel=0.05)
    assert slow_pictures(OWN.agent, seen(48, cameras=2), 10_000) == "", "docs/images.md has such a run: 7 updates a second"
    assert slow_pictures(OWN.agent, STATES, 10_000) == ""
    assert slow_pictures(AgentChoice("iql", apply(OWN, ["iql"]).agent.settings), seen(480), 10_000) == "", "it is refused anyhow"


def test_an_accelerator_has_no_such_trouble(monkeypatch):
    class Accelerator:
        platform, device_kind = "gpu", "H200"

    monkeypatch.setattr("jax.devices", lambda: [Accelerator()])
    assert slow_pictures(OWN.agent, seen(480), 10_000) == ""
    assert told(OWN.agent, STATES).startswith("sac on 1 × H200: ")
