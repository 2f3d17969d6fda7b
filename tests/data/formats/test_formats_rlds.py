"""RLDS: what its definition makes of an episode's steps, and one sentence for each kind of broken record."""

import io
import json
import struct
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import tfrecords
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, rlds
from warmloop.data.formats.rlds.tfrecord import records


def refusal(origin):
    with pytest.raises(WarmloopError) as caught:
        load_episodes(origin)
    sentence = str(caught.value)
    assert str(origin).partition("::")[0] in sentence and sentence.endswith((".", "?")) and "\n" not in sentence
    return sentence


@pytest.fixture
def changed(tmp_path):
    """The data set with episode 1 changed."""

    def change(function):
        file = tfrecords.copy(tmp_path / "set")
        parsed = tfrecords.examples(file)
        function(parsed[1])
        tfrecords.save(file, parsed)
        return tmp_path / "set"

    return change


def test_l_steps_are_one_transition_less_and_the_last_step_s_action_and_reward_are_not_read():
    for e, steps in zip(load_episodes(tfrecords.SOURCE), (6, 5, 4), strict=True):
        assert len(e) == steps - 1
        assert np.abs(e.steps.action).max() <= 1 and np.abs(e.steps.reward).max() < 3, "9 in the last step"
        assert e.steps.next_observation["robot.state"][-1, 1] == steps - 1, "the last step's observation"


def test_the_last_step_tells_a_termination_from_a_truncation(changed):
    assert [e.steps.mask[-1] for e in load_episodes(tfrecords.SOURCE)] == [1, 0, 1]
    folder = changed(lambda e: tfrecords.feature(e, "steps/is_terminal").__setitem__(-1, 0))
    assert [(e.steps.mask[-1], e.steps.truncated[-1]) for e in load_episodes(folder)] == [(1, True)] * 3


def test_a_recording_that_was_cut_ends_with_the_last_step_that_it_has(changed):
    def cut(example):
        for name in ("is_last", "is_terminal"):
            tfrecords.feature(example, f"steps/{name}")[-1] = 0

    assert [len(e) for e in load_episodes(changed(cut))] == [5, 4, 3]


def test_an_action_s_arrays_are_side_by_side_in_alphabetical_order():
    parsed = tfrecords.examples(tfrecords.SOURCE / tfrecords.TRAIN)[0]
    expected = np.stack([tfrecords.feature(parsed, f"steps/action/{name}") for name in ("arm", "gripper")], axis=1)[:-1]
    assert np.array_equal(load_episodes(tfrecords.SOURCE)[0].steps.action, expected.astype(np.float32))


def test_instructions_are_tasks_and_packed_numbers_are_unpacked():
    episodes = load_episodes(tfrecords.SOURCE)
    assert [e.task for e in episodes] == ["count to 5", "count to 4", "count to 3"]
    for e in episodes:
        assert np.array_equal(e.steps.observation["packed"], e.steps.observation["robot.state"][:, :2])


def test_a_single_step_is_no_transition_and_later_episodes_keep_their_numbers(tmp_path):
    file = tfrecords.copy(tmp_path)
    parsed = tfrecords.examples(file)
    for entry in parsed[0].features.feature:
        values = getattr(entry.value, entry.value.WhichOneof("kind")).value
        if entry.key.startswith("steps/"):
            del values[: -(len(values) // 6)]
    tfrecords.save(file, parsed)
    assert [(e.number, len(e)) for e in load_episodes(tmp_path)] == [(1, 4), (2, 3)]


def test_a_success_flag_of_the_steps_is_read_where_there_is_one(tmp_path):
    file = tfrecords.copy(tmp_path)
    tfrecords.redescribe(
        tmp_path, "features.json", lambda d: tfrecords.step_features(d).update(success=tfrecords.step_features(d)["is_last"])
    )
    parsed = tfrecords.examples(file)
    for count, example in zip((6, 5), parsed, strict=True):
        tfrecords.replace(example, "steps/success", "int64_list", [0] * (count - 2) + [1, 0])
    tfrecords.save(file, parsed)
    assert [np.flatnonzero(e.success).tolist() for e in load_episodes(f"{tmp_path}::train")] == [[4], [3]]


def test_a_jpeg_is_decoded_as_pillow_does(changed):
    frames = [np.full((8, 8, 3), 30 * n, np.uint8) for n in range(5)]
    encoded = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG")
        encoded.append(buffer.getvalue())
    folder = changed(lambda e: tfrecords.replace(e, "steps/observation/image", "bytes_list", encoded))
    assert np.array_equal(load_episodes(folder)[1].steps.observation["image"], np.stack(frames[:-1]))


def test_one_file_is_read_by_itself_with_the_description_beside_it(tmp_path):
    file = tfrecords.copy(tmp_path)
    assert [len(e) for e in load_episodes(file)] == [5, 4]
    (tmp_path / "features.json").unlink()
    assert "there is no features.json beside its records" in refusal(file)


def test_the_files_of_a_split_are_read_in_their_order(tmp_path):
    file = tfrecords.copy(tmp_path)
    for index, example in enumerate(reversed(tfrecords.examples(file))):
        tfrecords.save(tmp_path / f"rlds-counting-train.tfrecord-0000{index}-of-00002", [example])
    tfrecords.redescribe(tmp_path, "dataset_info.json", lambda d: d["splits"][0].update(shardLengths=["1", "1"]))
    assert [(e.number, len(e)) for e in load_episodes(f"{tmp_path}::train")] == [(0, 4), (1, 5)]


def test_episodes_are_read_one_at_a_time(tmp_path):
    file = tfrecords.copy(tmp_path)
    example = tfrecords.examples(file)[0]
    steps = 100
    for entry in example.features.feature:
        values = getattr(entry.value, entry.value.WhichOneof("kind")).value
        if entry.key.startswith("steps/"):
            middle = list(values)[len(values) // 6 : len(values) // 3]
            last = list(values)[-(len(values) // 6) :]
            del values[len(values) // 6 :]
            values.extend(middle * (steps - 2) + last)
    record = tfrecords.framed(example.SerializeToString())
    peaks = []
    for count in (3, 15):
        file.write_bytes(record * count)
        tracemalloc.start()
        read = (make() for _, make in rlds._attempts(str(file)))
        assert [part and len(part.columns["actions"]) for part in read] == [steps - 1] * count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def empty(example):
    for entry in example.features.feature:
        del getattr(entry.value, entry.value.WhichOneof("kind")).value[:]


def picture(size):
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "PNG")
    return buffer.getvalue()


BROKEN = [
    (lambda e: tfrecords.remove(e, "steps/reward"), "there is no `steps/reward`, which features.json promises"),
    (lambda e: tfrecords.remove(e, "steps/is_last"), "there is no `steps/is_last`"),
    (lambda e: tfrecords.remove(e, "steps/language_instruction"), "there is no `steps/language_instruction`"),
    (lambda e: tfrecords.feature(e, "steps/reward").pop(), "`steps/reward` has 4 numbers; 5 steps of shape () are needed"),
    (lambda e: tfrecords.feature(e, "steps/action/arm").append(0), "`steps/action/arm` has 6 numbers; 5 steps of shape (1,)"),
    (lambda e: tfrecords.feature(e, "steps/observation/image").pop(), "`steps/observation/image` has 4 entries and the episode 5 steps"),
    (lambda e: tfrecords.replace(e, "steps/reward", "bytes_list", [b"a"] * 5), "`steps/reward` holds bytes, and features.json"),
    (lambda e: tfrecords.replace(e, "steps/reward", "int64_list", [1] * 5), "`steps/reward` holds whole numbers, and features.json"),
    (lambda e: tfrecords.replace(e, "steps/observation/image", "float_list", [1.0] * 5), "image` holds numbers with a fraction"),
    (lambda e: tfrecords.replace(e, "steps/is_last", "int64_list", [0, 0, 2**40, 0, 1]), "`steps/is_last` is set at step 2 of 5"),
    (lambda e: tfrecords.replace(e, "steps/is_first", "int64_list", [1, 0, 0, 1, 0]), "`steps/is_first` is set at step 3 of 5"),
    (lambda e: tfrecords.replace(e, "steps/is_terminal", "int64_list", [0, 1, 0, 0, 1]), "`steps/is_terminal` is set at step 1 of 5"),
    (lambda e: tfrecords.feature(e, "steps/reward").__setitem__(2, np.nan), "episode 1, step 2: `rewards` holds nan"),
    (lambda e: tfrecords.feature(e, "steps/action/gripper").__setitem__(0, 3.0), "`actions` run from"),
    (lambda e: tfrecords.feature(e, "steps/observation/image").__setitem__(3, b"no picture"), "picture 3 of `steps/observation/image`"),
    (lambda e: tfrecords.feature(e, "steps/observation/image").__setitem__(3, picture((9, 8))), "(8, 9, 3), and (8, 8, 3) is needed"),
    (lambda e: tfrecords.feature(e, "steps/observation/packed").__setitem__(3, b"noise"), "packed` cannot be decompressed"),
    (empty, "it has no steps (`steps/is_last` is empty)"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), BROKEN, ids=[said for _, said in BROKEN])
def test_an_episode_that_contradicts_itself_is_refused(changed, change, said):
    sentence = refusal(changed(change))
    assert said in sentence and ("episode 1" in sentence or "run from" in sentence)


def at(path, **fields):
    def change(described):
        for name in path.split("/"):
            described = described["featuresDict"]["features"][name]
            described = described.get("sequence", {}).get("feature", described)
        described.update(fields)

    return change


DESCRIBED = [
    ("features.json", lambda d: tfrecords.step_features(d).pop("reward"), "a step has no `reward`; it has action/arm"),
    ("features.json", lambda d: tfrecords.step_features(d).pop("observation"), "a step has no `observation`"),
    ("features.json", lambda d: tfrecords.step_features(d).pop("action"), "a step has no `action`"),
    ("features.json", lambda d: tfrecords.step_features(d).pop("is_last"), "a step has no `is_last`"),
    ("features.json", lambda d: d["featuresDict"]["features"].pop("steps"), "describes no `steps`"),
    ("features.json", lambda d: d.pop("featuresDict"), "describes no `steps`"),
    ("features.json", at("steps/reward", tensor={"dtype": "complex64", "shape": {}}), "`steps/reward` holds complex64 values"),
    ("features.json", at("steps/reward", tensor={"dtype": "float8", "shape": {}}), "`steps/reward` holds float8 values"),
    ("features.json", at("steps/action", featuresDict={"features": {}}), "a step has no `action`"),
    ("features.json", at("steps/reward", tensor={"dtype": "float32", "shape": {"dimensions": ["x"]}}), "is no description of features"),
    ("features.json", at("steps/observation/packed", tensor={"dtype": "int16", "encoding": "zlib", "shape": {"dimensions": ["3"]}}),
     "`steps/observation/packed` has a step of another size than the 6 bytes"),
    ("features.json", at("steps/observation/packed", tensor={"dtype": "int16", "encoding": "zlib", "shape": {"dimensions": ["-1"]}}),
     "`steps/observation/packed` has shape (-1,) and encoding zlib"),
    ("dataset_info.json", lambda d: d["splits"][0].update(shardLengths=["3"]), "holds 2 episodes and dataset_info.json counts"),
    ("dataset_info.json", lambda d: d["splits"][0].update(shardLengths=["1", "1"]), "train.tfrecord-00000-of-00002 does not exist"),
    ("dataset_info.json", lambda d: d["splits"][0].update(filepathTemplate="../{DATASET}"), "does not exist, and dataset_info.json"),
    ("dataset_info.json", lambda d: d.update(fileFormat="array_record"), "stores its episodes as array_record"),
    ("dataset_info.json", lambda d: d.pop("splits"), "says nothing of the splits"),
    ("dataset_info.json", lambda d: d.update(splits=[]), "holds no episodes"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "said"), DESCRIBED, ids=[said for *_, said in DESCRIBED])
def test_a_description_that_does_not_fit_is_refused(tmp_path, name, change, said):
    tfrecords.copy(tmp_path)
    tfrecords.redescribe(tmp_path, name, change)
    assert said in refusal(tmp_path)


@pytest.mark.parametrize("name", ["features.json", "dataset_info.json"])
@pytest.mark.parametrize("content", ["", "[1, 2]", "[" * 100_000, '{"featuresDict": 3}', "\0"])
def test_a_description_of_noise_is_refused(tmp_path, name, content):
    tfrecords.copy(tmp_path)
    (tmp_path / name).write_text(content)
    assert name in refusal(tmp_path)


def test_another_split_is_refused_by_name(tmp_path):
    assert 'no split trian; its splits are train, val; did you mean "train"?' in refusal(f"{tfrecords.SOURCE}::trian")


def test_a_length_that_runs_over_the_end_is_refused_before_anything_is_allocated(tmp_path):
    file = tfrecords.copy(tmp_path)
    length = struct.pack("<Q", 2**62)
    file.write_bytes(length + tfrecords.masked(length) + b"short")
    tracemalloc.start()
    assert "record 0: it runs over the end of the file" in refusal(file)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_a_damaged_record_is_refused_by_its_checksums(tmp_path):
    file = tfrecords.copy(tmp_path)
    content = file.read_bytes()
    second = 16 + struct.unpack("<Q", content[:8])[0]
    for place, said in ((3, "record 0: the checksum of its length"), (second + 100, "record 1: its checksum does not fit")):
        file.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        assert said in refusal(file)
    file.write_bytes(tfrecords.framed(b"\xff\xff no Example"))
    assert "episode 0: the record is no tf.train.Example" in refusal(file)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_records_are_read_as_they_were_framed(written):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.tfrecord"
        file.write_bytes(b"".join(map(tfrecords.framed, written)))
        if written:
            assert list(records(file)) == written


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damage_anywhere_gives_one_sentence(data):
    with tempfile.TemporaryDirectory() as folder:
        file = tfrecords.copy(Path(folder))
        content = bytearray(file.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
        file.write_bytes(content)
        assert str(file) in refusal(folder)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_description_damaged_anywhere_gives_episodes_or_one_sentence(data):
    with tempfile.TemporaryDirectory() as folder:
        tfrecords.copy(Path(folder))
        file = Path(folder) / data.draw(st.sampled_from(["features.json", "dataset_info.json"]))
        content = bytearray(json.dumps(json.loads(file.read_text())).encode())
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        file.write_bytes(content)
        try:
            load_episodes(folder)
        except WarmloopError as error:
            assert folder in str(error)
