"""What users may bring to an actor, MODULE:NAME, beside the package's own. Light, since commands read it before JAX is imported."""

from __future__ import annotations

from ..data.doors.door import Door

OPERATOR = "operator"  # the rule by which only a person says it
DEVICES = ("keyboard", "terminal", "gamepad", "spacemouse")
INTERVENERS = ("none", "teacher", *DEVICES)

POLICY = Door(
    "a policy",
    "a class, a function or an object with begin(seed) and __call__(observation, step)",
    ("random", "scripted", "checkpoint:DIR", "export:DIR", "sb3:PATH.zip", "socket:HOST:PORT", "none"),
)
INTERVENER = Door("an intervener", "an object with __call__(observation, action, step)", INTERVENERS)
SUCCESS = Door(
    "a rule",
    "a function of the step's Outcome, or a class that is called without arguments and makes one,",
    ("auto", "info:KEY", "info:KEY>=NUMBER", "terminated", OPERATOR, "reward>=NUMBER", "return>=NUMBER", "classifier:DIR"),
)
# Where they are named.
POLICY_FLAG, INTERVENTION_FLAG, SUCCESS_SETTING = "--policy", "--intervention", "environment.success"
