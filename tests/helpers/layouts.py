"""Episodes written in the layouts that other projects publish, by h5py and NumPy alone."""

import h5py
import numpy as np

from warmloop.data.formats.recording import named


def arrays(e, following=True):
    """An episode's arrays under D4RL's names."""
    steps = e.steps
    observations = named("observations", steps.observation) | (named("next_observations", steps.next_observation) if following else {})
    return observations | {"actions": steps.action, "rewards": steps.reward, "terminals": steps.mask == 0, "timeouts": steps.truncated}


def joined(episodes, following):
    parts = [arrays(e, following) for e in episodes]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def write_d4rl(path, episodes, following=True):
    with h5py.File(path, "w") as file:
        for name, array in joined(episodes, following).items():
            file[name] = array
    return path


def write_robomimic(path, episodes, following=True):
    names = {"observations": "obs", "next_observations": "next_obs", "terminals": "dones"}
    with h5py.File(path, "w") as file:
        for number, e in enumerate(episodes):
            for name, array in arrays(e, following).items():
                head, slash, leaf = name.partition("/")
                file[f"data/demo_{number}/{names.get(head, head)}{slash}{leaf}"] = array
    return path


def write_d3rlpy(path, episodes):
    with h5py.File(path, "w") as file:
        file["columns"] = ["observations", "actions", "rewards", "terminated"]
        file["num_episodes"], file["version"] = len(episodes), "2.1"
        for number, e in enumerate(episodes):
            part = arrays(e)
            file[f"terminated_{number}"] = bool(part["terminals"][-1])
            file[f"rewards_{number}"] = part["rewards"][:, None]
            for name in ("observations", "actions"):
                file[f"{name}_{number}"] = part[name]
    return path


def write_npz(path, episodes, following=True):
    np.savez(path, **joined(episodes, following))
    return path
