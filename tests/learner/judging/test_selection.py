"""The rule by which a checkpoint is chosen, on constructed measures, and who takes the chosen one."""

import hashlib
import json

import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.data.errors import WarmloopError
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints, selection_file
from warmloop.learner.checkpoints.selection_file import SELECTION
from warmloop.learner.judging.selection import Bounds, Candidate, rank, read, write
from warmloop.learner.starting_state import fine_tune
from warmloop.learner.state import create

BOUNDS = Bounds(low=0.0, high=1.0, spread=2.0)
COMMON = np.array([-0.3, 0.1, 0.2, 0.0])  # what the members' bootstraps have in common, for all checkpoints


def candidate(updates, estimate, noise=0.0, excess=0.0):
    wiggle = noise * np.array([1.0, -1.0, 1.0, -1.0])
    return Candidate(updates, estimate + COMMON + wiggle, {"heldout/q_overestimation": excess})


def order(*candidates):
    return [ranked.candidate.updates for ranked in rank(candidates, BOUNDS)]


def test_the_highest_estimate_is_chosen_where_the_paired_difference_is_clear():
    assert order(candidate(100, 0.3), candidate(200, 0.6, noise=0.02), candidate(300, 0.5)) == [200, 300, 100]


def test_of_those_that_are_not_clearly_worse_than_the_best_the_newest_is_chosen():
    found = rank([candidate(100, 0.5), candidate(200, 0.6, noise=0.1), candidate(300, 0.55), candidate(400, 0.1)], BOUNDS)
    assert [(ranked.candidate.updates, ranked.as_good) for ranked in found] == [(300, True), (200, True), (100, True), (400, False)]


@pytest.mark.parametrize(("difference", "chosen"), [(0.3, 200), (0.4, 100)])
def test_clearly_is_at_95_per_cent_by_students_t_with_a_degree_of_freedom_less_than_members(difference, chosen):
    error = 0.1 * np.array([1.0, -1.0, 1.0, -1.0]).std(ddof=1)
    assert 0.3 < 3.182 * error < 0.4
    assert order(candidate(100, 0.3 + difference, noise=0.1), candidate(200, 0.3))[0] == chosen


def test_what_the_members_have_in_common_makes_no_two_checkpoints_alike():
    spread = candidate(100, 0.3).fqe.std(ddof=1)
    assert spread > 0.6 - 0.5 and order(candidate(100, 0.6), candidate(200, 0.5)) == [100, 200]


@pytest.mark.parametrize(
    ("diverged", "reason"),
    [
        (candidate(200, float("nan")), "FQE diverged"),
        (candidate(200, 1.2), "FQE diverged"),
        (candidate(200, -0.2), "FQE diverged"),
        (candidate(200, 0.9, excess=2.1), "critics diverged"),
    ],
)
def test_what_diverged_is_last_however_high_its_estimate(diverged, reason):
    found = rank([candidate(100, 0.2), diverged], BOUNDS)
    assert [ranked.candidate.updates for ranked in found] == [100, 200] and found[1].reason == reason


def test_without_estimates_the_newest_whose_critics_have_not_diverged_is_chosen():
    blind = [Candidate(updates, np.zeros(0), {"heldout/q_overestimation": excess}) for updates, excess in ((100, 0), (200, 0), (300, 2.1))]
    found = rank(blind, BOUNDS)
    assert [(ranked.candidate.updates, ranked.reason) for ranked in found] == [(200, ""), (100, ""), (300, "critics diverged")]


def test_where_all_diverged_the_newest_is_chosen():
    assert order(candidate(100, 2.0), candidate(300, 9.0), candidate(200, float("inf"))) == [300, 200, 100]


def test_the_bounds_are_those_of_the_data_s_rewards():
    found = Bounds.of(np.array([-2.0, 1.0]), np.array([-np.inf, -5.0, 3.0]), 0.9)
    assert (found.low, found.high, found.spread) == (pytest.approx(-20.0), pytest.approx(10.0), 8.0)
    assert Bounds.of(np.array([-2.0, 1.0]), np.array([0.0]), 1.0).high == np.inf
    known = Bounds.of(np.array([0.0, 1.0]), np.array([0.5]), 0.99, allowed=(0.0, 1.0))
    assert (known.low, known.high) == (0.0, 1.0), "a success that ends the episode pays once"


@pytest.fixture
def folder(parts, make_rows, tmp_path):
    """Checkpoints of 1, 2 and 3 updates, told apart by their temperature."""
    for updates in (1, 2, 3):
        state = create(parts, 0, make_rows(40))
        agent = state.agent.replace(log_temperature=jnp.float32(updates))
        checkpoint.save(tmp_path, state.replace(updates=jnp.int32(updates), agent=agent), parts.agent, {}, keep=None)
    return tmp_path


def mark(folder, chosen, known=(1, 2, 3)):
    write(folder, rank([candidate(updates, 0.5) for updates in known], BOUNDS), chosen, "data")


def test_the_marked_checkpoint_is_the_one_to_go_on_from_and_a_number_overrides_it(folder, parts, make_rows):
    assert complete_checkpoints.chosen(folder).updates == 3
    mark(folder, 2)
    assert complete_checkpoints.chosen(folder).updates == 2 and complete_checkpoints.newest(folder).updates == 3
    state = fine_tune(parts, 0, make_rows(20), folder)
    assert int(state.updates) == 2 and float(state.agent.log_temperature) == 2.0
    assert int(fine_tune(parts, 0, make_rows(20), folder, 1).updates) == 1
    assert checkpoint.load_policy(folder)[2]["updates"] == 2


def test_a_selection_that_does_not_know_the_newest_checkpoint_is_passed_over_and_said_so(folder, caplog):
    mark(folder, 1, known=(1, 2))
    assert complete_checkpoints.chosen(folder).updates == 3 and "does not know" in caplog.text


def test_a_marked_checkpoint_that_is_damaged_is_never_replaced_by_another_without_a_word(folder):
    mark(folder, 2)
    (folder / "00000002" / "meta.json").write_text("{}")
    with pytest.raises(WarmloopError, match="00000002 is damaged"):
        complete_checkpoints.chosen(folder)


def test_a_file_that_is_no_selection_is_said(folder):
    (folder / SELECTION).write_text('{"chosen": 1, "sha256": ""}')
    with pytest.raises(WarmloopError, match="was changed or damaged"):
        complete_checkpoints.chosen(folder)


def test_damaged_checkpoints_are_left_out_of_a_comparison_and_said(folder, caplog):
    (folder / "00000002" / "meta.json").write_text("{}")
    assert [saved.updates for saved in complete_checkpoints.intact(folder)] == [1, 3]
    assert "00000002" in caplog.text


def test_what_is_written_is_json_that_any_program_reads(folder):
    ranking = rank([candidate(1, float("nan")), candidate(2, 0.5)], BOUNDS)
    text = write(folder, ranking, 2, "data", {"episodes": 7}).read_text()
    assert "NaN" not in text and {**json.loads(text), "sha256": ""} == {**read(folder), "sha256": ""}
    assert read(folder)["candidates"][1]["fqe"] is None and read(folder)["episodes"] == 7


def test_any_byte_that_changes_in_a_selection_is_noticed_and_so_is_an_entry_that_is_not_known(folder):
    mark(folder, 2)
    path = folder / SELECTION
    text = path.read_bytes()
    for place in range(len(text)):
        damaged = bytearray(text)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(WarmloopError, match=r"selection\.json"):
            complete_checkpoints.chosen(folder)
    for more in ({"chosn": 1}, {"candidates": [{"updates": 1, "fqee": 2.0}]}):
        selection_file.write(folder, {"chosen": 1, "by": "data", "candidates": [{"updates": 1}]} | more)
        with pytest.raises(WarmloopError, match="which is not known"):
            complete_checkpoints.chosen(folder)


def test_a_selection_without_its_hash_is_read_only_beside_checkpoints_of_earlier_versions(folder, caplog):
    mark(folder, 2)
    path = folder / SELECTION
    plain = {name: value for name, value in json.loads(path.read_text()).items() if name != "sha256"}
    path.write_text(json.dumps(plain))
    with pytest.raises(WarmloopError, match="has lost its sha256"):
        complete_checkpoints.chosen(folder)
    for saved in complete_checkpoints.steps(folder):
        meta = json.loads((saved / "meta.json").read_text())
        del meta[selection_file.SEALS]
        (saved / "meta.json").write_text(json.dumps(meta))
        manifest = json.loads((saved / "manifest.json").read_text())
        manifest["meta.json"] = hashlib.sha256((saved / "meta.json").read_bytes()).hexdigest()
        (saved / "manifest.json").write_text(json.dumps(manifest))
    assert complete_checkpoints.chosen(folder).updates == 2 and "nothing shows whether it was changed" in caplog.text
