"""Reward classifiers: what they learn, what is held out, how the threshold is chosen, and that a folder gives back what was trained."""

import dataclasses
import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from lamps import SMALL, lamp_classifier, lamp_episode

from warmloop.agents.classifiers import trained_classifier
from warmloop.agents.classifiers.classifier import Classifier, ClassifierConfig
from warmloop.agents.classifiers.trained_classifier import DESCRIPTION, PARAMS
from warmloop.agents.networks.vision import RESNET, VisionConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.files.sealed_json import seal
from warmloop.data.formats import write_episodes
from warmloop.data.transition import Leaf, Spec
from warmloop.learner.classifiers.calibration import Scores, auc, calibrate, calibration_error, measured, threshold
from warmloop.learner.classifiers.classifier_report import mistakes
from warmloop.learner.classifiers.classifier_training import draw, hold_out, labelled, lit, logits, make_pool, train
from warmloop.learner.soundness import NotFinite

EPISODES = [lamp_episode(number) for number in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classifier")
    lamp_classifier(folder)
    return folder


@pytest.mark.long
def test_a_lamp_is_told_from_darkness_in_episodes_that_were_never_seen(folder):
    trained = trained_classifier.read(folder)
    fresh = lamp_episode(99)
    p = [trained({name: leaf[t] for name, leaf in fresh.steps.next_observation.items()}) for t in range(8)]
    np.testing.assert_array_equal(np.array(p) >= trained.threshold, fresh.success)
    found = json.loads((folder / DESCRIPTION).read_text())["measured"]
    assert found["accuracy"][0] == 1.0 and found["auc"][0] == 1.0 and found["false_positive_rate"][3] == 10


def test_a_label_is_that_of_the_frame_after_the_step():
    data, _ = labelled(EPISODES[:1])
    bright = data.observation["front"][:, 4:12, :8].mean((1, 2, 3)) > 100
    np.testing.assert_array_equal(bright, data.success)


def test_an_episode_given_twice_counts_once_so_that_none_is_on_both_sides():
    once, twice = labelled(EPISODES)[0], labelled([*EPISODES, *EPISODES])[0]
    np.testing.assert_array_equal(once.episode, twice.episode)


def test_episodes_are_held_out_whole_and_of_both_kinds():
    data, _ = labelled([*EPISODES, *(lamp_episode(number, lit_from=99) for number in range(20, 24))])
    held = hold_out(data, 0.25, 3)
    assert held[:8].sum() == 2 and held[8:].sum() == 1
    assert not set(data.of(held).episode) & set(data.of(~held).episode)


@pytest.mark.parametrize("episodes", [EPISODES[:1], [lamp_episode(0, lit_from=99), lamp_episode(1, lit_from=99)]])
def test_too_few_episodes_are_a_sentence(episodes):
    with pytest.raises(WarmloopError, match="no frame of success"):
        hold_out(labelled(episodes)[0], 0.25, 0)


def test_an_episode_without_a_signal_is_a_sentence():
    with pytest.raises(WarmloopError, match="has no success signal"):
        labelled([dataclasses.replace(EPISODES[0], success=None)])


def test_a_batch_is_half_success_and_its_images_are_shifted_and_lit():
    data, spec = labelled(EPISODES)
    classifier = Classifier(SMALL, spec)
    observation, success = draw(make_pool(classifier, data), jax.random.key(0), SMALL)
    assert success.sum() == 8 and set(observation) == {"front"}
    lamp = np.asarray(observation["front"], int)[:, 6:10, :3].mean((1, 2, 3)) > 110
    np.testing.assert_array_equal(lamp, success == 1)
    stored = data.observation["front"].reshape(len(data.success), -1)
    assert not any((stored == row).all(1).any() for row in np.asarray(observation["front"]).reshape(16, -1))


def test_a_gray_camera_without_an_axis_of_channels_is_learnt_from_and_drawn(tmp_path):
    gray = [with_gray(episode) for episode in EPISODES]
    data, spec = labelled(gray)
    assert spec.cameras == (Leaf("front", (16, 16), "uint8"),)
    classifier, held = Classifier(SMALL, spec), hold_out(data, 0.25, 0)
    params, kept = train(classifier, data.of(~held), 0), data.of(held)
    scores = Scores(logits(classifier, params, kept.observation), kept.success, kept.episode)
    calibration = calibrate(classifier, scores, 0.01)
    assert measured(classifier, scores, 0.01)["accuracy"][0] == 1.0
    assert mistakes(tmp_path / "mistakes.png", classifier, kept, scores, calibration) == tmp_path / "mistakes.png"


def with_gray(episode):
    here, after = ({**seen, "front": seen["front"][..., 0]} for seen in (episode.steps.observation, episode.steps.next_observation))
    return dataclasses.replace(episode, steps=episode.steps.replace(observation=here, next_observation=after))


def test_brightness_multiplies_and_stays_within_a_byte():
    images = np.array([[[[100]]], [[[250]]]], np.uint8)
    drawn = np.stack([np.asarray(lit(images, jax.random.key(seed), 0.2)) for seed in range(50)])[..., 0, 0, 0]
    assert 80 <= drawn[:, 0].min() < 90 and 110 < drawn[:, 0].max() <= 120 and drawn[:, 1].max() == 255


@pytest.mark.parametrize("cameras", [True, False])
def test_states_are_seen_where_they_are_asked_for_or_all_there_is(cameras: bool):
    episodes = []
    for number in range(6):
        episode = lamp_episode(number)
        after = {"pose": np.where(episode.success, 2.0, -2.0)[:, None].repeat(2, 1).astype(np.float32)}
        after |= {"front": np.zeros((8, 16, 16, 3), np.uint8)} if cameras else {}
        steps = episode.steps.replace(observation={name: np.zeros_like(leaf) for name, leaf in after.items()}, next_observation=after)
        episodes.append(dataclasses.replace(episode, steps=steps, origin=str(number)))
    data, spec = labelled(episodes)
    classifier = Classifier(dataclasses.replace(SMALL, proprioception=cameras, members=1), spec)
    params = train(classifier, data, 0)
    p = np.asarray(classifier.probability(classifier.logits(params, data.observation)))
    assert auc(p, data.success) == 1.0


@pytest.mark.slow
def test_a_frozen_trunk_stays_as_it_is_though_weights_decay():
    spec = Spec((Leaf("front", (32, 32, 3), "uint8"),), 2)
    classifier = Classifier(ClassifierConfig(VisionConfig("resnet10", 8, embeddings=2, frozen=True), weight_decay=0.5), spec)
    state = classifier.init(jax.random.key(0))
    gradient = jax.tree.map(np.zeros_like, state.params)
    change, _ = classifier.optimizer.update(gradient, state.optimizer, state.params)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(change["encoder"]["params"][RESNET]))
    assert np.abs(change["head"]["params"]["Dense_0"]["kernel"]).max() > 0


def test_one_that_diverges_is_a_sentence_and_is_never_written():
    data, spec = labelled(EPISODES)
    wild = Classifier(dataclasses.replace(SMALL, learning_rate=1e30, members=1, updates=3), spec)
    with pytest.raises(NotFinite, match=r"After 3 updates a classifier.*diverged.*lower ClassifierConfig.learning_rate"):
        train(wild, data, 0)


def test_the_min_of_the_members_is_at_most_their_mean():
    spec, logits = Spec((Leaf("", (2,), "float32"),), 2), np.array([[0.0, 3.0], [2.0, 1.0]])
    mean, least = (Classifier(ClassifierConfig(combine=combine), spec).probability(logits) for combine in ("mean", "min"))
    sigmoid = 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose(mean, sigmoid.mean(0), rtol=1e-6)
    np.testing.assert_allclose(least, sigmoid.min(0), rtol=1e-6)


@pytest.mark.parametrize(("rate", "allowed"), [(0.0, 0), (0.01, 1), (0.1, 10)])
def test_the_threshold_lets_no_more_failures_pass_than_were_chosen(rate: float, allowed: int):
    rng = np.random.default_rng(0)
    success = np.arange(200) >= 100
    p = np.clip(np.where(success, 0.8, 0.6) + 0.2 * rng.normal(size=200), 0.01, 0.99)
    found = threshold(p, success, rate)
    best = np.sort(p[~success])[::-1][allowed]
    assert (p[~success] >= found).sum() <= allowed and (p[success] >= found).sum() == (p[success] > max(best, 0.5)).sum()


def test_where_all_is_clear_the_threshold_is_half_way_in_log_odds_and_never_below_a_half():
    success = np.array([False, False, True, True])
    assert threshold(np.array([0.1, 0.5, 0.9, 0.99]), success, 0.0) == pytest.approx(0.75)
    assert threshold(np.array([0.1, 0.1, 0.2, 0.99]), success, 0.0) == 0.5


def test_the_area_under_the_curve_counts_pairs():
    success = np.array([True, True, False, False])
    assert auc(np.array([0.9, 0.5, 0.5, 0.1]), success) == 0.875


def test_scores_that_are_right_as_often_as_they_say_have_no_calibration_error():
    p, success = np.repeat([0.2, 0.8], 10), np.tile(np.arange(10) < 2, 2)
    success[10:] = np.arange(10) < 8
    assert calibration_error(p, success) == pytest.approx(0.0, abs=1e-12)
    assert calibration_error(1 - p, success) == pytest.approx(0.6)


def test_an_episode_is_judged_by_the_threshold_that_the_others_give():
    """The third episode's failures score higher than any other's: a threshold that saw them would let none pass."""
    classifier = Classifier(ClassifierConfig(members=1), Spec((Leaf("", (2,), "float32"),), 2))
    logits = np.array([[-4.0, 3.0, -4.0, 3.0, 2.0, 6.0]])
    scores = Scores(logits, np.tile([False, True], 3), np.repeat(np.arange(3), 2))
    assert measured(classifier, scores, 0.0)["false_positive_rate"][0] == pytest.approx(1 / 3)


def test_a_folder_that_was_altered_is_a_sentence(folder, tmp_path):
    for name in (PARAMS, DESCRIPTION):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    said = json.loads((tmp_path / DESCRIPTION).read_text())
    del said["sha256"]
    (tmp_path / DESCRIPTION).write_text(seal(said | {"config": said["config"] | {"members": 3}}))
    with pytest.raises(WarmloopError, match="is missing or of another shape"):
        trained_classifier.read(tmp_path)
    (tmp_path / DESCRIPTION).write_text(json.dumps({name: value for name, value in said.items() if name != PARAMS}))
    trained_classifier.read(tmp_path)  # of a version before there were hashes
    (tmp_path / PARAMS).write_bytes(b"\x05")
    with pytest.raises(WarmloopError, match="cannot be read"):
        trained_classifier.read(tmp_path)
    with pytest.raises(WarmloopError, match="There is no classifier"):
        trained_classifier.read(tmp_path / "nowhere")


@pytest.mark.parametrize("name", [PARAMS, DESCRIPTION])
def test_a_changed_byte_of_either_file_is_noticed(folder, tmp_path, name):
    for one in (PARAMS, DESCRIPTION):
        (tmp_path / one).write_bytes((folder / one).read_bytes())
    whole = (folder / name).read_bytes()
    for at in np.random.default_rng(0).integers(len(whole), size=20):
        (tmp_path / name).write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(WarmloopError):
            trained_classifier.read(tmp_path)


@pytest.mark.long
def test_data_without_cameras_are_refused_unless_the_rest_of_the_observation_is_asked_for(tmp_path):
    def blind(observation):
        return {"pose": observation["pose"]}

    episodes = []
    for episode in map(lamp_episode, range(6)):
        here, after = blind(episode.steps.observation), blind(episode.steps.next_observation)
        episodes.append(dataclasses.replace(episode, steps=episode.steps.replace(observation=here, next_observation=after)))
    write_episodes(tmp_path / "blind.npz", episodes)
    command = [sys.executable, "-m", "warmloop.launch.train_classifier", f"--data={tmp_path}/blind.npz", f"--out={tmp_path}/out"]
    done = subprocess.run([*command, "--members=1", "--updates=2"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert "There are no camera images in --data, only pose" in done.stderr and "add --proprioception" in done.stderr


@pytest.mark.long
def test_the_command_writes_a_classifier_its_plot_and_its_mistakes(tmp_path):
    write_episodes(tmp_path / "frames.npz", EPISODES)
    command = [sys.executable, "-m", "warmloop.launch.train_classifier", f"--data={tmp_path}/frames.npz", f"--out={tmp_path}/out"]
    done = subprocess.run([*command, "--updates=2", "--members=1", "--features=4"], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "false positives" in done.stdout and (tmp_path / "out" / "classifier.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "mistakes.png").stat().st_size > 1000
    data = json.loads((tmp_path / "out" / DESCRIPTION).read_text())["data"]
    assert data[0]["path"] == f"{tmp_path}/frames.npz" and len(data[0]["sha256"]) == 64
