"""What a sweep's runs learn from and what they leave, in this process: action limits of the data, cameras, and finished seeds."""

import json
import shutil

import numpy as np
import pytest
from lamps import CONFIG, lamp_episode

from warmloop.actor.environment.environment import EnvironmentConfig, make_environment
from warmloop.actor.episodes.rollout import EpisodePlan, evaluate, run_episode
from warmloop.actor.policies.policy import RandomPolicy
from warmloop.data.action_limits import ActionLimits
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes, write_episodes
from warmloop.data.sources.sources import mark
from warmloop.launch.judging.judge import Subject
from warmloop.launch.sweeps.halving import Halving, HalvingRule
from warmloop.launch.sweeps.sweep_results import Results
from warmloop.launch.sweeps.sweep_runs import Judging, Trial, train_and_judge
from warmloop.launch.sweeps.sweep_work import Work, in_this_process
from warmloop.launch.sweeps.sweeping import runs_of, with_data
from warmloop.learner.checkpoints import complete_checkpoints, selection_file

PENDULUM = "configs/classic.py:pendulum"
TINY = ("warmup_agent.hidden=(8,)", "warmup_agent.batch_size=8", "learner.updates_per_call=1", "environment.horizon=9")
JUDGING = Judging(episodes=1)


def swept(runs, out, judging=JUDGING):
    """Seed 0 of each run, trained and judged."""
    return {name: next(train_and_judge(Trial(name, run.config, (0,), judging), run.recorded, out, 1 << 30)) for name, run in runs.items()}


@pytest.fixture(scope="module")
def gentle(tmp_path_factory):
    """Pendulum episodes whose torques keep to -1 and 0.5 of the pendulum's ±2."""
    path = tmp_path_factory.mktemp("data") / "gentle.npz"
    environment = make_environment(EnvironmentConfig("Pendulum-v1", action_low=(-1.0,), action_high=(0.5,), horizon=30))
    episodes = [run_episode(environment, RandomPolicy(1), seed, EpisodePlan(number=seed)) for seed in range(2)]
    for episode in episodes:
        episode.steps.action[:2] = [[-1.0], [1.0]]
    write_episodes(path, episodes, mark(environment.config.limits))
    return str(path)


@pytest.mark.long
def test_action_limits_of_the_data_are_those_that_a_run_is_judged_and_kept_by(gentle, tmp_path):
    runs = with_data(runs_of(PENDULUM, [], ["data.action_scaling='none','data'", *TINY], {"warmup_steps": 1}), [gentle], 1)
    own, limited = runs.values()
    assert own.config.environment.limits is None
    assert (limited.config.environment.action_low, limited.config.environment.action_high) == ((-1.0,), (0.5,))
    assert [float(np.abs(run.recorded[0].steps.action).max()) for run in (own, limited)] == [0.5, 1.0]
    shown = swept(runs, tmp_path)
    folders = sorted(tmp_path.glob("*/seed-0"), key=lambda folder: "none" not in folder.parent.name)
    assert [Subject(checkpoint=folder).load()[0].limits.high for folder in folders] == [(2.0,), (0.5,)]
    saved = complete_checkpoints.newest(folders[1]).meta["config"]
    assert saved["environment"]["action_low"] == [-1.0] and saved["data"]["sources"][0]["path"] == gentle
    again = [evaluate(*Subject(checkpoint=folder).load(), 0, 1).mean_return for folder in folders]
    assert again == pytest.approx([one["mean_return"] for one in shown.values()])


def test_each_run_has_the_data_of_its_own_environment_and_what_is_the_same_is_read_once(gentle):
    settings = ["environment.action_low=(-2.0,),(-1.0,)", "environment.action_high=(2.0,)", "warmup_agent.actor_lr=1e-4,3e-4"]
    first, second, third, fourth = with_data(runs_of(PENDULUM, [], settings, {}), [gentle], 1).values()
    assert first.recorded is second.recorded and third.recorded is fourth.recorded
    assert [float(run.recorded[0].steps.action.min()) for run in (first, third)] == [-0.5, -1.0]
    assert second.config.warmup_agent.settings.actor_lr == 3e-4


@pytest.fixture
def lamps(tmp_path):
    """A configuration with a camera, and its data."""
    (tmp_path / "lamps.py").write_text(CONFIG)
    write_episodes(tmp_path / "lamps.npz", [lamp_episode(number) for number in range(2)], mark(None))
    return runs_of(str(tmp_path / "lamps.py"), [], ["learner.updates_per_call=1"], {"warmup_steps": 1}), [str(tmp_path / "lamps.npz")]


@pytest.mark.slow
def test_a_policy_that_sees_is_judged_and_kept_without_the_pictures_of_the_data(lamps, tmp_path):
    (shown,) = swept(with_data(*lamps, 1), tmp_path / "out").values()
    assert shown["mean_return"] == 0.0 and not shown["diverged"]
    (folder,) = (tmp_path / "out").glob("*/seed-0")
    environment, policy = Subject(checkpoint=folder).load()
    policy.begin(0)
    assert np.isfinite(policy(environment.reset(0), 0)).all()
    assert sum(file.stat().st_size for file in folder.glob("offline-*.npz")) < 4_000


def test_of_policies_that_see_several_checkpoints_are_refused_before_any_training(lamps):
    with pytest.raises(WarmloopError, match=r"--checkpoints=2: FQE.* states alone.* images \(front\); leave it at 1"):
        with_data(*lamps, 2)


def test_a_finished_seed_is_known_by_what_its_data_hold_and_not_by_where_they_are(gentle, tmp_path):
    (name, config), *_ = runs_of(PENDULUM, [], [], {}).items()

    def missing(path, changed=config):
        return Results(tmp_path, JUDGING).missing(name, with_data({name: changed}, [str(path)], 1)[name], 2)

    Results(tmp_path, JUDGING).add(name, with_data({name: config}, [gentle], 1)[name], {"seed": 0, "mean_return": 1.0})
    copy = tmp_path / "copy.npz"
    shutil.copy(gentle, copy)
    assert missing(gentle) == missing(copy) == [1]
    first, second = load_episodes(copy)
    second.steps.reward[3] += 1
    write_episodes(copy, [first, second], mark(ActionLimits([-1.0], [0.5])))
    assert missing(copy) == missing(f"random={gentle}") == [0, 1]
    assert missing(gentle, config.replace(learner={"warmup_steps": 7})) == [0, 1]


def test_what_other_settings_gave_is_taken_for_finished_only_until_the_seed_is_run_by_these(gentle, tmp_path):
    runs = with_data(runs_of(PENDULUM, [], ["learner.warmup_steps=1,2"], {}), [gentle], 1).values()
    results = Results(tmp_path, JUDGING)
    for updates, run in enumerate(runs, start=1):
        results.add("one name", run, {"seed": 0, "mean_return": updates})
    for known in (results, Results(tmp_path, JUDGING)):
        assert [known.missing("one name", run, 1) for run in runs] == [[0], []]
        assert [one["mean_return"] for one in known.of(["one name"], 1)["one name"]] == [2]


@pytest.mark.long
def test_a_seed_s_folder_holds_the_checkpoints_of_its_last_run_alone(gentle, tmp_path):
    longer, shorter = with_data(runs_of(PENDULUM, [], ["learner.warmup_steps=2,1", *TINY], {}), [gentle], 1).values()
    swept({"one name": longer}, tmp_path)
    folder = tmp_path / "one_name" / "seed-0"
    selection_file.write(folder, {"chosen": 2, "by": "data", "candidates": [{"updates": 2}]})
    (folder / "notes.txt").write_text("mine")
    swept({"one name": shorter}, tmp_path)
    assert [path.name for path in complete_checkpoints.steps(folder)] == ["00000001"] and complete_checkpoints.chosen(folder).updates == 1
    assert (folder / "notes.txt").read_text() == "mine"


def test_any_byte_that_changes_in_the_results_is_said_with_its_line_and_lines_of_earlier_versions_are_read(gentle, tmp_path, caplog):
    (name, config), *_ = runs_of(PENDULUM, [], [], {}).items()
    run = with_data({name: config}, [gentle], 1)[name]
    path = tmp_path / "results.jsonl"
    for seed in range(2):
        Results(tmp_path, JUDGING).add(name, run, {"seed": seed, "mean_return": 1.5, "selected": {"updates": 3}})
    text = path.read_bytes()
    for place in range(len(text) - 1):  # of the last line's end an other test tells
        damaged = bytearray(text)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(WarmloopError, match=r"results\.jsonl"):
            Results(tmp_path, JUDGING)
    old = {"run": name, "key": "0", "seed": 0, "mean_return": 1.0}
    path.write_text(json.dumps(old) + "\n" + text.decode())
    assert Results(tmp_path, JUDGING).missing(name, run, 3) == [2] and "nothing shows whether it was changed" in caplog.text
    path.write_text(text.decode() + json.dumps(old) + "\n")
    with pytest.raises(WarmloopError, match=r"results.jsonl, line 3, has lost its sha256.*delete line 3, and its seed is run again"):
        Results(tmp_path, JUDGING)


def halved(runs, out, memory=1 << 30):
    """The returns of three seeds of each run, and who was stopped, where they are halved at one update."""
    out.mkdir()
    configs = {name: run.config for name, run in runs.items()}
    halving = Halving(out, configs, dict.fromkeys(configs, "k"), HalvingRule(first=1, factor=3, seeds=3))
    work = Work(runs, {name: [0, 1, 2] for name in runs}, JUDGING, out, memory, halving)
    outcomes = list(in_this_process(work))
    return {(name, result and result["seed"]): result and result["mean_return"] for name, result in outcomes}, halving.stopped


@pytest.mark.long
def test_a_run_that_is_judged_on_its_way_ends_as_if_it_had_not_been_and_a_poor_one_does_not_end(gentle, tmp_path):
    settings = ["warmup_agent.actor_lr=1e-3,1e30", "reward.signal='environment'", *TINY]
    runs = with_data(runs_of(PENDULUM, ["bc"], settings, {"warmup_steps": 5}), [gentle], 1)
    good, poor = runs
    returns, stopped = halved(runs, tmp_path / "halved")
    assert returns.keys() == {(good, 0), (good, 1), (good, 2), (poor, None)} and stopped == {poor: 1}
    alone = swept({good: runs[good]}, tmp_path / "alone")[good]
    assert returns[good, 0] == pytest.approx(alone["mean_return"], rel=1e-5)
    assert len(list((tmp_path / "halved").glob("*/seed-*"))) == 3, "a stopped run leaves no checkpoint"
    with pytest.raises(WarmloopError, match=r"3 seeds side by side need .* MiB, and --seed_mebibytes=0 allows less"):
        halved(runs, tmp_path / "narrow", memory=1)
