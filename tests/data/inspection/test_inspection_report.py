"""What an inspection hands over: figures, words, pictures, and a repaired copy."""

import dataclasses
import json
import re
from html.parser import HTMLParser

import gymnasium as gym
import numpy as np
import pytest
from planted import DEFECTS, clean_arrays, rows_of, timeouts_as_terminals
from recorded import assert_identical

from warmloop.data import inspect
from warmloop.data.episode import Episode, make_steps
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.inspection import Reference, Severity, repair
from warmloop.data.inspection.columns import ColumnStatistics
from warmloop.data.inspection.page.html import page
from warmloop.data.inspection.text import render
from warmloop.data.transition import Source

BOX = gym.spaces.Box(-10, 10, (6,), np.float32)
ACTIONS = gym.spaces.Box(-1, 1, (3,), np.float32)


def saved(folder, arrays, name="data.npz"):
    np.savez(folder / name, **arrays)
    return folder / name


def planted(folder, *names):
    arrays = clean_arrays()
    for name in names:
        DEFECTS[name].plant(arrays)
    return saved(folder, arrays)


def camera_episodes(count=4, length=30):
    """Episodes of a camera and a state."""
    rng = np.random.default_rng(0)
    episodes = []
    for number in range(count):
        state = np.cumsum(rng.normal(size=(length + 1, 2)), axis=0).astype(np.float32)
        frames = rng.integers(0, 255, (length + 1, 8, 8, 3), np.uint8)
        action = (0.5 * np.sin(np.arange(length) / 5 + number)[:, None] + 0.02 * rng.normal(size=(length, 1))).astype(np.float32)
        success = np.arange(length) == length - 1
        before, after = {"camera": frames[:-1], "state": state[:-1]}, {"camera": frames[1:], "state": state[1:]}
        steps = make_steps(before, action, success, after, success, episode=number)
        episodes.append(Episode(steps, success, "memory", number))
    return episodes


def test_statistics_added_episode_by_episode_are_those_of_all_rows():
    parts = [np.random.default_rng(seed).normal(3, 2, (seed + 2, 4)).astype(np.float32) for seed in range(6)]
    whole = np.concatenate(parts).astype(np.float64)
    statistics = ColumnStatistics(list("abcd"), "observation")
    for part in parts:
        statistics.add(part)
    assert np.allclose(statistics.mean, whole.mean(axis=0)) and np.allclose(statistics.std, whole.std(axis=0))
    assert np.array_equal(statistics.low, whole.min(axis=0)) and np.array_equal(statistics.high, whole.max(axis=0))


def test_values_that_are_not_finite_are_counted_and_left_out_of_the_statistics():
    statistics = ColumnStatistics(["a"], "observation")
    statistics.add(np.array([[1.0], [np.nan], [3.0], [np.inf]], np.float32))
    (column,) = statistics.columns()
    assert (column.mean, column.low, column.high, column.not_finite) == (2, 1, 3, 2)


def test_episodes_in_memory_with_cameras_are_inspected():
    report = inspect(camera_episodes())
    assert report.findings == ()
    assert [column.name for column in report.columns if column.kind == "observation"] == ["camera (brightness)", "state[0]", "state[1]"]


def test_a_black_camera_is_found():
    episodes = [
        dataclasses.replace(
            e,
            steps=e.steps.replace(
                observation=e.steps.observation | {"camera": 0 * e.steps.observation["camera"]},
                next_observation=e.steps.next_observation | {"camera": 0 * e.steps.next_observation["camera"]},
            ),
        )
        for e in camera_episodes()
    ]
    assert [(f.check, f.what) for f in inspect(episodes).findings] == [("black pictures", "camera is black in all 120 pictures.")]


def test_one_wrong_pixel_of_a_next_observation_is_found():
    episodes = camera_episodes()
    episodes[2].steps.next_observation["camera"] = episodes[2].steps.next_observation["camera"].copy()
    episodes[2].steps.next_observation["camera"][7, 3, 4, 1] ^= 1
    (finding,) = inspect(episodes).findings
    assert (finding.check, finding.episode, finding.step) == ("next observations", 2, 7)


def test_the_definition_of_success_is_said(tmp_path):
    arrays = clean_arrays()
    assert inspect(saved(tmp_path, arrays)).summary.success_definition == "the file's success flag at any step"
    arrays["terminals"] = arrays["success"] & arrays["timeouts"]
    arrays["timeouts"] = arrays["timeouts"] & ~arrays["terminals"]
    del arrays["success"]
    summary = inspect(saved(tmp_path, arrays)).summary
    assert summary.success_definition.startswith("terminated with a positive last reward")
    assert summary.successes == 6


def test_a_broken_episode_has_no_quality_and_a_successful_one_the_most(tmp_path):
    report = inspect(planted(tmp_path, "NaN in an observation"))
    quality = {line.number: line.quality for line in report.episodes}
    assert quality[3] == 0
    assert min(quality[n] for n in range(0, 12, 2)) > max(quality[n] for n in range(1, 12, 2))


def test_data_named_suboptimal_need_not_succeed(tmp_path):
    path = planted(tmp_path, "success never flagged")
    assert [finding.check for finding in inspect(f"demos={path}").findings] == ["success never signalled"]
    assert inspect(f"suboptimal={path}").findings == ()


def test_files_of_different_shapes_do_not_go_together(tmp_path):
    paths = [saved(tmp_path, clean_arrays(), "a.npz"), saved(tmp_path, clean_arrays(columns=5), "b.npz")]
    report = inspect(paths)
    assert report.breaks_training
    assert {(finding.check, finding.file) for finding in report.findings} == {("shapes", str(paths[1]))}


def test_a_file_that_cannot_be_read_is_a_finding_and_a_missing_one_a_mistake(tmp_path):
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    report = inspect([tmp_path / "cut.npz", saved(tmp_path, clean_arrays())])
    assert [(finding.check, finding.severity) for finding in report.findings] == [("unreadable file", Severity.BREAKS)]
    assert report.summary.episodes == 12
    with pytest.raises(WarmloopError, match="does not exist"):
        inspect(tmp_path / "absent.npz")


def reference_of(arrays, sign=1.0):
    """What an environment with these rewards, times `sign`, would say."""
    steps = make_steps(
        arrays["observations"], arrays["actions"], sign * arrays["observations"][:, 0], arrays["next_observations"], arrays["terminals"]
    )
    return Reference.of("Made-v0", BOX, ACTIONS, 60, [Episode(steps, None, "play", 0, Source.RANDOM)])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_rewards_whose_sign_is_not_the_environment_s_are_found(tmp_path, sign):
    arrays = clean_arrays()
    del arrays["success"]
    arrays["rewards"] = arrays["next_observations"][:, 0].copy()
    report = inspect(f"suboptimal={saved(tmp_path, arrays)}", reference_of(arrays, sign))
    assert [finding.check for finding in report.findings] == ([] if sign > 0 else ["reward against the environment"])
    assert report.summary.coverage["observation[0]"] == pytest.approx(0.1, abs=0.02)


def test_observations_outside_the_environment_s_space_are_found(tmp_path):
    arrays = clean_arrays()
    for name in ("observations", "next_observations"):
        arrays[name][:, 2] += 10
    (finding,) = inspect(saved(tmp_path, arrays), reference_of(clean_arrays())).findings
    assert finding.check == "outside the observation space" and "observation[2]" in finding.what


def test_data_of_another_environment_is_found(tmp_path):
    (finding,) = inspect(saved(tmp_path, clean_arrays(columns=4)), reference_of(clean_arrays())).findings
    assert finding.check == "shapes" and finding.severity == Severity.BREAKS


def test_words_fit_an_80_to_100_column_terminal_and_name_every_finding(tmp_path):
    report = inspect(planted(tmp_path, "NaN in an observation", "a terminal step inside", "an episode twice", "a dead sensor"))
    words = render(report)
    assert max(map(len, words.splitlines())) <= 100
    for finding in report.findings:
        assert finding.check in words
    assert "episode 3, step 16" in words
    assert words.index("BREAKS") < words.index("HARMS") < words.index("note:")


def test_json_holds_the_report_without_numbers_that_json_has_not(tmp_path):
    report = inspect(planted(tmp_path, "NaN reward", "a dead sensor"))
    told = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert told["breaks_training"] is True
    assert told["findings"][0] | {"file": ""} == {
        "check": "non-finite values",
        "severity": "breaks",
        "file": "",
        "episode": 4,
        "step": 20,
        "what": "The reward is not a finite number (NaN or infinite).",
        "advice": "Repair the sensor or its driver; --fix cuts the episode before that step.",
        "whole": False,
    }


class Balanced(HTMLParser):
    """Checks that every tag is closed in its turn, and gathers attributes."""

    VOID = ("meta", "line")

    def __init__(self):
        super().__init__()
        self.open, self.attributes, self.seen = [], [], set()

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_no_network_and_no_script(tmp_path):
    report = inspect(planted(tmp_path, "NaN in an observation", "an episode twice", "a dead sensor"))
    text = page(report)
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    assert {"svg", "rect", "table"} <= parser.seen and not parser.seen & {"script", "link", "img", "iframe"}
    assert not [name for name, _ in parser.attributes if name in ("src", "href") or name.startswith("on")]
    assert not re.search(r"https?:|url\(|@import", text)
    assert all(finding.what.replace("'", "&#x27;") in text for finding in report.findings)


def test_names_in_the_page_are_text_and_never_markup(tmp_path):
    arrays = clean_arrays()
    path = saved(tmp_path, arrays, "<script>alert(1)<!--.npz")
    text = page(inspect(path))
    assert "<script" not in text and "&lt;script&gt;" in text


MENDED = [name for name, defect in DEFECTS.items() if defect.mends]


@pytest.mark.parametrize("name", MENDED)
def test_a_repaired_copy_has_nothing_left_of_the_defect_and_the_original_stays(tmp_path, name):
    path = planted(tmp_path, name)
    before = path.read_bytes()
    episodes, changes = repair([str(path)])
    assert changes and path.read_bytes() == before
    write_episodes(tmp_path / "repaired.npz", episodes)
    assert len(load_episodes(tmp_path / "repaired.npz")) == len(episodes)
    assert DEFECTS[name].check not in [finding.check for finding in inspect(tmp_path / "repaired.npz").findings]
    assert [episode.number for episode in episodes] == list(range(len(episodes)))


def test_clean_data_is_repaired_to_itself(tmp_path):
    path = saved(tmp_path, clean_arrays())
    episodes, changes = repair([str(path)])
    assert changes == []
    for repaired, original in zip(episodes, load_episodes(path), strict=True):
        assert_identical(repaired.steps, original.steps)
        assert np.array_equal(repaired.success, original.success)


def test_an_episode_is_cut_before_its_bad_step_and_truncated(tmp_path):
    episodes, (change,) = repair([str(planted(tmp_path, "NaN in an observation"))])
    assert len(episodes[3]) == 16 and episodes[3].steps.truncated[-1] and episodes[3].steps.mask.all()
    assert (change.episode, change.what) == (
        3,
        "cut before step 16, whose next observation is not finite; truncated there, 44 steps dropped",
    )


def test_a_time_limit_marked_terminal_becomes_a_truncation_and_a_success_stays_terminal(tmp_path):
    arrays = clean_arrays()
    timeouts_as_terminals(arrays)
    arrays["terminals"][rows_of(arrays, 2)[-1]], arrays["timeouts"][rows_of(arrays, 2)[-1]] = True, False
    episodes, changes = repair([str(saved(tmp_path, arrays))])
    assert [episode.number for episode in episodes if episode.steps.mask[-1] == 0] == [2]
    assert [change.episode for change in changes] == [1, 3, 5, 7, 9, 11]


def test_a_step_that_does_not_lead_on_is_dropped_and_its_episode_split(tmp_path):
    episodes, changes = repair([str(planted(tmp_path, "rows mixed up"))])
    assert [len(episode) for episode in episodes[4:6]] == [12, 47]
    assert "dropped: steps 12" in changes[0].what
    assert all(np.array_equal(e.steps.observation[1:], e.steps.next_observation[:-1]) for e in episodes)


def test_a_file_that_marks_no_ends_is_named_by_the_time_limit_or_by_its_length(tmp_path):
    arrays = clean_arrays()
    ended = {name: arrays[name] for name in ("observations", "actions", "rewards", "timeouts")}
    endless = saved(tmp_path, {name: column for name, column in ended.items() if name != "timeouts"}, "endless.npz")
    limited = Reference.of("Made-v0", BOX, ACTIONS, 60)
    found = [f for f in inspect(endless, limited).findings if f.check == "no ends"]
    assert [(f.what, f.severity) for f in found] == [("An episode has 719 steps, and the environment cuts them after 60.", Severity.HARMS)]
    assert "no ends" not in [f.check for f in inspect(saved(tmp_path, ended), limited).findings]
    assert "no ends" not in [f.check for f in inspect(endless).findings]
    twice = {name: np.concatenate([column, column]) for name, column in ended.items() if name != "timeouts"}
    assert "no ends" in [f.check for f in inspect(saved(tmp_path, twice)).findings]


def pendulum(start, steps=120):
    """Observations `[steps, 3]` of a damped pendulum, which after a while mostly stands: cosine, sine, and angular velocity."""
    angle, speed, seen = *start, []
    for _ in range(steps):
        seen.append((np.cos(angle), np.sin(angle), speed))
        speed = 0.7 * speed - 0.5 * np.sin(angle)
        angle += 0.3 * speed
    return np.array(seen, np.float32)


@pytest.mark.parametrize(
    ("observations", "found"),
    [
        ([pendulum((1.5, 0.0)), pendulum((-0.7, 1.0))], []),
        ([pendulum((1.5, 0.0)), np.concatenate([pendulum((-0.7, 1.0), 60), pendulum((2.5, -2.0), 60)])], [(1, 60)]),
        ([np.stack([np.sin(np.arange(99) / 9), np.cos(np.arange(99) / 7), np.arange(99) / 5 % 19], axis=1)], []),
    ],
)
def test_few_columns_that_mostly_stand_still_jump_only_where_two_recordings_are_joined(observations, found):
    episodes = []
    for number, rows in enumerate(observations):
        rows, actions = rows.astype(np.float32), np.random.default_rng(number).uniform(-0.9, 0.9, (len(rows) - 1, 1)).astype(np.float32)
        over = np.zeros(len(actions), bool)
        episodes.append(Episode(make_steps(rows[:-1], actions, over, rows[1:], over, episode=number), None, "memory", number))
    assert [(f.episode, f.step) for f in inspect(episodes).findings if f.check == "observation jumps"] == found
