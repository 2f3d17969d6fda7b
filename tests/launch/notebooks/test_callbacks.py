"""Callbacks of the notebooks' trainings: what they are told, and how they end one."""

import pytest

import warmloop
from warmloop import OfflineRLTrainer
from warmloop.data.errors import WarmloopError
from warmloop.learner.checkpoints import complete_checkpoints

pytestmark = pytest.mark.long

SMALL = {
    "hidden": (16, 16),
    "batch_size": 16,
    "replay": {"capacity": 5000},
    "learner": {"log_every": 10, "publish_every": 20, "max_utd": 0.1, "updates_per_call": 10, "warmup_checkpoints": 2},
    "environment": {"horizon": 20},
}


class Kept:
    """Keeps what it is told, and answers the call of a number."""

    def __init__(self, answers=()):
        self.records, self.episodes, self.checkpoints, self._answers = [], [], [], dict(answers)

    def on_record(self, told):
        self.records.append(told)
        return self._answer("record", len(self.records))

    def on_episode(self, told):
        self.episodes.append(told)
        return self._answer("episode", len(self.episodes))

    def on_checkpoint(self, told):
        self.checkpoints.append(told)
        return self._answer("checkpoint", len(self.checkpoints))

    def _answer(self, method, number):
        answer = self._answers.get((method, number))
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def trainer(tmp_path) -> OfflineRLTrainer:
    return OfflineRLTrainer("configs/classic.py:pendulum", "", run_dir=tmp_path, **SMALL)


@pytest.fixture
def offline(trainer, demos):
    """A trainer, and its data made ready."""
    return trainer, trainer.prepare_dataset(f"demos={demos}")


def test_an_offline_training_tells_its_records_and_its_checkpoints(offline, tmp_path):
    trainer, data = offline
    kept = Kept()
    history = trainer.train_offline(data, 40, callback=kept)
    assert [told.updates for told in kept.records] == [10, 20, 30, 40] == [record["updates"] for record in history]
    assert kept.records[-1].metrics["critic/loss"] == history[-1]["critic/loss"] and kept.records[0].environment_steps == 0
    assert [(told.updates, told.path.parent.name) for told in kept.checkpoints] == [(20, "warmup-1"), (40, "warmup-1")]
    assert [complete_checkpoints.verify(told.path) for told in kept.checkpoints] == [None, None] and not kept.episodes
    again = OfflineRLTrainer("configs/classic.py:pendulum", "", run_dir=tmp_path / "again", **SMALL).load(kept.checkpoints[-1].path)
    assert again.updates == 40
    trainer.train_offline(data, 10, callback=kept)
    assert kept.checkpoints[-1].path.parent.name == "warmup-2"


def test_a_callback_without_checkpoints_writes_none(offline, tmp_path):
    trainer, data = offline

    class Watching:
        def on_record(self, told): ...

    trainer.train_offline(data, 10, callback=Watching())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["warmup_metrics"]


@pytest.mark.parametrize("method", ["record", "checkpoint"])
def test_stop_ends_an_offline_training_there_and_it_goes_on_later(offline, method):
    trainer, data = offline
    number, at = {"record": (3, 30), "checkpoint": (1, 20)}[method]
    kept = Kept({(method, number): warmloop.STOP})
    history = trainer.train_offline(data, 1000 if method == "record" else 40, callback=kept)
    assert trainer.updates == at + (10 if method == "checkpoint" else 0) and history[-1]["updates"] == trainer.updates
    trainer.train_offline(data, 10)
    assert trainer.updates == history[-1]["updates"] + 10


@pytest.mark.long
def test_a_fine_tuning_tells_records_episodes_and_checkpoints_and_stops_with_an_episode(trainer):
    kept = Kept({("episode", 3): warmloop.STOP})
    trainer.finetune_online(None, 2000, callback=kept)
    assert [told.environment_steps for told in kept.episodes] == [20, 40, 60]
    assert all(told.metrics["actor/episode_return"] < 0 for told in kept.episodes)
    assert kept.records[-1].environment_steps == 60 and kept.records[-1].updates == trainer.updates
    last = kept.checkpoints[-1]
    assert complete_checkpoints.verify(last.path) is None and last.updates == trainer.updates
    kept = Kept({("checkpoint", 1): warmloop.STOP})
    trainer.finetune_online(None, 20, callback=kept)
    assert len(kept.episodes) == 1, "it goes on where it stopped"


@pytest.mark.parametrize("answer", [KeyError("joint"), True])
def test_what_a_callback_raises_or_says_wrongly_is_raised_when_the_training_is_over_and_nothing_is_lost(offline, answer):
    trainer, data = offline
    kept = Kept({("record", 2): answer})
    wrong = pytest.raises(KeyError, match="joint")
    if answer is True:
        wrong = pytest.raises(WarmloopError, match=r"on_record of the callback returned True; return None .*warmloop\.STOP")
    with wrong:
        trainer.train_offline(data, 1000, callback=kept)
    assert trainer.updates == 20 and len(kept.records) == 2
    trainer.train_offline(data, 10)
    assert trainer.updates == 30
    with pytest.raises(type(answer) if answer is not True else WarmloopError):
        trainer.finetune_online(None, 200, callback=Kept({("episode", 1): answer}))
    assert len(trainer.experience()) == 1


class Misspelt:
    def on_epsiode(self, told): ...


@pytest.mark.parametrize(
    ("callback", "says"),
    [
        (
            Misspelt(),
            r'The callback has "on_epsiode", which nothing calls; did you mean on_episode .*\? There are on_record, on_episode and',
        ),
        (print, "is no callback; give an object with some of the methods"),
    ],
)
def test_what_is_no_callback_is_refused_before_the_training(offline, callback, says):
    trainer, data = offline
    with pytest.raises(WarmloopError, match=says):
        trainer.train_offline(data, 10, callback=callback)
    trainer.train_offline(data, 10)
    with pytest.raises(WarmloopError, match=says):
        trainer.finetune_online(None, 40, callback=callback)
    assert trainer.updates == 10
