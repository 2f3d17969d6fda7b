"""Loads a data set with LeRobot's own loader and recorder; run by an interpreter that has lerobot, which warmloop's need not have.

    python lerobot_check.py DATASET FRAMES.npz

FRAMES.npz holds what each feature of the frames should be, as LeRobot hands it over. The statistics in the data set must be those
that LeRobot computes from its frames, and LeRobot must be able to record a further episode into it.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from lerobot.datasets.compute_stats import aggregate_stats, compute_episode_stats
from lerobot.datasets.lerobot_dataset import LeRobotDataset

BINS = 5000  # of LeRobot's histograms, within one of which it estimates a quantile


def main(root: Path, expected: dict[str, np.ndarray]) -> None:
    dataset = LeRobotDataset("warmloop/checked", root=root)
    items = [dataset[index] for index in range(len(dataset))]
    for key, values in expected.items():
        if key == "task":
            assert [item["task"] for item in items] == values.tolist()
        else:
            found = np.stack([item[key].numpy() for item in items])
            assert found.shape == values.shape, (key, found.shape, values.shape)
            assert np.allclose(found, values, atol=1e-6), key
    check_statistics(dataset)
    record_one_more(dataset)
    print("checked", len(items), "frames")


def check_statistics(dataset: LeRobotDataset) -> None:
    """LeRobot's own functions over the frames give what meta/stats.json says."""
    episodes = [of_episode(dataset, row["dataset_from_index"], row["dataset_to_index"]) for row in dataset.meta.episodes]
    for key, theirs in aggregate_stats(episodes).items():
        ours = json.loads((dataset.root / "meta/stats.json").read_text())[key]
        width = (theirs["max"] - 1.0 * theirs["min"]).max() / BINS
        squared = dataset.features[key]["dtype"] not in ("image", "uint8")  # LeRobot squares bytes as bytes, which overflows
        for name, value in theirs.items() if squared else ((name, theirs[name]) for name in theirs.keys() - {"std"}):
            close = 1.01 * width if name.startswith("q") else 1e-5
            assert np.shape(ours[name]) == value.shape, (key, name, np.shape(ours[name]), value.shape)
            assert np.allclose(ours[name], value, rtol=1e-4, atol=close + 1e-5), (key, name, ours[name], value)


def of_episode(dataset: LeRobotDataset, low: int, high: int) -> dict:
    """LeRobot's statistics of one episode; of images, by way of files, as LeRobot's recorder does."""
    columns = dataset.hf_dataset.with_format(None)[low:high]
    with tempfile.TemporaryDirectory() as folder:
        for key in dataset.meta.image_keys:
            paths = [Path(folder) / f"{key}-{index}.png" for index in range(high - low)]
            for path, pixels in zip(paths, columns[key], strict=True):
                pixels.save(path)
            columns[key] = [str(path) for path in paths]
        columns |= {key: np.array(column) for key, column in columns.items() if key not in dataset.meta.image_keys}
        return compute_episode_stats(columns, dataset.features)


def record_one_more(dataset: LeRobotDataset) -> None:
    before = len(dataset), dataset.meta.total_episodes
    for step in range(3):
        frame = {
            key: np.zeros(feature["shape"], np.uint8 if feature["dtype"] == "image" else feature["dtype"])
            for key, feature in dataset.features.items()
            if key not in ("timestamp", "frame_index", "episode_index", "index", "task_index")
        }
        dataset.add_frame(frame | {"task": f"one more {step // 3}"})
    dataset.save_episode()
    dataset.finalize()
    again = LeRobotDataset("warmloop/checked", root=dataset.root)
    assert (len(again), again.meta.total_episodes) == (before[0] + 3, before[1] + 1)
    assert again[len(again) - 1]["task"] == "one more 0"


if __name__ == "__main__":
    with np.load(sys.argv[2]) as archive:
        main(Path(sys.argv[1]), dict(archive))
