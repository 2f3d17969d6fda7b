"""Episodes on which a human intervenes, a small learner for them, and one in a folder that can be stopped and resumed."""

import numpy as np

from warmloop.agents import SAC, SACConfig
from warmloop.agents.networks.vision import VisionConfig
from warmloop.data.mixing import MixingConfig
from warmloop.data.quality import QualityConfig
from warmloop.data.replay.replay import ReplayConfig
from warmloop.data.reward import RewardConfig
from warmloop.data.transition import Leaf, Source, Spec, example
from warmloop.data.wire.row_schema import Schema
from warmloop.learner.checkpoints import complete_checkpoints
from warmloop.learner.checkpoints.saver import Saver
from warmloop.learner.config import LearnerConfig
from warmloop.learner.diagnosis.metrics import Recorder
from warmloop.learner.journal.journal import Journal
from warmloop.learner.loop import Learner, Start
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.rows.ingest import RowRules
from warmloop.learner.starting_state import fine_tune, refill, resume
from warmloop.learner.state import LearnerParts

REWARD = RewardConfig(discount=0.9)
SPECS = {
    "states": Spec((Leaf("pose", (3,), "float32"),), 2),
    "cameras": Spec((Leaf("front", (8, 8, 3), "uint8"), Leaf("pose", (3,), "float32")), 2),
}


def parts_of(kind, room=40):
    config = SACConfig(hidden=(16, 16), ensemble=2, utd=1, batch_size=8, vision=VisionConfig(features=4, channels=(4,)))
    return LearnerParts(SAC(config, SPECS[kind]), ReplayConfig(capacity=64, intervention_rows=room), MixingConfig(decay=0.9))


def episode_of(spec, count, seed, intervened=()):
    """A whole episode that ends in success; a human acts on steps `intervened`. What it saw says which step it was."""
    rng = np.random.default_rng([seed, count])
    seen = {
        leaf.name: rng.integers(0, 256, (count + 1, *leaf.shape), np.uint8)
        if leaf.dtype == "uint8"
        else rng.normal(size=(count + 1, *leaf.shape)).astype(np.float32)
        for leaf in spec.observation
    }
    mask = np.append(np.ones(count - 1, np.float32), np.float32(0))
    return example(spec, count).replace(
        observation={name: x[:-1] for name, x in seen.items()},
        next_observation={name: x[1:] for name, x in seen.items()},
        action=rng.uniform(-1, 1, (count, spec.action_dim)).astype(np.float32),
        reward=1 - mask,
        mask=mask,
        source=np.where(np.isin(np.arange(count), intervened), Source.INTERVENTION, Source.ONLINE).astype(np.int32),
        intervened=np.isin(np.arange(count), intervened),
        step=np.arange(count, dtype=np.int32),
        episode=np.full(count, seed, np.int32),
    )


class Run:
    """A learner in a folder, with one actor that hands it episodes."""

    def __init__(self, folder, parts, stream):
        place, resuming = folder / "checkpoints", bool(complete_checkpoints.steps(folder / "checkpoints"))
        self.parts, self.journal = parts, Journal(folder / "journal", background=False)
        self.intake = Intake(Schema.of(parts.agent.spec, "Test-v0"), journal=self.journal)
        state, meta = (
            resume(place, parts) if resuming else (fine_tune(parts, 0, episode_of(parts.agent.spec, 20, 1000), None), {"warm_updates": 0})
        )
        state, ingest = refill(state, parts, RowRules(REWARD, quality=QualityConfig(interventions=3.0)), self.intake, meta)
        config = LearnerConfig(online_steps=1000, max_utd=0.2, checkpoint_every=0)
        start = Start(state, parts, ingest, self.intake, meta["warm_updates"])
        self.learner = Learner(start, config, Recorder(folder), Saver(place, {}, config, int(state.updates)))
        self.session, progress = self.intake.open("arm", stream, 0)
        self.sent = progress.received

    def send(self, rows):
        self.sent = self.intake.accept(self.session.id, self.sent, rows).received
        while self.learner.advance():
            pass
