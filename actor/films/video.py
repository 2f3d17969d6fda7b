"""Films of a policy, for a person to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...data.errors import WarmloopError
from ...data.tasks import SINGLE, TaskConfig
from ...data.transition import PyTree
from ..config import ActorConfig
from ..environment.environment import Environment, EnvironmentConfig, StepResult, make_environment
from ..environment.guard import guarded
from ..episodes.rollout import EpisodePlan, run_episode
from ..policies.policy import Policy
from ..seeds import VIDEO_STREAM, episode_seed
from .film import Film

FILMS = (".mp4", ".mkv", ".mov", ".avi")
FRAMES_PER_SECOND = 20  # rendering is by far the slowest part where no GPU draws


def record_video(
    config: EnvironmentConfig,
    policy: Policy,
    seed: int,
    path: str | Path,
    episodes: int = 3,
    tasks: TaskConfig = SINGLE,
    use: ActorConfig | None = None,
) -> None:
    """Writes a film of `episodes` episodes in real time, each cut at its first success, one after the other. `use` has the timeouts and the
    budget of faults, as `Environment.use`.

    Raises:
        WarmloopError: no film ends as `path` does, frames cannot be made on this machine, or the file cannot be written.
    """
    check_film(path)
    environment = make_environment(config, render=True, tasks=tasks, use=use)
    every = max(1, round(environment.frames_per_second / FRAMES_PER_SECOND))

    def film_step(step: int, result: StepResult, observation: PyTree, action: np.ndarray) -> None:
        over = result.terminated or result.truncated or result.success
        if over or step % every == 0:
            film.append(frame_of(environment))

    try:
        environment.reset(episode_seed(seed, VIDEO_STREAM, 0))
        frame_of(environment)  # fails before a file is begun
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        rate = environment.frames_per_second / every
        with guarded(environment), Film(Path(path), rate) as film:
            for number in range(episodes):
                chosen = episode_seed(seed, VIDEO_STREAM, number, len(tasks))
                run_episode(environment, policy, chosen, EpisodePlan(stop_at_success=True), on_step=film_step)
    except OSError as error:
        raise WarmloopError(f"The video {path} cannot be recorded: {' '.join(str(error).split())}") from error
    finally:
        environment.close()


def check_film(path: str | Path) -> None:
    """Raises WarmloopError where no film can have the name `path`."""
    if Path(path).suffix.lower() not in FILMS:
        raise WarmloopError(f"The video {path} does not end as a film does; name it .mp4 (or {', '.join(FILMS[1:])}).")
    if Path(path).is_dir():
        raise WarmloopError(f"The video {path} cannot be written: a folder has that name.")


def frame_of(environment: Environment) -> np.ndarray:
    """The current frame. Raises WarmloopError where none can be made."""
    try:
        return environment.render()
    except WarmloopError:
        raise
    except Exception as error:  # whatever the renderer and its graphics library raise
        raise WarmloopError(
            f'Frames of "{environment.config.id}" cannot be made on this machine ({type(error).__name__}: {error}); '
            "set MUJOCO_GL=egl (or osmesa) where there is no display, or run without video."
        ) from error
