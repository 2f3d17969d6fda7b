"""Small recordings as Isaac Lab's and ALOHA's own recorders lay them out, without those projects."""

import io
import json

import h5py
import numpy as np
from PIL import Image

LENGTHS = (4, 5, 3)


def write_isaac(path, success=(True, False, True), flat=False, mimic=True):
    """`HDF5DatasetFileHandler.write_episode` of demonstrations of LENGTHS; `success` None leaves the attribute out."""
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Isaac-Stack-Cube-Franka-IK-Rel-v0", "type": 2})
        data.attrs["total"] = sum(LENGTHS)
        for number, (length, won) in enumerate(zip(LENGTHS, success, strict=True)):
            demo = data.create_group(f"demo_{number}")
            demo.attrs["num_samples"], demo.attrs["seed"] = length, number
            if won is not None:
                demo.attrs["success"] = won
            pose = np.cumsum(rng.normal(size=(length, 7)), 0).astype(np.float32)
            arrays = {"actions": rng.uniform(-1, 1, (length, 7)).astype(np.float32), "processed_actions": pose}
            arrays |= (
                {"obs": pose} if flat else {"obs/eef_pos": pose[:, :3], "obs/table_cam": rng.integers(0, 255, (length, 8, 8, 3), np.uint8)}
            )
            arrays |= {"initial_state/articulation/robot/joint_position": pose[:1], "states/articulation/robot/joint_position": pose}
            if mimic and not flat:
                arrays["obs/datagen_info/object_pose/cube_1"] = rng.normal(size=(length, 4, 4)).astype(np.float32)
            for name, array in arrays.items():
                demo.create_dataset(name, data=array, compression="gzip")
    return path


def write_aloha(folder, compressed=False, lengths=LENGTHS):
    """`episode_N.hdf5` of two arms' joints and one camera, whose picture of a step is one colour."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for number, length in enumerate(lengths):
        pictures = (
            np.zeros((length, 16, 24, 3), np.uint8)
            + np.arange(length, dtype=np.uint8)[:, None, None, None] * 10
            + np.array([90, 60, 30], np.uint8)
        )
        with h5py.File(folder / f"episode_{number}.hdf5", "w") as file:
            file.attrs["sim"] = False
            file["action"] = rng.uniform(-1, 1, (length, 14)).astype(np.float32)
            for name in ("qpos", "qvel", "effort"):
                file[f"observations/{name}"] = rng.normal(size=(length, 14)).astype(np.float32)
            file["base_action"] = np.zeros((length, 2), np.float32)
            if compressed:
                file.attrs["compress"] = True
                file["compress_len"] = _fill(file, pictures)
            else:
                file.create_dataset("observations/images/cam_high", data=pictures, chunks=(1, 16, 24, 3))
    return folder


def _fill(file, pictures):
    """Stores pictures as JPEG, filled up with zeros to one length; returns their own lengths."""
    encoded = []
    for picture in pictures:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=95)
        encoded.append(np.frombuffer(buffer.getvalue(), np.uint8))
    longest = max(map(len, encoded))
    file["observations/images/cam_high"] = np.stack([np.pad(one, (0, longest - len(one))) for one in encoded])
    return np.array([[len(one) for one in encoded]], np.float32)
