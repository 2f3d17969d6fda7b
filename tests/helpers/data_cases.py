"""Small data sets of layouts that people have, and what is true of each (`truth.json`): `python data_cases.py OUT`."""

import json
import pickle
import sys
from pathlib import Path

import h5py
import numpy as np

EPISODES, STEPS = 6, 50


def trajectories(rng):
    """Six episodes of 50 steps; every other one reaches its goal at the last step, the rest run into the time limit."""
    paths = [np.cumsum(rng.normal(size=(STEPS + 1, 3)) * 0.1, axis=0).astype(np.float32) for _ in range(EPISODES)]
    actions = rng.uniform(-1, 1, (EPISODES * STEPS, 2)).astype(np.float32)
    rewards, masks, ends = (np.zeros((EPISODES, STEPS), np.float32) for _ in range(3))
    rewards[::2, -1], masks[:], masks[::2, -1], ends[:, -1] = 1, 1, 0, 1
    observation = np.concatenate([path[:-1] for path in paths])
    following = np.concatenate([path[1:] for path in paths])
    return observation, actions, rewards.ravel(), following, masks.ravel(), ends.ravel()


def main(out):
    out.mkdir(parents=True, exist_ok=True)
    rng, truth = np.random.default_rng(0), {}
    o, a, r, n, m, e = trajectories(rng)
    flat = {"observations": o, "actions": a, "rewards": r}

    # RLPD's and IQL's names: `masks` is 0 at the goal alone, `dones_float` or `dones` ends a trajectory.
    np.savez(out / "masks_dones_float.npz", **flat, next_observations=n, masks=m, dones_float=e)
    np.savez(out / "masks_dones.npz", **flat, next_observations=n, masks=m, dones=e.astype(bool))
    truth["masks_dones_float.npz"] = truth["masks_dones.npz"] = {"episodes": 6, "terminal_rows": 3, "truncated_rows": 3}
    # Gymnasium's names.
    np.savez(out / "gymnasium_names.npz", **flat, next_observations=n, terminations=m == 0, truncations=(m == 1) & (e == 1))
    truth["gymnasium_names.npz"] = {"episodes": 6, "terminal_rows": 3, "truncated_rows": 3}
    # CleanRL's: no next observation, and `dones` alone tells the ends; nothing says which of them were time limits.
    np.savez(out / "dones_only.npz", **flat, dones=e.astype(bool))
    truth["dones_only.npz"] = {"episodes": 6, "or": "refused with a sentence that names dones"}

    # D4RL's AntMaze: the goal's flag stays 1 from the goal on; `timeouts` alone ends a trajectory.
    with h5py.File(out / "antmaze_like.hdf5", "w") as file:
        reached = np.zeros((10, 100), np.float32)
        reached[::2, 80:] = 1
        limits = np.zeros((10, 100), bool)
        limits[:, -1] = True
        path = np.concatenate([np.cumsum(rng.normal(size=(100, 4)) * 0.1, 0) for _ in range(10)]).astype(np.float32)
        file["observations"], file["actions"] = path, rng.uniform(-1, 1, (1000, 2)).astype(np.float32)
        file["rewards"], file["terminals"], file["timeouts"] = reached.ravel(), reached.ravel() > 0, limits.ravel()
    truth["antmaze_like.hdf5"] = {"episodes": 10, "successful": 5}

    # robomimic without next observations: the last row of a demonstration has none, and `dones` is 1 there.
    with h5py.File(out / "robomimic_without_next.hdf5", "w") as file:
        for number in range(4):
            demo = file.create_group(f"data/demo_{number}")
            demo["obs/state"] = np.cumsum(rng.normal(size=(20, 5)) * 0.1, 0).astype(np.float32)
            demo["actions"] = rng.uniform(-1, 1, (20, 2)).astype(np.float32)
            demo["rewards"], demo["dones"] = (np.eye(20, dtype=np.float32)[-1] for _ in range(2))
            demo.attrs["num_samples"] = 20
    truth["robomimic_without_next.hdf5"] = {"never": "mask 1 with next_observation equal to observation, read or after --fix"}

    # HIL-SERL's list of dicts: sparse reward, masks all 1, no word of success in infos; and the penalty in infos.
    rows = []
    for number in range(4):
        for step in range(20):
            last = step == 19
            before, after = ({"state": np.full((1, 5), 0.1 * k + number, np.float32)} for k in (step, step + 1))
            rows.append(
                {
                    "observations": before,
                    "actions": np.full(2, 0.5, np.float32),
                    "next_observations": after,
                    "rewards": float(last and number < 3),
                    "masks": 1.0,
                    "dones": last,
                    "infos": {"grasp_penalty": -0.02 * (step == 3)},
                }
            )
    (out / "sparse_without_flag.pkl").write_bytes(pickle.dumps(rows))
    truth["sparse_without_flag.pkl"] = {"episodes": 4, "successful": 3, "grasp_penalty_kept": True}
    (out / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "cases"))
