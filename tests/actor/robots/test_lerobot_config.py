"""The settings of LeRobot's robots, and the preset that names an arm."""

import re

import pytest
from plain_robot import SETTINGS

from warmloop.actor.environment.environment import make_environment
from warmloop.actor.robots.lerobot_config import LeRobotConfig, camera_of
from warmloop.actor.robots.lerobot_parts import read_options
from warmloop.configs import load
from warmloop.data.errors import WarmloopError


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"joints": ()}, "name each joint once"),
        ({"start": (0.0,)}, "start is .* it must be 2 numbers, one per joint"),
        ({"low": (90.0, 0.0)}, "lift.pos has no room between low 90 and high 90"),
        ({"max_step": (0.0, 1.0)}, "max_step of lift.pos is 0"),
        ({"start": (95.0, 20.0)}, "start of lift.pos is 95, beyond -90 to 90"),
        ({"actions": "relative"}, 'actions is "relative"; it must be one of absolute, delta, effector'),
        ({"actions": "effector"}, "needs the arm's MJCF as model"),
        ({"at_rest": "fall"}, "it must be one of hold, relax"),
        ({"gripper": "claw.pos"}, "the joints are lift.pos, grip.pos"),
        ({"gripper": "", "gripper_commands": True}, "gripper_commands needs the name of the gripper"),
        ({"hz": 0.0}, "hz is 0.0; it must be above 0"),
        ({"retries": -1}, "must not be negative"),
        ({"workspace_low": (0.0, 0.0, 0.0)}, "each must be three numbers, the first lower"),
        ({"workspace_low": (0.0,) * 3, "workspace_high": (0.1, 0.1, 0.0)}, "each must be three numbers, the first lower"),
        ({"workspace_low": (0.0,) * 3, "workspace_high": (0.1,) * 3}, 'actions is "absolute"; set low and high'),
        ({"cameras": ("front",)}, "it must be NAME=KIND:SOURCE"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused_in_words(changed, said):
    with pytest.raises(WarmloopError, match=re.escape(said) if "(" in said else said):
        LeRobotConfig(**(SETTINGS | changed))


def test_cameras_and_options_are_read_from_texts():
    camera = camera_of("front=opencv:/dev/video2@640x480/30")
    assert (camera.name, camera.kind, camera.source, camera.width, camera.height, camera.fps) == (
        "front",
        "opencv",
        "/dev/video2",
        640,
        480,
        30,
    )
    assert camera_of("side=zmq:tcp://host:5555").source == "tcp://host:5555"
    assert read_options(("use_degrees=True", "name=black")) == {"use_degrees": True, "name": "black"}
    with pytest.raises(WarmloopError, match="must be NAME=VALUE"):
        read_options(("degrees",))


def test_the_preset_names_robot_port_and_id_and_leaves_them_to_each_machine():
    config = load("configs/lerobot.py:so101_follower:/dev/ttyACM0:black")
    kwargs = dict(config.environment.kwargs)
    assert (kwargs["robot"], kwargs["port"], kwargs["robot_id"]) == ("so101_follower", "/dev/ttyACM0", "black")
    assert {"port", "robot_id", "calibration_dir"} <= set(config.environment.local_kwargs) and not config.actor.simulator
    assert make_environment(config.environment).spec.action_dim == 6
    for text, said in (("", "Name the robot"), ("so101_folower", "so101_follower"), ("so101_follower:a:b:c", "takes ROBOT")):
        with pytest.raises(WarmloopError, match=said):
            load(f"configs/lerobot.py:{text}" if text else "configs/lerobot.py")
