"""Several tasks for one policy: which they are, and how an observation says which one it is of.

Recorded episodes hold raw observations and the name of their task; the learner's rows hold *conditioned* ones, with the task's code
behind a vector or as the leaf "task" of a dict. So the task of any row can be read from the row itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from .episode import Episode
from .errors import WarmloopError
from .settings.near_names import did_you_mean
from .transition import Leaf, PyTree, Spec

LEAF = "task"
ENCODINGS = ("one_hot", "id", "goal", "none")


@dataclasses.dataclass(frozen=True)
class TaskConfig:
    """The tasks of a run.

    Attributes:
        names: the tasks, as episodes name theirs; none for a single task, which needs no name.
        encoding: what is appended to observations: "one_hot", "id" (one number from 0 to 1), "goal", or "none" (where the
            observation tells anyway).
        goals: for "goal" the code of each task, all of one length and no two alike.
        balance: every task has the same share of the batches, however many rows it has.
    """

    names: tuple[str, ...] = ()
    encoding: str = "one_hot"
    goals: tuple[tuple[float, ...], ...] = ()
    balance: bool = True

    def __post_init__(self):
        if isinstance(self.names, str) or not all(isinstance(name, str) and name for name in self.names):
            raise WarmloopError(f"tasks.names is {self.names!r}; give a tuple of names, such as ('door-open', 'drawer-open').")
        if len(set(self.names)) < len(self.names):
            raise WarmloopError(f"tasks.names has a task twice: {', '.join(self.names)}.")
        object.__setattr__(self, "names", tuple(self.names))
        if self.encoding not in ENCODINGS:
            raise WarmloopError(f'tasks.encoding is "{self.encoding}"; it must be one of {", ".join(ENCODINGS)}.')
        self._check_goals()
        if self.balance and self.encoding == "none" and len(self.names) > 1:
            raise WarmloopError('tasks.balance needs to know the task of each row, and with tasks.encoding "none" no row says it; set one.')

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def codes(self) -> np.ndarray:
        """What is appended to each task's observations, `[tasks, C]` float32, not to be written to; C is 0 where nothing is."""
        count = len(self)
        codes = np.zeros((count, 0), np.float32)
        if self.encoding == "one_hot":
            codes = np.eye(count, dtype=np.float32)
        elif self.encoding == "id" and count:
            codes = np.linspace(0.0, 1.0, count, dtype=np.float32)[:, None]
        elif self.goals:
            codes = np.array(self.goals, np.float32)
        codes.flags.writeable = False
        return codes

    @property
    def conditions(self) -> bool:
        """Whether observations carry a code at all."""
        return self.codes.shape[1] > 0

    @property
    def balances(self) -> bool:
        """Whether the shares of the batches are balanced: there are several tasks, and it is wanted."""
        return self.balance and len(self) > 1

    def number(self, name: str, where: str, remedy: str) -> int:
        """The position of a task among `names`; where there is one task alone, what has no name is of that one.

        Raises:
            WarmloopError: no name, or another one; `where` says whose, `remedy` how one is given.
        """
        if name in self.names:
            return self.names.index(name)
        if not name and len(self) == 1:
            return 0
        if not name:
            raise WarmloopError(
                f"{where}: nothing says which task it is of, and the config has several ({', '.join(self.names)}); {remedy}."
            )
        hint = did_you_mean(name, self.names, one=True, listing=True)
        raise WarmloopError(f'{where}: its task is "{name}", which is not in tasks.names{hint}')

    def condition(self, observation: PyTree, task: int | np.ndarray) -> PyTree:
        """Raw observations `[..., *]` with the code of their task `[...]` (the same leading shape; one number for a single one).

        A vector `[..., D]` becomes `[..., D + C]`; a dict gets the leaf "task" `[..., C]`.
        """
        if not self.conditions:
            return observation
        code = self.codes[task]
        return observation | {LEAF: code} if isinstance(observation, dict) else np.concatenate([observation, code], axis=-1)

    def strip(self, observation: PyTree) -> PyTree:
        """The raw observations of conditioned ones."""
        if not self.conditions:
            return observation
        if isinstance(observation, dict):
            return {name: leaf for name, leaf in observation.items() if name != LEAF}
        return observation[..., : -self.codes.shape[1]]

    def condition_spec(self, spec: Spec) -> Spec:
        """The shapes of conditioned observations, from those of raw ones.

        Raises:
            WarmloopError: a code cannot be appended to such observations.
        """
        if not self.conditions:
            return spec
        leaves, count = spec.observation, self.codes.shape[1]
        if [leaf.name for leaf in leaves] != [""]:
            if any(leaf.name == LEAF for leaf in leaves):
                raise WarmloopError(f'The observations have an entry "{LEAF}" of their own; rename it, or set tasks.encoding=none.')
            return dataclasses.replace(spec, observation=tuple(sorted([*leaves, Leaf(LEAF, (count,), "float32")], key=lambda x: x.name)))
        if len(leaves[0].shape) != 1 or leaves[0].dtype != "float32":
            raise WarmloopError(
                f"A task's code can be appended to a vector of numbers, and the observations are of {leaves[0].shape} "
                f"{leaves[0].dtype}; make them a dict (the code is an entry of its own then), or set tasks.encoding=none."
            )
        return dataclasses.replace(spec, observation=(Leaf("", (leaves[0].shape[0] + count,), "float32"),))

    def numbers(self, observation: PyTree) -> np.ndarray:
        """The tasks `[N]` of conditioned observations `[N, *]`: those of the nearest codes."""
        if len(self) < 2:
            return np.zeros(len(next(iter(observation.values())) if isinstance(observation, dict) else observation), np.int64)
        if not self.conditions:
            raise WarmloopError('With tasks.encoding "none" observations do not say their task.')
        code = np.asarray(observation[LEAF] if isinstance(observation, dict) else observation[..., -self.codes.shape[1] :])
        return np.square(code[:, None] - self.codes).sum(axis=-1).argmin(axis=-1)

    def label(self, environment_id: str) -> str:
        """The environments' id with the tasks in it, by which an actor and its learner find that they mean the same ones."""
        if not self.names:
            return environment_id
        tasks = "+".join(self.names)
        return environment_id.replace("{task}", f"{{{tasks}}}") if "{task}" in environment_id else f"{environment_id} {{{tasks}}}"

    def _check_goals(self) -> None:
        if self.encoding != "goal":
            if self.goals:
                raise WarmloopError(f'tasks.goals are given and tasks.encoding is "{self.encoding}"; set it to "goal", or leave them out.')
            return
        goals = tuple(tuple(float(x) for x in goal) for goal in self.goals)
        object.__setattr__(self, "goals", goals)
        if len(goals) != len(self.names) or len({len(goal) for goal in goals}) > 1 or not all(goals):
            raise WarmloopError(f"tasks.goals must hold one goal for each of the {len(self.names)} tasks, all of one length.")
        codes = np.array(goals, np.float32)
        if not np.isfinite(codes).all() or len(np.unique(codes, axis=0)) < len(goals):
            raise WarmloopError("tasks.goals must be finite, and no two tasks may have the same.")


SINGLE = TaskConfig()


def tasks_of(episodes: Sequence[Episode], tasks: TaskConfig) -> np.ndarray:
    """The task `[E]` of each recorded episode, by its position among the config's; all 0 for a single task.

    Raises:
        WarmloopError: an episode has no task's name, or one that the config does not know.
    """
    if not tasks.names:
        return np.zeros(len(episodes), np.int64)
    remedy = "record it with `collect` and the same --config, which names each task, or set the `task` of its source in config.data"
    return np.array([tasks.number(episode.task, f"{episode.origin}, episode {episode.number}", remedy) for episode in episodes])


def shares(mass: np.ndarray) -> np.ndarray:
    """Factors `[tasks]` by which the rows of each task are to be multiplied so that all that have any mass `[tasks]` have the same,
    and the sum stays; 1 for a task that has none."""
    present = mass > 0
    wanted = mass.sum() / max(np.count_nonzero(present), 1)
    return np.divide(wanted, mass, out=np.ones(len(mass)), where=present)
