import numpy as np
import pytest

from warmloop.learner.judging.scores import interquartile_mean, interval, normalised


def test_the_middle_half_counts():
    assert interquartile_mean(np.array([[-1e9], [1.0], [2.0], [1e9]])) == 1.5
    assert interquartile_mean(np.array([[1.0, 2.0], [3.0, 100.0]])) == 2.5
    assert interquartile_mean(np.array([[1.0], [2.0], [6.0]])) == 3.0


def test_references_are_0_and_100_whatever_the_version_of_the_environment():
    assert normalised("Hopper-v5", -20.272305) == 0
    assert normalised("AdroitHandDoor-v1", 2880.5693) == pytest.approx(100)
    assert normalised("Pendulum-v1", -200.0) is None


def test_the_interval_holds_the_mean_of_the_runs_distribution_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = [low <= 5 <= high for low, high in (interval(rng.normal(5, 1, (12, 2)), 400, n) for n in range(200))]
    assert 0.85 < np.mean(held) < 0.99


def test_runs_are_drawn_within_their_task():
    scores = np.array([[0.0, 100.0], [0.0, 100.0], [0.0, 100.0]])
    assert interval(scores) == (50.0, 50.0)
