"""Acting policies beside a run's checkpoints, each in a file of its own: the bytes that actors get, named by version and sha256.

    DIR/policy-00002000-0123456789abcdef.msgpack

A file is written once; the checkpoints' meta.json name it, under "best", and it goes with the last that does.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from ...agents import Agent
from ...agents.described import agent_of
from ...data.errors import WarmloopError
from ...data.files.whole_files import replacing
from ...data.transition import PyTree, example
from ...data.wire import weights
from ...data.wire.weights import Snapshot

BEST, POLICIES = "best", "policies"  # in a checkpoint's description
FILES = "policy-*.msgpack"
ADVICE = "name a checkpoint by its number"

log = logging.getLogger("warmloop")


def store(directory: Path, snapshots: Sequence[Snapshot]) -> list[dict[str, Any]]:
    """Writes the policies that are not there yet, and gives what `load` takes, in their order. Raises WarmloopError."""
    return [_store(directory, snapshot) for snapshot in snapshots]


def load(directory: Path, stored: Mapping[str, Any]) -> Snapshot:
    """A policy of `store`. Raises WarmloopError where its file is gone or not what it was."""
    path = directory / stored["file"]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WarmloopError(f"{path} holds a kept policy and cannot be read ({error.strerror}); {ADVICE}.") from error
    digest = hashlib.sha256(data)
    if digest.hexdigest() != stored["sha256"]:
        raise WarmloopError(f"{path} holds a kept policy and is damaged; {ADVICE}.")
    return Snapshot(int(stored["version"]), data, digest.digest())


def best_policy(checkpoint: Path, meta: Mapping[str, Any]) -> tuple[Agent, PyTree, dict[str, Any]]:
    """The agent, the actor parameters and the description of the best policy that a checkpoint names.

    Raises:
        WarmloopError: it names none, or the file is damaged.
    """
    if BEST not in meta:
        raise WarmloopError(f"{checkpoint} names no best policy: it is a warm-up's, or learner.keep_best was off. Leave the step out.")
    kept = meta[BEST]["kept"]
    if not kept["tally"][0]:
        log.warning("%s has judged no policy yet, for want of episodes: its best one is the one that it began with.", checkpoint)
    snapshot = load(checkpoint.parent, meta[BEST][POLICIES][kept["policy"]])
    agent = agent_of(meta)
    template = jax.eval_shape(lambda: agent.actor_params(agent.init(jax.random.key(0), example(agent.spec))))
    return agent, weights.load(snapshot, template), {**meta, "updates": snapshot.version}


def stands_by_best(meta: Mapping[str, Any]) -> bool:
    """Whether the run stood by its best policy, and not by the trained one, when it was saved; earlier versions say that it fell."""
    best = meta.get(BEST, {})
    return bool(best.get("ahead", best.get("fallen", False)))


def named(metas: Iterable[Mapping[str, Any]]) -> set[str]:
    """The files that checkpoints' descriptions name."""
    return {stored["file"] for meta in metas for stored in meta.get(BEST, {}).get(POLICIES, ())}


def drop_unnamed(directory: Path, metas: Iterable[Mapping[str, Any]]) -> list[str]:
    """Removes the files that no description names; returns their names. Raises OSError."""
    kept = named(metas)
    unnamed = [path for path in directory.glob(FILES) if path.name not in kept]
    for path in unnamed:
        path.unlink(missing_ok=True)
    return [path.name for path in unnamed]


def _store(directory: Path, snapshot: Snapshot) -> dict[str, Any]:
    digest = snapshot.sha256.hex()
    path = directory / f"policy-{snapshot.version:08d}-{digest[:16]}.msgpack"
    try:
        if not (path.is_file() and path.stat().st_size == len(snapshot.data)):
            with replacing(path) as file:
                file.write(snapshot.data)
    except OSError as error:
        raise WarmloopError(f"The policy of update {snapshot.version} could not be written to {path} ({error.strerror}).") from error
    return {"file": path.name, "sha256": digest, "version": snapshot.version}
