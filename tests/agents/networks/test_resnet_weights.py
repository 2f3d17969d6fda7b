"""Pretrained trunks in the layouts of HIL-SERL's and LeRobot's files, and what they see beside their own modules."""

import gzip
import os
import pickle
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from flax.core import freeze
from safetensors.numpy import load_file, save_file

from warmloop.agents.networks.resnet_weights import read_trunk
from warmloop.agents.networks.vision import ResNet10
from warmloop.data.errors import WarmloopError

SIDE, ODD = 48, 75  # pixels; padding that is one more after than before tells the networks apart
PEER = Path(__file__).resolve().parents[2] / "helpers" / "resnet10_peer.py"
BLOCK = (("Conv_0", "conv1"), ("MyGroupNorm_0", "norm1"), ("Conv_1", "conv2"), ("MyGroupNorm_1", "norm2"),
         ("conv_proj", "shortcut.0"), ("norm_proj", "shortcut.1"))  # fmt: skip


@pytest.fixture(scope="module")
def shapes():
    """Of each array, by HIL-SERL's name."""
    made = jax.eval_shape(ResNet10().init, jax.random.key(0), jnp.zeros((1, SIDE, SIDE, 3)))
    return {name: x.shape for name, x in traverse_util.flatten_dict(made["params"], sep="/").items()}


@pytest.fixture(scope="module")
def trunk(shapes):
    """Random arrays of a trunk, by HIL-SERL's names."""
    random = np.random.default_rng(0)
    spread = {name: np.sqrt(2.0 / np.prod(shape[:-1])) if len(shape) == 4 else 0.2 for name, shape in shapes.items()}
    return {name: random.normal(name.endswith("scale"), spread[name], shape).astype(np.float32) for name, shape in shapes.items()}


def in_dicts(trunk):
    return traverse_util.unflatten_dict({tuple(name.split("/")): x for name, x in trunk.items()})


def by_lerobot(trunk, norm):
    """The same arrays by the names and the order of axes of LeRobot's model; `norm` is what a version of it adds to a norm's name."""
    layers = {"conv_init": "embedder.0", "norm_init": f"embedder.1{norm}"}
    for stage in range(4):
        for ours, theirs in BLOCK:
            inside = ".conv" if ours.lower().startswith("conv") else norm
            layers[f"ResNetBlock_{stage}/{ours}"] = f"encoder.stages.{stage}.{theirs}{inside}"
    found = {}
    for name, x in trunk.items():
        layer, _, array = name.rpartition("/")
        found[f"{layers[layer]}.{'bias' if array == 'bias' else 'weight'}"] = x.transpose(3, 2, 0, 1).copy() if x.ndim == 4 else x
    return found


def same(found, trunk):
    assert found.keys() == trunk.keys()
    for name, x in trunk.items():
        np.testing.assert_array_equal(found[name], x)


@pytest.mark.parametrize("container", [dict, freeze])
@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_hil_serls_pickle_is_read_with_numpys_and_jaxs_arrays(tmp_path, trunk, shapes, container, array):
    held = container(in_dicts({name: array(x) for name, x in trunk.items()}))
    path = tmp_path / "resnet10_params.pkl"
    path.write_bytes(pickle.dumps(held))
    same(read_trunk(path, shapes), trunk)


def test_a_pickle_may_be_packed_and_hold_a_head_that_is_not_used(tmp_path, trunk, shapes, caplog):
    path = tmp_path / "weights"
    path.write_bytes(gzip.compress(pickle.dumps(in_dicts(trunk) | {"Dense_0": {"kernel": np.zeros((512, 1000))}}), 0))
    with caplog.at_level("INFO", "warmloop"):
        same(read_trunk(path, shapes), trunk)
    assert "`Dense_0/kernel` are no part of the trunk" in caplog.text


@pytest.mark.parametrize("norm", [".group_norm", ""])
def test_lerobots_safetensors_are_read_by_the_names_of_its_model(tmp_path, trunk, shapes, norm):
    save_file(by_lerobot(trunk, norm), tmp_path / "model.safetensors")
    same(read_trunk(tmp_path / "model.safetensors", shapes), trunk)


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_what_is_no_trunk_is_refused_in_a_sentence_and_nothing_in_it_runs(tmp_path, trunk, shapes):
    nested, lerobots = in_dicts(trunk), by_lerobot(trunk, ".group_norm")
    wrong = lerobots | {"encoder.stages.1.shortcut.0.conv.weight": np.zeros((128, 64, 3, 3), np.float32)}
    files = {
        "run.pkl": (Runs(str(tmp_path / "ran")), "it names .*open.*; nothing was run"),
        "list.pkl": ([1], "holds a list"),
        "text.pkl": ({"conv_init": "x"}, '"conv_init" in .* is a str'),
        "deep.pkl": ({"a": {"b": {"c": {"d": {}}}}}, '"a/b/c/d" in .* is a dict'),
        "lacking.pkl": ({k: v for k, v in nested.items() if k != "norm_init"}, 'has no array "norm_init/bias"; it has ResNetBlock_0'),
        "larger.pkl": (nested | {"ResNetBlock_4": nested["ResNetBlock_3"]}, '"ResNetBlock_4/.*", which ResNet-10 lacks'),
        "whole.pkl": (nested | {"norm_init": {name: np.zeros(64, np.int32) for name in ("scale", "bias")}}, "int32 values"),
        "nan.pkl": (nested | {"norm_init": {name: np.full(64, np.nan) for name in ("scale", "bias")}}, "not all finite"),
        "wrong.safetensors": (wrong, r'"encoder.stages.1.shortcut.0.conv.weight" in .* is \[3, 3, 64, 128\]; it must be \[1, 1, 64, 128\]'),
        "pooled.safetensors": (lerobots | {"encoder.stages.4.conv1.conv.weight": np.zeros(1)}, "which ResNet-10 lacks"),
        "torn.safetensors": (b"PK\x03\x04 of torch.save", "cannot be read as safetensors .* resnet10_params.pkl"),
    }
    for name, (held, problem) in files.items():
        path = tmp_path / name
        if name.endswith(".pkl"):
            path.write_bytes(pickle.dumps(held))
        elif isinstance(held, bytes):
            path.write_bytes(held)
        else:
            save_file(held, path)
        with pytest.raises(WarmloopError, match=problem):
            read_trunk(path, shapes)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(WarmloopError, match=r"run does not exist; did you mean"):
        read_trunk(tmp_path / "run", shapes)


def seen(trunk, pictures):
    """The feature map `[B, h, w, 512]` of warmloop's trunk for pictures `[B, H, W, 3]` uint8."""
    return np.asarray(jax.jit(ResNet10().apply)({"params": in_dicts(trunk)}, pictures.astype(np.float32) / 255.0))


def pictures(side):
    return np.random.default_rng(1).integers(0, 256, (2, side, side, 3), np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("side", [64, 75, 128])
def test_warmloops_trunk_sees_what_lerobots_module_sees(tmp_path, shapes, side):
    """WARMLOOP_RESNET10 names a checkout of LeRobot's model, and WARMLOOP_LEROBOT_PYTHON an interpreter with torch and transformers."""
    source, python = os.environ.get("WARMLOOP_RESNET10"), os.environ.get("WARMLOOP_LEROBOT_PYTHON")
    if not (source and python):
        pytest.skip("LeRobot's ResNet-10 is not here: WARMLOOP_RESNET10 and WARMLOOP_LEROBOT_PYTHON may name it")
    np.save(tmp_path / "pictures.npy", pictures(side))
    subprocess.run([python, str(PEER), source, str(tmp_path)], check=True, env={**os.environ, "PYTHONPATH": ""}, timeout=300)
    found = read_trunk(tmp_path / "model.safetensors", shapes)
    theirs = load_file(tmp_path / "seen.safetensors")["seen"]  # [B, 512, h, w]
    assert theirs.std() > 0.01
    np.testing.assert_allclose(seen(found, pictures(side)), theirs.transpose(0, 2, 3, 1), atol=2e-4)


@pytest.mark.slow
def test_warmloops_trunk_sees_what_hil_serls_module_sees(tmp_path, shapes, monkeypatch):
    """WARMLOOP_HILSERL names a checkout of HIL-SERL."""
    if not (source := os.environ.get("WARMLOOP_HILSERL")):
        pytest.skip("HIL-SERL's source is not here: WARMLOOP_HILSERL may name it")
    monkeypatch.syspath_prepend(str(Path(source) / "serl_launcher"))
    from serl_launcher.vision.resnet_v1 import resnetv1_configs  # pyright: ignore[reportMissingImports]

    with jax.numpy_rank_promotion("allow"):
        module = resnetv1_configs["resnetv1-10-frozen"](pre_pooling=True)
        params = jax.jit(lambda x: module.init(jax.random.key(3), x, train=False))(pictures(128))["params"]
        theirs = np.asarray(jax.jit(lambda x: module.apply({"params": params}, x, train=False))(pictures(128)))
    (tmp_path / "resnet10_params.pkl").write_bytes(pickle.dumps(params))
    assert theirs.std() > 0.01
    np.testing.assert_allclose(seen(read_trunk(tmp_path / "resnet10_params.pkl", shapes), pictures(128)), theirs, atol=2e-4)


@pytest.mark.long
def test_the_trunk_is_the_same_network_in_pytorchs_operations(tmp_path, trunk, shapes):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra [sb3])")
    held = {name: torch.from_numpy(x) for name, x in by_lerobot(trunk, "").items()}
    save_file(by_lerobot(trunk, ""), tmp_path / "model.safetensors")
    functional = torch.nn.functional

    def same_padding(x, size, stride, value=0.0):
        """Padding "SAME": more of it after than before."""
        need = [max(0, (-(-length // stride) - 1) * stride + size - length) for length in reversed(x.shape[2:])]
        return functional.pad(x, [part for all_of in need for part in (all_of // 2, all_of - all_of // 2)], value=value)

    def convolved(x, name, stride):
        kernel = held[f"{name}.conv.weight"]
        return functional.conv2d(same_padding(x, kernel.shape[2], stride), kernel, stride=stride)

    def normed(x, name):
        return functional.group_norm(x, 4, held[f"{name}.weight"], held[f"{name}.bias"])

    mean, deviation = (torch.tensor(each).reshape(1, 3, 1, 1) for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    x = (torch.from_numpy(pictures(ODD)).permute(0, 3, 1, 2) / 255.0 - mean) / deviation
    x = torch.relu(normed(functional.conv2d(x, held["embedder.0.weight"], stride=2, padding=3), "embedder.1"))
    x = functional.max_pool2d(same_padding(x, 3, 2, -torch.inf), 3, 2)
    for stage in range(4):
        block, stride = f"encoder.stages.{stage}", 1 if stage == 0 else 2
        y = torch.relu(normed(convolved(x, f"{block}.conv1", stride), f"{block}.norm1"))
        y = normed(convolved(y, f"{block}.conv2", 1), f"{block}.norm2")
        x = x if stage == 0 else normed(convolved(x, f"{block}.shortcut.0", stride), f"{block}.shortcut.1")
        x = torch.relu(x + y)
    ours = seen(read_trunk(tmp_path / "model.safetensors", shapes), pictures(ODD))
    np.testing.assert_allclose(ours, x.permute(0, 2, 3, 1).numpy(), atol=2e-4)
