"""Presets with a paper's name are the paper's algorithm: every published setting, with the file of the authors' that says so.

A setting that stands in no row must be at what leaves warmloop's own options off (`OFF`): so a preset cannot differ without a row, and a
row that differs from its source says why (`DIFFERS`).
"""

import dataclasses
import math

import pytest

from warmloop.actor.environment import EnvironmentConfig
from warmloop.configs import load
from warmloop.configs.recipes.algorithms import OWN, PUBLISHED, apply
from warmloop.configs.recipes.kinds import kind
from warmloop.configs.schema import RunConfig
from warmloop.data.reward import RewardConfig

# Repositories of the authors, and the commits that were read.
SOURCES = {
    "rlpd": "ikostrikov/rlpd c90fd4baf2",
    "wsrl": "zhouzypaul/wsrl 891ee353af",
    "hil-serl": "rail-berkeley/hil-serl 5d02aed700",
    "Cal-QL": "nakamotoo/Cal-QL ac6eafec22",
    "Cal-QL's kitchens": "nakamotoo/Cal-QL c510025464 (its branch dev/add-kitchen)",
    "CQL": "aviralkumar2907/CQL d67dbe9cf5",
    "iql": "ikostrikov/implicit_q_learning 09d7002481",
    "TD3_BC": "sfujim/TD3_BC 8791ad7d76",
    "BCQ": "sfujim/BCQ 4876f7e5af",
    "rlkit": "rail-berkeley/rlkit ac45a9db24",
    "sb3": "DLR-RM/stable-baselines3 e05d2dbe6e",
    "qc": "ColinQiyangLi/qc 48283b4f66",
    "OfflineRL-Kit": "yihaosun1124/OfflineRL-Kit e3ce697",
    "mbrl-lib": "facebookresearch/mbrl-lib 5fd2716530",
    "trajectory-transformer": "jannerm/trajectory-transformer 8834a6ed04",
    "tdmpc2": "nicklashansen/tdmpc2 e9f5932",
    "dreamerv3": "danijar/dreamerv3 e3f0224",
}
DOOR, HOPPER, CUBE = "configs/adroit.py:door", "configs/mujoco.py:hopper", "configs/gym_hil.py:pick-cube"
MAZE, KITCHEN = "AntMaze_UMaze-v4", "FrankaKitchen-v1"
TASKS = {"dexterous": DOOR, "kitchen": KITCHEN, "maze": MAZE, "manipulation": CUBE, "locomotion": HOPPER}  # one of each kind
BOTH = ("agent", "warmup_agent")

# Every published algorithm draws uniformly from all rows: `replay_buffer.sample`, `random_batch`, `subsample_batch`, by index.
UNIFORM = {
    "replay.alpha": 0.0,
    "retention.ratio": 1.0,
    **{f"quality.{name}": 1.0 for name in ("demos", "suboptimal", "random", "interventions", "success_bonus")},
    "quality.score_share": 0.0,
}
HALF = {"mixing.initial_ratio": 0.5, "mixing.min_ratio": 0.5, "mixing.pooled": False}
ADAM = {"agent.tau": 0.005, "agent.critic_lr": 3e-4, "agent.actor_lr": 3e-4, "reward.discount": 0.99}
SAC = ADAM | {"agent.temperature_lr": 3e-4, "agent.initial_temperature": 1.0, "agent.activation": "relu", "agent.batch_size": 256}
QUARTER = HALF | {"mixing.initial_ratio": 0.25, "mixing.min_ratio": 0.25}
PLAIN = {"agent.normalise_observations": False, "agent.actor_layer_norm": False}
TWO = {"agent.ensemble": 2, "agent.target_subset": 2}
WSRL = SAC | TWO | {
    "agent.ensemble": 10,
    "agent.actor_lr": 1e-4,
    "agent.temperature_lr": 1e-4,
    "agent.target_entropy_per_dim": -1.0,
    "agent.backup_entropy": False,
    "agent.actor_q": "min",
    "agent.critic_layer_norm": True,
    "agent.actor_layer_norm": True,
    "agent.log_std_min": math.log(1e-5),
    "agent.log_std_max": math.log(10.0),
    "agent.utd": 4,
    "agent.actor_on_block": True,
    "agent.normalise_observations": False,
    "retention.ratio": 0.0,
    "mixing.min_ratio": 0.0,
    "mixing.decay": 0.0,
    "learner.frozen_steps": 5_000,
    "actor.random_steps": 0,
    "warmup_agent.utd": 1,
    "warmup_agent.actor_on_block": False,
    "warmup_agent.max_backup": True,
    "warmup_agent.backup_actions": 10,
    "warmup_agent.cql_actions": 10,
    "warmup_agent.cql_temperature": 1.0,
}  # fmt: skip
CALQL = SAC | TWO | PLAIN | {
    "agent.actor_lr": 1e-4,
    "agent.temperature_lr": 1e-4,
    "agent.target_entropy_per_dim": -1.0,
    "agent.backup_entropy": False,
    "agent.actor_q": "min",
    "agent.critic_layer_norm": False,
    "agent.initial_log_std": -1.0,
    "agent.log_std_min": -20.0,
    "agent.log_std_max": 2.0,
    "agent.max_backup": True,
    "agent.cql_actions": 10,
    "agent.cql_temperature": 1.0,
    "agent.importance": True,
    "agent.calibrated": True,
    "agent.utd": 1,
    "learner.max_utd": 1.0,
    "actor.random_steps": 0,
}  # fmt: skip
RAW = {"reward.scale": 1.0, "reward.bias": 0.0}
KITCHEN_CALQL = {
    "agent.hidden": (512, 512, 512), "agent.cql_weight": 5.0, "agent.importance": False, "learner.warmup_steps": 500_000,
}  # fmt: skip
MAZE_CALQL = {
    "agent.hidden": (256,) * 4, "agent.actor_hidden": (256, 256), "agent.cql_weight": 5.0, "agent.lagrange": True,
    "agent.lagrange_gap": 0.8, "agent.lagrange_lr": 3e-4, "agent.initial_multiplier": math.e, "learner.warmup_steps": 1_000_000,
}  # fmt: skip
HANDS_AWAC = {
    "agent.actor_hidden": (), "agent.temperature": 0.5, "agent.advantage_limit": 0.5, "agent.baseline": "mean",
    "agent.clip_target": True, "reward.bias": -1.0, "learner.warmup_steps": 25_000,
}  # fmt: skip
TEN = {"reward.scale": 10.0, "reward.bias": -5.0}  # the scripts' 10 and +5 on their rewards of −1 and 0
IQL = ADAM | PLAIN | {
    "agent.hidden": (256, 256),
    "agent.ensemble": 2,
    "agent.value_lr": 3e-4,
    "agent.batch_size": 256,
    "agent.cosine_decay": True,
    "agent.log_std_min": -5.0,
    "agent.log_std_max": 2.0,
    "agent.weight_limit": 100.0,
    "agent.critic_layer_norm": False,
    "mixing.pooled": True,
    "learner.warmup_steps": 1_000_000,
}  # fmt: skip
AWAC = ADAM | PLAIN | {
    "agent.hidden": (256, 256),
    "agent.ensemble": 2,
    "agent.batch_size": 1_024,
    "agent.weighting": "softmax",
    "agent.actor_l2": 1e-4,
    "agent.log_std_min": -6.0,
    "agent.log_std_max": 0.0,
    "agent.critic_layer_norm": False,
    "mixing.pooled": True,
}  # fmt: skip

FLOW = PLAIN | {
    "agent.hidden": (512,) * 4, "agent.activation": "jax.nn:gelu", "agent.horizon": 5, "agent.flow_steps": 10, "agent.actor_lr": 3e-4,
    "agent.batch_size": 256, "mixing.pooled": True, "reward.discount": 0.99, "learner.warmup_steps": 1_000_000,
}  # fmt: skip
QC = FLOW | {
    "agent.ensemble": 2, "agent.critic_lr": 3e-4, "agent.tau": 0.005, "agent.critic_layer_norm": True, "agent.q_agg": "mean",
    "agent.partial_chunks": False, "reward.bias": -1.0, "learner.frozen_steps": 5_000,
}  # fmt: skip

MODEL = {
    "agent.model_members": 7, "agent.model_elites": 5, "agent.model_activation": "swish", "agent.model_held_out": 10,
    "agent.model_check": 250, "agent.model_patience": 5, "reward.discount": 0.99, "mixing.pooled": True,
}  # fmt: skip
COMBO = SAC | TWO | PLAIN | MODEL | {
    "agent.hidden": (256, 256), "agent.actor_lr": 1e-4, "agent.temperature_lr": 1e-4, "agent.target_entropy_per_dim": -1.0,
    "agent.backup_entropy": False, "agent.actor_q": "min", "agent.critic_layer_norm": False, "agent.utd": 1, "agent.cql_actions": 10,
    "agent.cql_temperature": 1.0, "agent.cql_weight": 0.0, "agent.importance": True, "agent.calibrated": False, "agent.lagrange": False,
    "agent.model_hidden": (200,) * 4, "agent.model_lr": 1e-3, "agent.model_decay": 5e-5, "agent.real_share": 0.05,
    "agent.pressed_on": "mixed", "agent.penalty_samples": 10, "agent.rollout_length": 5, "agent.rollout_share": 0.2,
    "agent.rollout_after": 5_000, "agent.model_rows": 250_000, "learner.warmup_steps": 3_000_000,
}  # fmt: skip
MPC = {
    "agent.hidden": (512, 512), "agent.activation": "mish", "agent.encoder_hidden": (256,), "agent.latent_dim": 512, "agent.simplex": 8,
    "agent.ensemble": 5, "agent.critic_dropout": 0.01, "agent.bins": 101, "agent.bin_limit": 10.0, "agent.predict_end": True,
    "agent.log_std_min": -10.0, "agent.log_std_max": 2.0, "agent.horizon": 3, "agent.iterations": 6, "agent.population": 512,
    "agent.proposals": 24, "agent.elites": 64, "agent.plan_std_min": 0.05, "agent.plan_std_max": 2.0, "agent.plan_temperature": 0.5,
    "agent.batch_size": 256, "agent.actor_lr": 3e-4, "agent.model_lr": 3e-4, "agent.encoder_lr_share": 0.3, "agent.gradient_clip": 20.0,
    "agent.tau": 0.01, "agent.rho": 0.5, "agent.consistency_weight": 20.0, "agent.reward_weight": 0.1, "agent.value_weight": 0.1,
    "agent.end_weight": 1.0, "agent.entropy_weight": 1e-4, "mixing.initial_ratio": 0.5, "mixing.min_ratio": 0.25, "mixing.pooled": False,
    "learner.warmup_steps": 10_000, "learner.frozen_steps": 1_000,
}  # fmt: skip

# Preset, the files of its source, and its settings. `agent.` is both agents' unless `warmup_agent.` says otherwise.
TRANSFORMER = {
    "agent.hidden": (128,) * 4, "agent.heads": 4, "agent.dropout": 0.1, "agent.actor_lr": 6e-4, "agent.weight_decay": 0.1,
    "agent.batch_size": 256, "agent.length": 10, "agent.bins": 100, "agent.spacing": "quantile", "agent.action_weight": 5.0,
    "agent.reward_weight": 1.0, "agent.value_weight": 1.0, "agent.plan_steps": 15, "agent.beams": 128, "agent.expand": 2,
    "agent.action_cut": 0.6, "agent.context": 5, "agent.rising": 0.02, "agent.falling": 0.4, "reward.discount": 0.99,
    "reward.cut_returns": "recorded", "mixing.pooled": True, "learner.warmup_steps": 195_312,
}  # fmt: skip
TABLE = [
    (f"{HOPPER},sac", "sb3: stable_baselines3/sac/sac.py, sac/policies.py, common/off_policy_algorithm.py", SAC | TWO | PLAIN | UNIFORM | {
        "agent.hidden": (256, 256), "agent.utd": 1, "agent.target_entropy_per_dim": -1.0, "agent.backup_entropy": True,
        "agent.actor_q": "min", "agent.critic_layer_norm": False, "agent.log_std_min": -20.0, "agent.log_std_max": 2.0,
        "learner.frozen_steps": 100, "actor.random_steps": 100, "learner.max_utd": 1.0, "replay.capacity": 1_000_000,
        "reward.scale": 1.0, "reward.bias": 0.0, "reward.signal": "environment", "mixing.pooled": True, "actor.swap": "step"}),
    (f"{DOOR},rlpd", "rlpd: README.md (Adroit), configs/rlpd_config.py, train_finetuning.py", SAC | PLAIN | HALF | UNIFORM | {
        "agent.hidden": (256, 256, 256), "agent.ensemble": 10, "agent.target_subset": 2, "agent.utd": 20, "agent.critic_layer_norm": True,
        "agent.target_entropy_per_dim": -0.5, "agent.backup_entropy": False, "agent.actor_q": "mean", "learner.warmup_steps": 0,
        "learner.frozen_steps": 5_000, "actor.random_steps": 5_000, "reward.scale": 1.0, "reward.bias": -1.0}),
    (f"{HOPPER},rlpd", "rlpd: README.md (locomotion), configs/rlpd_config.py", SAC | PLAIN | HALF | UNIFORM | {
        "agent.hidden": (256, 256), "agent.ensemble": 10, "agent.target_subset": 2, "agent.utd": 20, "agent.critic_layer_norm": True,
        "agent.target_entropy_per_dim": -0.5, "agent.backup_entropy": True, "agent.actor_q": "mean", "learner.warmup_steps": 0,
        "learner.frozen_steps": 5_000, "actor.random_steps": 5_000, "reward.scale": 1.0, "reward.bias": 0.0}),
    (f"{MAZE},rlpd", "rlpd: README.md (AntMaze), train_finetuning.py (rewards − 1)", SAC | PLAIN | HALF | UNIFORM | {
        "agent.hidden": (256, 256, 256), "agent.ensemble": 10, "agent.target_subset": 1, "agent.utd": 20, "agent.critic_layer_norm": True,
        "agent.target_entropy_per_dim": -0.5, "agent.backup_entropy": False, "agent.actor_q": "mean", "learner.warmup_steps": 0,
        "learner.frozen_steps": 5_000, "actor.random_steps": 5_000, "reward.bias": -1.0}),
    (f"{CUBE},hilserl", "hil-serl: serl_launcher/utils/launcher.py, examples/experiments/config.py, examples/train_rlpd.py",
        SAC | TWO | HALF | UNIFORM | {
        "agent.hidden": (256, 256), "agent.activation": "tanh", "agent.utd": 2, "agent.critic_layer_norm": True,
        "agent.actor_layer_norm": True, "agent.log_std_min": math.log(1e-5), "agent.log_std_max": math.log(5.0),
        "agent.initial_temperature": 1e-2, "agent.target_entropy_per_dim": -0.5, "agent.backup_entropy": False, "agent.actor_q": "mean",
        "agent.normalise_observations": False, "reward.discount": 0.97, "reward.scale": 1.0, "reward.bias": 0.0,
        "learner.frozen_steps": 100, "learner.publish_every": 50, "actor.random_steps": 0, "frames.random_shift": 4}),
    (f"{DOOR},wsrl", "wsrl: experiments/configs/*.py (adroit_wsrl, adroit_cql), scripts/adroit/*.sh", UNIFORM | WSRL | TEN | {
        "agent.hidden": (512, 512, 512), "agent.actor_hidden": (512, 512), "agent.max_backup": False, "warmup_agent.max_backup": True,
        "warmup_agent.cql_weight": 1.0, "warmup_agent.calibrated": True, "learner.warmup_steps": 20_000}),
    (f"{HOPPER},wsrl", "wsrl: experiments/configs/*.py (locomotion_wsrl, locomotion_cql), scripts/locomotion/*.sh", UNIFORM | WSRL | {
        "agent.hidden": (256, 256), "agent.actor_hidden": (256, 256), "agent.max_backup": False, "warmup_agent.cql_weight": 5.0,
        "warmup_agent.calibrated": False, "reward.scale": 1.0, "reward.bias": 0.0, "learner.warmup_steps": 250_000}),
    (f"{MAZE},wsrl", "wsrl: experiments/configs/*.py (antmaze_wsrl, antmaze_cql), scripts/antmaze/*.sh", UNIFORM | WSRL | TEN | {
        "agent.hidden": (256,) * 4, "agent.actor_hidden": (256, 256), "agent.max_backup": True, "warmup_agent.cql_weight": 5.0,
        "warmup_agent.calibrated": True, "warmup_agent.lagrange": True, "warmup_agent.lagrange_gap": 0.8,
        "warmup_agent.lagrange_lr": 3e-4, "warmup_agent.initial_multiplier": 1.0, "learner.warmup_steps": 1_000_000}),
    (f"{KITCHEN},wsrl", "wsrl: experiments/configs/*.py (kitchen_wsrl, kitchen_cql), scripts/kitchen/*.sh", UNIFORM | WSRL | {
        "agent.hidden": (512, 512, 512), "agent.actor_hidden": (512, 512, 512), "agent.max_backup": False, "warmup_agent.cql_weight": 5.0,
        "warmup_agent.calibrated": True, "warmup_agent.importance": False, "reward.scale": 1.0, "reward.bias": -4.0,
        "learner.warmup_steps": 250_000}),
    (f"{DOOR},calql", "Cal-QL: scripts/run_adroit.sh, JaxCQL/conservative_sac.py, …_main.py", UNIFORM | CALQL | HALF | TEN | {
        "agent.hidden": (512, 512, 512), "agent.actor_hidden": (512, 512), "agent.cql_weight": 1.0, "learner.warmup_steps": 20_000}),
    (f"{MAZE},calql", "Cal-QL: scripts/run_antmaze.sh, JaxCQL/conservative_sac.py", UNIFORM | CALQL | HALF | TEN | MAZE_CALQL),
    (f"{KITCHEN},calql", "Cal-QL's kitchens: scripts/run_kitchen.sh", UNIFORM | CALQL | QUARTER | RAW | KITCHEN_CALQL),
    (f"{HOPPER},calql", "Cal-QL: the defaults of JaxCQL/conservative_sac_main.py; no script is of locomotion", UNIFORM | CALQL | RAW | {
        "agent.hidden": (256, 256), "agent.cql_weight": 5.0, "mixing.pooled": True, "learner.warmup_steps": 1_000_000}),
    (f"{DOOR},cql", "Cal-QL: scripts/run_adroit.sh with --enable_calql=False, its baseline", UNIFORM | CALQL | HALF | TEN | {
        "agent.hidden": (512, 512, 512), "agent.actor_hidden": (512, 512), "agent.cql_weight": 1.0, "agent.calibrated": False,
        "learner.warmup_steps": 20_000}),
    (f"{MAZE},cql", "Cal-QL: scripts/run_antmaze.sh with --enable_calql=False, its baseline (README: Sample Runs)",
        UNIFORM | CALQL | HALF | TEN | MAZE_CALQL | {"agent.calibrated": False}),
    (f"{KITCHEN},cql", "Cal-QL's kitchens: scripts/run_kitchen.sh with --enable_calql=False",
        UNIFORM | CALQL | QUARTER | RAW | KITCHEN_CALQL | {"agent.calibrated": False}),
    (f"{HOPPER},cql", "CQL: README.md, d4rl/examples/cql_mujoco_new.py, d4rl/rlkit/torch/sac/cql.py", UNIFORM | CALQL | HALF | RAW | {
        "agent.hidden": (256, 256, 256), "agent.cql_weight": 5.0, "agent.calibrated": False, "agent.max_backup": False,
        "agent.initial_log_std": 0.0, "agent.clone_updates": 40_000, "agent.lagrange": False, "learner.warmup_steps": 1_000_000}),
    (f"{DOOR},iql", "iql: configs/kitchen_config.py (README: Kitchen and Adroit), learner.py", UNIFORM | IQL | {
        "agent.expectile": 0.7, "agent.inverse_temperature": 0.5, "agent.actor_dropout": 0.1, "agent.return_span": 0.0}),
    (f"{KITCHEN},iql", "iql: configs/kitchen_config.py, train_offline.py (rewards as they are)", UNIFORM | IQL | RAW | {
        "agent.expectile": 0.7, "agent.inverse_temperature": 0.5, "agent.actor_dropout": 0.1}),
    (f"{HOPPER},iql", "iql: configs/mujoco_config.py, train_offline.py (normalize)", UNIFORM | IQL | {
        "agent.expectile": 0.7, "agent.inverse_temperature": 3.0, "agent.actor_dropout": 0.0, "agent.return_span": 1_000.0}),
    (f"{MAZE},iql", "iql: configs/antmaze_config.py, train_offline.py (rewards − 1)", UNIFORM | IQL | {
        "agent.expectile": 0.9, "agent.inverse_temperature": 10.0, "agent.actor_dropout": 0.0, "reward.bias": -1.0}),
    (f"{DOOR},awac", "rlkit: examples/awac/hand/awac1.py, rlkit/torch/sac/awac_trainer.py", UNIFORM | AWAC | HANDS_AWAC),
    (f"{HOPPER},awac", "rlkit: examples/awac/mujoco/awac1.py, rlkit/torch/sac/awac_trainer.py", UNIFORM | AWAC | {
        "agent.actor_hidden": (256,) * 4, "agent.temperature": 2.0, "agent.advantage_limit": 0.0, "agent.baseline": "sample",
        "learner.warmup_steps": 50_000}),
    (f"{HOPPER},td3bc", "TD3_BC: main.py, TD3_BC.py, utils.py", ADAM | UNIFORM | {
        "agent.hidden": (256, 256), "agent.alpha": 2.5, "agent.target_noise": 0.2, "agent.target_noise_clip": 0.5,
        "agent.actor_delay": 2, "agent.batch_size": 256, "agent.normalise_observations": True, "agent.observation_bound": 0.0,
        "agent.exploration_noise": 0.1, "agent.critic_layer_norm": False, "learner.warmup_steps": 1_000_000}),
    (f"{DOOR},bcq", "BCQ: continuous_BCQ/main.py, BCQ.py", PLAIN | UNIFORM | {
        "agent.hidden": (400, 300), "agent.vae_hidden": (750, 750), "agent.actor_lr": 1e-3, "agent.critic_lr": 1e-3,
        "agent.vae_lr": 1e-3, "agent.batch_size": 100, "agent.min_share": 0.75, "agent.perturbation": 0.05, "agent.kl_weight": 0.5,
        "agent.target_proposals": 10, "agent.acting_proposals": 100, "agent.latent_limit": 0.5, "agent.tau": 0.005,
        "agent.critic_layer_norm": False, "reward.discount": 0.99, "learner.warmup_steps": 1_000_000}),
    (f"{DOOR},bc", "the paper (Pomerleau 1991) has no settings: ALGORITHMS' two layers of 256", UNIFORM | {
        "agent.hidden": (256, 256), "agent.actor_lr": 3e-4, "agent.batch_size": 256, "agent.beta": 0.5, "agent.log_std_min": -5.0}),
    (f"{DOOR},hgdagger", "Kelly et al. 2019: all of the aggregated set, and nothing else", UNIFORM | {
        "agent.hidden": (256, 256), "agent.actor_lr": 3e-4, "agent.batch_size": 256, "agent.beta": 0.5, "agent.log_std_min": -5.0,
        "mixing.initial_ratio": 1.0, "mixing.decay": 1.0, "mixing.min_ratio": 1.0}),
    (f"{CUBE},qc", "qc: README.md, main.py, agents/acfql.py (best-of-n)", UNIFORM | QC | {"agent.samples": 32}),
    (f"{CUBE},qc_fql", "qc: README.md, main.py, agents/acfql.py (distill-ddpg)", UNIFORM | QC | {"agent.distillation_weight": 100.0}),
    (f"{HOPPER},dreamer", "dreamerv3: dreamerv3/configs.yaml (dmc_proprio: size1m, train_ratio 1024), agent.py, rssm.py", UNIFORM | {
        "agent.hidden": (64, 64, 64), "agent.groups": 32, "agent.length": 64, "agent.batch_size": 16, "agent.learning_rate": 4e-5,
        "agent.learning_rate_warmup": 1_000, "agent.gradient_ratio": 0.3, "agent.imagined_steps": 15, "agent.trace_decay": 0.95,
        "agent.entropy_weight": 3e-4, "agent.free_nats": 1.0, "agent.representation_weight": 0.1, "agent.replay_value_weight": 0.3,
        "agent.slow_rate": 0.02, "agent.spread_rate": 0.01, "agent.normalise_observations": False, "reward.discount": 1 - 1 / 333,
        "mixing.pooled": True, "learner.max_utd": 1.0, "learner.frozen_steps": 1_024, "frames.random_shift": 0}),
    (f"{CUBE},flow_bc", "qc: agents/acfql.py, its flow alone", UNIFORM | FLOW | {"learner.frozen_steps": 0}),
    (f"{HOPPER},combo", "OfflineRL-Kit: run_example/run_combo.py, offlinerlkit/policy/model_based/combo.py", UNIFORM | COMBO | {
        "agent.hidden": (256, 256, 256), "agent.cql_weight": 1.0, "agent.real_share": 0.5, "agent.penalty": "none",
        "agent.penalty_weight": 1.0, "learner.warmup_steps": 1_000_000}),
    (f"{HOPPER},mopo", "OfflineRL-Kit: run_example/run_mopo.py", UNIFORM | COMBO | {"agent.penalty": "mopo", "agent.penalty_weight": 0.5}),
    (f"{HOPPER},mobile", "OfflineRL-Kit: run_example/run_mobile.py", UNIFORM | COMBO | {
        "agent.penalty": "mobile", "agent.penalty_weight": 1.5, "agent.rollout_length": 1}),
    (f"{HOPPER},pets", "mbrl-lib: mbrl/examples/conf/overrides/pets_halfcheetah.yaml, algorithm/pets.yaml", UNIFORM | MODEL | {
        "agent.hidden": (200,) * 4, "agent.model_lr": 2e-4, "agent.model_decay": 3e-5, "agent.batch_size": 32, "agent.utd": 8,
        "agent.plan_horizon": 30, "agent.plan_samples": 350, "agent.plan_elites": 35, "agent.plan_iterations": 5,
        "agent.plan_momentum": 0.1, "agent.plan_particles": 4, "agent.plan_colour": 0.0, "agent.plan_kept": 0.0,
        "learner.warmup_steps": 0, "learner.frozen_steps": 1_000, "actor.random_steps": 1_000}),
    (f"{HOPPER},trajectory_transformer", "trajectory-transformer: config/offline.py (base), scripts/train.py, scripts/plan.py",
        UNIFORM | TRANSFORMER),
    (f"{CUBE},mpc", "tdmpc2: config.yaml, tdmpc2.py, common/world_model.py", UNIFORM | MPC | {
        "agent.bc_weight": 1.0, "reward.scale": 10.0, "reward.bias": 0.0}),
]  # fmt: skip

# Kinds of tasks for which the authors published nothing: the row whose settings they have, and what is different. Ours, not a paper's.
FOLLOWS = [
    ("sac", HOPPER, ("dexterous", "kitchen", "maze", "manipulation"), {}),
    ("rlpd", DOOR, ("manipulation",), {"agent.hidden": (256, 256)}),  # the widths of configs/rlpd_config.py
    ("rlpd", DOOR, ("kitchen",), {"agent.hidden": (256, 256), "reward.bias": 0.0}),
    ("hilserl", CUBE, ("dexterous", "kitchen", "maze", "locomotion"), {}),
    ("wsrl", DOOR, ("manipulation",), {}),
    ("calql", DOOR, ("manipulation",), {}),
    ("cql", DOOR, ("manipulation",), {}),
    ("iql", DOOR, ("manipulation",), {}),
    ("awac", DOOR, ("maze", "manipulation"), {}),
    ("awac", DOOR, ("kitchen",), {"agent.clip_target": False, "reward.bias": 0.0}),  # returns of stages have other bounds
    ("td3bc", HOPPER, ("dexterous", "kitchen", "maze", "manipulation"), {}),
    ("bcq", DOOR, ("kitchen", "maze", "manipulation", "locomotion"), {}),
    ("bc", DOOR, ("kitchen", "maze", "manipulation", "locomotion"), {}),
    ("hgdagger", DOOR, ("kitchen", "maze", "manipulation", "locomotion"), {}),
    ("qc", CUBE, ("dexterous", "maze"), {}),
    ("qc", CUBE, ("kitchen", "locomotion"), {"reward.bias": 0.0}),
    ("qc_fql", CUBE, ("dexterous", "maze"), {}),
    ("qc_fql", CUBE, ("kitchen", "locomotion"), {"reward.bias": 0.0}),
    *((name, HOPPER, ("dexterous", "kitchen", "maze", "manipulation"), {}) for name in ("combo", "mopo", "mobile", "pets")),
    ("dreamer", HOPPER, ("dexterous", "kitchen", "maze", "manipulation"), {}),
    ("flow_bc", CUBE, ("dexterous", "kitchen", "maze", "locomotion"), {}),
    ("trajectory_transformer", HOPPER, ("dexterous", "maze", "manipulation"), {"agent.spacing": "uniform"}),  # rewards of 0 and 1
    ("trajectory_transformer", HOPPER, ("kitchen",), {}),
    ("mpc", CUBE, ("dexterous", "maze"), {}),
    ("mpc", CUBE, ("kitchen", "locomotion"), {"agent.bc_weight": 0.0, "reward.scale": 1.0}),
]
ROWS = {preset: settings for preset, _, settings in TABLE}
UNPUBLISHED = [
    (f"{TASKS[kind]},{name}", f"as {task}", ROWS[f"{task},{name}"] | changed) for name, task, kinds, changed in FOLLOWS for kind in kinds
]
TASKS_OWN = ("reward.signal", "replay.capacity")  # named by the row of `sac`, whose task has them

# What is not as in the source, and why. No row above states these.
DIFFERS = {
    "sac": "Weights go to the actor every 10 updates, not every one: serialising them at each would halve the speed.",
    "rlpd": "The pool has the task's capacity: it never holds fewer rows than a run's steps, or pictures take the memory.",
    "hilserl": "The encoder of pictures is the task's: a ResNet-10 needs its published weights (`vision.weights`).",
    "wsrl": "The subset of target critics is drawn without replacement, as REDQ says; AntMaze's deviation depends on the state, as all "
    "policies' here, so that one hands over to another; the conservative term is the mean over all critics and not over two.",
    "calql": "Layers begin by Glorot's rule and not orthogonal; the deviation's learnt offset is the bias of its head.",
    "cql": "In mazes it is the baseline of Cal-QL's script, not CQL's own of 2020, which has no online phase (three layers, rewards of "
    "−2 and 2, a Lagrange gap of 5). As Cal-QL's; its two critics' maxima are taken of their minimum, which the script leaves off anyhow.",
    "iql": "The head of the policy begins small as here everywhere; its log deviation has no scale of 1e-3.",
    "awac": "Q is not cut at 0 by the network, where no gradient passes, but its target is; a success ends the episode as the task says.",
    "td3bc": "Its paper has no online phase.",
    "bcq": "Its paper has no online phase.",
    "bc": "β-NLL holds back the gradients of a small deviation (docs/results.md).",
    "hgdagger": "As bc.",
    "qc": "Critics have LayerNorm before the activation and not after it.",
    "qc_fql": "As qc.",
    "combo": "c is 1 and not 0.5 to 5: the source takes its soft maximum over 3 of the 30 actions at a time. The policy's step size stays "
    "constant. Ends of episodes are learnt, where the source has a rule for each task. Rollouts begin at every update, 52 of them in "
    "place of 50,000 every 1,000 updates, and the newest 250,000 of their rows are kept, a fifth, since they lie in the checkpoint. The "
    "model's decay is one for all layers. Its paper has no online phase.",
    "mopo": "As combo.",
    "mobile": "As combo; targets are not held above 0, which is for rewards that are never negative.",
    "pets": "The model learns by 8 steps for each step of the environment, and not by up to 25 passes every 1,000 steps; a tenth of the "
    "rows is held out; no input is left out; bounds of the variance are learnt, as in the paper; the newest model plans at once.",
    "mpc": "The warm-up, mixed batches and, for sparse success, the cloning term and the reward of 10 serve demonstrations, as in MoDem; "
    "observations are normalised; episodes may end; the entropy is that of squashed actions; a plan's last value is of the policy's mode "
    "and all critics; without exploration it acts by the plan's mean; a stretch that an end cuts short is learnt from, too.",
    "dreamer": "A window begins with a state of zeros and not with a stored one, and ends with its episode; there is no queue of the "
    "newest rows; numbers are float32; acting without chance takes modes, where the code always samples. Its paper has no offline phase.",
    "flow_bc": "It clones offline rows and interventions, and not the policy's own rows.",
    "trajectory_transformer": "Terminal rewards are not replaced by −100. The step size stays at a tenth once it has fallen so far, where "
    "the authors' rises again. The context's rewards are those that the model expected. A plan counts once in the beam. Its paper has "
    "no online phase. Of single data sets' own numbers only HalfCheetah's shorter plans are here.",
}
# Options that no paper has, and where they are off; settings that mean nothing with others, whatever they are.
OFF = {
    "actor_hidden": (), "actor_tau": 1.0, "actor_dropout": 0.0, "critic_dropout": 0.0, "weight_decay": 0.0, "observation_noise": 0.0,
    "bc_weight": 0.0, "bc_decay": 1.0, "bc_reduction": "mean", "self_imitation": False, "monte_carlo_target": False, "clip_target": False,
    "max_backup": False, "backup_actions": 10, "actor_on_block": False, "clone_updates": 0, "initial_log_std": 0.0, "lagrange": False,
    "lagrange_gap": 1.0, "lagrange_lr": 3e-4, "initial_multiplier": 1.0, "importance": True, "log_std_min": -20.0, "log_std_max": 2.0,
    "normalise_rewards": False, "return_span": 0.0, "activation": "relu", "utd": 1, "actor_layer_norm": False, "deterministic": False,
    "weight_limit": 100.0, "ensemble": 2, "normalise_observations": True, "exploration_noise": 0.1,
    "observation_floor": 0.0, "actor_network": "", "n_step": 1, "execute": 0, "candidates": 1, "normalise_q": False,
    "critic_loss": "mse", "critic_bins": 51, "critic_sigma": 0.75, "unit_rows": False,
    "clone_share": 0.2, "uncertainty_weight": 0.0, "act_by": "plan",
}  # fmt: skip
IGNORED = ("vision", "observation_bound")


def config_of(preset: str) -> RunConfig:
    """The configuration; of an environment's id where it is no file."""
    if ".py" in preset:
        return load(preset)
    name, algorithm = preset.split(",")
    reward = RewardConfig(signal="environment" if name == KITCHEN else "success")  # a kitchen's is the number of its stages
    return apply(RunConfig(EnvironmentConfig(name), reward), [algorithm])


def at(config: RunConfig, path: str):
    section, name = path.split(".")
    part = getattr(config, section)
    return getattr(part.settings if section in BOTH else part, name)


ALL = TABLE + UNPUBLISHED
each = pytest.mark.parametrize(("preset", "source", "settings"), ALL, ids=[row[0] for row in ALL])


@each
def test_a_preset_with_a_papers_name_has_every_published_setting(preset, source, settings):
    config, wrong = config_of(preset), {}
    for path, published in settings.items():
        found = at(config, path)
        if (preset in ROWS or path not in TASKS_OWN) and found != (pytest.approx(published) if isinstance(published, float) else published):
            wrong[path] = (found, published)
    assert not wrong, f"{preset}, by {SOURCES.get(source.partition(':')[0], '')} {source}: here, published: {wrong}"


@each
def test_a_setting_that_no_row_names_is_off_in_both_agents(preset, source, settings):
    config, unnamed = config_of(preset), {}
    for section in BOTH:
        for field in dataclasses.fields(at_all(config, section)):
            named = f"{section}.{field.name}" in settings or f"agent.{field.name}" in settings
            value = getattr(at_all(config, section), field.name)
            if not named and field.name not in IGNORED and (field.name not in OFF or OFF[field.name] != value):
                unnamed[f"{section}.{field.name}"] = value
    assert not unnamed


def at_all(config: RunConfig, section: str):
    return getattr(config, section).settings


@pytest.mark.parametrize("preset", [row[0] for row in ALL if not row[0].endswith("wsrl")])
def test_offline_and_online_agents_are_one_but_for_wsrls(preset):
    config = config_of(preset)
    assert config.agent == config.warmup_agent


def test_every_published_preset_is_in_the_table_and_says_what_differs():
    listed = {row[0].rpartition(",")[2] for row in TABLE}
    assert listed == set(PUBLISHED) == set(DIFFERS)
    assert not set(PUBLISHED) & set(OWN)


def test_every_published_preset_has_a_row_for_each_kind_of_task_or_says_which_it_follows():
    listed = [preset for preset, _, _ in ALL]
    assert sorted(listed) == sorted(f"{task},{name}" for task in TASKS.values() for name in PUBLISHED)
    assert {kind(config_of(f"{task},sac")): task for task in TASKS.values()} == TASKS
    sources = {source.partition(":")[0] for _, source, _ in TABLE}
    assert set(SOURCES) <= sources, "each repository is of a row"
