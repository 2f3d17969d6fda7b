"""gym-hil's cube from two small cameras, small enough for a CPU: a `--config`. Where the cube is, only the pictures show.

    CONFIG=tests/benchmarks/cube_from_cameras.py
    warmloop-collect --config=$CONFIG --policy=scripted --episodes=100 --noise=0.3 --out=cube.npz
    train_offline_warmup --config=$CONFIG --exp_name=cameras --offline_data_path=demos=cube.npz --warmup_steps=3000
    train_rlpd --config=$CONFIG --exp_name=cameras --checkpoint_path=runs/cameras/warmup --demo_path=cube.npz --intervention=teacher
    warmloop-evaluate --checkpoint=runs/cameras/warmup --episodes=50                       # and of runs/cameras/checkpoints

The learner clones (`hgdagger`), the teacher's steps too, for which a few thousand updates do. What came of it is in docs/images.md.
"""

from ml_collections import ConfigDict

from warmloop.agents.networks.vision import VisionConfig
from warmloop.configs import load
from warmloop.configs.schema import to_config_dict


def get_config() -> ConfigDict:
    config = load("configs/gym_hil.py:pick-cube-pixels,hgdagger_tuned")
    agent = {"vision": VisionConfig(channels=(16, 32, 32)), "batch_size": 128}
    return to_config_dict(
        config.replace(
            environment={"wrappers": ("gripper_penalty:-0.05", "resize:48")},
            agent=agent,
            warmup_agent=agent,
            replay={"capacity": 5_000},
            frames={"random_shift": 2},
            learner={"warmup_steps": 3_000, "online_steps": 3_000, "held_out": 0.1, "warmup_checkpoints": 1},
        )
    )
