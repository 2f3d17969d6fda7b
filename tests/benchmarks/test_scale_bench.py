"""What the benchmarks of scale compute, and the accelerator's benchmark in its small size on the CPU."""

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


@pytest.fixture(scope="module")
def compression():
    return loaded("link_compression")


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


SUMMED_IN_A_LOOP = """HloModule jit_step, num_partitions=8

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%a, %b)
}

%body.3 (carry: (s32[], f32[4,2])) -> (s32[], f32[4,2]) {
  %all-reduce.7 = (f32[4,2]{1,0}, f32[]) all-reduce(%x, %y), channel_id=1, replica_groups=[1,8]<=[8], to_apply=%add
  ROOT %out = (s32[], f32[4,2]) tuple(%i, %z)
}

ENTRY %main.9 (state: f32[4,2]) -> f32[4,2] {
  %while.1 = (s32[], f32[4,2]{1,0}) while(%tuple), condition=%until.2, body=%body.3, backend_config={"known_trip_count":{"n":"20"}}
  %all-gather.2 = s32[16]{0} all-gather(%w), channel_id=2, dimensions={0}
  ROOT %all-reduce.8 = f32[4,2]{1,0} all-reduce(%v), channel_id=3, to_apply=%add
}
"""


def test_collectives_count_as_often_as_their_loop_runs():
    found = loaded("hlo_collectives").collectives(SUMMED_IN_A_LOOP)
    assert found["written"] == {"all-reduce": 2, "all-gather": 1} and found["run"] == {"all-reduce": 21, "all-gather": 1}
    assert found["bytes"] == 20 * (4 * 2 * 4 + 4) + 16 * 4 + 4 * 2 * 4


def test_a_collective_in_a_loop_of_unknown_length_is_an_error():
    with pytest.raises(ValueError, match=r"all-reduce\.7"):
        loaded("hlo_collectives").collectives(SUMMED_IN_A_LOOP.replace("known_trip_count", "trips"))


@pytest.mark.parametrize("name", ["zlib 1", "zlib 6", "left, zlib 1", "before, Huffman", "PNG 1", "WebP"])
def test_a_compressed_picture_comes_back_exactly(compression, name):
    before, picture = np.random.default_rng(0).integers(0, 256, (2, 9, 7, 3), np.uint8)
    way = compression.WAYS[name]
    np.testing.assert_array_equal(way.decode(way.encode(picture, before), before), picture)


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
