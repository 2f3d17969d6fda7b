"""Checkpoints that are whole or absent: written beside, hashed, named last, verified before they are believed.

    DIR/00001200/agent      the agent's state (orbax)
    DIR/00001200/learner    priorities, keys, counters (orbax)
    DIR/00001200/ahead.npz  the next update's rows, where they are drawn ahead
    DIR/00001200/meta.json  what describes it: agent, shapes, configuration, streams
    DIR/00001200/manifest.json   sha256 of every file above, written last
    DIR/offline-….npz       the offline rows, once per run; meta.json names it with its sha256
    DIR/interventions-….npz   the rows of interventions that came to them, likewise
    DIR/policy-….msgpack    acting policies that the run keeps, the best one among them, likewise
    DIR/selection.json      which of a warm-up's checkpoints to go on from, where they were compared (see selection.py)

The online rows are not here: they are rebuilt from the journal, of which meta.json says how much the checkpoint covers.
Orbax does not checksum payloads: a flipped bit would load silently. The manifest is verified on every read, and where it does
not match, the step before is used and said so.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from ...agents import Agent
from ...agents.described import agent_of, describe_agent
from ...data.errors import WarmloopError
from ...data.files.disk import sync_directory, write_durably
from ...data.transition import PyTree, example
from ..soundness import check_sound
from ..state import LearnerState
from . import ahead, selection_file, stored_policies
from .complete_checkpoints import MANIFEST, Saved, chosen, newest, sha256, steps
from .selection_file import SELECTION
from .stored_policies import BEST
from .stored_rows import INTERVENTIONS, OFFLINE, StoredRows, drop_unnamed, restored, store_offline

log = logging.getLogger(__name__)


def save(
    directory: str | Path, state: LearnerState, agent: Agent, extra: dict[str, Any], keep: int | None = 2, offline: StoredRows | None = None
) -> Path:
    """Writes `state` as `directory/<updates>` and then removes all others but the `keep` newest (None keeps all). Returns the new path.

    `extra` (JSON) is kept with it; `offline` is where the offline rows are, if they were stored before. A checkpoint of the
    same update is replaced only once the new one is complete.

    Raises:
        WarmloopError: it could not be written, or is not finite (`NotFinite`); those that were there still are.
    """
    check_sound(state, "nothing is saved; the checkpoints before it are whole")
    directory = Path(directory).absolute()
    final = directory / f"{int(state.updates):08d}"
    partial = final.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    offline = offline or store_offline(directory, state)
    try:
        _write(partial, state, {"agent": describe_agent(agent), OFFLINE: dataclasses.asdict(offline), **extra})
        _replace(partial, final)
    except Exception as error:  # orbax raises a full disk as any of several types
        shutil.rmtree(partial, ignore_errors=True)
        reason = " ".join(str(error).split())[-200:]
        raise WarmloopError(
            f"The checkpoint {final} could not be written ({reason}). The ones before it are whole; free space there."
        ) from error
    for old in steps(directory)[:-keep] if keep else []:
        if old != final:
            shutil.rmtree(_unfinished(old), ignore_errors=True)
    metas = [json.loads((path / "meta.json").read_text(encoding="utf-8")) for path in steps(directory)]
    drop_unnamed(directory, {meta[INTERVENTIONS]["file"] for meta in metas if INTERVENTIONS in meta})
    stored_policies.drop_unnamed(directory, metas)
    return final


def covered(directory: str | Path) -> tuple[int, int]:
    """Rows of the online pool's history that the oldest checkpoint covers, and the segment of the journal that was being written when it
    was made: the journal has to keep what it needs of the former, and all from the latter on."""
    metas = [json.loads((path / "meta.json").read_text(encoding="utf-8")) for path in steps(directory)]
    return min((meta["rows"] for meta in metas), default=0), min((meta.get("journal_end", (0, 0))[0] for meta in metas), default=0)


def _write(partial: Path, state: LearnerState, meta: dict[str, Any]) -> None:
    """Everything that a checkpoint holds, the manifest last."""
    partial.mkdir(parents=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(partial / "agent", _without_keys(state.agent))
        checkpointer.wait_until_finished()
        checkpointer.save(partial / "learner", _without_keys(_without_rows(state)))
    if state.ahead:
        ahead.store(partial, state.ahead)
    described = {
        "updates": int(state.updates),
        "rows": int(state.online.inserted),
        "offline_rows": state.offline.capacity,
        "frames": state.frames.count,
        "online_rows": state.online.capacity,
        selection_file.SEALS: True,
        **meta,
    }
    write_durably(partial / "meta.json", json.dumps(described, indent=1))
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    write_durably(partial / MANIFEST, json.dumps({path.relative_to(partial).as_posix(): sha256(path) for path in files}, indent=1))
    for folder in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
        sync_directory(folder)


def clear(directory: str | Path) -> None:
    """Removes all complete checkpoints of a directory, and the files that they share; what else is in it stays."""
    directory = Path(directory)
    for name in (SELECTION, f"{OFFLINE}-*.npz", f"{INTERVENTIONS}-*.npz", stored_policies.FILES):
        for file in directory.glob(name):
            file.unlink()
    for path in steps(directory):
        shutil.rmtree(_unfinished(path))


def agent_shapes(agent: Agent) -> PyTree:
    """Shapes and dtypes of an agent's full state."""
    return jax.eval_shape(lambda: agent.init(jax.random.key(0), jax.tree.map(jnp.asarray, example(agent.spec))))


def restore_agent(saved: Saved) -> tuple[Agent, PyTree]:
    """The agent of a checkpoint and its full state."""
    agent = agent_of(saved.meta)
    return agent, _restore(saved.path / "agent", agent_shapes(agent))


def restore_learner(saved: Saved, template: LearnerState) -> LearnerState:
    """The whole state but for the rows of the online pool, which are zeros; `template` (arrays or shapes) says what it looks like.

    Raises:
        WarmloopError: it does not fit, or the offline rows are damaged.
    """
    agent = _restore(saved.path / "agent", template.agent)
    state = _restore(saved.path / "learner", _without_rows(template)).replace(agent=agent)
    words, pixels = restored(saved.path.parent, saved.meta, template.offline.words.shape, template.frames, int(state.offline.inserted))
    return state.replace(
        offline=state.offline.replace(words=jnp.asarray(words)),
        online=state.online.replace(words=jnp.zeros(template.online.words.shape, jnp.int32)),
        frames=template.frames.replace(pixels=pixels),
        ahead=ahead.restored(saved.path, template.ahead),
    )


def load_policy(directory: str | Path, updates: int | str | None = None) -> tuple[Agent, PyTree, dict[str, Any]]:
    """The agent, its actor parameters and the checkpoint's description: of so many updates; for "best", of the best policy that the newest
    checkpoint names; for "last", of the trained one there. None is the one that is `chosen`, or of a folder of several the best policy
    where the run stood by it and not by the trained one when that was saved, which is said."""
    if updates == BEST:
        saved = newest(directory)
        return stored_policies.best_policy(saved.path, saved.meta)
    saved = newest(directory) if isinstance(updates, str) else chosen(directory, updates)
    named = saved.path.resolve() == Path(directory).resolve()  # a checkpoint's own folder is what somebody wants
    if updates is None and not named and stored_policies.stands_by_best(saved.meta):
        agent, params, meta = stored_policies.best_policy(saved.path, saved.meta)
        told = "%s: the policy of update %d did better than the trained one, and is taken; --step=last takes that."
        log.warning(told, saved.path, meta["updates"])
        return agent, params, meta
    agent, state = restore_agent(saved)
    return agent, agent.actor_params(state), saved.meta


def _restore(path: Path, template: PyTree) -> PyTree:
    # Whatever devices the state was saved from, it is restored to the first one here.
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    shapes = jax.eval_shape(_without_keys, template)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), shapes)
    with ocp.StandardCheckpointer() as checkpointer:
        try:
            arrays = checkpointer.restore(path, shapes)
        except ValueError as error:
            reason = str(error).splitlines()[0].split(". ")[0].rstrip(":")
            raise WarmloopError(
                f"{path} does not fit this configuration ({reason}); resume with the configuration it was made with."
            ) from error
    # What is committed to a device is another argument to jit than what is not: every program would be compiled again, for each mixture.
    free = jax.tree.map(lambda array: jnp.array(np.asarray(array)), arrays)
    return jax.tree.map(lambda want, got: jax.random.wrap_key_data(got) if _is_key(want) else got, template, free)


def _without_rows(state: LearnerState) -> LearnerState:
    """The state without what is saved apart: its agent, the pools' rows, and those drawn ahead."""
    pools = {name: getattr(state, name).replace(words=()) for name in ("offline", "online")}
    return state.replace(agent=(), ahead=(), frames=state.frames.replace(pixels=()), **pools)


def _without_keys(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, tree)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _unfinished(complete: Path) -> Path:
    """A complete checkpoint that is to be removed, under the name of a half-written one: no file of it goes while it has its own."""
    partial = complete.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    return complete.rename(partial)


def _replace(partial: Path, final: Path) -> None:
    """Gives a complete directory its name; one that had it before goes only after that."""
    old = final.with_suffix(".old")
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    partial.rename(final)
    sync_directory(final.parent)
    shutil.rmtree(old, ignore_errors=True)
