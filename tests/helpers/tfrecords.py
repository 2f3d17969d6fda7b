"""TFRecord files with episodes of the RLDS fixture, changed."""

import json
import shutil
import struct
from pathlib import Path

import google_crc32c

from warmloop.data.formats.rlds.tfrecord import EXAMPLE, records

SOURCE = Path(__file__).resolve().parents[1] / "fixtures" / "rlds-counting" / "1.0.0"
TRAIN = "rlds-counting-train.tfrecord-00000-of-00001"


def framed(data):
    """A record as a file has it."""
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def masked(data):
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32)


def copy(folder):
    """A copy of the data set in `folder`, and its first file: episodes 0 and 1."""
    shutil.copytree(SOURCE, folder, dirs_exist_ok=True)
    return folder / TRAIN


def examples(file):
    return [EXAMPLE.FromString(record) for record in records(file)]


def save(file, parsed):
    file.write_bytes(b"".join(framed(example.SerializeToString()) for example in parsed))


def feature(example, key):
    """The values under `key`, to be changed in place."""
    value = next(entry.value for entry in example.features.feature if entry.key == key)
    return getattr(value, value.WhichOneof("kind")).value


def remove(example, key):
    kept = [entry for entry in example.features.feature if entry.key != key]
    del example.features.feature[:]
    example.features.feature.extend(kept)


def replace(example, key, kind, values):
    remove(example, key)
    added = example.features.feature.add(key=key)
    getattr(added.value, kind).value.extend(values)


def redescribe(folder, name, change):
    """Changes the JSON file `name` by a function of what it holds."""
    described = json.loads((folder / name).read_text())
    change(described)
    (folder / name).write_text(json.dumps(described))


def step_features(described):
    """The features of a step, in what features.json holds."""
    return described["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
