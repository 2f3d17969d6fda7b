"""Clips: what is recorded of a run, who acted in it, and that nothing about it can stop the run."""

import gymnasium as gym
import numpy as np
import pytest
from films import frames_of
from lamps import Lamps
from PIL import Image

from warmloop.actor.environment.environment import Environment, EnvironmentConfig, make_environment
from warmloop.actor.films import clips as module
from warmloop.actor.films.clips import Clips
from warmloop.data.errors import WarmloopError
from warmloop.data.pictures.contact_sheet import GOOD, HAND, Tile, marked, sheet, side_by_side
from warmloop.data.reward import RewardConfig


@pytest.fixture
def environment():
    return make_environment(EnvironmentConfig("WarmloopTest/Lamps-v0"))


def play(environment, clips: Clips, hands=(False,) * 9) -> None:
    environment.reset(0)
    for hand in hands:
        clips.add(environment.step(np.zeros(2)).next_observation, hand)


def test_episodes_with_a_hand_are_kept_and_its_frames_are_edged(environment, tmp_path):
    clips = Clips(environment, tmp_path)
    play(environment, clips)
    clips.end_training(0, True)
    play(environment, clips, [False] * 4 + [True] * 5)
    clips.end_training(1, False)
    clips.close()
    assert [path.name for path in (tmp_path / "videos").iterdir()] == ["intervention-000001-failure.mp4"]
    frames = frames_of(tmp_path / "videos" / "intervention-000001-failure.mp4")
    orange = np.abs(frames[:, 0].astype(int) - HAND).max(axis=-1).mean(axis=1) < 40
    np.testing.assert_array_equal(orange, [False] * 4 + [True] * 5)


def test_the_first_episodes_of_an_evaluation_are_kept_and_the_sheet_has_a_row_of_each(environment, tmp_path):
    clips = Clips(environment, tmp_path, "left")
    for number in range(5):
        play(environment, clips)
        clips.end_evaluation(200, number, number == 0)
    clips.close()
    names = sorted(path.name for path in (tmp_path / "videos").iterdir())
    assert names == ["evaluation-000000200-00-success-left.mp4", *(f"evaluation-000000200-0{n}-failure-left.mp4" for n in (1, 2))]
    assert Image.open(tmp_path / "contact_sheet-left.png").size[1] == 3 * sheet([[Tile(np.zeros((16, 16, 3), np.uint8))]], 128).shape[0]


class GrayLamps(Lamps):
    """Lamps whose camera has no axis of channels."""

    observation_space = gym.spaces.Dict({**Lamps.observation_space, "front": gym.spaces.Box(0, 255, (16, 16), np.uint8)})  # pyright: ignore[reportGeneralTypeIssues]

    def _seen(self, left, right):
        seen = super()._seen(left, right)
        return {**seen, "front": seen["front"][..., 0]}


def test_a_gray_camera_without_an_axis_of_channels_is_filmed(tmp_path):
    environment = Environment(GrayLamps(), EnvironmentConfig("gray"), RewardConfig("environment", terminate_on_success=False))
    clips = Clips(environment, tmp_path)
    play(environment, clips, [True] * 9)
    clips.end_training(0, True)
    clips.close()
    frames = frames_of(tmp_path / "videos" / "intervention-000000-success.mp4")
    assert len(frames) == 9 and frames[0].shape == (16, 16, 3) and (tmp_path / "contact_sheet.png").exists()


def test_a_long_episode_keeps_its_beginning_and_end_in_bounded_memory(environment, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_FRAMES", 10)
    clips, shown = Clips(environment, tmp_path), []
    for step in range(100):
        clips.add({"front": np.full((16, 16, 3), step, np.uint8), "pose": np.zeros(2)}, True)
        assert len(clips._frames) <= 10
    shown = [int(frame[0, 0, 0]) for frame in clips._frames]
    assert shown == list(range(0, 100, shown[1])) and shown[-1] >= 84
    clips.close()


def test_a_long_episode_with_a_hand_for_single_steps_is_kept_and_they_are_marked(environment, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_FRAMES", 10)
    clips, seen = Clips(environment, tmp_path), environment.reset(0)
    for hands in ({1}, {17}, {5, 39}, set()):
        for step in range(40):
            clips.add(seen, step in hands)
        assert [place for place, hand in enumerate(clips._hands) if hand] == sorted(step // clips._every for step in hands)
        clips.end_training(sum(hands), True)
    clips.close()
    assert sorted(path.name[13:19] for path in (tmp_path / "videos").iterdir()) == ["000001", "000017", "000044"]


def test_without_a_directory_nothing_is_kept(environment):
    clips = Clips(environment)
    play(environment, clips, [True] * 9)
    clips.end_training(0, True)
    assert not clips._frames
    clips.close()


def test_a_disk_that_refuses_costs_clips_and_not_the_run(environment, tmp_path, caplog):
    (tmp_path / "videos").write_text("a file where the folder should be")
    clips = Clips(environment, tmp_path)
    for number in range(2):
        play(environment, clips, [True] * 9)
        clips.end_training(number, True)
    clips.close()
    assert [record.message for record in caplog.records if "Clips cannot be written" in record.message].__len__() == 1


def test_a_clip_that_cannot_be_made_is_said_once_and_the_next_one_is_written(environment, tmp_path, caplog):
    clips = Clips(environment, tmp_path)
    for number, shape in enumerate([(8, 8, 3, 2), (8, 8, 3, 2), (16, 16, 3)]):
        clips._frames, clips._hands = [np.zeros(shape, np.uint8)] * 3, [False, True, False]
        clips.end_training(number, True)
    clips.close()
    assert [record.message[:26] for record in caplog.records] == ["Clips cannot be written to"] and "frames are" in caplog.text
    assert (tmp_path / "videos" / "intervention-000002-success.mp4").exists() and (tmp_path / "contact_sheet.png").exists()


def test_an_environment_that_draws_nothing_and_has_no_camera_is_a_sentence(tmp_path):
    environment = make_environment(EnvironmentConfig("Pendulum-v1"))
    clips = Clips(environment, tmp_path)
    environment.reset(0)
    with pytest.raises(WarmloopError, match='"Pendulum-v1": its render gave nothing'):
        clips.add(environment.step(np.zeros(1)).next_observation)
    clips.close()


def test_pictures_stand_side_by_side_and_a_mark_is_an_edge():
    tall, grey = np.full((8, 4, 3), 9, np.uint8), np.full((4, 4, 1), 7, np.uint8)
    np.testing.assert_array_equal(side_by_side([grey[..., 0]]), side_by_side([grey]))
    both = side_by_side([tall, grey])
    assert both.shape == (8, 8, 3) and (both[:4, 4:] == 7).all() and (both[4:, 4:] == 0).all()
    edged = marked(tall, GOOD)
    assert (edged[0] == GOOD).all() and (tall[0] == 9).all() and (marked(np.zeros((8, 8, 3), np.uint8), GOOD)[3, 3] == 0).all()
