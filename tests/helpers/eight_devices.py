"""A learner on eight devices that the host pretends to have, beside one on a single device; writes what became of each to FOLDER.

XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m tests.helpers.eight_devices FOLDER
"""

import dataclasses
import json
import sys
from pathlib import Path

import jax
import numpy as np
import optax

from warmloop.agents import QC, SAC, QCConfig, SACConfig
from warmloop.agents import sac as sac_file
from warmloop.agents.networks.vision import VisionConfig
from warmloop.agents.shared import critics as critics_file
from warmloop.agents.shared import temperature as temperature_file
from warmloop.data.mixing import MixingConfig
from warmloop.data.replay import ReplayConfig
from warmloop.data.replay.frames import FramesConfig
from warmloop.data.transition import Leaf, Spec, example
from warmloop.learner.checkpoints import checkpoint
from warmloop.learner.devices import Devices
from warmloop.learner.starting_state import resume
from warmloop.learner.state import LearnerParts, LearnerState, create
from warmloop.learner.step import Stepper, placed, run_one

SPEC = Spec((Leaf("", (4,), "float32"),), 2)
SEEN = Spec((Leaf("wrist", (16, 16, 3), "uint8"), Leaf("state", (3,), "float32")), 2)
UPDATES = 5


def rows_of(spec: Spec, count: int):
    """Rows of noise."""
    rng = np.random.default_rng(0)

    def filled(leaf):
        if leaf.dtype == np.uint8:
            return rng.integers(0, 255, leaf.shape, np.uint8)
        return rng.normal(size=leaf.shape).astype(np.float32)

    rows = example(spec, count)
    observed = {name: jax.tree.map(filled, getattr(rows, name)) for name in ("observation", "next_observation")}
    return rows.replace(**observed, action=np.tanh(filled(rows.action)), reward=filled(rows.reward))


def learnt(parts: LearnerParts, devices: Devices) -> LearnerState:
    """After a few updates from the same beginning."""
    parts = dataclasses.replace(parts, devices=devices)
    state, _ = Stepper(parts)(create(parts, 0, rows_of(parts.agent.spec, 64), online_capacity=1), UPDATES)
    return state


def numbers(state: LearnerState) -> np.ndarray:
    """All that the agent has learnt, as one row."""
    leaves = [leaf for leaf in jax.tree.leaves(state.agent) if leaf.dtype == np.float32]
    return np.concatenate([np.asarray(leaf).ravel() for leaf in leaves])


def by_plain_descent() -> None:
    """Adam hides a factor on gradients."""
    critics_file.adam = sac_file.adam = temperature_file.adam = lambda step_size, decay=0.0: optax.sgd(1e-2)


def collectives(parts: LearnerParts, devices: Devices) -> dict[str, int]:
    """How often the compiled update talks between devices, by the operation."""
    parts = dataclasses.replace(parts, devices=devices)
    state = placed(create(parts, 0, rows_of(parts.agent.spec, 64), online_capacity=1), parts)
    text = run_one.lower(state, parts).compile().as_text() or ""
    return {name: text.count(f" {name}(") for name in ("all-reduce", "all-gather", "all-to-all", "collective-permute")}


def main(folder: Path) -> None:
    adam = critics_file.adam
    by_plain_descent()
    settings = SACConfig(hidden=(16, 16), ensemble=8, utd=2, batch_size=32)
    plain = LearnerParts(SAC(settings, SPEC), ReplayConfig(capacity=64), MixingConfig(decay=0.9))
    vision = VisionConfig(features=8, channels=(8, 8))
    seeing = dataclasses.replace(settings, ensemble=2, vision=vision)
    images = LearnerParts(SAC(seeing, SEEN), ReplayConfig(capacity=64), MixingConfig(), FramesConfig(budget_mebibytes=0))
    told = {"devices": jax.device_count(), "one": numbers(learnt(plain, Devices())).tolist()}
    told["begun"] = numbers(create(plain, 0, rows_of(SPEC, 64), online_capacity=1)).tolist()
    for divide in ("rows", "ensemble"):
        told[divide] = [numbers(learnt(plain, Devices(8, divide))).tolist() for _ in range(2)]
        told[f"{divide} collectives"] = collectives(plain, Devices(8, divide))
    critic = jax.tree.leaves(learnt(plain, Devices(8, "ensemble")).agent.critic)
    told["members on a device"] = sorted({leaf.addressable_shards[0].data.shape[0] for leaf in critic})
    told["images"] = [numbers(learnt(images, devices)).tolist() for devices in (Devices(), Devices(8))]
    critics_file.adam = sac_file.adam = temperature_file.adam = adam
    windows = LearnerParts(QC(QCConfig(hidden=(16, 16), batch_size=32), SPEC), ReplayConfig(capacity=64), MixingConfig())
    told["windows finite"] = bool(np.isfinite(numbers(learnt(windows, Devices(8)))).all())
    for saved_on, resumed_on in ((8, 1), (1, 8)):
        path = folder / f"saved-on-{saved_on}"
        before = learnt(plain, Devices(saved_on, "ensemble"))
        about = {"streams": {}, "offline_rows": 64, "online_rows": 1}
        checkpoint.save(path, before, plain.agent, about, keep=None)
        after, _ = resume(path, plain)
        equal = bool((numbers(before) == numbers(after)).all())
        moved, _ = Stepper(dataclasses.replace(plain, devices=Devices(resumed_on, "ensemble")))(after, 1)
        told[f"{saved_on} to {resumed_on}"] = equal and bool(np.isfinite(numbers(moved)).all())
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
