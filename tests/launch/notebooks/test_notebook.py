"""The notebooks' classes, on Pendulum with networks of 16: they do what the commands do."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorded import assert_identical, assert_same_experience
from runs import Commands

from warmloop import ExpertDataCollector, OfflineRLTrainer
from warmloop.data.errors import WarmloopError
from warmloop.data.formats import load_episodes
from warmloop.launch.judging.judge import Subject, judge, table
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints

pytestmark = pytest.mark.long

SMALL = {
    "hidden": (16, 16),
    "batch_size": 16,
    "replay": {"capacity": 5000},
    "learner": {"log_every": 50, "publish_every": 20},
}


def trainer(env="configs/classic.py:pendulum", algorithm="", **more) -> OfflineRLTrainer:
    return OfflineRLTrainer(env, algorithm, **(SMALL | more))


def agent_of(folder: Path):
    """The newest agent's state in a folder, keys as numbers."""
    _, state = checkpoint.restore_agent(complete_checkpoints.newest(folder))
    return jax.tree.map(lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, state)


@pytest.fixture(scope="module")
def trained(demos):
    """A trainer after 60 updates on the demonstrations, in two parts."""
    learning = trainer()
    data = learning.prepare_dataset(f"demos={demos}")
    first, second = learning.train_offline(data, 30), learning.train_offline(data, 30)
    assert [record["updates"] for record in first + second] == [30, 60] and second[0]["critic/loss"] > 0
    return learning


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory) -> Path:
    return trained.save(tmp_path_factory.mktemp("saved") / "warmup")


@pytest.mark.long
def test_offline_training_is_that_of_the_command(saved, commands: Commands, demos):
    done = commands.run("train_offline_warmup", "--exp_name=warm", f"--offline_data_path=demos={demos}", "--warmup_steps=60")
    assert done.returncode == 0, done.stderr
    assert_identical(agent_of(saved), agent_of(commands.folder / "warm" / "warmup"))
    kept, theirs = (load_episodes(folder / "filtered_demos.npz") for folder in (saved, commands.folder / "warm" / "warmup"))
    assert_same_experience(kept, theirs)


@pytest.mark.slow
def test_fine_tuning_is_that_of_the_command_and_goes_on(saved, trained, commands: Commands):
    flags = (f"--checkpoint_path={saved}", f"--demo_path={saved / 'filtered_demos.npz'}", "--online_steps=120")
    done = commands.run("train_rlpd", "--exp_name=fine", *flags)
    assert done.returncode == 0, done.stderr
    history = trained.finetune_online(None, 120)
    assert_identical(agent_of(trained.save(commands.folder / "ours")), agent_of(commands.folder / "fine" / "checkpoints"))
    assert history[-1]["environment_steps"] == 120
    history = trained.finetune_online(gym.make("Pendulum-v1"), 90)
    assert history[0]["environment_steps"] > 120 and history[-1]["environment_steps"] == 210
    loaded = trainer().load(saved)
    loaded.finetune_online(None, 120)
    folder = loaded.save(commands.folder / "loaded")
    assert_identical(agent_of(folder), agent_of(commands.folder / "ours"))
    assert (folder / "filtered_demos.npz").read_bytes() == (saved / "filtered_demos.npz").read_bytes()
    assert trained.updates == 60 + 210 and len(complete_checkpoints.steps(trained.run_dir / "online-1" / "checkpoints")) == 2


def test_a_save_is_the_newest_of_its_folder_and_deletes_nothing(demos, tmp_path):
    learning, other = trainer(), trainer()
    data = learning.prepare_dataset(str(demos))
    for _ in range(3):
        learning.train_offline(data, 10)
        learning.save(tmp_path)
    other.train_offline(data, 40)
    loaded = trainer().load(tmp_path)
    for stranger in (other, loaded):
        with pytest.raises(WarmloopError, match=r"00000030 is a checkpoint that this trainer has neither saved nor gone on from"):
            stranger.save(tmp_path)
    loaded.train_offline(data, 10)
    loaded.save(tmp_path)
    assert [int(path.name) for path in complete_checkpoints.steps(tmp_path)] == [10, 20, 30, 40] and trainer().load(tmp_path).updates == 40
    with pytest.raises(WarmloopError, match="neither saved nor gone on from"):
        learning.save(tmp_path)


def test_parts_of_a_training_whose_length_is_known_are_the_whole(demos, tmp_path):
    whole, parts = trainer(algorithm="iql"), trainer(algorithm="iql")
    data = whole.prepare_dataset(str(demos))
    (ended,) = whole.train_offline(data, 40)
    (half,), (last,) = (parts.train_offline(data, 20, total_steps=40) for _ in range(2))
    assert_identical(agent_of(parts.save(tmp_path / "parts")), agent_of(whole.save(tmp_path / "whole")))
    rates = [record["actor/learning_rate"] for record in (half, last, ended)]  # of the last update
    assert rates[0] > 0.5 * whole.config.warmup_agent.settings.actor_lr > 5 * rates[1] and rates[1] == rates[2]
    with pytest.raises(WarmloopError, match="total_steps is 40; it must be at least 50"):
        parts.train_offline(data, 10, total_steps=40)


def test_a_saved_policy_is_judged_alike_by_the_command_and_by_a_trainer_that_loads_it(saved):
    loaded = trainer(batch_size=8).load(saved)
    assert loaded.updates == 60 and loaded.config.warmup_agent.settings.batch_size == 16
    shown, theirs = loaded.evaluate(3), judge(Subject(checkpoint=saved), 3, seed=0)
    assert shown.mean_return == theirs["mean_return"] and shown.interval == (theirs["success_low"], theirs["success_high"])
    assert loaded.evaluate(3, gym.make("Pendulum-v1")).mean_return == shown.mean_return
    sampled = judge(Subject(checkpoint=saved, stochastic=True), 3, seed=0)
    assert sampled["mean_return"] != theirs["mean_return"]
    assert "the policy's mean (training samples; `evaluate --stochastic` judges that)" in table(theirs)
    assert "sampled, as in training" in table(sampled)


def test_an_exported_policy_acts_as_the_trainer_does(saved, tmp_path):
    reports = trainer().load(saved).export(tmp_path / "policy")
    assert [report.name for report in reports] == ["agent", "policy.stablehlo", "sampled.stablehlo", "policy.py"]
    assert max(report.difference for report in reports) < 1e-5 and (tmp_path / "policy" / "policy.py").is_file()


def test_arrays_episodes_and_files_are_the_same_data(demos):
    learning, episodes = trainer(), load_episodes(demos)
    columns = {"observations": "observation", "actions": "action", "rewards": "reward", "timeouts": "truncated"}
    arrays = {name: np.concatenate([getattr(e.steps, field) for e in episodes]) for name, field in columns.items()}
    arrays["terminals"] = np.concatenate([episode.steps.mask == 0 for episode in episodes])
    arrays["next_observations"] = np.concatenate([episode.steps.next_observation for episode in episodes])
    of_file = learning.prepare_dataset(str(demos))
    for raw in (episodes, [str(demos)], of_file):
        assert_identical(learning.prepare_dataset(raw).rows, of_file.rows)
    in_units = learning.prepare_dataset(arrays | {"actions": 2 * arrays["actions"]}, action_units="environment")
    for given in (learning.prepare_dataset(arrays), in_units):
        for name in ("observation", "reward", "mask", "truncated", "mc_return", "episode"):
            assert_identical(getattr(given.rows, name), getattr(of_file.rows, name))
        np.testing.assert_allclose(given.rows.action, of_file.rows.action, atol=1e-6)


def test_ctrl_c_ends_a_training_in_order_and_keeps_what_was_learnt(trained, demos):
    learning, before = trainer(), signal.getsignal(signal.SIGINT)

    def press():
        while signal.getsignal(signal.SIGINT) is before:  # until it would only be asked to end
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    interrupt = threading.Thread(target=press, daemon=True)
    interrupt.start()
    history = learning.train_offline(str(demos), 1_000_000)
    interrupt.join()
    assert 0 < learning.updates == history[-1]["updates"] < 1_000_000 and signal.getsignal(signal.SIGINT) is before
    assert len(learning.evaluate(1).returns) == 1


def test_a_collector_records_what_the_command_does(tmp_path):
    collector = ExpertDataCollector("Pendulum-v1", tmp_path)
    episodes = collector.collect_from_policy("random", 1, noise=0.2) + collector.collect_from_policy("random", 1, noise=0.2)
    path = collector.save_dataset(episodes, "ours.npz")
    line = ["--env=Pendulum-v1", "--policy=random", "--episodes=2", "--noise=0.2", f"--out={tmp_path / 'theirs.npz'}"]
    subprocess.run([sys.executable, "-m", "warmloop.launch.collect", *line], check=True, capture_output=True)
    assert path == tmp_path / "ours.npz"
    assert_same_experience(load_episodes(path), load_episodes(tmp_path / "theirs.npz"))
    with pytest.raises(WarmloopError, match=r"ours\.npz exists"):
        collector.save_dataset(episodes, "ours.npz")


class Pushing:
    """A policy with a memory."""

    def begin(self, seed):
        self.pushes = 0

    def __call__(self, observation, step):
        self.pushes += 1
        return [self.pushes / 200]


def test_plain_callables_objects_and_trainers_are_collected_from(trained, tmp_path):
    collector = ExpertDataCollector(gym.make("Pendulum-v1"), tmp_path)
    (leaning,) = collector.collect_from_policy(lambda observation: observation[1:2], 1)
    np.testing.assert_array_equal(leaning.steps.action, leaning.steps.observation[:, 1:2])
    (pushing,) = collector.collect_from_policy(Pushing(), 1)
    np.testing.assert_allclose(pushing.steps.action[:, 0], np.arange(1, 201) / 200, rtol=1e-6)
    (acting,) = collector.collect_from_policy(trained, 1, deterministic=True)
    assert [leaning.number, pushing.number, acting.number] == [0, 1, 2]


def test_a_model_of_stable_baselines3_acts_as_its_predict_does(tmp_path):
    sb3 = pytest.importorskip("stable_baselines3", reason="Stable-Baselines3 is not installed (extra [sb3])")
    vectors = pytest.importorskip("stable_baselines3.common.vec_env")
    for normalised in (False, True):
        environment = vectors.DummyVecEnv([lambda: gym.make("Pendulum-v1")])
        environment = vectors.VecNormalize(environment) if normalised else environment
        model = sb3.SAC("MlpPolicy", environment, policy_kwargs={"net_arch": [8]}, seed=1, learning_starts=5).learn(20)
        (episode,) = ExpertDataCollector("Pendulum-v1", tmp_path).collect_from_policy(model, 1, deterministic=True)
        seen = environment.normalize_obs(episode.steps.observation) if normalised else episode.steps.observation
        np.testing.assert_allclose(episode.steps.action, model.predict(seen, deterministic=True)[0] / 2, atol=1e-6)
        with pytest.raises(WarmloopError, match="does not fit MountainCarContinuous-v0: its actions are"):
            ExpertDataCollector("MountainCarContinuous-v0", tmp_path).collect_from_policy(model, 1)


def with_nan(demos: Path) -> list:
    """The recorded episodes with a reward that is none."""
    first, *others = load_episodes(demos)
    reward = first.steps.reward.copy()
    reward[7] = np.nan
    return [*others, dataclasses.replace(first, steps=first.steps.replace(reward=reward))]


class Still(gym.Env):
    """Other spaces than Pendulum's."""

    observation_space, action_space = gym.spaces.Box(-1, 1, (5,)), gym.spaces.Box(-1, 1, (2,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda demos: trainer(algorithm="cqll"), 'There is no algorithm "cqll"; did you mean cql'),
        (lambda demos: trainer(batchsize=8), '"sac" has no setting "batchsize"; did you mean batch_size'),
        (lambda demos: trainer(critic_lr="fast"), "critic_lr is 'fast'; it must be of type float"),
        (lambda demos: trainer(reward=2), "reward is 2; it is a section"),
        (lambda demos: trainer(reward={"scal": 2.0}), "no setting config.reward.scal; did you mean scale"),
        (lambda demos: trainer().evaluate(1), "Nothing has been learnt yet"),
        (lambda demos: trainer().train_offline(str(demos), 0), "n_steps is 0; it must be at least 1"),
        (lambda demos: trainer().prepare_dataset(str(demos) + "x"), "demos.npzx does not exist"),
        (lambda demos: trainer().prepare_dataset({"timeout": [True]}), 'The dataset has an array "timeout"; did you mean timeouts'),
        (lambda demos: trainer().prepare_dataset({"actions": np.ones((2, 1))}), "the dataset: the file has no `observations`"),
        (lambda demos: trainer(algorithm=None), 'There is no algorithm "None"'),
        (lambda demos: trainer(Still), "is no environment; give a Gymnasium id"),
        (lambda demos: trainer(seed="x"), "seed is 'x'; it must be a whole number"),
        (lambda demos: trainer(run_dir=demos).train_offline(str(demos), 1), r"Metrics cannot be written to .*demos\.npz"),
        (lambda demos: trainer().train_offline(str(demos), 1.5), r"n_steps is 1\.5; it must be a whole number"),
        (lambda demos: trainer().prepare_dataset([]), r"\[\] is no data set; give a collector's episodes"),
        (lambda demos: trainer().prepare_dataset([*load_episodes(demos), str(demos)]), "is no data set"),
        (
            lambda demos: trainer().prepare_dataset({"rewards": [[1.0], [1.0, 2.0]]}),
            'The dataset has in "rewards" lists that differ in length',
        ),
        (lambda demos: trainer().prepare_dataset(with_nan(demos)), "the dataset, episode 0, step 7: `rewards` holds nan"),
        (lambda demos: trainer("MountainCarContinuous-v0").prepare_dataset(load_episodes(demos)), "does not fit the environment"),
        (lambda demos: ExpertDataCollector("Pendulum-v7", "x"), "did you mean Pendulum-v1"),
        (lambda demos: ExpertDataCollector("Pendulum-v1", "x").collect_from_policy(3, 1), "3 is no policy"),
        (lambda demos: ExpertDataCollector("Pendulum-v1", "x").collect_from_policy(lambda o: o, 1), "gave an action of shape"),
    ],
)
def test_a_mistake_is_one_sentence(call, message, demos):
    with pytest.raises(WarmloopError, match=message):
        call(demos)


def test_what_cannot_be_done_with_a_policy_is_one_sentence_and_leaves_nothing_behind(saved, tmp_path):
    loaded = trainer(run_dir=tmp_path / "run").load(saved)
    for act in (lambda: loaded.evaluate(1, Still()), lambda: loaded.finetune_online(Still(), 5)):
        with pytest.raises(WarmloopError, match="The policy does not fit the environment: Still has 2 action dimensions"):
            act()
    with pytest.raises(WarmloopError, match=r"n_episodes is 1\.5; it must be a whole number"):
        loaded.evaluate(1.5)
    with pytest.raises(WarmloopError, match=r"written to .*a\.file \(File exists\); take another folder\.$"):
        (tmp_path / "a.file").touch()
        loaded.save(tmp_path / "a.file")
    assert [path.name for path in tmp_path.iterdir()] == ["a.file"]


def test_a_checkpoint_of_another_environment_is_refused(saved):
    with pytest.raises(WarmloopError, match="is of Pendulum-v1, this trainer of MountainCarContinuous-v0"):
        trainer("MountainCarContinuous-v0").load(saved)


def test_importing_the_package_loads_nothing_heavy_and_takes_no_flag():
    program = (
        "import sys, warmloop; assert not {'jax', 'numpy', 'gymnasium'} & set(sys.modules); from warmloop import OfflineRLTrainer;"
        "from absl import flags; flags.DEFINE_integer('seed', 0, ''); flags.DEFINE_string('checkpoint', None, '')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
