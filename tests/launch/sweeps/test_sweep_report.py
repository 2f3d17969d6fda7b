"""What a sweep shows: digits that tell runs apart, and a picture with every run's name."""

from PIL import Image

from warmloop.launch.sweeps.sweep_report import chart, table


def seed(score: float) -> dict:
    return {"mean_return": score, "success_rate": 0.5, "normalised": None, "diverged": False, "seconds": 3.0}


def test_small_returns_have_two_digits_and_large_ones_one():
    shown = table({"iql": [seed(0.512), seed(0.548)], "bc": [seed(-812.34), seed(-812.34)]})
    assert "| iql | 2 | 0.53 | 0.51 to 0.55 |" in shown
    assert "| bc | 2 | -812.3 | -812.3 to -812.3 |" in shown


def test_the_picture_grows_with_the_runs(tmp_path):
    heights = []
    for count in (1, 12):
        path = chart({f"run {number}": [seed(0.5), seed(0.6)] for number in range(count)}, tmp_path)
        heights.append(Image.open(path).size[1])
    assert heights[1] > heights[0] + 400


def test_a_run_that_was_stopped_has_its_updates_and_no_score(tmp_path):
    results, stopped = {"iql": [seed(0.5)], "bc": []}, {"bc": 1111}
    head, _, _, row = table(results, stopped).splitlines()
    assert row.replace(" ", "") == "|bc|stoppedat1111updates|||||" + "|" and row.count("|") == head.count("|")
    assert chart(results, tmp_path, stopped).stat().st_size > 5_000
