"""The budget of environment steps: exactly so many rows of however many actors are taken, and open episodes are cut, bootstrap kept."""

import numpy as np
import pytest
from wire_rows import EPISODE, SCHEMA, joined, stream

from warmloop.data.transition import length
from warmloop.learner.journal.journal import Journal
from warmloop.learner.receiving.intake import Intake


def send_in_turns(intake, names, seed, rounds=60):
    """Actors send pieces of their streams in turns, and send again what was not taken, until they are asked to leave."""
    rng, sessions = np.random.default_rng(seed), {name: intake.open(name, f"of-{name}", 0)[0].id for name in names}
    received = dict.fromkeys(names, 0)
    for _ in range(rounds):
        name = str(rng.choice(list(names)))
        progress = intake.accept(sessions[name], received[name], stream(int(rng.integers(1, 9)), received[name]))
        received[name] = progress.received
    return received


@pytest.mark.parametrize("budget", [1, 7, 40, 99, 100])
@pytest.mark.parametrize("seed", range(5))
def test_exactly_the_budget_is_taken_of_three_actors_and_every_open_episode_ends_as_truncated(budget, seed):
    intake = Intake(SCHEMA)
    intake.admit(np.inf, budget)
    received = send_in_turns(intake, ("a", "b", "c"), seed)
    assert intake.stopping and sum(received.values()) == budget
    rows = joined(chunks := intake.take(1000))
    assert length(rows) == budget and np.all(rows.mask == 1)
    for name, count in received.items():
        mine = [chunk.rows for chunk in chunks if chunk.stream == f"of-{name}"]
        truncated = np.concatenate([part.truncated for part in mine]) if mine else np.zeros(0, bool)
        number = np.arange(count)
        np.testing.assert_array_equal(truncated, (number % EPISODE == EPISODE - 1) | (number == count - 1))


def test_without_room_the_answer_says_so_and_asks_to_leave():
    intake = Intake(SCHEMA)
    intake.admit(np.inf, 12)
    session = intake.open("arm", "s", 0)[0].id
    assert intake.accept(session, 0, stream(10)).credits == 2 and not intake.stopping
    progress = intake.accept(session, 10, stream(10, 10))
    assert (progress.received, progress.credits, intake.stopping) == (12, 0, True)
    assert intake.accept(session, 12, stream(10, 12)).received == 12


def test_rows_that_are_refused_do_not_count():
    intake = Intake(SCHEMA)
    intake.admit(np.inf, 12)
    session = intake.open("arm", "s", 0)[0].id
    rows = stream(20)
    rows.reward[3:6] = np.nan
    assert intake.accept(session, 0, rows).received == 15
    assert sum(length(chunk.rows) for chunk in intake.take(100)) == 12


def test_a_run_that_goes_on_with_a_larger_budget_takes_the_rest_where_it_stopped(tmp_path):
    journal = Journal(tmp_path)
    intake = Intake(SCHEMA, journal=journal)
    intake.admit(np.inf, 25)
    session = intake.open("arm", "s", 0)[0].id
    intake.accept(session, 0, stream(40))
    first = joined(intake.take(100))
    journal.close()
    journal = Journal(tmp_path)
    again = Intake(SCHEMA, journal=journal)
    restored = joined([chunk for _, chunk in again.recover(25, {"s": 25})])
    np.testing.assert_array_equal(restored.truncated, first.truncated)
    assert length(first) == 25 and first.truncated[-1]
    again.admit(np.inf, 32)
    session, progress = again.open("arm", "s", 25)
    assert progress.received == 25
    assert again.accept(session.id, 25, stream(15, 25)).received == 32
    journal.close()
