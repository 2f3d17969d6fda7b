"""A set takes in each file, and each episode, once; it says where each came from, and an error leaves it as it was."""

import dataclasses
import json
import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest
from recorded import episode

from warmloop.data.errors import WarmloopError
from warmloop.data.files.disk import lock_directory
from warmloop.data.files.sealed_json import seal
from warmloop.data.formats import iterate_episodes, load_episodes, recorded_environment, write_episodes
from warmloop.data.formats.collected import MANIFEST, read_manifest
from warmloop.data.formats.recordings import flat
from warmloop.data.sources.merge import merge
from warmloop.data.sources.sources import LIMITS, READY, recorded_mark
from warmloop.data.transition import Source


def file(path, numbers, **settings):
    write_episodes(path, [episode(4 + number % 3, number, **settings) for number in numbers], {"environment": "Arm-v0"})
    return str(path)


def contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "lock"}


def test_a_set_holds_its_files_episodes_in_their_order(tmp_path):
    first, second = file(tmp_path / "a.npz", [3, 4], success=None), file(tmp_path / "b.npz", [0, 1, 2], terminated=True)
    taken = merge(tmp_path / "set", [f"suboptimal={first}", second])
    assert [(one.path, one.episodes, one.new, one.known) for one in taken] == [(first, 2, 2, False), (second, 3, 3, False)]
    read, whole = load_episodes(tmp_path / "set"), [*load_episodes(first, Source.SUBOPTIMAL), *load_episodes(second)]
    assert [e.number for e in read] == [0, 1, 2, 3, 4]
    assert [e.source for e in read] == [Source.SUBOPTIMAL] * 2 + [Source.DEMOS] * 3
    for mine, theirs in zip(read, whole, strict=True):
        numbered = theirs.steps.replace(episode=np.full(len(theirs), mine.number, np.int32))
        jax.tree.map(np.testing.assert_array_equal, mine.steps, numbered)


def test_the_manifest_says_where_each_episode_came_from(tmp_path):
    merge(tmp_path / "set", [file(tmp_path / "a.npz", [3, 4]), f"random={file(tmp_path / 'b.npz', [5])}"])
    manifest = read_manifest(tmp_path / "set")
    came = [(manifest.files[e.file].path, manifest.files[e.file].kind, e.of_file, e.steps) for e in manifest.episodes]
    a, b = str(tmp_path / "a.npz"), str(tmp_path / "b.npz")
    assert came == [(a, "", 3, 4), (a, "", 4, 5), (b, "random", 5, 6)]
    assert recorded_environment(tmp_path / "set") == "Arm-v0"


def test_a_file_of_known_content_is_not_read_again_whatever_its_name(tmp_path):
    first, read = file(tmp_path / "a.npz", range(5)), []
    merge(tmp_path / "set", [first], lambda: read.append("first"))
    before = contents(tmp_path / "set")
    os.rename(first, tmp_path / "renamed.npz")
    (again,) = merge(tmp_path / "set", [str(tmp_path / "renamed.npz")], lambda: read.append("again"))
    assert again.known and again.new == 0
    assert read == ["first"] * 5
    assert contents(tmp_path / "set") == before


def test_new_files_leave_the_old_parts_as_they_are(tmp_path):
    merge(tmp_path / "set", [file(tmp_path / "a.npz", range(3))])
    before = contents(tmp_path / "set")
    merge(tmp_path / "set", [file(tmp_path / "b.npz", range(3, 6))])
    after = contents(tmp_path / "set")
    assert {name: after[name] for name in before if name != MANIFEST} == {n: x for n, x in before.items() if n != MANIFEST}
    assert len(load_episodes(tmp_path / "set")) == 6


def test_an_episode_that_the_set_holds_is_left_out_wherever_it_comes_from(tmp_path):
    merge(tmp_path / "set", [file(tmp_path / "a.npz", [0, 1, 2])])
    (taken,) = merge(tmp_path / "set", [file(tmp_path / "b.npz", [2, 1, 7, 7])])
    assert (taken.episodes, taken.new) == (4, 1)
    assert read_manifest(tmp_path / "set").files[1].repeated == 3
    assert len(load_episodes(tmp_path / "set")) == 4


@pytest.mark.parametrize("change", ["reward", "success", "mask", "next_observation"])
def test_episodes_that_differ_in_anything_learnt_from_are_both_kept(tmp_path, change):
    one = episode(5, success=[False] * 5)
    steps = one.steps
    if change == "success":
        other = dataclasses.replace(one, success=np.arange(5) == 4)
    elif change == "next_observation":
        last = steps.next_observation.copy()
        last[-1] += 1
        other = dataclasses.replace(one, steps=steps.replace(next_observation=last))
    else:
        other = dataclasses.replace(one, steps=steps.replace(**{change: getattr(steps, change) * 0}))
    write_episodes(tmp_path / "a.npz", [one])
    write_episodes(tmp_path / "b.npz", [other])
    merge(tmp_path / "set", [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")])
    assert len(load_episodes(tmp_path / "set")) == 2


def test_a_file_that_turns_out_wrong_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(flat, "PIECE_BYTES", 1)
    monkeypatch.setattr("warmloop.data.sources.merge.PIECE_BYTES", 1)
    merge(tmp_path / "set", [file(tmp_path / "a.npz", range(3))])
    before = contents(tmp_path / "set")
    wrong = [episode(5, 10 + number) for number in range(4)]
    wrong[3].steps.reward[2] = np.nan
    write_episodes(tmp_path / "b.npz", wrong)
    with pytest.raises(WarmloopError, match=r"b.npz, episode 13, step 2: `rewards` holds nan"):
        merge(tmp_path / "set", [str(tmp_path / "b.npz")])
    assert contents(tmp_path / "set") == before


@pytest.mark.long
def test_a_process_killed_while_it_adds_leaves_the_set_as_it_was(tmp_path):
    merge(tmp_path / "set", [file(tmp_path / "a.npz", range(3))])
    before = contents(tmp_path / "set")
    new = file(tmp_path / "b.npz", range(3, 30))
    program = f"""if True:
        import os, signal
        from warmloop.data.sources import merge
        merge.PIECE_BYTES = 1
        count = iter(range(100))
        merge.merge({str(tmp_path / "set")!r}, [{new!r}], lambda: next(count) == 9 and os.kill(os.getpid(), signal.SIGKILL))
    """
    assert subprocess.run([sys.executable, "-c", program]).returncode == -signal.SIGKILL
    assert len(contents(tmp_path / "set")) > len(before), "it was killed before it had written anything"
    assert len(load_episodes(tmp_path / "set")) == 3
    merge(tmp_path / "set", [new])
    assert [e.number for e in load_episodes(tmp_path / "set")] == list(range(30))


def test_two_filter_keys_of_one_file_are_two_contents(tmp_path):
    path = os.path.join(os.path.dirname(__file__), "..", "..", "fixtures", "robomimic.hdf5")
    taken = merge(tmp_path / "set", [f"{path}::train", f"{path}::valid", f"{path}::train", path])
    assert [(one.new, one.known) for one in taken] == [(2, False), (1, False), (0, True), (0, False)]


def test_data_of_another_robot_are_refused_and_the_set_is_as_before(tmp_path):
    merge(tmp_path / "set", [file(tmp_path / "a.npz", range(3))])
    before = contents(tmp_path / "set")
    with pytest.raises(WarmloopError, match=r"do not belong together: the set .* of array \(3,\) float32 and episode 0 of .*b.npz"):
        merge(tmp_path / "set", [file(tmp_path / "b.npz", [0], observation="images")])
    assert contents(tmp_path / "set") == before


def test_a_file_cannot_be_of_two_kinds(tmp_path):
    path = file(tmp_path / "a.npz", range(3))
    merge(tmp_path / "set", [f"demos={path}"])
    with pytest.raises(WarmloopError, match="already, as demos, and cannot be random as well"):
        merge(tmp_path / "set", [f"random={path}"])


def test_one_process_adds_at_a_time(tmp_path):
    lock = lock_directory(tmp_path / "set", "The set", "wait")
    try:
        with pytest.raises(WarmloopError, match=f"in use by process {os.getpid()}: wait until it is done"):
            merge(tmp_path / "set", [file(tmp_path / "a.npz", [0])])
    finally:
        os.close(lock)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "thesis.txt").write_text("done")
    with pytest.raises(WarmloopError, match="holds something that is no set"):
        merge(tmp_path / "set", [file(tmp_path / "a.npz", [0])])
    assert list(contents(tmp_path / "set")) == ["thesis.txt"]


def test_a_damaged_set_is_refused_in_a_sentence(tmp_path):
    directory = tmp_path / "set"
    merge(directory, [file(tmp_path / "a.npz", [0, 1]), file(tmp_path / "b.npz", [2])])
    said = json.loads((directory / MANIFEST).read_text())
    del said["sha256"]
    os.rename(directory / "part-000001.npz", directory / "away")
    with pytest.raises(WarmloopError, match=r"part-000001.npz does not exist"):
        load_episodes(directory)
    os.rename(directory / "part-000000.npz", directory / "part-000001.npz")
    os.rename(directory / "away", directory / "part-000000.npz")
    with pytest.raises(WarmloopError, match=r"part-000000.npz and manifest.json do not list the same episodes"):
        load_episodes(directory)
    (directory / MANIFEST).write_text(seal(said | {"episodes": [{"number": 0}]}))
    with pytest.raises(WarmloopError, match=r"manifest.json is no readable manifest of a set"):
        load_episodes(directory)
    (directory / MANIFEST).write_text(seal(said | {"owner": "me"}))
    with pytest.raises(WarmloopError, match=r'manifest.json has an entry "owner", which is not known'):
        load_episodes(directory)
    (directory / MANIFEST).write_text(seal(said | {"episodes": []}))
    with pytest.raises(WarmloopError, match="is an empty set; add files to it with merge_data"):
        load_episodes(directory)


def test_a_changed_byte_of_a_manifest_is_noticed_and_one_of_an_earlier_version_is_read(tmp_path):
    directory = tmp_path / "set"
    merge(directory, [file(tmp_path / "a.npz", [0, 1])])
    whole = (directory / MANIFEST).read_bytes()
    for at in range(0, len(whole) - 1, 7):
        (directory / MANIFEST).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(WarmloopError):
            load_episodes(directory)
    said = json.loads(whole)
    del said["sha256"]
    (directory / MANIFEST).write_text(json.dumps(said))
    assert len(load_episodes(directory)) == 2
    merge(directory, [file(tmp_path / "b.npz", [2])])
    assert len(load_episodes(directory)) == 3 and "sha256" in json.loads((directory / MANIFEST).read_text())


def test_actions_of_other_limits_stay_apart_and_the_same_are_remembered(tmp_path):
    narrow, wide = ({READY: True, LIMITS: [[-reach] * 2, [reach] * 2]} for reach in (0.5, 2.0))
    for name, mark in {"a": narrow, "b": narrow, "c": wide}.items():
        write_episodes(tmp_path / f"{name}.npz", [episode(4, ord(name))], mark)
    merge(tmp_path / "set", [str(tmp_path / "a.npz"), str(tmp_path / "b.npz")])
    assert recorded_mark([str(tmp_path / "set")]) == narrow
    with pytest.raises(WarmloopError, match=r"Actions of -1 and 1 are not the same in .*c.npz"):
        merge(tmp_path / "set", [str(tmp_path / "c.npz")])
    assert len(load_episodes(tmp_path / "set")) == 2


def test_actions_in_a_robots_units_are_kept_as_they_are(tmp_path):
    one = episode(4)
    steps = one.steps.replace(action=one.steps.action * 40)
    write_episodes(tmp_path / "a.npz", [dataclasses.replace(one, steps=steps)])
    merge(tmp_path / "set", [str(tmp_path / "a.npz")])
    (kept,) = iterate_episodes(tmp_path / "set", shape=lambda piece: dataclasses.replace(piece, raw=True))
    np.testing.assert_array_equal(kept.steps.action, steps.action)
    with pytest.raises(WarmloopError, match=r"`actions` run from .*; rescale them"):
        load_episodes(tmp_path / "set")


def test_a_file_that_changes_while_it_is_read_is_refused_and_leaves_nothing_behind(tmp_path):
    path = file(tmp_path / "a.npz", range(3))
    merge(tmp_path / "set", [file(tmp_path / "b.npz", [7])])
    before, read = contents(tmp_path / "set"), []

    def record_on():
        if not read:
            file(tmp_path / "a.npz", range(4))
        read.append(1)

    with pytest.raises(WarmloopError, match=r"a\.npz changed while it was read; wait until it is written"):
        merge(tmp_path / "set", [path], record_on)
    assert contents(tmp_path / "set") == before
    assert merge(tmp_path / "set", [path])[0].new == 4


def test_a_lock_that_is_a_link_empties_no_other_file(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "precious").write_text("years of work")
    (tmp_path / "set" / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(WarmloopError, match="cannot be used: Too many levels of symbolic links"):
        lock_directory(tmp_path / "set", "The set", "wait")
    assert (tmp_path / "precious").read_text() == "years of work"
