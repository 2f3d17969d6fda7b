"""Runs the exported policy of the tutorial in a control loop of one's own. The policy needs NumPy, and nothing of warmloop.

python run_policy.py EXPORTED_FOLDER EPISODES
"""

import importlib.util
import sys
from pathlib import Path

from my_reach import Reach

STEPS = 50


def load(folder: Path):
    """The policy in an exported folder."""
    spec = importlib.util.spec_from_file_location("exported_policy", folder / "policy.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Policy(folder)


def reaches(policy, arm: Reach, seed: int) -> bool:
    """Whether the arm touches its target within one episode. On a robot this is the robot's own loop."""
    observation, _ = arm.reset(seed=seed)
    for _ in range(STEPS):
        observation, _, _, _, info = arm.step(policy(observation))
        if info["success"]:
            return True
    return False


def main() -> None:
    policy, arm, episodes = load(Path(sys.argv[1])), Reach(), int(sys.argv[2])
    touched = sum(reaches(policy, arm, seed) for seed in range(episodes))
    print(f"touched the target in {touched} of {episodes} episodes")


if __name__ == "__main__":
    main()
