"""Which attempts a set is made of, the parts on disk, and workers."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from walk import CONFIG as WALK

from warmloop.actor.environment.environment import Environment, EnvironmentConfig
from warmloop.actor.episodes.collection import Attempts, Plan, Players, Tally, write_set
from warmloop.actor.episodes.parts import Parts, store
from warmloop.actor.episodes.schedule import Schedule
from warmloop.actor.episodes.workers import workers
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.data.episode import Episode
from warmloop.data.errors import EnvironmentGaveOut, WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.data.tasks import SINGLE
from warmloop.data.transition import Source
from warmloop.launch.flags.choices import choose_environment


def make_plan(**changes) -> Plan:
    defaults = {
        "environment": EnvironmentConfig("Pendulum-v1", horizon=8, success="reward>=-4"),
        "tasks": SINGLE,
        "policy": "random",
        "identity": "",
        "deterministic": False,
        "episodes": 5,
        "seed": 3,
        "source": Source.RANDOM,
        "noise": Schedule.parse("--noise", "0"),
        "random_share": Schedule.parse("--random_share", "0"),
        "success_only": True,
        "stop_at_success": False,
    }
    return Plan(**defaults | changes)


def random_policy(environment: Environment) -> RandomPolicy:
    return RandomPolicy(environment.spec.action_dim)


def run(plan: Plan, out: Path, count: int = 1, abreast: int = 1) -> None:
    parts = Parts.open(out, plan.settings())
    tally = Tally(plan, parts.over())
    with workers(partial(Attempts, plan, Players(random_policy, abreast=abreast), parts.folder), count, abreast) as job:
        for attempt, succeeded in job(tally.wanted()):
            tally.add(attempt, succeeded)
    write_set(out, tally, parts)
    parts.close()


@given(st.lists(st.booleans(), min_size=30, max_size=30), st.randoms(use_true_random=False), st.integers(1, 4), st.booleans())
def test_the_set_is_the_first_successes_whatever_the_order_in_which_attempts_finish(outcomes, order, busy, success_only):
    plan = make_plan(episodes=3, success_only=success_only)
    tally, running, found = Tally(plan, {}), [], 0
    wanted = tally.wanted()
    while not tally.complete:
        while len(running) < busy and (attempt := next(wanted, None)) is not None:
            running.append(attempt)
        attempt = running.pop(order.randrange(len(running)))
        found += tally.add(attempt, outcomes[attempt])
    matching = [number for number in range(plan.limit) if outcomes[number] or not success_only]
    assert tally.kept() == matching[:3] and tally.found == found == len(tally.kept())
    last = tally.kept()[-1] if len(matching) >= 3 else plan.limit - 1
    assert tally.succeeded() == outcomes[: last + 1]
    assert Tally(plan, tally.over).kept() == tally.kept()


def test_an_incomplete_set_is_all_that_is_there_in_the_order_of_attempts():
    tally = Tally(make_plan(episodes=3), {7: True, 2: True, 0: False})
    assert not tally.complete and tally.kept() == [2, 7] and tally.succeeded() == [False, True, True]
    assert next(tally.wanted()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("success_only", [True, False])
def test_one_worker_and_three_write_the_same_file(tmp_path: Path, success_only: bool):
    plan = make_plan(success_only=success_only, noise=Schedule.parse("--noise", "0:0.5"), random_share=Schedule.parse("", "0.2,0"))
    run(plan, tmp_path / "one.npz")
    run(plan, tmp_path / "three.npz", 3)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "three.npz").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["one.npz", "three.npz"]
    with np.load(tmp_path / "one.npz") as archive:
        metadata = json.loads(str(archive["metadata"]))
    attempts, episodes = metadata["attempts"], load_episodes(tmp_path / "one.npz")
    assert [episode.number for episode in episodes] == [0, 1, 2, 3, 4]
    assert attempts == [0, 1, 2, 3, 4] if not success_only else (attempts != [0, 1, 2, 3, 4] and all(e.succeeded for e in episodes))
    assert metadata["noise"] == "0:0.5" and metadata["episode_noise"] == pytest.approx([attempt % 5 * 0.125 for attempt in attempts])
    assert metadata["episode_random_share"] == [0.0 if attempt % 2 else 0.2 for attempt in attempts]


def test_a_set_is_the_same_from_one_simulator_and_from_four(tmp_path: Path):
    plan = make_plan(environment=WALK, success_only=True)
    run(plan, tmp_path / "one.npz")
    run(plan, tmp_path / "four.npz", abreast=4)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "four.npz").read_bytes()
    assert len(load_episodes(tmp_path / "four.npz")) == plan.episodes


@pytest.mark.slow
def test_and_from_two_workers_with_two_each(tmp_path: Path):
    plan = make_plan()
    run(plan, tmp_path / "one.npz")
    run(plan, tmp_path / "four.npz", 2, abreast=2)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "four.npz").read_bytes()


def test_what_is_over_is_not_run_again(tmp_path: Path):
    plan, out = make_plan(), tmp_path / "whole.npz"
    run(plan, out)
    parts = Parts.open(tmp_path / "again.npz", plan.settings())
    job = Attempts(plan, Players(random_policy), parts.folder)
    first = dict(job((4, 0, 1, 6)))
    parts.close()
    before = {name: os.stat(parts.folder / name).st_mtime_ns for name in os.listdir(parts.folder)}
    parts = Parts.open(tmp_path / "again.npz", plan.settings())
    assert parts.over() == first and set(first.values()) == {True, False}
    tally = Tally(plan, parts.over())
    for attempt, succeeded in job(tally.wanted()):
        assert attempt not in first
        tally.add(attempt, succeeded)
    assert all(os.stat(parts.folder / name).st_mtime_ns == then for name, then in before.items() if name != "lock")
    write_set(tmp_path / "again.npz", tally, parts)
    assert out.read_bytes() == (tmp_path / "again.npz").read_bytes()


def test_the_parts_of_other_settings_are_refused_and_kept_until_they_are_overwritten(tmp_path: Path):
    plan, out = make_plan(), tmp_path / "set.npz"
    parts = Parts.open(out, plan.settings())
    list(Attempts(plan, Players(random_policy), parts.folder)([0]))
    parts.close()
    other = make_plan(seed=4).settings()
    with pytest.raises(WarmloopError, match=r"\.set\.npz\.part holds finished episodes of another run \(its seed was 3 and is now 4\)"):
        Parts.open(out, other)
    parts = Parts.open(out, plan.settings(), overwrite=True)
    assert list(parts.over()) == [0]  # the same settings: whatever is there is what would come again
    parts.close()
    parts = Parts.open(out, other, overwrite=True)
    assert parts.over() == {}
    parts.close()
    assert os.listdir(tmp_path) == []


class LeavingWhileWritten(Episode):
    """An episode in whose writing a signal to leave arrives."""

    arriving: ClassVar[list[signal.Signals]] = []

    def __len__(self) -> int:
        for number in self.arriving:
            signal.raise_signal(number)
        return super().__len__()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_leave_is_answered_once_the_episode_is_on_disk(tmp_path: Path, number: signal.Signals):
    run(make_plan(success_only=False), tmp_path / "set.npz")
    episode = load_episodes(tmp_path / "set.npz")[0]
    leaving = LeavingWhileWritten(**vars(episode))
    before = signal.signal(number, lambda *_: sys.exit(7))
    LeavingWhileWritten.arriving.append(number)
    try:
        with pytest.raises(SystemExit, match="7"):
            store(tmp_path, 12, True, leaving)
        with pytest.raises(SystemExit, match="7"):  # the handler is back
            signal.raise_signal(number)
    finally:
        LeavingWhileWritten.arriving.clear()
        signal.signal(number, before)
    assert len(load_episodes(tmp_path / "00000012-success.npz")[0]) == len(episode)


def test_two_processes_do_not_collect_one_set(tmp_path: Path):
    parts = Parts.open(tmp_path / "set.npz", make_plan().settings())
    with pytest.raises(WarmloopError, match=f"is in use by process {os.getpid()}: wait for it, or choose another --out"):
        Parts.open(tmp_path / "set.npz", make_plan().settings())
    parts.close()


class Sums:
    """A worker's job that needs no environment; number 5 is where it goes wrong."""

    def __init__(self, folder: Path, fault: str = ""):
        self._folder, self._fault = folder, fault
        (folder / f"made-{os.getpid()}").touch()
        if fault == "making":
            raise WarmloopError("There is no robot.")

    def __call__(self, numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
        return ((number, self._squared(number)) for number in numbers)

    def _squared(self, number: int) -> int:
        if number == 5 and self._fault == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 5 and self._fault == "raises":
            raise ZeroDivisionError("five")
        if number == 5 and self._fault == "hangs":
            time.sleep(600)
        return number * number

    def close(self) -> None:
        (self._folder / f"closed-{os.getpid()}").touch()


def alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 3])
def test_every_number_is_done_once_and_every_job_closed(tmp_path: Path, count: int):
    with workers(partial(Sums, tmp_path), count) as job:
        assert dict(job(range(20))) == {number: number * number for number in range(20)}
    assert len(list(tmp_path.glob("made-*"))) == len(list(tmp_path.glob("closed-*"))) == count
    assert (count == 1) == (tmp_path / f"made-{os.getpid()}").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("making", "There is no robot."),
        ("killed", r"A worker process died \(SIGKILL\)"),
        ("raises", r"ZeroDivisionError: five \(test_collection.py, line \d+\)"),
    ],
)
def test_a_worker_that_fails_is_one_sentence_and_ends_the_others(tmp_path: Path, fault: str, message: str):
    done = []
    with pytest.raises(WarmloopError, match=message), workers(partial(Sums, tmp_path, fault), 2) as job:
        done += job(range(100))
    began = {path.name.partition("-")[2] for path in tmp_path.glob("made-*")}
    assert began and not any(map(alive, began))


class Ears:
    """A worker's job: which of two signals it ignores."""

    def __call__(self, numbers: Iterable[int]) -> Iterator[tuple[int, bool]]:
        return ((number, signal.getsignal((signal.SIGINT, signal.SIGHUP)[number]) is signal.SIG_IGN) for number in numbers)

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.long
def test_signals_of_a_terminal_are_left_to_the_process_that_started_the_workers():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)]
    with workers(Ears, 2) as job:
        assert dict(job(range(2))) == {0: True, 1: True}
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGHUP)] == before


def test_a_job_that_cannot_be_made_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made, closed = list[Environment](), list[Environment]()

    def no_policy(environment: Environment):
        made.append(environment)
        raise WarmloopError("There is no such policy.")

    monkeypatch.setattr(Environment, "close", lambda environment: closed.append(environment))
    reporting = threading.excepthook
    with pytest.raises(WarmloopError, match="no such policy"):
        Attempts(make_plan(), Players(no_policy), tmp_path)
    assert closed == made and made[0].guard is None and threading.excepthook is reporting


def test_an_environment_is_used_by_the_timeouts_of_its_configuration(tmp_path: Path):
    (tmp_path / "my.py").write_text(
        "from warmloop.actor.environment import EnvironmentConfig\nfrom warmloop.configs.schema import RunConfig\n"
        "def get_config():\n"
        "    environment = EnvironmentConfig('lab_environment:Lab/Reach-v0', {'quirk': 'step_blocks'}, horizon=30)\n"
        "    return RunConfig(environment).replace(actor={'simulator': False, 'step_timeout': 0.2, 'reset_timeout': 60.0})\n"
    )
    environment, tasks, use = choose_environment(f"{tmp_path}/my.py", None)
    players = Players(random_policy, use=use)
    attempts = Attempts(make_plan(environment=environment, tasks=tasks, success_only=False), players, tmp_path)
    with contextlib.closing(attempts), pytest.raises(EnvironmentGaveOut, match=r"has not returned for 0.2 s"):
        list(attempts(range(5)))


@pytest.mark.long
def test_a_worker_that_hangs_is_left_behind_when_nobody_waits_for_it(tmp_path: Path):
    began = time.monotonic()
    with workers(partial(Sums, tmp_path, "hangs"), 2) as job:
        for number, _ in job(range(100)):
            if number == 99:
                break
    assert time.monotonic() - began < 300  # of the ten minutes for which it hangs
    assert not any(alive(path.name.partition("-")[2]) for path in tmp_path.glob("made-*"))
