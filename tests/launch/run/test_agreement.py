"""All that decides a row is alike at an actor and its learner, or the learner refuses by name: over a real socket, in its journal, in a
spool, and in a run that is resumed."""

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from wire_rows import SCHEMA, SPEC, agent, stream

from warmloop.actor.delivery.client import Client, Introduction
from warmloop.actor.delivery.spool import Spool
from warmloop.actor.environment import EnvironmentConfig
from warmloop.configs.rows import ELSEWHERE, SECTIONS, row_settings
from warmloop.configs.schema import RunConfig, to_dict
from warmloop.data.action_limits import ActionLimits
from warmloop.data.errors import WarmloopError
from warmloop.data.sources.sources import Target
from warmloop.data.tasks import TaskConfig
from warmloop.launch.run.assemble import refuse_other_rows, schema_of
from warmloop.learner.journal.journal import Journal
from warmloop.learner.receiving.intake import Intake
from warmloop.learner.receiving.service import serve

KWARGS = {"hz": 10.0, "host": "10.0.0.5", "goal": np.array([0.1, 0.2]), "camera": False}
OURS = RunConfig(EnvironmentConfig("Rows-v0", KWARGS, horizon=50, success="info:success"), tasks=TaskConfig(("pick",)))
# Of every setting that decides a row another value, and how the refusal names it.
OTHERS = {
    "environment.horizon": 60,
    "environment.success": "reward>=1",
    "environment.wrappers": ("resize:64",),
    "environment.unseen": ("front",),
    "environment.time_limit_is_truncation": True,
    "environment.local_kwargs": ("host",),
    "reward.signal": "environment",
    "reward.scale": 10.0,
    "reward.bias": -1.0,
    "reward.terminate_on_success": False,
    "reward.discount": 0.9,
    "tasks.names": ("place",),
    "tasks.encoding": "id",
}
TARGET = Target("Rows-v0", SPEC, ActionLimits((-1.0, -1.0), (1.0, 1.0)), control_hz=10.0)


def changed(name: str, value) -> RunConfig:
    section, _, field = name.partition(".")
    return OURS.replace(**{section: {field: value}})


def schema(config=OURS, target=TARGET):
    """Without tasks' codes, which would make the rows themselves other ones."""
    return dataclasses.replace(schema_of(config, target), leaves=SCHEMA.leaves, env_id="Rows-v0")


@pytest.fixture(scope="module")
def address():
    server = serve("127.0.0.1", 0, Intake(schema()))
    yield f"127.0.0.1:{server.port}"
    server.close()


def test_every_setting_of_these_sections_is_agreed_on_but_for_the_named_exceptions():
    """One that is added later has to be given another value above, or a reason in `configs/rows.py`."""
    fields = [f"{section}.{field.name}" for section in SECTIONS for field in dataclasses.fields(getattr(OURS, section))]
    optional = {"tasks.goals", "environment.base", "environment.base_proposals"}  # go with an encoding, and with a base, alone
    missing = set(fields) - set(ELSEWHERE) - optional - {name for name, _ in row_settings(OURS)}
    assert missing == set() and OTHERS.keys() <= set(fields)


@pytest.mark.parametrize(("name", "value"), OTHERS.items())
def test_another_setting_is_refused_over_a_socket_by_name_and_both_values(address, name, value):
    theirs = schema(changed(name, value))
    ours, other = dict(schema().settings)[name], dict(theirs.settings)[name]
    with pytest.raises(WarmloopError, match="start both with the same configuration") as refusal:
        Client.connect(address, Introduction(theirs, agent(), "actor-0"))
    assert f"{name} is {ours} and the actor's is {other}" in str(refusal.value) and ours != other


def test_a_new_setting_of_a_section_counts_without_being_listed(address):
    values = to_dict(OURS)
    assert {name for name, _ in row_settings(OURS)} >= {f"reward.{name}" for name in values["reward"]}


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({**KWARGS, "hz": 20.0}, "environment.kwargs.hz is 10 and the actor's is 20"),
        ({**KWARGS, "goal": np.array([0.1, 0.3])}, "environment.kwargs.goal is [0.1, 0.2] and the actor's is [0.1, 0.3]"),
        ({**KWARGS, "host": "10.0.0.6"}, "or name host in environment.local_kwargs"),
        ({name: KWARGS[name] for name in ("hz", "host", "goal")}, "environment.kwargs.camera is false and the actor's is absent"),
    ],
)
def test_other_arguments_of_the_environment_are_refused_by_name(address, kwargs, says):
    with pytest.raises(WarmloopError) as refusal:
        Client.connect(address, Introduction(schema(changed("environment.kwargs", kwargs)), agent(), "actor-0"))
    assert says in str(refusal.value)


def test_the_environments_own_rate_and_time_limit_are_agreed_on(address):
    with pytest.raises(WarmloopError, match="control rate in Hz is 10 and the actor's is 20"):
        Client.connect(address, Introduction(schema(target=dataclasses.replace(TARGET, control_hz=20.0)), agent(), "actor-0"))
    own = changed("environment.horizon", 0)
    assert schema(own, dataclasses.replace(TARGET, time_limit=50)) == schema(own.replace(environment={"horizon": 50}))
    assert schema(own, dataclasses.replace(TARGET, time_limit=60)) != schema()


def test_an_actor_of_an_earlier_version_which_says_nothing_of_its_settings_is_refused(address):
    with pytest.raises(WarmloopError, match="install the learner's version"):
        Client.connect(address, Introduction(schema().without_settings, agent(), "actor-0"))


def test_what_decides_no_row_may_differ():
    alike = [
        OURS.replace(tasks={"balance": False}, learner={"max_utd": 0.5}, agent={"utd": 1}, actor={"simulator": False}),
        changed("environment.kwargs", {**KWARGS, "hz": 10}),  # the same number
    ]
    assert all(schema(config) == schema() for config in alike)
    local = OURS.replace(environment={"local_kwargs": ("host",)})
    assert schema(local) == schema(local.replace(environment={"kwargs": {**KWARGS, "host": "here"}}))


def test_a_classifier_is_told_by_its_hash_and_not_by_where_it_lies():
    given = (("/a/cube", "0a1b"), ("b/cube", "0a1b"), ("/a/cube", "ff"))
    one, same, other = (f"classifier:{path},sha256={digest}" for path, digest in given)
    texts = [dict(row_settings(changed("environment.success", rule)))["environment.success"] for rule in (one, same, other)]
    assert texts[0] == texts[1] != texts[2]


def test_long_values_are_cut_and_still_compared():
    long = [changed("environment.kwargs", {"path": list(range(n))}) for n in (5000, 5001)]
    one, other = (schema(config) for config in long)
    assert one != other and len(one.json) < 5000


def test_a_journal_of_rows_of_another_reward_is_refused_and_one_of_an_earlier_version_is_read(tmp_path):
    for name, writer, reader in (("new", schema(), schema(changed("reward.scale", 10.0))), ("old", schema().without_settings, schema())):
        with contextlib.closing(Journal(tmp_path / name)) as journal:
            intake = Intake(writer, journal=journal)
            session, _ = intake.open("actor-0", "s", 0)
            intake.accept(session.id, 0, stream(20))
        journal = Journal(tmp_path / name)
        again = Intake(reader, journal=journal)
        if name == "old":
            assert sum(len(chunk.rows.reward) for _, chunk in again.recover(20, {})) == 20
        else:
            with pytest.raises(WarmloopError, match=r"the journal's reward.scale is 1 and now it is 10"):
                list(again.recover(0, {}))
        journal.close()


def spooled(folder: Path, writer) -> None:
    with Spool(folder, writer) as spool, spool.rows.lock:
        spool.rows.append(stream(20))


def test_a_spool_of_rows_of_another_reward_is_refused_by_name_and_kept(tmp_path):
    spooled(tmp_path, schema())
    with pytest.raises(WarmloopError, match=r"the spool's reward.scale is 1 and now it is 10\. Send them with the configuration"):
        Spool(tmp_path, schema(changed("reward.scale", 10.0)))
    (tmp_path / "schema.json").unlink()
    with pytest.raises(WarmloopError, match="rows of another environment or other settings"):
        Spool(tmp_path, schema(changed("reward.scale", 10.0)))
    with Spool(tmp_path, schema()) as spool:
        assert len(spool.rows) == 20


def test_a_spool_of_an_earlier_version_is_sent(tmp_path):
    spooled(tmp_path, schema().without_settings)
    with Spool(tmp_path, schema()) as spool:
        assert len(spool.rows) == 20


@pytest.mark.parametrize(
    ("now", "says"),
    [
        (changed("reward.discount", 0.9), "its reward.discount is 0.99 and now it is 0.9"),
        (changed("environment.id", "Other-v0"), 'its environment is "Rows-v0 {pick}" and now it is "Other-v0 {pick}"'),
        (changed("environment.kwargs", {**KWARGS, "hz": 20.0}), "environment.kwargs.hz is 10 and now it is 20"),
    ],
)
def test_a_run_is_not_resumed_by_other_settings_of_its_rows(now, says):
    plain = OURS.replace(environment={"kwargs": {**KWARGS, "goal": [0.1, 0.2]}})
    now = now.replace(environment={"kwargs": {**dict(now.environment.kwargs), "goal": [0.1, 0.2]}})
    meta = {"config": to_dict(plain)}
    refuse_other_rows(plain.replace(agent={"utd": 1}), meta, Path("ckpt"))
    with pytest.raises(WarmloopError) as refusal:
        refuse_other_rows(now, meta, Path("ckpt"))
    assert says in str(refusal.value) and "--checkpoint_path=ckpt" in str(refusal.value)
