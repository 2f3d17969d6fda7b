"""Finds the limits of an arm's joints, and of its tool, while you move the arm by hand.

    warmloop limits --robot=so101_follower --port=/dev/ttyACM0 --id=black --out=my_arm.py

The torque goes off and stays off: the arm falls unless you hold it. Move each joint to the farthest places that a task may reach; a table
shows how far each has come. Enter or Ctrl-C ends. The settings low and high of LeRobot-v0 are printed, each --margin inside of what was
reached, and --out writes a configuration with them. With --model the tool's box is found too, for actions=effector.
"""

from __future__ import annotations

if not __package__:
    from starting import by_path as by_path  # started by its path

from absl import flags

from ..data.errors import WarmloopError
from .flags.common import output_path, run
from .starting.platforms import prefer_cpu

ROBOT = flags.DEFINE_string("robot", "so101_follower", "LeRobot's name of the robot, or MODULE:NAME.")
PORT = flags.DEFINE_string("port", "", "Port of the robot, as `lerobot-find-port` names it.")
ID = flags.DEFINE_string("id", "", "Name under which the robot was calibrated.")
CALIBRATION = flags.DEFINE_string("calibration_dir", "", "Folder of the robot's calibration. Default: LeRobot's own.")
MARGIN = flags.DEFINE_float("margin", 3.0, "How far joints' limits lie inside of what was reached, in degrees or percent.", lower_bound=0.0)
MODEL = flags.DEFINE_string("model", "", "MJCF of the arm, a path or PACKAGE:PATH, for the box of the tool.")
FRAME = flags.DEFINE_string("frame", "gripperframe", "Site or body of --model that is the tool.")
TOOL_MARGIN = flags.DEFINE_float("tool_margin", 0.01, "How far the tool's box lies inside of what was reached, in metres.", lower_bound=0.0)
START = flags.DEFINE_bool("start", False, "Take the pose in which the arm is at the end as the start of episodes.")
SECONDS = flags.DEFINE_float("seconds", 0.0, "End by itself after so many seconds; 0 waits for Enter or Ctrl-C.", lower_bound=0.0)
YES = flags.DEFINE_bool("yes", False, "Switch the torque off without waiting for Enter.")
OUT = flags.DEFINE_string("out", None, "Python file to write, for --config of every command.")
OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace --out where it exists.")


def main() -> None:
    from ..actor.robots.by_hand.limp_arm import LimpArm
    from ..actor.robots.lerobot_parts import make_limp_robot
    from .parts.arm_limits import ArmLimits
    from .parts.limits_table import ask, watch

    prefer_cpu()
    out = output_path(OUT.value, OVERWRITE.value) if OUT.value else None
    name = " ".join(filter(None, (ROBOT.value, ID.value, f"at {PORT.value}" if PORT.value else "")))
    robot = make_limp_robot(ROBOT.value, PORT.value, ID.value, CALIBRATION.value)
    with LimpArm(robot, name) as arm:
        found = ArmLimits(arm.joints, (ROBOT.value, PORT.value, ID.value, CALIBRATION.value), MODEL.value, FRAME.value)
        if out is not None and found.preset is None:
            raise WarmloopError(f"--out is for robots that configs/lerobot.py knows, and {ROBOT.value} is none; copy what is printed.")
        if not YES.value:
            ask(f"The torque of {name} goes off: hold the arm, or it falls. Enter goes on, Ctrl-C leaves it as it is.")
        arm.relax()
        watch(found, arm.read, SECONDS.value)
    settings = found.settings(MARGIN.value, TOOL_MARGIN.value, START.value)
    if out is not None:
        out.write_text(found.file(settings))
        print(f"{out}: train with --config={out}")


def cli() -> None:
    """The console script `warmloop-limits`."""
    run(main)


if __name__ == "__main__":
    cli()
