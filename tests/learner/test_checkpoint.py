"""Checkpoints: whole or absent, verified, and exact."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from warmloop.agents import CQL, SAC, CQLConfig, SACConfig
from warmloop.data.errors import WarmloopError
from warmloop.learner import checkpoint
from warmloop.learner.assemble import fine_tune, resume
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_steps


def plain(tree):
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x), tree)


def assert_same(a, b):
    jax.tree.map(np.testing.assert_array_equal, plain(a), plain(b))


@pytest.fixture
def trained(parts, make_rows):
    state, _ = run_steps(create(parts, 0, make_rows(40)), parts)
    return state


def test_a_restored_run_goes_on_bit_for_bit_as_if_it_had_not_stopped(parts, trained, tmp_path):
    checkpoint.save(tmp_path, trained, parts.agent, {})
    restored, _ = resume(tmp_path, parts)
    assert_same(restored, trained)
    for _ in range(3):
        trained, _ = run_steps(trained, parts)
        restored, _ = run_steps(restored, parts)
    assert_same(restored, trained)


def test_old_checkpoints_go_only_after_a_new_one_is_complete(parts, trained, tmp_path):
    for updates in (1, 2, 3):
        checkpoint.save(tmp_path, trained.replace(updates=jax.numpy.int32(updates)), parts.agent, {}, keep=2)
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["00000002", "00000003"]
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob("*.old"))


def test_saving_one_update_twice_replaces_it(parts, trained, tmp_path):
    for _ in range(2):
        checkpoint.save(tmp_path, trained, parts.agent, {"note": 1})
    assert len(checkpoint.steps(tmp_path)) == 1
    assert checkpoint.newest(tmp_path).meta["note"] == 1


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "manifest"])
def test_a_damaged_checkpoint_is_passed_over_loudly_for_the_one_before(parts, trained, tmp_path, damage, caplog):
    checkpoint.save(tmp_path, trained.replace(updates=jax.numpy.int32(1)), parts.agent, {})
    newest = checkpoint.save(tmp_path, trained.replace(updates=jax.numpy.int32(2)), parts.agent, {})
    payload = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(payload.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        payload.write_bytes(content)
    elif damage == "truncate":
        payload.write_bytes(content[: len(content) // 2])
    elif damage == "remove":
        payload.unlink()
    else:
        (newest / checkpoint.MANIFEST).write_text("{")
    assert checkpoint.newest(tmp_path).updates == 1
    assert "damaged" in caplog.text


def test_a_half_written_checkpoint_is_not_seen(parts, trained, tmp_path):
    path = checkpoint.save(tmp_path, trained, parts.agent, {})
    shutil.copytree(path, tmp_path / "00000009.partial")
    shutil.copytree(path, tmp_path / "00000008")
    (tmp_path / "00000008" / checkpoint.MANIFEST).unlink()
    assert checkpoint.newest(tmp_path).updates == 1


def test_no_checkpoint_and_no_intact_one_are_said_in_a_sentence(parts, trained, tmp_path):
    with pytest.raises(WarmloopError, match="no checkpoint"):
        checkpoint.newest(tmp_path / "absent")
    path = checkpoint.save(tmp_path, trained, parts.agent, {})
    (path / "meta.json").write_text("{}")
    with pytest.raises(WarmloopError, match="damaged"):
        checkpoint.newest(tmp_path)


def test_a_policy_loads_without_configuration_or_data(parts, trained, tmp_path):
    checkpoint.save(tmp_path, trained, parts.agent, {"config": {"any": 1}})
    agent, params, meta = checkpoint.load_policy(tmp_path)
    assert agent == parts.agent and meta["config"] == {"any": 1}
    assert_same(params, parts.agent.actor_params(trained.agent))


def test_cql_hands_its_whole_state_to_sac_through_a_checkpoint(parts, make_rows, tmp_path):
    shared = {"hidden": (16, 16), "ensemble": 2, "batch_size": 8}
    warm = LearnerParts(CQL(CQLConfig(utd=1, cql_actions=2, **shared), parts.agent.spec), parts.replay, parts.mixing)
    state, _ = run_steps(create(warm, 0, make_rows(40)), warm)
    checkpoint.save(tmp_path, state, warm.agent, {})
    fine = LearnerParts(SAC(SACConfig(utd=2, **shared), parts.agent.spec), parts.replay, parts.mixing)
    taken = fine_tune(fine, 0, make_rows(20), tmp_path)
    assert_same(taken.agent, state.agent.sac)
    assert int(taken.updates) == 1
    assert int(taken.agent.critic_optimizer[0].count) == 1


def test_a_checkpoint_with_other_networks_is_refused_with_the_difference(parts, trained, make_rows, tmp_path):
    checkpoint.save(tmp_path, trained, parts.agent, {})
    other = LearnerParts(SAC(SACConfig(hidden=(16, 16), ensemble=3, batch_size=8), parts.agent.spec), parts.replay, parts.mixing)
    with pytest.raises(WarmloopError, match="ensemble"):
        fine_tune(other, 0, make_rows(20), tmp_path)
