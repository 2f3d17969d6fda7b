"""Training in a notebook: the parts that `train_offline_warmup`, `train_rlpd` and `evaluate` wire together, as one object."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import jax.numpy as jnp

from ...actor.environment.environment import Environment, EnvironmentConfig
from ...actor.episodes.rollout import Evaluation
from ...actor.episodes.rollout import evaluate as run_episodes
from ...actor.policies.policy import AgentPolicy
from ...agents.base import go_on
from ...configs.saved import config_of
from ...data.episode import Episode
from ...data.errors import WarmloopError
from ...data.files.run_folder import FILTERED, RunFolder
from ...data.formats import load_episodes, own_metadata, write_episodes
from ...learner.checkpoints import checkpoint, complete_checkpoints
from ...learner.checkpoints.stored_policies import BEST
from ...learner.diagnosis.metrics import read
from ...learner.judging.heldout import measured
from ...learner.loop import Learner
from ...learner.rows.experience import experience
from ...learner.rows.offline_rows import OfflineData
from ...learner.starting_state import warm_start
from ...learner.state import LearnerParts, LearnerState, create
from ...learner.warmup import WarmUpWatch, td_errors, warm_up
from ..flags.progress import progress, upto
from ..judging.select import divided
from ..parts.exporting import export_checkpoint
from ..run.assemble import parts_of, warm_parts
from ..run.plan import Origin, Plan
from ..run.recorded_data import keep_demonstrations, target_of
from ..run.run_record import described
from ..run.session import in_lock_step, recorder_of, running_learner, stopping
from ..telling.run_line import warm_up_line
from .callbacks import Callbacks
from .folders import made, new_folder, offline_checkpoints
from .notebook_config import chosen_config, environment_of, name_of, whole
from .trainer_data import prepared

if TYPE_CHECKING:
    from ...agents.export import Report

Records = list[dict[str, float]]
Watch = Callable[[Learner], object]


class OfflineRLTrainer:
    """Warms a policy up on recorded data, fine-tunes it online, judges it, saves it.

    Ctrl-C ends a training in order: what was learnt until then is kept. A second one raises, and it is lost.

    Args:
        env_id: a Gymnasium id, an environment, or a preset such as "configs/adroit.py:door". For the first two the environment's own
            reward counts.
        algorithm: "cql", "calql", "rlpd", …: a preset of `configs.recipes.algorithms`, an agent's name, or "" for the configuration's own.
        actor_lr, critic_lr: step sizes; None for the algorithm's own.
        seed: decides everything random.
        run_dir: where metrics, checkpoints and the fine-tuning's journal go; None for a folder that goes with this object.
        environment_absent: the environment is on another machine, such as a robot's: data are not checked against it.
        settings: further settings of the algorithm by name, as in `hidden=(64, 64)`, and dicts of settings for sections of the
            configuration, as in `reward={"scale": 0.1}`.

    Attributes:
        config: the whole configuration, as the commands have it.
        updates: how many there have been.

    Raises:
        WarmloopError: an unknown name, with the near match, or a wrong value.
    """

    def __init__(
        self,
        env_id: str | gym.Env,
        algorithm: str = "cql",
        actor_lr: float | None = None,
        critic_lr: float | None = None,
        *,
        seed: int = 0,
        run_dir: str | Path | None = None,
        environment_absent: bool = False,
        **settings: Any,
    ):
        rates = {name: rate for name, rate in {"actor_lr": actor_lr, "critic_lr": critic_lr}.items() if rate is not None}
        self.config, self.seed = chosen_config(env_id, algorithm, rates | settings), whole("seed", seed, 0)
        self._env, self._absent = None if isinstance(env_id, str) else env_id, environment_absent
        self._folder = tempfile.TemporaryDirectory(prefix="warmloop-") if run_dir is None else None
        self.run_dir = Path(self._folder.name if self._folder else run_dir or "").expanduser()
        self._parts: LearnerParts | None = None
        self._state: LearnerState | None = None
        self._data: OfflineData | None = None  # whose rows are in the state's offline pool
        self._online: RunFolder | None = None  # of the fine-tuning that goes on
        self._steps = 0  # of its environment
        self._demos: Path | None = None  # the file of those that go with what was loaded or fine-tuned
        self._own: dict[Path, int] = {}  # checkpoints that led here, and how many updates the next one in their folder has at least

    @property
    def updates(self) -> int:
        return 0 if self._state is None else int(self._state.updates)

    def prepare_dataset(self, raw: Any, *, action_units: str = "") -> OfflineData:
        """Recorded data, checked against the environment and made ready: rewards, returns, quality weights, tasks' codes.

        Args:
            raw: episodes of a collector; a path or `KIND=PATH` as --offline_data_path takes it, or several; or a dict of arrays `[N, …]`
                as D4RL and d3rlpy have them: observations, actions, rewards, terminals, timeouts (and next_observations).
            action_units: "scaled" where actions are in [-1, 1], "environment" where they are in the environment's units; "" for what the
                files say, and what the section `data` says of action_scaling.

        Raises:
            WarmloopError: one sentence for whatever is missing, damaged or does not fit.
        """
        if isinstance(raw, OfflineData):
            return raw
        self.config, data = prepared(self.config, self._env, self._absent, raw, action_units)
        return divided(self.config, data, self.seed, None)

    def train_offline(self, dataset: Any, n_steps: int, total_steps: int | None = None, callback: Any = None) -> Records:
        """`n_steps` further updates on a prepared dataset, or on what `prepare_dataset` takes. Returns the recorded metrics.

        On the prepared dataset of the call before it goes on as if it had not stopped; on another the agent goes on, with new priorities.

        Args:
            total_steps: updates of the whole training, with those before this call, where this call is a part of it: IQL's actor step
                size falls to 0 along a cosine of that length. None where it ends with this call; should another call follow, the step
                size rises again, to where it is on the longer cosine.
            callback: an object with `on_record`, `on_checkpoint` or both (`callbacks.py`); `warmloop.STOP` from one of them ends the
                training there. With `on_checkpoint` there are checkpoints, in `run_dir/warmup-1`, as many as by the command.
        """
        asked = threading.Event()
        told, began = Callbacks(callback, asked.set), self.updates
        until = began + whole("n_steps", n_steps)
        total = until if total_steps is None else whole("total_steps", total_steps, until)
        data = self.prepare_dataset(dataset)
        self.config = self.config.replace(learner={"warmup_steps": total})
        state, parts = self._offline_state(data)
        history = Records()
        watch = WarmUpWatch(interrupted=asked.is_set)
        if told.wants_checkpoints:
            folder, about = new_folder(self.run_dir, "warmup"), described(self.config, "warmup", self.seed)
            watch.on_checkpoint = offline_checkpoints(folder, parts, about, told.checkpoint)

        def show(updates: int, metrics: Mapping[str, float]) -> None:
            tell(updates, warm_up_line(metrics))
            history.append({"updates": updates, **metrics})
            told.record(updates, 0, metrics)

        with (
            recorder_of(self.config, made(RunFolder(self.run_dir).warmup_metrics), f"{self.run_dir.name} warm-up") as recorder,
            progress("training offline", n_steps) as advance,
            stopping(asked.set),
        ):
            tell = upto(advance, began)
            batch, self._state = measured(data), None  # whose buffers the first update gives away
            watch.on_progress, watch.on_call = show, tell
            self._state = warm_up(state, parts, dataclasses.replace(self.config.learner, warmup_steps=until), recorder, watch, batch)
        self._parts, self._data, self._online = parts, data, None
        told.finish()
        return history

    def finetune_online(
        self, env: str | gym.Env | None, n_steps: int, watch: Watch = lambda learner: None, callback: Any = None
    ) -> Records:
        """`n_steps` further environment steps, after each of which all the updates are done that it allows, as by `train_rlpd`. Returns the
        recorded metrics.

        Args:
            env: another id, an environment, or None for the trainer's own.
            watch: called with the learner before the first step and after the updates of each. It may read `learner.state`, whose arrays
                the next update gives away.
            callback: an object with some of `on_record`, `on_episode` and `on_checkpoint` (`callbacks.py`); `warmloop.STOP` from one of
                them ends the training with the episode.

        Raises:
            WarmloopError: the environment does not fit what was learnt, or the demonstrations kept of it.
        """
        n_steps = whole("n_steps", n_steps)
        told = Callbacks(callback, lambda: setattr(learner, "stop_requested", True))
        config = self.config if env is None else self.config.replace(environment={"id": name_of(env)})
        config = config.replace(learner={"online_steps": self._steps + n_steps})
        environment, resuming = environment_of(self._env if env is None else env, config), self._online is not None
        if self._state is not None:
            self.policy_in(environment)
        if not resuming:
            self._steps, config = 0, config.replace(learner={"online_steps": n_steps})
        folder = self._online or RunFolder(new_folder(self.run_dir, "online"))
        if self._state is not None and not resuming:
            self.save(folder.warmup)
        demos = folder.filtered if folder.filtered.exists() else None
        warm = folder.warmup if complete_checkpoints.steps(folder.warmup) else None
        origin = Origin(warm, demos=() if demos is None else (str(demos),), resume=resuming)
        plan = Plan(config, folder, self.seed, origin, lock_step=True)
        with running_learner(plan, target_of(environment)) as (learner, meta), stopping(lambda: setattr(learner, "stop_requested", True)):
            told.hear(learner)
            in_lock_step(plan, learner, meta, environment, watch)
        self._close(environment, env)
        began, self._steps = self._steps, learner.environment_steps
        self._state, self._parts, self._data, self._online, self._demos = learner.state, learner.parts, None, folder, demos
        told.finish()
        return [record for record in read(folder.path) if record.get("environment_steps", 0) > began]

    def evaluate(self, n_episodes: int = 20, env: str | gym.Env | None = None, *, best: bool = False) -> Evaluation:
        """Episodes of the policy acting by its mode, on starts that no training has seen: returns, and successes with an interval.

        `best` takes the best policy so far of the fine-tuning (`learner.keep_best`), in place of the newest.
        """
        n_episodes, environment = whole("n_episodes", n_episodes), environment_of(self._env if env is None else env, self.config)
        policy = self.policy_in(environment, best=best)
        with progress("evaluating", n_episodes) as advance:
            shown = run_episodes(environment, policy, self.seed, n_episodes, lambda episode: advance())
        self._close(environment, env)
        return shown

    def experience(self) -> list[Episode]:
        """The episodes that the fine-tuning has seen and still holds, oldest first: `ExpertDataCollector.save_dataset` takes them."""
        state, _ = self._learnt()
        return experience(state, self.config.reward, name_of(self._env or self.config.environment.id))

    def policy_in(self, environment: Environment, deterministic: bool = True, best: bool = False) -> AgentPolicy:
        """What was learnt, as a policy that acts in an environment. Raises WarmloopError where it does not fit, or nothing was learnt."""
        if best:
            agent, params, _ = checkpoint.load_policy(self._finetuned(), BEST)
        else:
            state, parts = self._learnt()
            agent, params = parts.agent, parts.agent.actor_params(state.agent)
        if difference := environment.spec.difference(agent.spec, environment.config.id, "the policy"):
            raise WarmloopError(f"The policy does not fit the environment: {difference}.")
        return AgentPolicy(agent, params, deterministic)

    def acting_in(self, environment: EnvironmentConfig) -> EnvironmentConfig:
        """The environment with the action limits that the policy acts by."""
        limits = self.config.environment.limits
        return dataclasses.replace(environment, action_low=limits.low, action_high=limits.high) if limits else environment

    def save(self, path: str | Path) -> Path:
        """Writes a checkpoint into the folder `path`, as the commands do: `evaluate --checkpoint` and `train_rlpd --checkpoint_path` take
        it. Beside it are the demonstrations that are worth keeping for a fine-tuning, if there are any. Returns the folder.

        Nothing in the folder is deleted, and this checkpoint is its newest, which `load` takes.

        Raises:
            WarmloopError: the newest checkpoint there is none that this trainer has saved or gone on from, or the disk refuses.
        """
        (state, parts), path = self._learnt(), Path(path).expanduser()
        for newest in complete_checkpoints.steps(path)[-1:]:
            if self.updates < self._own.get(newest, math.inf):
                raise WarmloopError(
                    f"{newest} is a checkpoint that this trainer has neither saved nor gone on from; save into another folder."
                )
        about = described(self.config, "online" if self._online else "warmup", self.seed)
        self._own[checkpoint.save(path, state, parts.agent, about, keep=None)] = self.updates
        if self._data is not None:
            keep_demonstrations(self.config, self._data, td_errors(state, parts), path)
        elif self._demos is not None:
            write_episodes(path / FILTERED, load_episodes(self._demos), own_metadata(self._demos))
        return path

    def load(self, path: str | Path) -> OfflineRLTrainer:
        """Takes over the chosen or newest checkpoint of a folder that `save` or a training command wrote, and its whole configuration.
        The demonstrations beside it are mixed into a fine-tuning that follows.

        Raises:
            WarmloopError: there is none that is intact, or it is of another environment.
        """
        saved = complete_checkpoints.chosen(Path(path).expanduser())
        config = config_of(saved.meta)
        if config.environment.id != self.config.environment.id:
            raise WarmloopError(f"The checkpoint in {path} is of {config.environment.id}, this trainer of {self.config.environment.id}.")
        agent, state = checkpoint.restore_agent(saved)
        parts = parts_of(config, agent, config.replay)
        fresh = create(parts, self.seed, None, online_capacity=1)
        self.config, self._parts, self._data, self._online = config, parts, None, None
        self._state = fresh.replace(agent=state, updates=jnp.int32(saved.updates))
        beside = saved.path.parent / FILTERED
        self._demos = beside if beside.exists() else None
        self._own = {saved.path: saved.updates + 1}
        return self

    def export(self, path: str | Path, *, best: bool = False) -> list[Report]:
        """Writes the policy as files that run without this package, as `warmloop-export` does; says how they compare with the agent. `best`
        as in `evaluate`."""
        environment = environment_of(self._env, self.config)
        with tempfile.TemporaryDirectory() as folder:
            source = self._finetuned() if best else self.save(folder)
            reports = export_checkpoint(source, Path(path).expanduser(), BEST if best else None, environment)
        self._close(environment, None)
        return reports

    def _finetuned(self) -> Path:
        """The checkpoints of the fine-tuning that goes on."""
        if self._online is None:
            raise WarmloopError("The best policy is one of a fine-tuning; call finetune_online first.")
        return self._online.checkpoints

    def _learnt(self) -> tuple[LearnerState, LearnerParts]:
        if self._state is None or self._parts is None:
            raise WarmloopError("Nothing has been learnt yet; call train_offline, finetune_online or load first.")
        return self._state, self._parts

    def _offline_state(self, data: OfflineData) -> tuple[LearnerState, LearnerParts]:
        """The learner over a dataset, with the agent that there is."""
        parts, rows = warm_parts(self.config, data.spec), data.rows_of(~data.held)
        if self._state is None or self._parts is None:
            return warm_start(parts, self.seed, rows), parts
        warm, agent = self._parts.agent, self._state.agent
        if difference := parts.agent.spec.difference(warm.spec, "the dataset", "the policy"):
            raise WarmloopError(f"The dataset does not fit what was learnt: {difference}.")
        if self._data is data:
            return self._state, parts
        taken = go_on(parts.agent, warm, agent)
        return warm_start(parts, self.seed, rows).replace(agent=taken, updates=self._state.updates), parts

    def _close(self, environment: Environment, env: str | gym.Env | None) -> None:
        """Closes an environment that was made here."""
        if isinstance(env, str) or (env is None and self._env is None):
            environment.close()
