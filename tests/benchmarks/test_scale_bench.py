"""The computed part of scale.py, and the accelerator's benchmark in its small size on the CPU."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent


def loaded(name: str):
    spec = importlib.util.spec_from_file_location(f"bench_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scale():
    return loaded("scale")


@pytest.mark.parametrize("price", [(2e-4, 3e-4, 1e-5, 3e-10), (2e-4, 3e-4, 0.0, 3e-10), (1e-4, 0.0, 2e-5, 0.0)])
def test_the_prices_of_messages_commits_rows_and_bytes_are_found_again(scale, price):
    found = [{"load": load.__dict__, "rows": load.rows, "learner": float(np.dot(price, scale.parts_of(load)))} for load in scale.MEASURED]
    np.testing.assert_allclose(scale.prices(found), price, rtol=1e-4, atol=1e-9)


def test_a_load_costs_what_its_rows_are(scale):
    one, hundred = (scale.computed(scale.Load("cameras", count, 20.0), np.array([1e-4, 0.0, 1e-5, 1e-9]), 1000) for count in (1, 100))
    assert hundred["rows a second"] == 2000 and hundred["messages a second"] == 2000, "steps of 50 ms do not gather"
    for name in ("MB a second on the wire, and to the journal", "processors of the learner, beside its updates"):
        assert hundred[name] == pytest.approx(100 * one[name])
    assert hundred["GB of the pool"] == one["GB of the pool"] and one["GB of the pool"] > 1000 * 2 * 128 * 128 * 3 / 1e9
    assert scale.Load("states", 10, 500.0).messages == pytest.approx(5000 / 12)


@pytest.mark.slow
def test_the_accelerator_s_benchmark_runs_whole_in_its_small_size(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(FOLDER / "gpu.py"), "--small", f"--out={tmp_path / 'table'}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = json.loads((tmp_path / "table.json").read_text())
    assert {line["good"] for line in lines} >= {True, None} and not any(line["good"] is False for line in lines)
    rates = [line["value"] for line in lines if line["unit"] == "updates/s"]
    assert len(rates) > 10 and min(rates) > 0
    assert (tmp_path / "table.md").read_text().count("as it should be") == sum(line["good"] is True for line in lines)
