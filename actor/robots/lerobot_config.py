"""The settings of a robot that LeRobot drives: the arguments of `LeRobot-v0`, checked."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np

from ...data.errors import WarmloopError

ACTIONS = ("absolute", "delta", "effector")
RESTS = ("hold", "relax")
CAMERA_SPEC = re.compile(r"(?P<name>[^=\s]+)=(?P<kind>[a-z_]\w*):(?P<source>[^@]+?)(?:@(?P<width>\d+)x(?P<height>\d+)(?:/(?P<fps>\d+))?)?")
WHERE = "environment.kwargs"


@dataclasses.dataclass(frozen=True)
class LeRobotConfig:
    """What the environment must know. Joints are in LeRobot's units: degrees, or percent of the calibrated range.

    The spaces follow from these settings alone, so that a learner needs neither LeRobot nor the robot.

    Attributes:
        robot: LeRobot's name of the kind, such as so101_follower, or MODULE:NAME of a callable that takes port, id and `robot_options`.
        port, robot_id: where the robot is, and the name that it was calibrated under.
        calibration_dir: where LeRobot keeps the calibration; "" for LeRobot's own folder.
        robot_options: further settings of LeRobot's configuration, each "NAME=VALUE".
        joints: names of LeRobot's action features that are commanded, in the order of an action.
        low, high: per joint, the limits of every command.
        max_step: per joint, how far a command may be from the last one.
        lead: how many such steps a command may be ahead of the measured position.
        start: per joint, where an episode begins.
        start_spread: per joint, by how much that varies at random; () for not at all.
        actions: "absolute" (a position, as LeRobot records), "delta" (a share of `max_step`), or "effector" (the tool moves and turns).
        gripper: the joint that is the gripper; "" for none.
        gripper_commands: the gripper's number opens it above 0.5 and closes it below -0.5, and between them it goes on as it was.
        state: names of LeRobot's observation features in `state`; () for the joints.
        registers: of the motors' bus, such as Present_Load; each is a part of the observation, a number per motor.
        motors: how many motors the bus has; 0 for one per joint.
        cameras: each "NAME=KIND:SOURCE@WIDTHxHEIGHT/FPS", KIND as LeRobot names it, as in "front=opencv:/dev/video0@640x480/30".
        camera: MODULE:NAME of another class of cameras, called with name, source, width, height and fps.
        image_size: pixels of a picture's sides, as it is observed.
        hz: steps a second.
        reset_seconds: of the way to the start, unless a joint would be faster than `reset_speed` on it.
        reset_speed: the fastest that a joint moves on that way, in its units a second.
        tolerance: how near each joint must be to the start, in its units.
        settle_seconds: how long it may take to come so near, after the way.
        retries: how often a packet that was lost is asked for again.
        camera_seconds: without a picture, after which a camera counts as frozen.
        max_celsius, min_volts: of the motors; 0 for the motors' own limits alone.
        at_rest: "hold": the arm stays where it is; "relax": its torque is switched off, and it falls unless something holds it.
        goal: per joint, a pose that is a success; () where something else tells it.
        goal_tolerance: how near each joint must be to it.
        model: for "effector", the path of the arm's MJCF, whose hinges are named as the joints are, without what follows the dot.
        frame: for "effector", the site or body of the model that is moved.
        max_shift, max_turn: for "effector", metres and radians of an action of 1.
        workspace_low, workspace_high: for "effector", corners of the box that the tool is commanded to stay in, metres along the axes of
            the arm's base; () for none.
        speed: how much faster than real time all goes, for a simulated robot alone.
    """

    robot: str = "so101_follower"
    port: str = ""
    robot_id: str = ""
    calibration_dir: str = ""
    robot_options: tuple[str, ...] = ()
    joints: tuple[str, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    max_step: tuple[float, ...] = ()
    lead: float = 3.0
    start: tuple[float, ...] = ()
    start_spread: tuple[float, ...] = ()
    actions: str = "absolute"
    gripper: str = ""
    gripper_commands: bool = False
    state: tuple[str, ...] = ()
    registers: tuple[str, ...] = ()
    motors: int = 0
    cameras: tuple[str, ...] = ()
    camera: str = ""
    image_size: int = 128
    hz: float = 10.0
    reset_seconds: float = 2.0
    reset_speed: float = 60.0
    tolerance: float = 10.0
    settle_seconds: float = 2.0
    retries: int = 3
    camera_seconds: float = 5.0
    max_celsius: float = 65.0
    min_volts: float = 0.0
    at_rest: str = "hold"
    goal: tuple[float, ...] = ()
    goal_tolerance: float = 5.0
    model: str = ""
    frame: str = ""
    max_shift: float = 0.01
    max_turn: float = 0.1
    workspace_low: tuple[float, ...] = ()
    workspace_high: tuple[float, ...] = ()
    speed: float = 1.0

    def __post_init__(self):
        self._check_joints()
        self._check_choices()
        self._check_workspace()
        for name in ("hz", "reset_speed", "tolerance", "goal_tolerance", "lead", "camera_seconds", "speed", "max_shift", "max_turn"):
            self._positive(name)
        if min(self.reset_seconds, self.settle_seconds, self.retries, self.max_celsius, self.min_volts, self.motors) < 0:
            raise WarmloopError(f"{WHERE}: reset_seconds, settle_seconds, retries, max_celsius, min_volts and motors must not be negative.")
        if self.image_size < 1:
            raise WarmloopError(f"{WHERE}.image_size is {self.image_size}; it must be at least 1.")
        for text in self.cameras:
            camera_of(text)

    def _check_workspace(self) -> None:
        low, high = self.workspace_low, self.workspace_high
        if not (low or high):
            return
        if len(low) != 3 or len(high) != 3 or not all(least < most for least, most in zip(low, high, strict=True)):
            raise WarmloopError(
                f"{WHERE}: workspace_low is {low!r} and workspace_high {high!r}; each must be three numbers, the first lower."
            )
        if self.actions != "effector":
            raise WarmloopError(f'{WHERE}.workspace_low is for actions="effector", and actions is "{self.actions}"; set low and high.')

    def _positive(self, name: str) -> None:
        number = getattr(self, name)
        if not (number > 0 and math.isfinite(number)):
            raise WarmloopError(f"{WHERE}.{name} is {number!r}; it must be above 0.")

    def _check_joints(self) -> None:
        if not self.joints or len(set(self.joints)) != len(self.joints):
            raise WarmloopError(f"{WHERE}.joints is {self.joints!r}; name each joint once, as in ('shoulder_pan.pos', 'gripper.pos').")
        for name in ("low", "high", "max_step", "start", "start_spread", "goal"):
            numbers = np.asarray(getattr(self, name), np.float64)
            may_be_empty = name in ("start_spread", "goal")
            if not (may_be_empty and not numbers.size) and (numbers.shape != (len(self.joints),) or not np.isfinite(numbers).all()):
                raise WarmloopError(f"{WHERE}.{name} is {getattr(self, name)!r}; it must be {len(self.joints)} numbers, one per joint.")
        for place, joint in enumerate(self.joints):
            low, high = self.low[place], self.high[place]
            if not low < high:
                raise WarmloopError(f"{WHERE}: {joint} has no room between low {low:g} and high {high:g}.")
            if self.max_step[place] <= 0:
                raise WarmloopError(f"{WHERE}.max_step of {joint} is {self.max_step[place]:g}; it must be above 0.")
            for name in ("start", "goal"):
                if getattr(self, name) and not low <= getattr(self, name)[place] <= high:
                    raise WarmloopError(f"{WHERE}.{name} of {joint} is {getattr(self, name)[place]:g}, beyond {low:g} to {high:g}.")

    def _check_choices(self) -> None:
        for name, choices in (("actions", ACTIONS), ("at_rest", RESTS)):
            if getattr(self, name) not in choices:
                raise WarmloopError(f'{WHERE}.{name} is "{getattr(self, name)}"; it must be one of {", ".join(choices)}.')
        if self.gripper and self.gripper not in self.joints:
            raise WarmloopError(f'{WHERE}.gripper is "{self.gripper}"; the joints are {", ".join(self.joints)}.')
        if self.gripper_commands and not self.gripper:
            raise WarmloopError(f"{WHERE}.gripper_commands needs the name of the gripper in {WHERE}.gripper.")
        if self.actions == "effector" and not (self.model and self.frame):
            raise WarmloopError(f'{WHERE}.actions is "effector", which needs the arm\'s MJCF as model and the moved site or body as frame.')

    @property
    def gripper_place(self) -> int | None:
        """Which of the joints is the gripper."""
        return self.joints.index(self.gripper) if self.gripper else None

    @property
    def state_names(self) -> tuple[str, ...]:
        return self.state or self.joints


@dataclasses.dataclass(frozen=True)
class CameraSpec:
    """One camera: LeRobot's kind, where it is, and the pictures that it is asked for; 0 for the camera's own."""

    name: str
    kind: str
    source: str
    width: int = 0
    height: int = 0
    fps: int = 0


def camera_of(text: str) -> CameraSpec:
    """The camera that NAME=KIND:SOURCE@WIDTHxHEIGHT/FPS names; what follows the @ may be left out. Raises WarmloopError."""
    found = CAMERA_SPEC.fullmatch(text)
    if found is None:
        raise WarmloopError(f'{WHERE}.cameras has "{text}"; it must be NAME=KIND:SOURCE@WIDTHxHEIGHT/FPS, as front=opencv:0@640x480/30.')
    numbers = {name: int(found[name] or 0) for name in ("width", "height", "fps")}
    return CameraSpec(found["name"], found["kind"], found["source"], **numbers)
