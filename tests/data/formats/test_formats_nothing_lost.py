"""Nothing of a file is lost without a word: what two arrays of one name, a number that comes twice, a count that is too small or a file
that lies beside the others would hide is refused or told."""

import gzip
import io
import json
import logging
import pickle
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from robot_files import write_aloha, write_isaac

from warmloop.data.errors import WarmloopError
from warmloop.data.files.digest import of_path
from warmloop.data.formats import load_episodes
from warmloop.data.formats.recordings.options import ReadOptions
from warmloop.data.inspection import inspect

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
STEPS = 5
ENDS = np.tile(np.arange(STEPS) == STEPS - 1, 3)
KEYS = ("observations", "next_observations", "actions", "rewards")


def flat(**others):
    rng = np.random.default_rng(0)
    whole = [np.cumsum(rng.normal(size=(STEPS + 1, 3)), axis=0) for _ in range(3)]
    arrays = {"observations": np.concatenate([w[:-1] for w in whole]), "next_observations": np.concatenate([w[1:] for w in whole])}
    return arrays | {"actions": rng.uniform(-1, 1, (len(ENDS), 2)), "rewards": ENDS.astype(np.float32)} | others


def rows(change=lambda row, t: row):
    arrays = flat()
    return [change({key: arrays[key][t] for key in KEYS} | {"dones": bool(end), "masks": 1.0 - end}, t) for t, end in enumerate(ENDS)]


def save(path, value):
    if path.suffix == ".npz":
        np.savez(path, **value)
    else:
        path.write_bytes(pickle.dumps(value))
    return path


def refusal(path, **options):
    with pytest.raises(WarmloopError) as caught:
        load_episodes(path, options=ReadOptions(**options))
    return str(caught.value)


def copied(name, folder):
    return Path(shutil.copytree(FIXTURES / name, folder / name))


def unread(path, caplog):
    with caplog.at_level(logging.INFO, "warmloop"):
        episodes = load_episodes(path)
    return episodes, caplog.text


@pytest.mark.parametrize("following", [True, False])
def test_rows_of_several_episodes_in_turn_are_no_episodes_of_one_row(tmp_path, following):
    arrays = flat(episode_ids=np.tile([0, 1, 2], STEPS))
    if not following:
        del arrays["next_observations"]
    assert "are 0 up to row 0, which nothing marks as an end, and again from row 3" in refusal(save(tmp_path / "a.npz", arrays))


def test_numbers_that_begin_anew_are_episodes_where_their_ends_are_marked(tmp_path):
    read = load_episodes(save(tmp_path / "a.npz", flat(episode_ids=np.repeat([0, 1, 0], STEPS), timeouts=ENDS)))
    assert [len(episode) for episode in read] == [STEPS] * 3
    assert "again from row 10" in refusal(save(tmp_path / "b.npz", flat(episode_ids=np.repeat([0, 1, 0], STEPS))))


def test_a_row_without_a_number_of_its_episode_is_refused(tmp_path):
    assert "`episode_ids` holds nan in row 5" in refusal(save(tmp_path / "a.npz", flat(episode_ids=np.repeat([0, np.nan, 1], STEPS))))


def test_an_array_that_an_archive_holds_twice_is_refused(tmp_path):
    path = save(tmp_path / "a.npz", flat(timeouts=ENDS))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        content = io.BytesIO()
        np.save(content, 0 * flat()["rewards"])
        archive.writestr("rewards.npy", content.getvalue())
    assert "holds `rewards` twice" in refusal(path)


def test_two_arrays_that_would_have_one_name_are_refused(tmp_path):
    arrays = flat(timeouts=ENDS)
    leaves = {"a.b": arrays["observations"], "a": {"b": arrays["observations"]}}
    assert "would be named `observations/a.b`" in refusal(save(tmp_path / "a.pkl", arrays | {"observations": leaves}))
    both = rows(lambda row, t: row | {name: {0: row[name], "0": row[name]} for name in KEYS[:2]})
    assert "would be named `observations/0`" in refusal(save(tmp_path / "b.pkl", both))
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        for name in KEYS:
            file[f"{name}/a.b" if name in KEYS[:2] else name] = arrays[name]
        file["timeouts"], file["observations/a/b"] = ENDS, arrays["observations"]
    assert "would be named `observations/a.b`" in refusal(tmp_path / "a.hdf5")


@pytest.mark.parametrize("place", ["infos/success", "infos/is_success", "info/goal_achieved", "env_infos/success"])
@pytest.mark.parametrize("kind", ["npz", "pkl", "hdf5"])
def test_a_success_flag_in_the_infos_counts_in_every_flat_file(tmp_path, place, kind):
    arrays = flat(timeouts=ENDS, rewards=ENDS - 1.0) | {place: ENDS & (np.arange(len(ENDS)) < STEPS)}
    path = tmp_path / f"a.{kind}"
    if kind == "hdf5":
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array
    else:
        head, _, leaf = place.partition("/")
        save(path, arrays if kind == "npz" else {k: v for k, v in arrays.items() if k != place} | {head: {leaf: arrays[place]}})
    assert [episode.succeeded for episode in load_episodes(path)] == [True, False, False]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda row, t: row | {name: {"a": row[name]} | ({"b": row[name]} if t > 3 else {}) for name in KEYS[:2]},
            "`observations/b` of transition 0 is absent, and transition 4 has it",
        ),
        (lambda row, t: {k: v for k, v in row.items() if k != "masks" or t}, "`masks` of transition 0 is absent, and transition 1 has it"),
        (
            lambda row, t: row | {name: np.full((8, 8, 3), t, np.uint8 if t > 3 else np.float32) for name in KEYS[:2]},
            "`observations` is uint8 in some transitions and not in others, as 3 and 4",
        ),
        (
            lambda row, t: row | {"infos": {"succeed": False, "success": bool(row["dones"])}},
            "row 4 hold both `succeed` and `success`, and they differ",
        ),
    ],
)
def test_transitions_that_differ_are_refused(tmp_path, change, said):
    with pytest.raises(WarmloopError, match=said):
        load_episodes(save(tmp_path / "a.pkl", rows(change)))


def test_an_intervention_of_none_is_none(tmp_path):
    def half(row, t):
        return row | {"infos": {"intervene_action": row["actions"] if t % 2 else None}}

    read = load_episodes(save(tmp_path / "a.pkl", rows(half)))
    assert np.concatenate([episode.steps.intervened for episode in read]).tolist() == [t % 2 == 1 for t in range(len(ENDS))]


def test_files_of_a_folder_that_are_not_read_are_told_and_one_part_twice_is_refused(tmp_path, caplog):
    run = tmp_path / "run"
    run.mkdir()
    save(run / "transitions_0.pkl", rows()[:7])
    save(run / "transitions_10.pkl", rows()[7:])
    save(run / "demos.pkl", rows())
    (run / "._transitions_0.pkl").write_bytes(b"a Mac's")
    episodes, said = unread(run, caplog)
    assert len(episodes) == 3 and "not read: `demos.pkl`" in said and "._" not in said
    (run / "transitions_0.pkl.gz").write_bytes(gzip.compress((run / "transitions_0.pkl").read_bytes()))
    assert "holds both transitions_0.pkl and transitions_0.pkl.gz" in refusal(run)
    write_aloha(tmp_path / "arms")
    shutil.copy(tmp_path / "arms" / "episode_0.hdf5", tmp_path / "arms" / "episode_0 (copy).hdf5")
    assert "`episode_0 (copy).hdf5`" in unread(tmp_path / "arms", caplog)[1]


def test_episodes_beyond_a_files_own_count_are_refused(tmp_path):
    shutil.copy(FIXTURES / "d3rlpy.h5", tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        count = int(file["num_episodes"][()])
        del file["num_episodes"]
        file["num_episodes"] = count - 1
    assert f"`num_episodes` is {count - 1}, and the file also holds" in refusal(tmp_path / "a.h5")
    for name in ("minari-hdf5", "minari-arrow"):
        folder = copied(name, tmp_path)
        described = json.loads((folder / "data/metadata.json").read_text())
        (folder / "data/metadata.json").write_text(json.dumps(described | {"total_episodes": 1}))
        assert "counts 1 episodes, and it holds more" in refusal(folder)
    folder = copied("lerobot-v21", tmp_path)
    listed = folder / "meta/episodes.jsonl"
    listed.write_text(listed.read_text().splitlines()[0] + "\n")
    assert "counts 3 episodes, and meta/episodes lists 1" in refusal(folder)


def test_an_episode_of_which_no_step_is_left_is_told(tmp_path, caplog):
    path = write_isaac(tmp_path / "a.hdf5", success=(True, False, True))
    with h5py.File(path, "a") as file:
        demo = file["data/demo_1"]
        demo.attrs["num_samples"] = 1
        for name in ("actions", "obs/eef_pos", "obs/table_cam", "obs/datagen_info/object_pose/cube_1"):
            first = demo[name][:1]
            del demo[name]
            demo[name] = first
    episodes, said = unread(path, caplog)
    assert len(episodes) == 2 and "1 episodes hold no step of which is known what was observed after it" in said


def test_features_that_are_not_read_are_told_by_every_reader(tmp_path, caplog):
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = copied("lerobot-v3", tmp_path)
    info = json.loads((folder / "meta/info.json").read_text())
    info["features"]["next.terminated"] = {"dtype": "bool", "shape": [1], "names": None}
    (folder / "meta/info.json").write_text(json.dumps(info))
    for part in (folder / "data").rglob("*.parquet"):
        table = pq.read_table(part)
        pq.write_table(table.append_column("next.terminated", pa.array([False] * table.num_rows)), part)
    assert "not read: `next.terminated`" in unread(folder, caplog)[1]
    paths = [{name: column[:STEPS] for name, column in flat(terminals=ENDS, goal=ENDS).items()}]
    assert "not read: `goal`" in unread(save(tmp_path / "a.pkl", paths), caplog)[1]
    assert (
        "not read: `terminals`" in unread(save(tmp_path / "b.pkl", rows(lambda r, t: r | ({"terminals": 0} if t > 2 else {}))), caplog)[1]
    )


@pytest.mark.parametrize("following", [True, False])
def test_a_list_of_whole_episodes_is_read_by_their_marks(tmp_path, following):
    arrays = flat(terminals=ENDS & (np.arange(len(ENDS)) < STEPS))
    if not following:
        del arrays["next_observations"]
    paths = [{name: column[low : low + STEPS] for name, column in arrays.items()} for low in range(0, len(ENDS), STEPS)]
    read = load_episodes(save(tmp_path / "a.pkl", paths))
    assert [len(episode) for episode in read] == ([5, 5, 5] if following else [5, 4, 4])
    assert [episode.steps.mask[-1] for episode in read] == [0, 1, 1]
    assert read[0].steps.observation.tolist() == arrays["observations"][:STEPS].astype(np.float32).tolist()


def test_whole_episodes_with_dones_alone_ask_and_are_not_clipped(tmp_path):
    paths = [{name: column[:STEPS] for name, column in flat(dones=ENDS).items()}]
    assert "nothing says whether the task was over" in refusal(save(tmp_path / "a.pkl", paths))
    assert refusal(save(tmp_path / "b.pkl", [paths[0] | {"actions": paths[0]["actions"] + 5}]), dones="terminal").count(
        "`actions` run from"
    )
    (read,) = load_episodes(tmp_path / "a.pkl", options=ReadOptions(dones="terminal"))
    assert read.steps.mask.tolist() == [1, 1, 1, 1, 0]


def test_clipped_demonstrations_of_a_glove_are_counted(tmp_path, caplog):
    paths = [{name: column[:STEPS] for name, column in flat().items()} | {"env_infos": {}}]
    paths[0]["actions"] = np.array([[2.0, 0], [0, 0], [0, -3], [0, 0], [1, 1]])
    del paths[0]["next_observations"]
    assert "actions are clipped to [-1, 1], as Adroit does: 2 of 5 steps" in unread(save(tmp_path / "a.pkl", paths), caplog)[1]


@pytest.mark.parametrize("actions", [np.arange(15) % 3, (np.arange(15) % 2)[:, None], (np.arange(15) % 2 == 0)[:, None]])
def test_one_whole_number_a_step_is_a_discrete_action(tmp_path, actions):
    assert "discrete actions, which no agent here takes" in refusal(save(tmp_path / "a.npz", flat(timeouts=ENDS, actions=actions)))


def test_whole_numbers_of_both_signs_or_of_several_dimensions_are_actions(tmp_path):
    for actions in (np.arange(15)[:, None] % 3 - 1, np.zeros((15, 2), np.int8)):
        assert len(load_episodes(save(tmp_path / "a.npz", flat(timeouts=ENDS, actions=actions)))) == 3


def test_a_data_set_that_went_over_another_computer_is_the_same(tmp_path):
    """A Mac's shadow files, a mark of the byte order, Windows' line ends, and line ends of Unicode within a text."""
    for name in ("lerobot-v21", "lerobot-v3"):
        folder = copied(name, tmp_path)
        before, content = load_episodes(folder), of_path(folder)
        for part in [part for part in folder.rglob("*") if part.is_file()]:
            (part.parent / f"._{part.name}").write_bytes(b"\0\5\26\7")
        assert of_path(folder) == content and len(load_episodes(folder)) == len(before)
    for path in (tmp_path / "lerobot-v21/meta").glob("[a-z]*.json*"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    tasks = tmp_path / "lerobot-v21/meta/tasks.jsonl"
    lines = [json.loads(line) for line in tasks.read_text("utf-8-sig").splitlines()]
    tasks.write_text("\n".join(json.dumps(line | {"task": "pick\u2028up\x85"}, ensure_ascii=False) for line in lines), "utf-8")
    assert {episode.task for episode in load_episodes(tmp_path / "lerobot-v21")} == {"pick\u2028up\x85"}


def test_timestamps_that_are_no_numbers_are_told_as_that(tmp_path):
    path = save(tmp_path / "a.npz", flat(timeouts=ENDS, timestamps=np.full(len(ENDS), np.nan)))
    found, *_ = [finding for finding in inspect([str(path)]).findings if finding.check == "time gaps"]
    assert "The timestamp of this step is nan" in found.what
