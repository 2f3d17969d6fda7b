"""Which trial runs when, and what becomes of one that is lost, on nodes that pretend. Real ones: tests/faults/test_sweep_on_ray.py."""

from collections import Counter

import pytest
from pretend_ray import ObjectLostError, OutOfMemoryError, PretendRay, RayActorError, RayTaskError

from warmloop.configs import load
from warmloop.data.errors import NonFiniteActionError, WarmloopError
from warmloop.launch.sweeps import trials_on_ray
from warmloop.launch.sweeps.halving import Halving, HalvingRule
from warmloop.launch.sweeps.sweep_runs import Judging
from warmloop.launch.sweeps.sweep_work import Work
from warmloop.launch.sweeps.sweeping import Run
from warmloop.launch.sweeps.trials_on_ray import MOST_LOST, TrialPlace, on_ray

CONFIG = load("configs/classic.py:pendulum").replace(learner={"warmup_steps": 90})
GONE = RayActorError("The actor died because its node has died. class_name: TrialHost actor_id: 1")


@pytest.fixture
def work(tmp_path):
    """Two runs of three seeds of the same data; of the second one, the first seed is finished."""
    recorded = []
    runs = {name: Run(CONFIG, recorded, "") for name in ("iql", "bc")}
    return Work(runs, {"iql": [0, 1, 2], "bc": [1, 2]}, Judging(), tmp_path, 1 << 30)


def done(ray, work, place=None):
    return [(outcome.name, outcome.result and outcome.result["seed"]) for outcome in on_ray(ray, work, place or TrialPlace())]


def test_every_missing_seed_is_a_trial_whose_files_come_back_and_the_data_are_stored_once(work):
    ray = PretendRay(nodes=2)
    assert sorted(done(ray, work)) == [("bc", 1), ("bc", 2), ("iql", 0), ("iql", 1), ("iql", 2)]
    assert set(ray.begun.values()) == {1} and len(ray.stored) == 1 and ray.most == 2
    assert sorted(path.as_posix() for path in work.out.glob("*/*/file"))[0].endswith("bc/seed-1/file")
    assert ray.placed == [], "every actor is ended"


def test_several_seeds_may_learn_side_by_side(work):
    ray = PretendRay()
    assert len(done(ray, work, TrialPlace(seeds=2))) == 5
    assert sorted(ray.begun) == [("bc", (1, 2)), ("iql", (0, 1)), ("iql", (2,))]


@pytest.mark.parametrize("error", [GONE, ObjectLostError("lost"), OutOfMemoryError("too much")])
def test_a_trial_that_is_lost_is_run_again_alone(work, error, caplog):
    caplog.set_level("INFO", "warmloop")
    ray = PretendRay(losses={("iql", 1): (2, error, False)})
    assert Counter(done(ray, work)) == Counter([("bc", 1), ("bc", 2), ("iql", 0), ("iql", 1), ("iql", 2)])
    assert ray.begun[("iql", (1,))] == 3 and ray.begun.total() == 7
    said = [record.getMessage() for record in caplog.records]
    assert sum("iql, seed 1 is lost on 10.0.0.1" in line for line in said) == 2 and not any("class_name" in line for line in said)
    assert said.count("the data are odd") == 1, "what each trial says is said once"


def test_a_trial_that_is_lost_on_every_node_that_goes_on_ends_the_sweep(work):
    with pytest.raises(WarmloopError, match=f"iql, seed 1 was lost {MOST_LOST + 1} times though its node goes on.*--trial_cpus"):
        done(PretendRay(losses={("iql", 1): (99, GONE, False)}), work)


def test_nodes_that_die_are_no_fault_of_the_trial(work):
    ray = PretendRay(losses={("iql", 1): (20, GONE, True)})
    assert len(done(ray, work)) == 5 and ray.begun[("iql", (1,))] == 21


def test_a_mistake_ends_the_sweep_with_its_sentence_and_leaves_no_actor(work):
    ray = PretendRay(fault=NonFiniteActionError("the data are wrong"))
    with pytest.raises(WarmloopError, match=r"^the data are wrong \(on the node 10\.0\.0\.1\)$"):
        done(ray, work)
    assert ray.placed == []


@pytest.mark.parametrize(
    ("refusal", "says"),
    [
        (
            RayTaskError(RuntimeError("No module named 'warmloop'")),
            r"A node cannot run trials; is warmloop\[ray\] installed there\? Ray says: No",
        ),
        (RayTaskError(WarmloopError("The node far has no folder /home/me.")), "^The node far has no folder"),
        (GONE, f"a place for a trial was lost {MOST_LOST + 1} times"),
    ],
)
def test_nodes_that_can_run_no_trial_end_the_sweep_with_a_sentence(work, refusal, says):
    ray = PretendRay(refusal=refusal)
    with pytest.raises(WarmloopError, match=says):
        done(ray, work)
    assert ray.placed == [] and not ray.begun


def test_without_a_node_that_has_room_the_sweep_says_what_it_waits_for(work, caplog, monkeypatch):
    monkeypatch.setattr(trials_on_ray, "WAIT_SECONDS", 0.0)
    ray = PretendRay(nodes=0)
    waited = iter(range(5))

    def wait(calls, timeout):
        ray.room = int(next(waited, None) is None)
        return PretendRay.wait(ray, calls, timeout)

    ray.wait = wait
    assert len(done(ray, work, TrialPlace(2.0, 0.5, ("lab",)))) == 5
    said = [record.getMessage() for record in caplog.records if "waits for a node with room" in record.getMessage()]
    assert len(said) == 1 and "needs 2 CPU, 0.5 GPU, lab" in said[0]


def test_where_runs_are_halved_a_trial_is_a_run_and_a_stopped_one_has_no_result(work):
    rule = HalvingRule(first=10, factor=3, seeds=3)
    configs = {name: run.config for name, run in work.runs.items()}
    halving = Halving(work.out, configs, dict.fromkeys(configs, "k"), rule)
    halved = Work(work.runs, {name: [0, 1, 2] for name in configs}, work.judging, work.out, 1, halving)
    scores = {name: {"mean_return": score, "success_rate": score, "diverged": False} for name, score in (("iql", 0.5), ("bc", 0.1))}
    ray = PretendRay(nodes=1, scores=scores, losses={("iql", 0): (1, GONE, True)})
    assert done(ray, halved) == [("iql", 0), ("iql", 1), ("iql", 2), ("bc", None)]
    assert halving.stopped == {"bc": 10} and halving.rungs("iql") == []
    assert ray.begun == {("iql", (0, 1, 2)): 2, ("bc", (0, 1, 2)): 1}
