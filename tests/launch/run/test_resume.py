"""A run that is resumed: by its own seed and its own configuration, which config.json may not contradict."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from journals import records_of
from runs import Commands

from warmloop.configs.schema import from_dict
from warmloop.data.errors import WarmloopError
from warmloop.data.files.run_folder import RunFolder
from warmloop.data.files.sealed_json import seal, unseal
from warmloop.launch.run import run_record, settings
from warmloop.learner.checkpoints import checkpoint, complete_checkpoints
from warmloop.learner.journal.records import Kind

PLAIN = ("--online_steps=400", "--config.learner.checkpoint_every=60", "--config.learner.max_utd=0.5", "--config.agent.utd=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run in lock step of two episodes, with a checkpoint after each."""
    commands = Commands(tmp_path_factory.mktemp("resume"))
    done = commands.run("train_rlpd", "--exp_name=run", "--seed=7", *PLAIN)
    assert done.returncode == 0, done.stderr
    return commands.folder / "run"


@pytest.fixture
def copy(run, tmp_path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def content(run: Path) -> dict[str, bytes]:
    """Every array of the newest agent, and the rows of the journal."""
    _, state = checkpoint.restore_agent(complete_checkpoints.newest(run / "checkpoints"))
    state = jax.tree.map(lambda x: jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x, state)
    arrays = {jax.tree_util.keystr(path): np.asarray(x).tobytes() for path, x in jax.tree_util.tree_leaves_with_path(state)}
    records = records_of(run / "journal")
    return arrays | {"rows": b"".join(record.payload for record in records if record.kind == Kind.ROWS)}


@pytest.mark.slow
@pytest.mark.parametrize("seed", [(), ("--seed=3",)])
def test_a_run_in_lock_step_ends_in_the_same_bits_whatever_seed_and_configuration_its_resumption_names(run, copy, seed):
    _, last = complete_checkpoints.steps(copy / "checkpoints")
    shutil.rmtree(last)
    assert content(copy) != content(run)
    done = Commands(copy.parent, ()).run("train_rlpd", "--exp_name=copy", "--resume", *seed)
    assert done.returncode == 0, done.stderr
    assert content(copy) == content(run)
    assert ("its own seed, 7, and not with --seed=3" in done.stderr) == bool(seed)


@pytest.mark.slow
def test_a_change_by_a_flag_is_kept_in_the_checkpoint_and_in_config_json(copy):
    line = ("train_rlpd", "--exp_name=copy", "--resume", "--config.learner.log_every=17")
    done = Commands(copy.parent, ()).run(*line)
    assert done.returncode == 0, done.stderr
    assert complete_checkpoints.newest(copy / "checkpoints").meta["config"]["learner"]["log_every"] == 17
    found = run_record.resumed(RunFolder(copy), copy / "checkpoints")
    assert found is not None and found.learner.log_every == 17


def rewrite(path: Path, change) -> None:
    """As an editor would, and with a true hash again: what only the checkpoint can tell."""
    values = json.loads(path.read_text())
    change(values)
    path.write_text(seal({name: value for name, value in values.items() if name != "sha256"}))


@pytest.mark.long
def test_config_json_that_disagrees_with_the_checkpoint_is_refused_with_every_setting_and_both_values(copy):
    rewrite(RunFolder(copy).config, lambda values: (values["agent"].update(utd=9), values["learner"].pop("max_utd"), values.update(seed=8)))
    with pytest.raises(WarmloopError, match="does not agree with the run's newest checkpoint") as refusal:
        run_record.resumed(RunFolder(copy), copy / "checkpoints")
    for said in ("agent.utd (9, there 1)", "learner.max_utd (absent, there 0.5)", "seed (8, there 7)", "Delete config.json"):
        assert said in str(refusal.value)
    with pytest.raises(WarmloopError, match=r"checkpoint: learner.max_utd"):
        run_record.resumed(RunFolder(copy), copy / "checkpoints", given=("agent.utd", "seed"))
    (RunFolder(copy).config).unlink()
    meta = complete_checkpoints.newest(copy / "checkpoints").meta
    assert run_record.resumed(RunFolder(copy), copy / "checkpoints") == from_dict(meta["config"])


def test_a_hash_that_was_taken_out_is_no_way_around_and_files_of_earlier_versions_are_read(copy, caplog):
    path = RunFolder(copy).config
    values = {name: value for name, value in json.loads(path.read_text()).items() if name != "sha256"}
    path.write_text(json.dumps(values, indent=1))
    with pytest.raises(WarmloopError, match=r"config.json has lost its sha256.*delete config.json"):
        run_record.resumed(RunFolder(copy), copy / "checkpoints")
    sections = {name: values[name] for name in values if name not in ("seed", "phase", "import_folders")}
    path.write_text(json.dumps(sections, indent=1))
    shutil.rmtree(copy / "checkpoints")
    assert run_record.resumed(RunFolder(copy), None) == from_dict(sections) and "nothing shows whether it was changed" in caplog.text


def test_any_byte_that_changes_in_config_json_is_noticed(run):
    text = (RunFolder(run).config).read_bytes()
    random = np.random.default_rng(0)
    places = [*random.integers(0, len(text), 150), *range(len(text) - 80, len(text))]
    for place in places:
        damaged = bytearray(text)
        damaged[place] ^= 1 << int(random.integers(8))
        with pytest.raises((WarmloopError, UnicodeDecodeError)):
            unseal(damaged.decode(), "config.json", "delete it")


def test_the_flags_seed_counts_for_a_new_run_alone(run):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(config=None, exp_name="run", runs=str(run.parent)):
        assert settings.run_seed(resuming=True, checkpoints=run / "checkpoints") == 7
        assert settings.run_seed(resuming=True) == 7, "an actor has no checkpoints, and reads it in config.json"
        assert settings.run_seed() == 0
