"""How an actor's run ends: by the learner's wish, or with the robot brought to rest and a sentence."""

import contextlib
import logging
import time
from collections.abc import Callable
from types import SimpleNamespace

import gymnasium as gym
import jax
import numpy as np
import pytest
from waiting import until
from wire_rows import SCHEMA, SPEC, agent

from warmloop.actor.config import ActorConfig
from warmloop.actor.control_loop import ActorLoop
from warmloop.actor.delivery import patience
from warmloop.actor.delivery.channel import open_channel
from warmloop.actor.delivery.client import Client, Introduction
from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.data.errors import EnvironmentGaveOut, WarmloopError
from warmloop.data.transition import example
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.receiving.service import serve

AGENT = agent()
STEPS = 20  # of an episode


class Arm(gym.Env):
    """A robot that remembers its steps and its stops; it breaks at step `breaks_at`, and so does its stop if told.

    What the test wants to happen `then` happens within that step, so that no busy machine puts it off.
    """

    observation_space = gym.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, breaks_at=None, stop_fails=False, seconds=0.002):
        self.breaks_at, self.stop_fails, self.seconds = breaks_at, stop_fails, seconds
        self.steps, self.stops, self.then = 0, [], dict[int, Callable[[], object]]()

    def reset(self, *, seed=None, options=None):
        return np.zeros(3, np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps == self.breaks_at:
            raise RuntimeError("the gripper lost its bus")
        if self.steps in self.then:
            self.then[self.steps]()
        time.sleep(self.seconds)
        return np.zeros(3, np.float32), 0.0, False, False, {"success": False}

    def safe_stop(self):
        self.stops.append(self.steps)
        if self.stop_fails:
            raise OSError("no bus")


gym.register("WarmloopTest/Arm-v0", lambda **kwargs: Arm(**kwargs), max_episode_steps=STEPS)


@pytest.fixture
def server():
    intake = Intake(SCHEMA)
    intake.publish(0, AGENT.actor_params(AGENT.init(jax.random.key(0), example(SPEC))))
    server = serve("127.0.0.1", 0, intake)
    yield server
    server.close()


@contextlib.contextmanager
def acting(server, config, **arm):
    """A loop on an arm, and the arm, below Gymnasium's own wrappers."""
    environment = make_environment(EnvironmentConfig("WarmloopTest/Arm-v0", kwargs=arm))
    client = Client(open_channel(f"127.0.0.1:{server.port}"), Introduction(SCHEMA, AGENT, "arm"), config)
    try:
        yield ActorLoop(environment, AGENT, client, config), environment.env.unwrapped
    finally:
        client.stop()
        client.close(timeout=0.1)


def later(action, loop, steps=30):
    """Calls `action` within one of the loop's steps."""
    loop.environment.env.unwrapped.then[steps] = action


ROBOT = ActorConfig(simulator=False, patience=0.5)


def test_a_run_that_the_learner_ends_comes_to_rest_after_its_episode(server):
    with acting(server, ROBOT) as (loop, arm):
        later(server._intake.stop, loop)
        loop.run()
        assert loop.at_boundary and arm.steps % STEPS == 0 and arm.stops == [arm.steps]


def test_a_robot_without_a_learner_acts_up_to_its_patience_and_is_stopped_once_with_a_sentence(server, caplog, monkeypatch):
    with acting(server, ROBOT) as (loop, arm):
        monkeypatch.setattr(patience, "time", SimpleNamespace(monotonic=lambda: arm.steps / 100))  # a hundred steps are a second
        later(server.close, loop)
        with pytest.raises(WarmloopError, match="has not answered"):
            loop.run()
        assert arm.stops == [arm.steps] and arm.steps >= 30 + 100 * ROBOT.patience
    assert "brought to a safe stop: The learner has not answered" in caplog.text


def test_a_robot_whose_name_was_taken_over_is_stopped(server):
    with acting(server, ROBOT) as (loop, arm):
        usurpers = []
        later(lambda: usurpers.append(Client.connect(f"127.0.0.1:{server.port}", Introduction(SCHEMA, AGENT, "arm"))), loop)
        with pytest.raises(WarmloopError, match="took over"):
            loop.run()
        assert arm.stops == [arm.steps]
        usurpers[0].close()


def test_more_faults_than_are_allowed_end_the_run_with_the_robot_at_rest(server):
    config = ActorConfig(simulator=False, patience=0.5, faults_per_hour=0)
    with acting(server, config, breaks_at=27) as (loop, arm):
        with pytest.raises(EnvironmentGaveOut, match=r"lost its bus.*the first fault, and actor.faults_per_hour is 0"):
            loop.run()
        assert arm.stops == [27]


def test_a_stop_that_fails_is_said_and_does_not_hide_why(server, caplog):
    config = ActorConfig(simulator=False, patience=0.5, faults_per_hour=0)
    with acting(server, config, breaks_at=27, stop_fails=True) as (loop, _), pytest.raises(EnvironmentGaveOut, match="lost its bus"):
        loop.run()
    assert "see to the robot" in caplog.text and "no bus" in caplog.text


def test_a_signal_ends_a_robots_episode_at_once_and_a_simulators_at_its_end(server):
    for simulator in (False, True):
        with acting(server, ActorConfig(simulator=simulator)) as (loop, arm):
            later(loop.client.stop, loop, STEPS + 5)
            loop.run()
            assert loop.at_boundary == simulator and arm.stops == [arm.steps]


def test_a_signal_ends_a_robots_evaluation_at_once_and_a_simulators_after_an_episode(server):
    for simulator in (False, True):
        with acting(server, ActorConfig(simulator=simulator, evaluate_every=1000, evaluation_episodes=1000)) as (loop, arm):
            later(loop.client.stop, loop, 5)
            loop.run()
            assert arm.stops == [arm.steps] and arm.steps < 10 * STEPS and (arm.steps % STEPS == 0 or not simulator)
            assert loop.progress["evaluate_at"] == 0, "a run that goes on begins with the whole evaluation"


def test_weights_too_far_behind_the_learners_stop_the_actor(server):
    with acting(server, ActorConfig(simulator=False, max_policy_lag=50)) as (loop, arm):

        def learn():
            server._intake.publish(60, AGENT.actor_params(AGENT.init(jax.random.key(1), example(SPEC))))
            until(lambda: loop.client.newest_version == 60)  # not only once the next episode has begun with them

        later(learn, loop, 2)
        with pytest.raises(WarmloopError, match=r"60 updates behind .*max_policy_lag is 50"):
            loop.run()
        assert len(arm.stops) == 1


def test_a_learner_that_answers_but_brings_no_new_weights_stops_the_actor_at_its_limit(server, monkeypatch):
    with acting(server, ActorConfig(max_weights_age=0.4)) as (loop, arm):
        age = {"seconds": 0.0}
        monkeypatch.setattr(type(loop.client), "weights_age", property(lambda client: age["seconds"]))
        later(lambda: age.update(seconds=0.3), loop, 5)
        later(lambda: age.update(seconds=0.5), loop, 30)
        with pytest.raises(WarmloopError, match=r"No new weights .*max_weights_age is 0\.4"):
            loop.run()
        assert arm.stops == [30]


def test_the_weights_age_is_since_the_newest_ones_came(server):
    with acting(server, ActorConfig()) as (loop, _):
        client, params = loop.client, AGENT.actor_params(AGENT.init(jax.random.key(1), example(SPEC)))
        for version in (1, 2):
            before = time.monotonic()
            server._intake.publish(version, params)
            until(lambda version=version: (client.newest_weights() or (-1,))[0] == version)
            time.sleep(0.1)
            assert 0.1 <= client.weights_age <= time.monotonic() - before, "since these came, and not the ones before"


def test_a_robot_without_the_hook_is_said_to_need_a_look(server, caplog):
    caplog.set_level(logging.WARNING)
    with acting(server, ROBOT) as (loop, arm):
        loop.environment.env = gym.make("Pendulum-v1")
        with pytest.raises(RuntimeError), loop.guard as guard, guard.watching("step"):
            raise RuntimeError("the arm stands in the way")
        assert not arm.stops
    assert "has no safe_stop(): see that the robot stands still. It should have been called: the arm stands in the way" in caplog.text
