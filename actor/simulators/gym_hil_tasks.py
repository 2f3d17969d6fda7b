"""gym-hil's tasks as ordinary Gymnasium environments: a Panda arm that picks a cube, or puts five boxes on their places.

gym-hil draws positions from numpy's global generator, always makes a renderer, and renders a list of pictures. Here `reset(seed)`
decides the whole episode, bit for bit; nothing is drawn and no display is needed until pictures are asked for; the controller is
`operational_space.py`'s; and no viewer, input device or delay comes with it.

Actions are `[4]`: x, y and z in [-1, 1] of 2.5 cm a step, and the gripper's command in [0, 2]: 2 closes it, 1 holds it, 0 opens it
(measured: after 2 the fingers' joints go from 0.0 to 0.8 within three steps, after 0 back to 0.0).

Observations are `agent_pos` `[18]`: 7 joint positions and 7 velocities, the gripper's command (0 open to 255 closed), the tool's x, y
and z in metres; and `environment_state`: the cube's x, y and z `[3]`, or those of the boxes 1 to 5 and then of their places `[30]`. With
`image_obs=True` that is replaced by the pictures `pixels.front` and `pixels.wrist`, `[128, 128, 3]` uint8; with `state_too=True` both
are there.

PickCube also terminates, without success, where the cube leaves its bounds, and ArrangeBoxes where the first box does.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import types
import warnings
from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

from ...data.errors import WarmloopError
from .operational_space import OperationalSpace

PICK_CUBE, ARRANGE_BOXES = "gym_hil/PandaPickCube-v0", "gym_hil/PandaArrangeBoxes-v0"
BOXES = range(1, 6)
SENSORS = {
    PICK_CUBE: ("block_pos",),
    ARRANGE_BOXES: (*(f"block{number}_pos" for number in BOXES), *(f"target{number}_pos" for number in BOXES)),
}
HORIZON = 100  # gym-hil's own
FRAME_SIZE = 384  # of the frames for people to look at
GRIPPER_PENALTY = -0.05


def is_gym_hil(environment_id: str) -> bool:
    """Whether the id names one of the tasks here; gym-hil's others (`…Base-v0`, `…Gamepad-v0`, …) are made as it registers them."""
    return environment_id in SENSORS


def make_gym_hil(
    environment_id: str,
    horizon: int = 0,
    render: bool = False,
    *,
    shadows: bool = True,
    gripper_penalty: float = GRIPPER_PENALTY,
    state_too: bool = False,
    **kwargs: Any,
) -> gym.Env:
    """The task of an id, `PICK_CUBE` or `ARRANGE_BOXES`.

    Args:
        environment_id: see above.
        horizon: steps until truncation; 0 for gym-hil's own 100.
        render: whether `render()` must give frames.
        shadows: draw shadows, as gym-hil does; without them a picture drawn by a CPU takes a fifth of the time.
        gripper_penalty: `info["discrete_penalty"]` of a step that closes the open gripper, or opens the closed one.
        state_too: `environment_state` also beside pictures.
        kwargs: passed to gym-hil's class (`image_obs`, `reward_type`, `random_block_position`, `control_dt`, …); cubes lie at random
            unless `random_block_position=False`.

    Raises:
        WarmloopError: gym-hil is not installed.
    """
    try:
        from gym_hil import envs, mujoco_gym_env  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]
        from gym_hil.wrappers.hil_wrappers import DEFAULT_EE_STEP_SIZE, EEActionWrapper, GripperPenaltyWrapper  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise WarmloopError(f"Environment {environment_id} needs gym_hil ({error}); run `pip install 'warmloop[robotics]'`.") from error
    with _lazy_renderers(mujoco_gym_env, shadows):
        if environment_id == PICK_CUBE:
            task: Any = envs.PandaPickCubeGymEnv(**{"random_block_position": True, **kwargs})
        else:
            task = envs.PandaArrangeBoxesGymEnv(**kwargs)
    task.apply_action = OperationalSpace(task)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*precision lowered by casting")
        moved = EEActionWrapper(GripperPenaltyWrapper(task, gripper_penalty), DEFAULT_EE_STEP_SIZE, use_gripper=True)
    return gym.wrappers.TimeLimit(GymHilTask(moved, environment_id, render, shadows, state_too), horizon or HORIZON)


class GymHilTask(gym.Wrapper):
    """One task whose `reset(seed)` decides the whole episode, and whose `render()` gives one frame."""

    def __init__(self, env: gym.Env, environment_id: str, render: bool, shadows: bool, state_too: bool):
        super().__init__(env)
        task: Any = env.unwrapped
        self._task, self._data, self._completed = task, task.data, state_too or not task.image_obs
        addresses = [task.model.sensor(name).adr[0] for name in SENSORS[environment_id]]
        self._sensors = np.add.outer(addresses, np.arange(3)).ravel()
        self._placement = np.random.default_rng()
        self._camera = LazyRenderer(task.model, FRAME_SIZE, FRAME_SIZE, shadows) if render else None
        if self._completed:
            objects = gym.spaces.Box(-np.inf, np.inf, (len(self._sensors),), np.float32)
            self.observation_space = gym.spaces.Dict({**task.observation_space, "environment_state": objects})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict, dict]:
        if seed is not None:
            self._placement = np.random.default_rng(seed)
        with _global_seed(int(self._placement.integers(2**32))):
            observation, info = self.env.reset(seed=seed, options=options)
        return self._complete(observation), info

    def step(self, action: np.ndarray) -> tuple[dict, Any, bool, bool, dict]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._complete(observation), reward, terminated, truncated, info

    def render(self) -> np.ndarray:  # type: ignore[override]  # gymnasium's says a list is possible
        """The front camera's frame, `[384, 384, 3]` uint8."""
        if self._camera is None:
            raise WarmloopError("This environment was made without frames; make it with render=True.")
        self._camera.update_scene(self._data, "front")
        return np.asarray(self._camera.render())

    def privileged_state(self) -> dict[str, np.ndarray]:
        """`agent_pos` and `environment_state` as the simulator has them, also where the observation has pictures instead."""
        return {"agent_pos": self._task.get_robot_state().astype(np.float32), "environment_state": self._objects()}

    def close(self) -> None:
        if self._camera is not None:
            self._camera.close()
        super().close()

    def _complete(self, observation: dict) -> dict:
        return {**observation, "environment_state": self._objects()} if self._completed else observation

    def _objects(self) -> np.ndarray:
        return self._data.sensordata[self._sensors].astype(np.float32)


class LazyRenderer:
    """A `mujoco.Renderer` that is made for its first scene, so that nothing draws where no picture is asked for."""

    def __init__(self, model: Any, height: int, width: int, shadows: bool = True):
        self._arguments, self._shadows, self._made = (model, height, width), shadows, None

    def update_scene(self, data: Any, camera: Any) -> None:
        made = self._made or self._make()
        made.update_scene(data, camera=camera)
        made.scene.flags[self._shadow_flag] = self._shadows

    def render(self) -> np.ndarray | None:
        """The scene; None before the first, which gym-hil's constructors ask for."""
        return self._made and self._made.render()

    def close(self) -> None:
        if self._made is not None:
            atexit.unregister(self.close)
            self._made.close()
            self._made = None

    def _make(self) -> Any:
        mujoco: Any = importlib.import_module("mujoco")  # whose types miss some of it
        model, height, width = self._arguments
        offscreen = model.vis.global_
        offscreen.offheight, offscreen.offwidth = max(offscreen.offheight, height), max(offscreen.offwidth, width)
        self._shadow_flag = mujoco.mjtRndFlag.mjRND_SHADOW
        self._made = mujoco.Renderer(model, height, width)
        atexit.register(self.close)  # before the graphics library goes, which would complain on stderr
        return self._made


@contextlib.contextmanager
def _lazy_renderers(module: Any, shadows: bool) -> Iterator[None]:
    """Has gym-hil's `module` make its renderers lazily: it makes one in every constructor, which needs EGL even from states."""
    mujoco = module.mujoco
    module.mujoco = types.SimpleNamespace(**{**vars(mujoco), "Renderer": functools.partial(LazyRenderer, shadows=shadows)})
    try:
        yield
    finally:
        module.mujoco = mujoco


@contextlib.contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Has numpy's global generator start from `seed`, and puts it back as it was."""
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
