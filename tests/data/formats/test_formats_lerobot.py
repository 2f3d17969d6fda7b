"""LeRobot data sets made by LeRobot itself (tests/fixtures), what counts as over in them, and damaged ones."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")

import pyarrow as pa
import pyarrow.parquet as pq

from warmloop.data.errors import WarmloopError
from warmloop.data.formats import FORMATS, load_episodes

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
FRAMES = {"lerobot-v21": "data/chunk-000/episode_000001.parquet"}
KEPT = {"lerobot-v21": (4, 4, 2), "lerobot-v3": (4, 4, 2), "lerobot-v3-video": (4, 3, 2)}  # the last is not: it has no next.done
VERSIONS = ("lerobot-v21", "lerobot-v3")


def frames_file(root):
    return root / FRAMES.get(root.name, "data/chunk-000/file-000.parquet")


@pytest.fixture
def copied(tmp_path, request):
    """A fixture's copy, to be damaged."""
    shutil.copytree(FIXTURES / request.param, tmp_path / request.param)
    return tmp_path / request.param


def of(*names):
    return pytest.mark.parametrize("copied", names, indirect=True)


def refusal(path):
    with pytest.raises(WarmloopError) as caught:
        load_episodes(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).endswith((".", "?"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change(path, function):
    """Rewrites a parquet file's columns; a column of None goes."""
    table = pq.read_table(path)
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    changed = {name: column for name, column in function(columns).items() if column is not None}
    pq.write_table(pa.table(changed), path)


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", KEPT)
def test_each_data_set_is_claimed_by_lerobot_s_format_alone(name):
    assert [key for key, candidate in FORMATS.items() if candidate.matches(str(FIXTURES / name))] == ["lerobot"]


@pytest.mark.parametrize("name", KEPT)
def test_a_data_set_holds_the_episodes_that_went_in(name):
    episodes = load_episodes(FIXTURES / name)
    assert [(e.number, e.task, len(e)) for e in episodes] == list(zip(range(3), ("lift", "lift", "lower"), KEPT[name], strict=True))
    for e in episodes:
        state, following, action = e.steps.observation["state"], e.steps.next_observation["state"], e.steps.action
        assert (state[:, 0] == e.number).all()
        assert state[:, 1].tolist() == list(range(len(e)))
        assert np.array_equal(state[1:, 2], action[:-1, 0])
        inner = slice(None) if e.steps.mask[-1] else slice(None, -1)  # no observation is recorded after a termination
        assert np.array_equal(following[inner, 1], state[inner, 1] + 1)
        over = name != "lerobot-v3-video" and e.number == 1
        assert e.steps.mask.tolist() == [1.0] * (len(e) - 1) + [0.0 if over else 1.0]
        assert e.steps.truncated.tolist() == [False] * (len(e) - 1) + [not over]


@pytest.mark.parametrize(
    ("name", "camera", "side", "off"),
    [
        ("lerobot-v3", "images.front", 16, 0),
        ("lerobot-v21", "images.front", 16, 0),
        ("lerobot-v21", "images.wrist", 64, 2),
        ("lerobot-v3-video", "images.wrist", 64, 2),
    ],
)
def test_each_row_has_its_own_picture(name, camera, side, off):
    for e in load_episodes(FIXTURES / name):
        image = e.steps.observation[camera]
        assert (image.dtype, image.shape) == (np.uint8, (len(e), side, side, 3))
        expected = 60 * e.number + 12 * np.arange(len(e))[:, None, None, None]
        assert np.abs(image.astype(int) - expected).max() <= off


@pytest.mark.parametrize("name", VERSIONS)
def test_rewards_and_success_are_read(name):
    for e in load_episodes(FIXTURES / name):
        assert np.allclose(e.steps.reward, np.arange(len(e)) / 10 + e.steps.action[:, 1], atol=1e-6)
        assert np.asarray(e.success).tolist() == [False] * (len(e) - 1) + [e.number == 1]


def test_interventions_and_other_numbers_of_complementary_info_are_read():
    for e in load_episodes(FIXTURES / "lerobot-v3"):
        assert e.steps.intervened.tolist() == [step == 1 for step in range(len(e))]
        assert {name: column.tolist() for name, column in e.extras.items()} == {"discrete_penalty": [-s / 4 for s in range(len(e))]}


def test_without_rewards_they_are_zero_and_success_is_unknown():
    for e in load_episodes(FIXTURES / "lerobot-v3-video"):
        assert not e.steps.reward.any()
        assert e.success is None


@of("lerobot-v3-video")
def test_a_single_observation_is_a_bare_array(copied):
    info = json.loads((copied / "meta/info.json").read_text())
    del info["features"]["observation.images.wrist"]
    edit(copied / "meta/info.json", features=info["features"])
    assert load_episodes(copied)[0].steps.observation.shape == (4, 3)


ENDS = {  # what is recorded of the second episode's four frames, and whether its last is terminal
    "a truncation": ({"next.truncated": [0, 0, 0, 1], "next.success": [0, 0, 0, 1]}, False),
    "no truncation": ({"next.truncated": [0, 0, 0, 0], "next.success": [0, 0, 0, 0]}, True),
    "success": ({"next.success": [0, 0, 0, 1]}, True),
    "no success": ({"next.success": [0, 0, 0, 0], "next.reward": [0, 0, 0, 1]}, False),
    "a reward at the end": ({"next.reward": [0, 0, 0, 1]}, True),
    "a reward all along": ({"next.reward": [0, 0.1, 0.2, 0.3]}, False),
    "no reward": ({"next.reward": [0, -1, 0, 0]}, False),
    "nothing": ({}, False),
}


@pytest.mark.parametrize("case", ENDS)
@of("lerobot-v3")
def test_a_time_limit_is_not_terminal_and_an_end_is(copied, case):
    recorded, terminal = ENDS[case]

    def replace(columns):
        rest = {key: column for key, column in columns.items() if key not in ("next.reward", "next.success")}
        episode = columns["episode_index"].to_numpy()
        for key, values in recorded.items():
            column = np.zeros(len(episode), np.float32)
            column[episode == 1] = values
            rest[key] = pa.array(column)  # LeRobot's buffers store flags as floats
        return rest

    info = json.loads((copied / "meta/info.json").read_text())
    kept = {key: feature for key, feature in info["features"].items() if key not in ("next.reward", "next.success")}
    edit(copied / "meta/info.json", features=kept | {key: {"dtype": "float32", "shape": [1]} for key in recorded})
    change(frames_file(copied), replace)
    e = load_episodes(copied)[1]
    assert (len(e), e.steps.mask[-1] == 0) == ((4, True) if terminal else (3, False))


@of("lerobot-v3")
def test_an_episode_is_whole_wherever_row_groups_and_batches_cut_it(copied, monkeypatch):
    monkeypatch.setattr("warmloop.data.formats.lerobot.parquet.PICTURE_ROWS", 2)
    table = pq.read_table(frames_file(copied))
    pq.write_table(table, frames_file(copied), row_group_size=3)
    assert [len(e) for e in load_episodes(copied)] == [4, 4, 2]


@of(*VERSIONS)
def test_a_missing_column_is_named_with_its_neighbour(copied):
    change(frames_file(copied), lambda columns: {"actions" if key == "action" else key: column for key, column in columns.items()})
    assert refusal(copied).endswith('has no column `action`; did you mean "actions"?')


@of(*VERSIONS)
def test_a_data_set_without_actions_is_refused(copied):
    info = json.loads((copied / "meta/info.json").read_text())
    edit(copied / "meta/info.json", features={key: feature for key, feature in info["features"].items() if key != "action"})
    assert "the data set has no `action`; its keys are `" in refusal(copied)


def action(values):
    return lambda columns: columns | {"action": values(columns["action"])}


BAD_ACTIONS = {
    "ragged": (lambda a: pa.array([[0.0]] + [[0.0, 0.0]] * (len(a) - 2) + [[0.0] * 3]), "its rows differ in length, from 1 to 3"),
    "too short": (lambda a: pa.array([[0.0]] * len(a)), "a row has shape (1,), and meta/info.json says (2,)"),
    "texts": (lambda a: pa.array([["a", "b"]] * len(a)), "it holds string values, and numbers are needed"),
    "nothing": (lambda a: pa.array([None, *([[0.0, 0.0]] * (len(a) - 1))]), "a row holds nothing"),
    "half a row": (lambda a: pa.array([[None, 0.0]] * len(a)), "a row holds nothing"),
}


@pytest.mark.parametrize("case", BAD_ACTIONS)
@of(*VERSIONS)
def test_actions_that_are_no_table_of_numbers_are_refused_with_their_place(copied, case):
    values, reason = BAD_ACTIONS[case]
    change(frames_file(copied), action(values))
    sentence = refusal(copied)
    assert f"`action` is not readable ({reason})" in sentence
    assert frames_file(copied).name in sentence


@of(*VERSIONS)
def test_a_value_that_is_not_finite_is_named_with_its_episode_and_step(copied):
    def poison(columns):
        values = columns["observation.state"].flatten().to_numpy().copy()
        row = int(np.flatnonzero(columns["episode_index"].to_numpy() == 1)[2])
        values[3 * row + 1] = np.nan
        return columns | {"observation.state": pa.FixedSizeListArray.from_arrays(pa.array(values), 3)}

    change(frames_file(copied), poison)
    assert refusal(copied).startswith(f"{copied}, episode 1, step 2: `observations/state` holds nan")


@of(*VERSIONS)
def test_a_gap_in_the_frames_is_named(copied):
    def skip(columns):
        frames = columns["frame_index"].to_numpy().copy()
        frames[(columns["episode_index"].to_numpy() == 1) & (frames == 2)] = 3
        return columns | {"frame_index": pa.array(frames)}

    change(frames_file(copied), skip)
    assert f"{frames_file(copied)}, episode 1, step 2: `frame_index` is 3" in refusal(copied)


@pytest.mark.parametrize(
    ("keep", "reason"),
    [
        (lambda episode: episode != 2, "episode 2: the file ends before it"),
        (lambda episode: episode != 1, "episode 1: its metadata promise 4 frames of it here, and 3 of episode 2 come"),
        (lambda episode: np.arange(len(episode)) != 0, "episode 0: its metadata promise 5 frames of it here, and 4 of episode 0 come"),
    ],
)
@of("lerobot-v3")
def test_rows_other_than_the_metadata_promise_are_refused(copied, keep, reason):
    change(
        frames_file(copied), lambda columns: {k: c.filter(pa.array(keep(columns["episode_index"].to_numpy()))) for k, c in columns.items()}
    )
    assert reason in refusal(copied)


@of("lerobot-v3")
def test_rows_of_which_the_metadata_know_nothing_are_refused(copied):
    change(copied / "meta/episodes/chunk-000/file-000.parquet", lambda columns: {key: c.slice(0, 2) for key, c in columns.items()})
    assert "counts 3 episodes, and meta/episodes lists 2" in refusal(copied)
    info = copied / "meta/info.json"
    info.write_text(json.dumps(json.loads(info.read_text()) | {"total_episodes": 2}))
    assert "holds episode 2, of which its metadata know nothing" in refusal(copied)


@of("lerobot-v3")
def test_an_episode_that_is_named_twice_is_refused(copied):
    rows = [0, 1, 1]
    change(copied / "meta/episodes/chunk-000/file-000.parquet", lambda columns: {key: c.take(rows) for key, c in columns.items()})
    assert "names an episode twice" in refusal(copied)


@of(*VERSIONS)
def test_an_image_that_was_cut_short_is_named(copied):
    def cut(columns):
        data = [value["bytes"][:40] for value in columns["observation.images.front"].to_pylist()]
        return columns | {"observation.images.front": pa.array([{"bytes": value, "path": None} for value in data])}

    change(frames_file(copied), cut)
    assert "`observation.images.front` is not readable" in refusal(copied)


@of("lerobot-v3")
def test_an_image_that_is_elsewhere_is_refused(copied):
    def elsewhere(columns):
        rows = len(columns["action"])
        return columns | {"observation.images.front": pa.array([{"bytes": None, "path": "/etc/hostname"}] * rows)}

    change(frames_file(copied), elsewhere)
    assert "`observation.images.front` is not readable (it holds no bytes of an image)" in refusal(copied)


@of("lerobot-v3")
def test_a_flag_that_is_neither_0_nor_1_is_refused(copied):
    change(frames_file(copied), lambda columns: columns | {"next.done": pa.array(np.full(12, 0.5, np.float32))})
    assert f"{copied}, episode 0: `next.done` holds 0.5" in refusal(copied)


@of("lerobot-v3")
def test_an_unknown_task_is_refused(copied):
    change(frames_file(copied), lambda columns: columns | {"task_index": pa.array(np.full(12, 7))})
    assert "episode 0: `task_index` is 7" in refusal(copied)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"codebase_version": "v1.6"}, "codebase_version is 'v1.6', and 2.0, 2.1 and 3.x are read"),
        ({"codebase_version": None}, "codebase_version is None"),
        ({"fps": 0}, "fps is 0.0"),
        ({"features": []}, "is not a readable part of a LeRobot data set"),
        ({"data_path": "../../secret.parquet"}, "leads out of the data set"),
        ({"data_path": "data/{nothing}.parquet"}, "no 'nothing'"),
    ],
)
@of(*VERSIONS)
def test_a_description_that_is_wrong_is_named(copied, changes, reason):
    edit(copied / "meta/info.json", **changes)
    sentence = refusal(copied)
    assert str(copied / "meta/info.json") in sentence
    assert reason in sentence


@of(*VERSIONS)
def test_every_file_that_is_missing_empty_or_cut_short_is_named(copied):
    for path in sorted(path for path in copied.rglob("*") if path.is_file() and "stats" not in path.name and path.name != "README.md"):
        whole = path.read_bytes()
        for part in (None, b"", whole[: len(whole) // 2], b"[]"):
            path.unlink()
            if part is not None:
                path.write_bytes(part)
            sentence = refusal(copied)
            described = path.name in sentence or "holds no episodes" in sentence or "is a directory without a data set" in sentence
            described = described or "holds episode" in sentence or "no task of the data set" in sentence
            assert described, (path, sentence)
            path.write_bytes(whole)
    assert len(load_episodes(copied)) == 3


@pytest.mark.parametrize("damage", ["missing", "cut", "playlist", "codec", "short"])
@of("lerobot-v3-video")
def test_a_video_that_is_not_decoded_is_named(copied, damage):
    video = copied / "videos/observation.images.wrist/chunk-000/file-000.mp4"
    data = video.read_bytes()
    video.unlink()
    if damage == "cut":
        video.write_bytes(data[:300])
    if damage == "playlist":
        video.write_text("#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.ts\n")
    if damage == "codec":
        video.write_bytes(data.replace(b"av01", b"zz99"))
    if damage == "short":
        video.write_bytes(data)
        late, times = "videos/observation.images.wrist/from_timestamp", pa.array([0.0, 0.5, 5.0])
        change(copied / "meta/episodes/chunk-000/file-000.parquet", lambda columns: columns | {late: times})
    sentence = refusal(copied)
    assert str(video) in sentence
    assert {"missing": "does not exist", "short": "it ends after"}.get(damage, "could not be decoded") in sentence


def test_without_pyarrow_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert "run `pip install 'warmloop[lerobot]'`" in refusal(FIXTURES / "lerobot-v3")


def test_a_directory_that_is_no_data_set_is_refused(tmp_path):
    assert "is a directory without a data set: no Minari's data/metadata.json, no LeRobot's meta/info.json" in refusal(tmp_path)
