"""A sensor's fault costs an episode, a call that blocks is noticed, and an environment comes to rest at every end."""

import json
import logging
import threading
import time

import jax
import numpy as np
import pytest
from hands import LockStep
from scripted import RAW, Scripted

from warmloop.actor.config import ActorConfig
from warmloop.actor.environment import faults as faults_module
from warmloop.actor.environment import guard as guard_module
from warmloop.actor.environment.environment import Environment, EnvironmentConfig, make_environment
from warmloop.actor.environment.guard import Guard, guarded
from warmloop.actor.episodes.rollout import evaluate, run_episode
from warmloop.actor.films.video import record_video
from warmloop.actor.intervention.intervention import Control
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.data.errors import EnvironmentFault, EnvironmentGaveOut
from warmloop.data.formats.quarantined import quarantine_files, read_quarantine
from warmloop.data.running import emergency
from warmloop.data.tasks import TaskConfig

LAB = "lab_environment:Lab/Reach-v0"
QUIRKS = ["nan_once", "step_fails_once", "reset_fails_once"]


def lab(quirk="", log=None, id=LAB):
    kwargs = {"quirk": quirk, "log": "" if log is None else str(log)}
    return EnvironmentConfig(id, kwargs, horizon=30)


def events(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(faults_module, "WAITS", (0.0,))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("quirk", QUIRKS)
def test_a_fault_costs_an_episode_whose_rows_stay_and_the_run_goes_on(quirk, tmp_path):
    log, quarantine = tmp_path / "log", tmp_path / "quarantine"
    run = LockStep(environment=lab(quirk, log), quarantine=quarantine)
    episodes, reports = run.run(6)
    assert sum(report["actor/faults"] for report in reports) == (quirk != "reset_fails_once"), "episodes that a fault broke off"
    rows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *episodes)
    assert all(np.isfinite(leaf).all() for name, leaf in vars(rows).items() if name != "mc_return")
    for episode in episodes:
        assert (np.diff(episode.step) == 1).all()
        assert (episode.truncated[-1] and episode.mask[-1] == 1) or episode.mask[-1] == 0, "cut with its bootstrap, or over"
    resets, stops = ([one for one in events(log) if one["event"] == kind] for kind in ("reset", "safe_stop"))
    assert len(stops) == run.loop.guard.faults.count + 1 and len(resets) >= 6
    kept = [row for file in quarantine_files(quarantine) for row in read_quarantine(file)]
    assert len(kept) == run.loop.guard.faults.count and all("lab_environment" in row.reason for row in kept)
    if quirk == "nan_once":
        assert "not finite" in kept[0].reason and np.isnan(kept[0].values["next_observation[1]"])


@pytest.mark.usefixtures("at_once")
def test_an_environment_that_never_gets_sound_again_ends_the_run_within_its_budget(tmp_path):
    run = LockStep(ActorConfig(faults_per_hour=3), environment=lab("reset_fails_once"))
    environment = run.environment.env.unwrapped
    run.run(2)

    def broken(**given):
        raise OSError("no route to the robot")

    environment.reset = broken
    with pytest.raises(EnvironmentGaveOut, match=r"no route.*fault 4 within an hour, and actor.faults_per_hour is 3: see to the robot"):
        run.run(10)


def test_retries_wait_longer_the_more_faults_come_in_a_row_and_leave_when_told(monkeypatch):
    waited = []
    monkeypatch.setattr(faults_module.time, "sleep", waited.append)
    now = [0.0]
    monkeypatch.setattr(faults_module.time, "monotonic", lambda: now.__setitem__(0, now[0] + 0.05) or now[0])
    with guarded(make_environment(lab())) as guard:
        lengths = []
        for _ in range(5):
            waited.clear()
            guard.faults.meet(EnvironmentFault("The bus is silent."), 0, 0)
            lengths.append(sum(waited))
        assert lengths == sorted(lengths) and lengths[0] == 0 and lengths[4] > 2 * lengths[2]
        guard.faults.sound()
        waited.clear()
        guard.faults.meet(EnvironmentFault("The bus is silent."), 0, 0)
        assert not waited

        def told():
            raise KeyboardInterrupt

        guard.faults.check = told
        with pytest.raises(KeyboardInterrupt):
            guard.faults.meet(EnvironmentFault("The bus is silent."), 0, 0)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("quirk", [*QUIRKS, "camera_drops_out"])
def test_an_evaluation_repeats_the_episode_and_counts_whole_ones_alone(quirk, tmp_path):
    log = tmp_path / "log"
    environment = make_environment(lab(quirk, log))
    shown = evaluate(environment, RandomPolicy(2), 0, 5)
    assert len(shown.lengths) == 5 and environment.guard is None
    whole = 29 if quirk in ("nan_once", "camera_drops_out") else 30  # their sensor is only read anew by a step, which is not counted
    assert all(length >= whole or success for length, success in zip(shown.lengths, shown.final_success, strict=True))
    assert events(log)[-1]["event"] == "safe_stop"


@pytest.mark.usefixtures("at_once")
def test_an_episode_whose_task_no_reset_has_told_is_not_begun():
    """A step would give a first observation, and the code of the task before it."""

    class Told(Scripted):
        def reset(self, *, seed=None, options=None):
            return self._observation(), {"task": "push" if seed else "reach"}

    sound, bad = np.zeros(3), np.full(3, np.nan)
    told = Told(observations=[sound, sound, bad, bad, bad, sound], returned=(0.0, False, False, {}))
    environment = Environment(told, EnvironmentConfig("lab"), RAW, TaskConfig(("reach", "push")))
    control = Control(environment)
    with guarded(environment):
        observation = control.begin(0)
        control.step(observation, np.zeros(2, np.float32), 0)
        np.testing.assert_array_equal(control.begin(1), [0, 0, 0, 0, 1])
        assert environment.task == "push" and len(told.received) == 1


@pytest.mark.usefixtures("at_once")
def test_a_repeated_episode_is_the_one_that_there_would_have_been():
    whole, broken = (make_environment(lab(quirk)) for quirk in ("", "step_fails_once"))
    with guarded(whole), guarded(broken) as guard:
        for seed in range(3):
            one, other = (run_episode(environment, RandomPolicy(2), seed).steps for environment in (whole, broken))
            assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
        assert guard.faults.count == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_ends_a_robots_run_at_rest_and_costs_a_simulator_an_episode(tmp_path):
    for simulator in (False, True):
        log = tmp_path / f"log-{simulator}"
        config = ActorConfig(simulator=simulator)
        run = LockStep(config, environment=lab(log=log, id="stuck_environment:Stuck/ThreadDies-v0"))
        run.loop.guard._report_thread = lambda died: None
        if simulator:
            run.run(3)
            assert run.loop.guard.faults.count == 1
        else:
            with pytest.raises(EnvironmentGaveOut, match=r"thread camera ended by ZeroDivisionError.*what it did for the robot"):
                run.run(3)
        told = [one["event"] for one in events(log)]
        assert told.index("safe_stop") == 8, "before the step during which it died is even sent"
        assert told[-1] == "safe_stop"


def test_a_call_that_returns_late_is_no_longer_believed(tmp_path, caplog):
    log = tmp_path / "log"
    environment = make_environment(lab(log=log))
    config = ActorConfig(simulator=False, step_timeout=0.3)
    late = pytest.raises(EnvironmentGaveOut, match=r"step\(\) has not returned for 0.3 s; see to the robot, or raise actor.step_timeout")
    with late, Guard(environment, config) as guard, guard.watching("step"):
        time.sleep(60)
    assert [one["event"] for one in events(log)] == ["safe_stop"]
    assert "brought to a safe stop" in caplog.text


def test_a_call_that_returns_while_the_environment_is_being_stopped_is_not_broken_into_later():
    """The stop takes longer than the rest of the call, as one that waits for the driver's lock: the next stop must run to its end."""
    environment, stops = make_environment(lab()), []
    first, second, decided = (threading.Event() for _ in range(3))

    def stop_slowly():
        (second if first.is_set() else first).set()
        if threading.current_thread() is threading.main_thread():
            decided.wait(60)  # within the second stop the watchdog decides whether to break in
        else:
            second.wait(60)  # the call has returned since
        stops.append(threading.current_thread())

    def gets_out(call):
        found = Guard._gets_out(guard, call)
        decided.set()
        return found

    environment.env.unwrapped.safe_stop = stop_slowly
    config = ActorConfig(simulator=False, step_timeout=0.3)
    with pytest.raises(EnvironmentGaveOut), Guard(environment, config) as guard:
        guard._gets_out = gets_out
        with guard.watching("step"):
            first.wait(60)
    assert len(stops) == 2 and decided.is_set()


def test_a_stop_that_blocks_is_a_sentence_and_does_not_hide_why(monkeypatch, caplog):
    monkeypatch.setattr(guard_module, "LEAVE_SECONDS", 0.3)
    monkeypatch.setattr(emergency, "STOP_SECONDS", 0.1)
    environment = make_environment(lab())
    environment.env.unwrapped.safe_stop = lambda: time.sleep(60)
    for raised, says in ((None, r"safe_stop\(\) has not returned for 0.3 s; see to the robot"), (OSError("no bus"), "no bus")):
        kind = EnvironmentGaveOut if raised is None else OSError
        config = ActorConfig(simulator=False, step_timeout=0.2, reset_timeout=60.0)
        with pytest.raises(kind, match=says), Guard(environment, config) as guard:
            with guard.watching("reset"):
                pass
            if raised is not None:
                raise raised
        assert "safe_stop() has not returned" in caplog.text
        caplog.clear()


def test_no_signal_cuts_a_stop_short(monkeypatch):
    """The first one breaks into whatever the main thread is at; at a second one the process ends, once the environments rest."""
    environment, begun, whole = make_environment(lab()), [], []
    monkeypatch.setattr(emergency, "STOP_SECONDS", 60.0)

    def stop_slowly():
        begun.append(time.monotonic())
        if len(begun) == 1:
            threading.Thread(target=emergency.break_in, args=(KeyboardInterrupt(),)).start()
            time.sleep(60)  # until it is broken into
        if len(begun) == 3:
            ending.start()
        time.sleep(0.3)
        whole.append(time.monotonic())

    environment.env.unwrapped.safe_stop = stop_slowly
    with pytest.raises(KeyboardInterrupt), Guard(environment) as guard, guard.watching("step"):
        pass
    assert (len(begun), len(whole)) == (2, 1)
    ending = threading.Thread(target=lambda: (emergency.bring_to_rest("a second signal", 60.0), ended.append(time.monotonic())))
    ended = []
    with Guard(environment) as guard, guard.watching("step"):
        pass
    ending.join()
    assert (len(begun), len(whole)) == (3, 2) and ended[0] >= whole[1]


def test_nothing_moves_an_environment_once_its_process_ends():
    """A call that is on its way when the process ends at once may move it after its stop; no other call begins."""
    environment, told, on_its_way = make_environment(lab()), [], threading.Event()
    environment.env.unwrapped.safe_stop = lambda: told.append("safe_stop")

    def drive():
        with Guard(environment) as guard:
            for _ in range(3):
                with guard.watching("step"):
                    on_its_way.set()
                    time.sleep(0.2)
                    told.append("step")

    driver = threading.Thread(target=drive, daemon=True)
    driver.start()
    on_its_way.wait(60)
    emergency.bring_to_rest("SIGQUIT ended the process")
    driver.join(0.6)
    assert driver.is_alive() and told == ["safe_stop", "step", "safe_stop"]


def test_a_simulators_first_steps_may_take_long_and_a_timeout_of_0_watches_nothing():
    environment = make_environment(lab())
    with Guard(environment, ActorConfig(step_timeout=0.1)) as guard:
        with guard.watching("step"):
            time.sleep(0.4)
        guard.faults.sound()
        with pytest.raises(EnvironmentGaveOut), guard.watching("step"):
            time.sleep(60)
    with Guard(environment, ActorConfig(simulator=False, step_timeout=0.0)) as guard, guard.watching("reset"):
        time.sleep(0.2)


def test_watching_a_step_costs_no_time_worth_mentioning():
    environment = make_environment(lab())
    with guarded(environment) as guard:
        began = time.thread_time()  # what else a busy machine does is not its cost
        for _ in range(2000):
            with guard.watching("step"):
                pass
        each = (time.thread_time() - began) / 2000
    print(f"\na watched call: {each * 1e6:.1f} µs")
    assert each < 100e-6


def test_a_video_is_guarded_as_one_run_by_its_own_timeouts(tmp_path):
    log = tmp_path / "log"
    record_video(lab(log=log), RandomPolicy(2), 0, tmp_path / "film.mp4", episodes=3, use=ActorConfig(simulator=False))
    assert [one["event"] for one in events(log)].count("safe_stop") == 1
    with pytest.raises(EnvironmentGaveOut, match=r"has not returned for 0.2 s"):
        blocked = ActorConfig(simulator=False, step_timeout=0.2, reset_timeout=60.0)
        record_video(lab("step_blocks", log), RandomPolicy(2), 0, tmp_path / "film.mp4", episodes=3, use=blocked)


def test_a_run_without_faults_comes_to_rest_once_and_says_it_quietly(tmp_path, caplog):
    log = tmp_path / "log"
    caplog.set_level(logging.INFO)
    evaluate(make_environment(lab(log=log)), RandomPolicy(2), 0, 2)
    assert [one["event"] for one in events(log)].count("safe_stop") == 1
    assert [record.levelname for record in caplog.records if "safe stop" in record.message] == ["INFO"]
