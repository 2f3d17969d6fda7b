"""A point that reaches a goal, with one quirk of real laboratories' environments at a time."""

import json
import os
import time

import gymnasium as gym
import numpy as np

Box, Dict = gym.spaces.Box, gym.spaces.Dict
CAMERAS = ("float_pictures", "channels_first", "camera_drops_out", "declared_float_pictures")


class Reach(gym.Env):
    """Observation: position and goal (4 numbers), and with some quirks a camera. Success: the goal within 0.15."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, quirk="", limit=30, log="", rate=0.0, render_mode=None):
        self.quirk, self.limit, self.log, self.rate, self.render_mode = quirk, limit, log, rate, render_mode
        self.steps = self.resets = self.total = 0
        self.action_space = Box(-1.0, 1.0, (2,), np.float32)
        state = Box(-np.inf, np.inf, (4,), np.float32)
        self.observation_space = state
        if quirk in CAMERAS:
            picture = Box(0, 255, (3, 32, 32) if quirk == "channels_first" else (32, 32, 3), np.uint8)
            if quirk == "declared_float_pictures":
                picture = Box(0.0, 1.0, (32, 32, 3), np.float32)
            self.observation_space = Dict({"state": state, "wrist": picture})
        if quirk == "discrete_leaf":
            self.observation_space = Dict({"state": state, "holding": gym.spaces.Discrete(2)})
        if quirk == "discrete_actions":
            self.action_space = gym.spaces.Discrete(5)
        if quirk == "dict_actions":
            self.action_space = Dict({"arm": Box(-1.0, 1.0, (2,), np.float32), "gripper": gym.spaces.Discrete(3)})

    def say(self, **what):
        if self.log:
            with open(self.log, "a") as file:
                file.write(json.dumps({"t": time.time(), "pid": os.getpid(), **what}) + "\n")

    def observe(self):
        state = np.concatenate([self.position, self.goal]).astype(np.float32)
        if self.quirk == "nan_once" and self.total == 40:
            state[1] = np.nan
        picture = np.full((32, 32, 3), 100, np.uint8)
        if self.quirk == "float_pictures":  # declared as uint8
            return {"state": state, "wrist": picture.astype(np.float32) / 255}
        if self.quirk == "declared_float_pictures":
            return {"state": state, "wrist": picture.astype(np.float32) / 255}
        if self.quirk == "channels_first":
            return {"state": state, "wrist": picture.transpose(2, 0, 1)}
        if self.quirk == "camera_drops_out":
            return {"state": state} if self.total == 40 else {"state": state, "wrist": picture}
        if self.quirk == "discrete_leaf":
            return {"state": state, "holding": 1}
        return state

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.resets += 1
        if self.quirk == "reset_fails_once" and self.resets == 4:
            raise RuntimeError("the arm is in a protective stop")
        self.position, self.goal = self.np_random.uniform(-1, 1, 2), self.np_random.uniform(-1, 1, 2)
        self.steps = 0
        self.say(event="reset", seed=seed)
        return self.observe() if self.quirk == "old_reset" else (self.observe(), {})

    def step(self, action):
        self.steps, self.total = self.steps + 1, self.total + 1
        if self.rate:
            time.sleep(1 / self.rate)
        if self.quirk == "step_blocks" and self.total == 45:
            self.say(event="blocks")
            time.sleep(1e6)
        if self.quirk == "step_fails_once" and self.total == 45:
            raise RuntimeError("the motor bus gave no status packet")
        arm = action["arm"] if self.quirk == "dict_actions" else action
        arm = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])[arm] if self.quirk == "discrete_actions" else arm
        arm = np.asarray(arm, np.float64)
        self.say(event="step", action=arm.tolist(), total=self.total)
        self.position = np.clip(self.position + 0.15 * np.clip(arm, -1, 1), -1.2, 1.2)
        success = bool(np.linalg.norm(self.position - self.goal) < 0.15)
        late, reward = self.steps >= self.limit, float(success)
        if self.quirk == "time_limit_is_done":  # as some robots' environments return it
            return self.observe(), int(success), bool(success or late), False, {"succeed": success}
        if self.quirk == "old_step":
            return self.observe(), reward, late, {"success": success}
        if self.quirk == "reward_none":
            reward = None
        return self.observe(), reward, False, late, {"success": success}

    def safe_stop(self):
        self.say(event="safe_stop")

    def render(self):
        return np.zeros((64, 64, 3), np.uint8)


class ReachWithoutSeed(Reach):
    def reset(self):
        return Reach.reset(self)


gym.register("Lab/Reach-v0", "lab_environment:Reach")
gym.register("Lab/ReachWithoutSeed-v0", "lab_environment:ReachWithoutSeed")
