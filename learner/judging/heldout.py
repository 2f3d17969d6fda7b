"""Episodes that are not learnt from: which ones, and what the learning is measured by on them.

Measures (all are means over held-out rows; `heldout/…` in the metrics):

    action_error      |π(s) − a|², the mean over action dimensions, of the deterministic action: of every agent that acts by a row alone
    log_prob          log π(a|s) of the recorded actions: where the policy has a density
    td_error          |Q_i(s, a) − y| by the agent's own target: where it has critics
    model_error       squared error of a predicted step, in the data's deviations: where it has a model of the dynamics
    q_overestimation  Q_i(s, a) − G, G the return to go in the learner's rewards as far as it was recorded: where it has critics

A high action_error with a low one on the training rows is over-fitting; only held-out rows show it. q_overestimation compares the
policy's value with the recorded behaviour's: a policy that is better than its data has a positive one too, a target with an entropy
bonus counts it in, and where a time limit cuts episodes G stops there and Q does not. Its size against the returns' spread is what
tells a critic that diverged. The split is by whole episodes, since neighbouring rows are nearly copies.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ...agents.base import Agent, HasCritics, HasLikelihood, HasModel, Metrics, judged_by_rows, not_by_rows
from ...data.episode import Episode
from ...data.errors import WarmloopError
from ...data.files.digest import of_episode
from ...data.transition import Batch, PyTree, length, take
from ..rows.offline_rows import OfflineData

LEAST_EPISODES = 20  # a tenth of fewer says nothing, and would be missed
MEASURED_ROWS = 4096
EXCESS = "heldout/q_overestimation"
SEEN_AT_ONCE = 128  # rows with camera images that are measured together: an encoder's layers take some 10 MB for each


def split(episodes: Sequence[Episode], tasks: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which episodes are held out, `[E]` bool: `share` of them, rounded, or none of fewer than `LEAST_EPISODES`.

    Strata are task, source and success; each gives its share, rounded so that the sum is right, and never its last episode. Within
    one, a hash of the seed and of an episode's content decides: the order of files makes no difference, and copies of an episode
    are on one side.
    """
    digests = [of_episode(episode) for episode in episodes]
    first = {digest: index for index, digest in reversed(list(enumerate(digests)))}
    strata: dict[tuple[int, int, bool], list[str]] = {}
    for digest, index in first.items():
        episode = episodes[index]
        strata.setdefault((int(tasks[index]), int(episode.source), episode.succeeded), []).append(digest)
    if share == 0 or len(first) < LEAST_EPISODES:
        return np.zeros(len(episodes), bool)
    sizes = np.array([len(strata[key]) for key in sorted(strata)])
    counts = _apportion(sizes, share)
    chosen: set[str] = set()
    for key, count in zip(sorted(strata), counts, strict=True):
        chosen |= set(sorted(strata[key], key=lambda digest: hashlib.sha256(f"{seed} {digest}".encode()).digest())[:count])
    return marked(digests, chosen)


def marked(digests: Sequence[str], chosen: Sequence[str] | set[str]) -> np.ndarray:
    """Which of the episodes' digests are among the chosen ones, `[E]` bool."""
    return np.isin(np.array(digests), np.array(sorted(chosen)))


def _apportion(sizes: np.ndarray, share: float) -> np.ndarray:
    """Whole numbers `[S]` that sum to the rounded share where they can: by largest remainders, at most `sizes - 1` each."""
    exact = share * sizes
    counts = np.minimum(np.floor(exact).astype(int), sizes - 1)
    for stratum in np.argsort(counts - exact, kind="stable"):
        if counts.sum() < round(share * sizes.sum()) and counts[stratum] < sizes[stratum] - 1:
            counts[stratum] += 1
    return counts


def measured(data: OfflineData) -> Batch | None:
    """The held-out rows to measure by, at most `MEASURED_ROWS`, evenly spaced, each of weight 1; None where nothing is held out."""
    if not data.held.any():
        return None
    rows = data.rows_of(data.held).replace(mc_return=data.returns_of(data.held))
    count = min(length(rows), MEASURED_ROWS)
    rows = take(rows, np.linspace(0, length(rows) - 1, count).astype(int))
    one = np.ones(count, np.float32)
    fields = {name: getattr(rows, name) for name in rows.__dataclass_fields__}
    batch = Batch(**fields, weight=one, actor_weight=one, offline=one.astype(bool))
    return batch if data.spec.cameras else jax.tree.map(jnp.asarray, batch)  # pictures go to the device in parts


def measures(agent: Agent, state: PyTree, batch: Batch) -> Metrics:
    """The measures of the module's docstring that the agent has; the same state and rows give the same numbers.

    Rows with camera images are measured in parts of `SEEN_AT_ONCE`, each of which draws its own target actions.
    """
    count = batch.reward.shape[0]
    size = min(SEEN_AT_ONCE, count) if agent.spec.cameras else count
    act_key, target_key = jax.random.split(jax.random.key(0))
    keys, target_keys = jax.random.split(act_key, count), [target_key]
    if size < count:
        target_keys = jax.random.split(target_key, -(-count // size))
    found = []
    for number, key in enumerate(target_keys):
        rows = np.minimum(np.arange(number * size, (number + 1) * size), count - 1)  # the last part is filled up with its last row
        part = batch if size == count else jax.tree.map(lambda leaf, rows=rows: leaf[rows], batch)
        found.append(jax.tree.map(lambda x, first=number * size: x[: count - first], _by_row(agent, state, part, keys[rows], key)))
    by_row = jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)
    known = jnp.isfinite(batch.mc_return)
    return {name: jnp.sum(x, where=known) / known.sum() if name == EXCESS else x.mean() for name, x in by_row.items()}


@partial(jax.jit, static_argnames="agent")
def _by_row(agent: Agent, state: PyTree, batch: Batch, keys: jax.Array, target_key: jax.Array) -> dict[str, jax.Array]:
    """The measures of each row, `[N]`; of the overestimation, those of rows whose return is known."""
    actor, acting = agent.actor_params(state), judged_by_rows(agent)
    found = {}
    if not not_by_rows(agent):
        action = jax.vmap(lambda observation, key: acting.act(actor, observation, key, (), True)[0])(batch.observation, keys)
        found["heldout/action_error"] = jnp.square(action - batch.action).mean(axis=-1)
    if isinstance(agent, HasModel):
        found["heldout/model_error"] = agent.model_error(state, batch)
    if isinstance(agent, HasLikelihood):
        found["heldout/log_prob"] = agent.log_prob(actor, batch.observation, batch.action)
    if isinstance(agent, HasCritics):
        found["heldout/td_error"] = agent.td_error(state, batch, target_key)
        found[EXCESS] = agent.q_values(state, batch.observation, batch.action).mean(axis=0) - batch.mc_return
    return found


class EarlyStop:
    """Whether a measure has had no better value for `patience` records; 0 never stops. It starts anew with every process."""

    def __init__(self, measure: str, patience: int):
        self.name, self.patience = f"heldout/{measure}", patience
        self._best, self._since = -np.inf, 0

    def __call__(self, metrics: Metrics | dict[str, float]) -> bool:
        """Takes in one record. Raises WarmloopError where the measure is not in it."""
        if not self.patience:
            return False
        if self.name not in metrics:
            raise WarmloopError(
                f"The warm-up is to stop early by {self.name}, which is not measured; hold episodes out (learner.held_out, from "
                f"{LEAST_EPISODES} episodes on) and choose a learner.early_stop_on that this agent has."
            )
        value = float(metrics[self.name]) * (1.0 if self.name.endswith("log_prob") else -1.0)
        self._best, self._since = (value, 0) if value > self._best else (self._best, self._since + 1)
        return self._since >= self.patience
