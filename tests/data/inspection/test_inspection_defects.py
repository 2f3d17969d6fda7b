"""The inspector finds what is planted, one defect at a time, in made-up and in real data, and nothing in clean data."""

from pathlib import Path

import numpy as np
import pytest
from planted import DEFECTS, Arrays, arrays_of, clean_arrays

from warmloop.data import inspect
from warmloop.data.inspection import Report

CLEAN = (
    "door-expert",
    "door-human-replay",
    "door-random",
    "door-suboptimal",
    "hammer-expert",
    "hammer-random",
    "hammer-suboptimal",
)


def inspected(folder: Path, arrays: Arrays) -> Report:
    np.savez(folder / "data.npz", **arrays)
    return inspect(folder / "data.npz")


def check_found(report: Report, name: str) -> None:
    defect = DEFECTS[name]
    found = [finding for finding in report.findings if finding.check == defect.check]
    assert found, [finding.check for finding in report.findings]
    assert found[0].severity.name.lower() == defect.severity
    assert found[0].what.endswith(".") and found[0].advice.endswith(".") and found[0].file.endswith("data.npz")
    if defect.episode is not None:
        assert defect.episode in [finding.episode for finding in found]
    if defect.step is not None:
        assert (defect.episode, defect.step) in [(finding.episode, finding.step) for finding in found]
    assert report.breaks_training == any(finding.severity.name == "BREAKS" for finding in report.findings)


def test_nothing_is_found_in_clean_made_up_data(tmp_path):
    report = inspected(tmp_path, clean_arrays())
    assert report.findings == ()
    assert (report.summary.episodes, report.summary.steps, report.summary.successes) == (12, 720, 6)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_planted_in_made_up_data_is_found(tmp_path, name):
    arrays = clean_arrays()
    DEFECTS[name].plant(arrays)
    check_found(inspected(tmp_path, arrays), name)


@pytest.fixture(scope="module")
def real_arrays(shared_data) -> dict[str, Arrays]:
    """The first 25 episodes of two real files."""
    whole = {name: arrays_of(shared_data / f"{name}.npz") for name in {defect.real for defect in DEFECTS.values()}}
    return {name: {key: column[arrays["episode_ids"] < 25] for key, column in arrays.items()} for name, arrays in whole.items()}


def test_nothing_is_found_in_the_real_data_before_planting(tmp_path, real_arrays):
    for arrays in real_arrays.values():
        assert inspected(tmp_path, arrays).findings == ()


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_planted_in_real_data_is_found(tmp_path, real_arrays, name):
    arrays = {key: column.copy() for key, column in real_arrays[DEFECTS[name].real].items()}
    DEFECTS[name].plant(arrays)
    check_found(inspected(tmp_path, arrays), name)


@pytest.mark.parametrize("name", CLEAN)
def test_nothing_is_found_in_the_clean_shared_files(shared_data, name):
    assert inspect(shared_data / f"{name}.npz").findings == ()
