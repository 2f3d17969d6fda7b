"""The commands that users run, a learner that learns and actors with an environment, under the same faults."""

import contextlib
import re
import signal
import time

import numpy as np
import pytest
from hostile import Hostile
from runs import Commands, assert_whole_episodes
from waiting import until

from warmloop.actor.environment.environment import make_environment
from warmloop.configs.schema import from_dict
from warmloop.data.transition import concatenate, example
from warmloop.launch.run.assemble import schema_of
from warmloop.launch.run.recorded_data import target_of
from warmloop.launch.starting.processes import free_port
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints
from warmloop.learner.journal.journal import Journal
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.soundness import is_sound

pytestmark = pytest.mark.fault
KILLS = 6


class Pair:
    """A learner of the small configuration and its actors; every process is killed at the end."""

    def __init__(self, folder, environment=None, actors=2):
        self.commands, self.folder = Commands(folder), folder / "pair"
        self.environment = environment
        pace = ("--config.learner.max_utd=0.1", "--config.learner.min_utd=0.1", "--config.learner.checkpoint_every=10")
        self.common = ("--exp_name=pair", f"--port={free_port()}", "--online_steps=1000000", "--config.replay.capacity=100000", *pace)
        self.learner = self.start("--learner")
        self.actors = [self.start("--actor", f"--actor_id={number}") for number in range(actors)]

    def start(self, *role):
        return self.commands.start("train_rlpd", *self.common, *role, environment=self.environment)

    @property
    def checkpoints(self):
        return self.folder / "checkpoints"

    def steps(self):
        """Complete checkpoints."""
        return complete_checkpoints.steps(self.checkpoints)

    def log(self):
        return "".join(path.read_text() for path in self.folder.parent.glob("*.log"))

    def finish(self):
        """SIGTERM to the learner, on which the actors leave as well."""
        self.learner.send_signal(signal.SIGTERM)
        assert self.learner.wait(120) == 0, self.log()[-3000:]
        assert [actor.wait(60) for actor in self.actors] == [0] * len(self.actors), self.log()[-3000:]

    def journal(self):
        """All rows that ever came, in the order they came."""
        journal = Journal(self.folder / "journal")
        intake = Intake(self.schema(), journal=journal)
        assert list(intake.recover(0, {})) == []
        rows = concatenate([chunk.rows for chunk in intake.take(10**9)])
        journal.close()
        return rows

    def schema(self):
        """What the run's actors and its learner agree on."""
        config = from_dict(complete_checkpoints.newest(self.checkpoints).meta["config"])
        with contextlib.closing(make_environment(config.environment, config.reward, tasks=config.tasks)) as environment:
            return schema_of(config, target_of(environment))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in (self.learner, *self.actors):
            process.kill()


def test_a_learner_that_is_killed_again_and_again_keeps_every_row_once_and_in_order(tmp_path, chance):
    with Pair(tmp_path) as pair:
        for kill in range(KILLS):
            count = len(pair.steps())
            until(lambda count=count: len(pair.steps()) > min(count, 1), 200, "there was no checkpoint")
            if kill % 2:
                until(lambda: list(pair.checkpoints.glob("*.partial")), 100, "no save began")
            else:
                time.sleep(chance.uniform(0.0, 5.0))
            pair.learner.kill()
            pair.learner.wait()
            if kill == 2:
                pair.actors[0].kill()
                pair.actors[0] = pair.start("--actor", "--actor_id=0")
            pair.learner = pair.start("--learner", "--resume")
        count = pair.steps()[-1]
        until(lambda: pair.steps()[-1] > count, 200, "the last learner made no checkpoint")
        pair.finish()
        rows = pair.journal()
        assert_whole_episodes(rows, len(rows.reward))
        assert len(rows.reward) > 200  # more than one episode; how many, the kills decide
        assert not re.search(r"Traceback|are lost|are missing", pair.log())
        assert not list((pair.folder / "spool").glob("*/*.rows")), "the actors were told of every row"


def test_without_room_for_a_checkpoint_learning_goes_on_and_the_last_one_stays_whole(tmp_path, faults):
    with Pair(tmp_path, faults.environment, actors=1) as pair:
        until(lambda: len(pair.steps()) == 2, 200)
        faults.fill(pair.checkpoints)
        until(lambda: "Learning goes on" in pair.log(), 100)
        newest = complete_checkpoints.newest(pair.checkpoints)
        assert newest.path == pair.steps()[-1]
        faults.fill(None)
        until(lambda: pair.steps()[-1] > newest.path, 100, "no later checkpoint was made")
        pair.finish()


def test_a_hostile_actor_beside_two_real_ones_delays_no_row_and_poisons_nothing(tmp_path, chance):
    with Pair(tmp_path) as pair:
        until(lambda: len(pair.steps()) == 2, 300, "there was no checkpoint")
        spec = checkpoint.restore_agent(complete_checkpoints.newest(pair.checkpoints))[0].spec

        def rows(actor, first, count):
            made, number = example(spec, count), np.arange(first, first + count, dtype=np.int32)
            fields = {name: np.array(getattr(made, name)) for name in ("observation", "next_observation", "reward", "mask")}
            return made.replace(**fields, step=number, truncated=number % 50 == 49)

        hostile = Hostile(int((pair.folder / "port").read_text()), chance.randrange(10**6), schema=pair.schema(), rows=rows)
        time.sleep(40.0)
        before = pair.steps()[-1]
        hostile.stop()
        print(hostile.done)
        assert min(hostile.done[attack.__name__] for attack in hostile.attacks) > 0
        until(lambda: pair.steps()[-1] > before, 100, "learning did not go on")
        pair.finish()
        assert not re.search(r"Traceback|are missing|diverged", pair.log())
        assert not list((pair.folder / "spool").glob("*/*.rows")), "the actors were told of every row"
        for path in pair.steps():
            agent, state = checkpoint.restore_agent(complete_checkpoints.numbered(pair.checkpoints, int(path.name)))
            assert is_sound(state) and is_sound(agent.actor_params(state))
        assert any("reward is 1e+20, beyond" in line or "reward is not finite" in line for line in pair.log().splitlines())
        assert sum(path.stat().st_size for path in pair.folder.rglob("*") if path.is_file()) < 200_000_000
