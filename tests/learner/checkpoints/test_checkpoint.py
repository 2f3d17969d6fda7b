"""Checkpoints: whole or absent, verified, and exact."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_learner
from journals import no_file_may_grow_beyond

from warmloop.agents import CQL, SAC, CQLConfig, SACConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.transition import Leaf, Spec
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints, stored_rows
from warmloop.learner.starting_state import fine_tune, resume
from warmloop.learner.state import LearnerParts, create
from warmloop.learner.step import run_one, run_steps


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


def test_what_is_restored_runs_by_the_programs_that_are_compiled(parts, trained, make_rows, tmp_path):
    trained, _ = run_steps(trained, parts)
    checkpoint.save(tmp_path, trained, parts.agent, {})
    compiled = run_one._cache_size()
    states = [
        resume(tmp_path, parts)[0],
        create(parts, 1, make_rows(40)).replace(agent=checkpoint.restore_agent(complete_checkpoints.newest(tmp_path))[1]),
    ]
    for state in states:
        for _ in range(2):
            state, _ = run_steps(state, parts)
    assert run_one._cache_size() == compiled


def test_old_checkpoints_go_only_after_a_new_one_is_complete(parts, trained, tmp_path):
    for updates in (1, 2, 3):
        checkpoint.save(tmp_path, trained.replace(updates=jax.numpy.int32(updates)), parts.agent, {}, keep=2)
    assert [path.name for path in complete_checkpoints.steps(tmp_path)] == ["00000002", "00000003"]
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob("*.old"))


def test_the_checkpoint_just_written_stays_even_where_others_have_more_updates(parts, trained, tmp_path):
    for updates in (8, 9, 1):
        checkpoint.save(tmp_path, trained.replace(updates=jax.numpy.int32(updates)), parts.agent, {}, keep=1)
    assert [path.name for path in complete_checkpoints.steps(tmp_path)] == ["00000001", "00000009"]


def test_saving_one_update_twice_replaces_it(parts, trained, tmp_path):
    for _ in range(2):
        checkpoint.save(tmp_path, trained, parts.agent, {"note": 1})
    assert len(complete_checkpoints.steps(tmp_path)) == 1
    assert complete_checkpoints.newest(tmp_path).meta["note"] == 1


def flip(content):
    content[len(content) // 2] ^= 1
    return content


def zero(content):
    return bytes(len(content))


def truncate(content):
    return content[: len(content) // 2]


def test_damage_to_any_file_of_a_checkpoint_is_found_and_said_and_the_one_before_it_is_used(parts, trained, tmp_path, caplog):
    checkpoint.save(tmp_path, trained.replace(updates=jax.numpy.int32(1)), parts.agent, {})
    newest = checkpoint.save(tmp_path, trained.replace(updates=jax.numpy.int32(2)), parts.agent, {})
    files = [path for path in newest.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        for change in (flip, zero, truncate):
            changed = bytes(change(bytearray(content)))
            if changed == content:
                continue
            path.write_bytes(changed)
            caplog.clear()
            assert complete_checkpoints.newest(tmp_path).updates == 1, (path, change)
            assert "damaged" in caplog.text
        path.unlink()
        assert complete_checkpoints.newest(tmp_path).updates == 1 or path.name == complete_checkpoints.MANIFEST
        path.write_bytes(content)
    assert complete_checkpoints.newest(tmp_path).updates == 2


@pytest.mark.parametrize(
    ("settings", "size", "says"),
    [
        ({}, 3, r"has observations of array \(4,\) float32 and this configuration of array \(3,\) float32\.$"),
        ({"hidden": (8, 16)}, 4, r"is \[.*16\] there and \[.*8\] here; resume with the configuration it was made with\.$"),
        ({"hidden": (16,)}, 4, r"has other layers than this configuration's; resume with the configuration it was made with\.$"),
    ],
)
def test_a_run_does_not_go_on_with_another_environment_or_other_networks(parts, trained, tmp_path, settings, size, says):
    checkpoint.save(tmp_path, trained, parts.agent, {})
    spec = Spec((Leaf("", (size,), "float32"),), 2)
    agent = SAC(dataclasses.replace(parts.agent.config, **settings), spec)
    with pytest.raises(WarmloopError, match=says):
        resume(tmp_path, LearnerParts(agent, parts.replay, parts.mixing))


@pytest.mark.parametrize("change", [flip, zero, truncate])
def test_damaged_offline_rows_are_never_learnt_from(parts, trained, tmp_path, change):
    checkpoint.save(tmp_path, trained, parts.agent, {})
    (path,) = tmp_path.glob("offline-*.npz")
    path.write_bytes(bytes(change(bytearray(path.read_bytes()))))
    with pytest.raises(WarmloopError, match="offline rows and is damaged"):
        resume(tmp_path, parts)
    checkpoint.load_policy(tmp_path)  # which needs none of them


def test_the_offline_rows_are_written_once_and_the_online_rows_never(parts, trained, tmp_path):
    for updates in (1, 2):
        checkpoint.save(tmp_path, trained.replace(updates=jax.numpy.int32(updates)), parts.agent, {})
    (path,) = tmp_path.glob("offline-*.npz")
    assert path.stat().st_size > trained.offline.words.nbytes
    rows = trained.online.words.nbytes
    state, _ = resume(tmp_path, parts)
    assert state.online.words.nbytes == rows and not np.asarray(state.online.words).any()


@pytest.mark.parametrize("stored", [False, True])
def test_a_full_disk_is_said_and_leaves_the_checkpoint_before_whole(parts, trained, tmp_path, stored):
    checkpoint.save(tmp_path, trained, parts.agent, {})
    later = trained.replace(updates=jax.numpy.int32(9))
    offline = stored_rows.store_offline(tmp_path, trained) if stored else None
    with no_file_may_grow_beyond(300), pytest.raises(WarmloopError, match=r"could not be written .*free space"):
        checkpoint.save(tmp_path, later, parts.agent, {}, offline=offline)
    assert complete_checkpoints.newest(tmp_path).updates == 1 and not list(tmp_path.glob("*.partial"))
    checkpoint.save(tmp_path, later, parts.agent, {})
    assert complete_checkpoints.newest(tmp_path).updates == 9


EIGHT_DEVICES = """
import sys, jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import small_learner
from warmloop.learner.checkpoints import checkpoint
parts, state = small_learner.small()
mesh = Mesh(jax.devices(), "d")
def place(x):
    spread = getattr(x, "ndim", 0) and x.shape[0] % 8 == 0 and x.dtype == "float32"
    return jax.device_put(x, NamedSharding(mesh, PartitionSpec("d") if spread else PartitionSpec()))
state = jax.tree.map(place, state)
assert len(jax.devices()) == 8 and any(not x.sharding.is_fully_replicated for x in jax.tree.leaves(state))
checkpoint.save(sys.argv[1], state, parts.agent, {})
"""


@pytest.mark.fault
def test_a_checkpoint_of_eight_devices_is_restored_on_one(tmp_path):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    paths = os.pathsep.join([str(Path(__file__).parents[2] / "helpers"), os.environ.get("PYTHONPATH", "")])
    line = [sys.executable, "-c", EIGHT_DEVICES, str(tmp_path)]
    done = subprocess.run(line, env=os.environ | flags | {"PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    parts, state = small_learner.small()
    restored, _ = resume(tmp_path, parts)
    assert_same(restored, state)
    assert {len(x.sharding.device_set) for x in jax.tree.leaves(restored)} == {1}


def test_rows_for_which_there_is_no_folder_are_not_said_to_lack_space(trained, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WarmloopError, match=r"could not be written to .*file/x \(Not a directory\); take another folder\.$"):
        stored_rows.store_offline(tmp_path / "file" / "x", trained)


def test_a_half_written_checkpoint_is_not_seen(parts, trained, tmp_path):
    path = checkpoint.save(tmp_path, trained, parts.agent, {})
    shutil.copytree(path, tmp_path / "00000009.partial")
    shutil.copytree(path, tmp_path / "00000008")
    (tmp_path / "00000008" / complete_checkpoints.MANIFEST).unlink()
    assert complete_checkpoints.newest(tmp_path).updates == 1


def test_no_checkpoint_and_no_intact_one_are_said_in_a_sentence(parts, trained, tmp_path):
    with pytest.raises(WarmloopError, match="no checkpoint"):
        complete_checkpoints.newest(tmp_path / "absent")
    path = checkpoint.save(tmp_path, trained, parts.agent, {})
    (path / "meta.json").write_text("{}")
    with pytest.raises(WarmloopError, match="damaged"):
        complete_checkpoints.newest(tmp_path)


def test_a_policy_loads_without_configuration_or_data(parts, trained, tmp_path):
    checkpoint.save(tmp_path, trained, parts.agent, {"config": {"any": 1}})
    agent, params, meta = checkpoint.load_policy(tmp_path)
    assert agent == parts.agent and meta["config"] == {"any": 1}
    assert_same(params, parts.agent.actor_params(trained.agent))


@pytest.mark.long
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


def test_a_checkpoint_s_own_folder_names_it_as_its_number_does(parts, trained, tmp_path):
    one, other = (checkpoint.save(tmp_path, trained.replace(updates=jax.numpy.int32(n)), parts.agent, {"note": n}) for n in (3, 7))
    for path, updates in ((one, 3), (f"{other}/", 7)):
        assert complete_checkpoints.newest(path).updates == complete_checkpoints.chosen(path).updates == updates
        assert checkpoint.load_policy(path)[2]["note"] == updates
    assert complete_checkpoints.chosen(one, 3).path == one
    with pytest.raises(WarmloopError, match=r"no checkpoint of 7 updates in .*; there are 3"):
        complete_checkpoints.chosen(one, 7)
    assert_same(fine_tune(parts, 0, None, one).agent.actor, trained.agent.actor)


def test_a_folder_above_checkpoints_is_refused_with_those_that_hold_some(parts, trained, tmp_path):
    for name in ("warmup", "checkpoints"):
        checkpoint.save(tmp_path / "runs" / "x" / name, trained, parts.agent, {})
    run = tmp_path / "runs" / "x"
    for directory, updates in ((run, None), (run, 7), (tmp_path / "runs", None)):
        with pytest.raises(WarmloopError) as caught:
            complete_checkpoints.chosen(directory, updates)
        assert str(caught.value) == f"There is no checkpoint in {directory}; name {run}/checkpoints or {run}/warmup."
