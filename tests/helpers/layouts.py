"""Episodes written in the layouts that other projects publish, without those projects."""

import json
import pickle

import buffers
import h5py
import numpy as np
import tfrecords

from warmloop.data.formats.recordings.recording import named


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


def write_dapg(path, episodes):
    keys = ("observations", "actions", "rewards")
    paths = [{name: arrays(e)[name] for name in keys} | {"env_infos": {}, "terminated": bool(e.steps.mask[-1] == 0)} for e in episodes]
    path.write_bytes(pickle.dumps(paths, 3))
    return path


def write_sb3(path, episodes):
    """One environment's rows in a ring that they fill, in place of those of a buffer that Stable-Baselines3 saved."""
    columns = joined(episodes, following=True)
    columns |= {"dones": columns.pop("terminals") | columns["timeouts"]}

    def change(state):
        for name, column in columns.items():
            state[name] = (column if column.dtype != bool else column.astype(np.float32))[:, None]
        state |= {"pos": 0, "full": True, "n_envs": 1, "buffer_size": len(columns["rewards"])}

    path.mkdir()
    return buffers.rewritten(path, "sb3-ring.pkl", change)


def write_rlds(path, episodes):
    """A data set of one file; an episode's last step holds its last observation, and zeros elsewhere."""

    def tensor(dtype, *shape):
        described = {"dtype": dtype, "encoding": "none", "shape": {"dimensions": [str(size) for size in shape]} if shape else {}}
        return {"pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor", "tensor": described}

    tfrecords.copy(path)
    steps = episodes[0].steps
    shapes = {"action": steps.action.shape[1:], "observation": steps.observation.shape[1:], "reward": (), "discount": ()}
    features = {name: tensor("float32", *shape) for name, shape in shapes.items()}
    features |= {name: tensor("bool") for name in ("is_first", "is_last", "is_terminal")}
    described = json.loads((path / "features.json").read_text())
    tfrecords.step_features(described).clear()
    tfrecords.step_features(described).update(features)
    (path / "features.json").write_text(json.dumps(described))

    def shards(info):
        info["splits"] = [info["splits"][0] | {"shardLengths": [str(len(episodes))]}]

    tfrecords.redescribe(path, "dataset_info.json", shards)
    tfrecords.save(path / tfrecords.TRAIN, [_example(e.steps) for e in episodes])
    return path


def _example(steps):
    example, count = tfrecords.EXAMPLE(), len(steps.reward)
    index, over = np.arange(count + 1), bool(steps.mask[-1] == 0)
    floats = {
        "observation": np.concatenate([steps.observation, steps.next_observation[-1:]]),
        "action": np.concatenate([steps.action, np.zeros_like(steps.action[:1])]),
        "reward": np.append(steps.reward, 0),
        "discount": np.append(steps.mask, 0),
    }
    flags = {"is_first": index == 0, "is_last": index == count, "is_terminal": (index == count) & over}
    for kind, columns in (("float_list", floats), ("int64_list", flags)):
        for name, column in columns.items():
            tfrecords.replace(example, f"steps/{name}", kind, (column.ravel() * 1).tolist())
    return example
