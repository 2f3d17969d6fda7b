"""The processes of a cluster on nodes that pretend: words, restarts, the order of stopping, logs without secrets, and the state."""

import json

import pytest
from pretend_hosts import PretendNodes
from waiting import until

from warmloop.data.errors import WarmloopError
from warmloop.launch.clusters import attendant, restarts
from warmloop.launch.clusters.cluster_spec import ClusterSpec, LearnerPlace, WorkerPlace
from warmloop.launch.clusters.crew import Crew, last_state
from warmloop.launch.clusters.handed_secrets import HIDDEN
from warmloop.launch.parts.certificates import Authority, make_actor, make_learner

SPEC = ClusterSpec(
    "door",
    actors=(WorkerPlace("left", needs=("robot:left",)), WorkerPlace("sim", simulator=True)),
    evaluators=(WorkerPlace("judge", simulator=True),),
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(attendant, "LOOK_EVERY", 0.005)
    monkeypatch.setattr(restarts, "WAITS", (0.01,) * 4)
    monkeypatch.setattr(restarts, "LOST_WAIT", 0.01)


@pytest.fixture
def crew_of(tmp_path):
    """Starts a crew; every one ends with the test."""
    crews = []

    def start(nodes, spec=SPEC, **more):
        crews.append(Crew(spec, tmp_path, nodes.place, **more))
        crews[-1].start()
        return crews[-1]

    yield start
    for crew in crews:
        crew.stop(at_once=True)
        until(lambda crew=crew: crew.finished)


def status(crew, name):
    return crew.attendants[name].state.status


def test_a_robot_starts_by_a_persons_word_alone_and_each_word_is_for_one_start(crew_of):
    nodes = PretendNodes()
    crew = crew_of(nodes)
    until(lambda: status(crew, "left") == "asks" and status(crew, "sim") == "runs")
    assert nodes.starts("left") == 0
    crew.allow("left")
    until(lambda: status(crew, "left") == "runs")
    with pytest.raises(WarmloopError, match="does not wait for a word"):
        crew.allow("left")
    nodes.hosts["left"].code = -9
    until(lambda: status(crew, "left") == "asks")
    nodes.hosts["left"].lost = True  # while it asks: the word would be for another node
    until(lambda: ("left", "close") in nodes.events and nodes.events.count(("left", "close")) == 2)
    until(lambda: status(crew, "left") == "asks" and not nodes.hosts["left"].lost)
    assert nodes.starts("left") == 1
    crew.allow("left")
    until(lambda: nodes.starts("left") == 2)


def test_a_word_that_nobody_waits_for_is_refused_with_the_near_name(crew_of):
    crew = crew_of(PretendNodes())
    until(lambda: status(crew, "sim") == "runs")
    with pytest.raises(WarmloopError, match="does not wait for a word"):
        crew.allow("sim")
    with pytest.raises(WarmloopError, match='no process "lef"; did you mean left'):
        crew.allow("lef")


def test_the_workers_are_stopped_before_the_learner(crew_of):
    nodes = PretendNodes()
    crew = crew_of(nodes)
    until(lambda: all(status(crew, name) == "runs" for name in ("learner", "sim", "judge")))
    until(lambda: status(crew, "left") == "asks")
    crew.stop()
    until(lambda: crew.finished)
    stopped = [name for name, what in nodes.events if what == "stop"]
    assert sorted(stopped[:2]) == ["judge", "sim"] and stopped[2:] == ["learner"], "the robot was not even started"
    learners = nodes.events.index(("learner", "stop"))
    assert max(nodes.events.index((name, "close")) for name in ("sim", "judge", "left")) < learners


def test_what_does_not_leave_in_time_is_ended_at_once(crew_of, monkeypatch):
    monkeypatch.setattr(attendant, "LEAVE_SECONDS", 0.05)
    nodes = PretendNodes()
    crew = crew_of(nodes)
    until(lambda: status(crew, "sim") == "runs")
    nodes.hosts["sim"].stubborn = True
    crew.stop()
    until(lambda: crew.finished)
    assert ("sim", "stop at once") in nodes.events and ("learner", "stop at once") not in nodes.events


def test_a_learner_that_is_done_ends_all(crew_of):
    nodes = PretendNodes()
    done = crew_of(nodes)
    until(lambda: status(done, "learner") == "runs" and status(done, "sim") == "runs")
    nodes.hosts["sim"].code = nodes.hosts["learner"].code = 0
    done.attendants["left"].stop()
    until(lambda: done.finished)
    assert done.failed == "" and status(done, "learner") == "done"


def test_a_learner_that_gave_up_ends_all_and_says_why(crew_of, tmp_path):
    nodes = PretendNodes()
    failed = crew_of(nodes)
    until(lambda: status(failed, "learner") == "runs")
    nodes.hosts["learner"].text = "error: There is no such configuration.\n"
    nodes.hosts["learner"].code = 2
    until(lambda: failed.finished)
    assert "There is no such configuration" in failed.failed and "learner.log" in failed.failed
    until(lambda: (last_state(SPEC, tmp_path) or {})["failed"] == failed.failed)


def test_a_disk_that_is_full_costs_no_process(crew_of, tmp_path, monkeypatch):
    nodes = PretendNodes()
    crew = crew_of(nodes)
    until(lambda: status(crew, "sim") == "runs")
    log = tmp_path / "runs" / "door" / "cluster" / "sim.log"
    log.mkdir()  # which no text can be appended to
    nodes.hosts["sim"].text = "a line\n"
    until(lambda: any(f"{log} cannot be written" in event for event in crew.events(0)))
    assert status(crew, "sim") == "runs"


def test_the_learner_resumes_from_its_second_start_on(crew_of):
    nodes = PretendNodes()
    crew = crew_of(nodes)
    until(lambda: status(crew, "learner") == "runs" and status(crew, "sim") == "runs")
    assert nodes.hosts["learner"].order.resume_from is None and nodes.hosts["sim"].order.resume_from is None
    before = nodes.hosts["learner"]
    before.code = -9
    until(lambda: nodes.hosts["learner"] is not before and nodes.hosts["learner"].order)
    assert nodes.hosts["learner"].order.resume_from.endswith("runs/door/checkpoints")


def test_a_process_that_gave_up_starts_again_by_a_persons_word(crew_of):
    nodes = PretendNodes()
    crew = crew_of(nodes)
    until(lambda: status(crew, "sim") == "runs")
    nodes.hosts["sim"].code = 2
    until(lambda: status(crew, "sim") == "gave up")
    crew.allow("sim")
    until(lambda: nodes.starts("sim") == 2)


def test_the_state_is_in_a_file_and_events_are_told_in_order(crew_of, tmp_path):
    crew = crew_of(PretendNodes())
    until(lambda: status(crew, "left") == "asks" and status(crew, "learner") == "runs")

    def written():
        return {part["name"]: part for part in (last_state(SPEC, tmp_path) or {})["parts"]}

    until(lambda: written()["learner"]["status"] == "runs" and written()["left"]["status"] == "asks")
    parts = written()
    assert parts["left"]["status"] == "asks" and "warmloop cluster allow SPEC left" in parts["left"]["why"]
    assert parts["learner"]["pid"] == 100 and parts["learner"]["starts"] == 1
    assert json.loads(json.dumps(crew.state()))["run"] == "door"
    told = [event.partition(" ")[2] for event in crew.events(0) if " learner " in event]
    assert [one.split(" (")[0] for one in told] == ["learner waits for a node", "learner starts", "learner runs"]
    assert crew.events(2)[:1] == crew.events(0)[2:3]


SECURE = ClusterSpec("door", LearnerPlace(host="trainer.lab"), (WorkerPlace("sim", simulator=True),), credentials="credentials")


@pytest.fixture
def token(tmp_path):
    """The token of the only actor."""
    authority = Authority(tmp_path / "credentials" / "authority")
    make_learner(tmp_path / "credentials" / "learner", authority, ["trainer.lab"], 10, False)
    make_actor(tmp_path / "credentials" / "actor-0", tmp_path / "credentials" / "learner", authority, 10)
    return (tmp_path / "credentials" / "actor-0" / "token").read_text().strip()


def test_each_process_gets_its_own_credentials_and_no_file_or_state_shows_them(crew_of, tmp_path, token):
    nodes = PretendNodes()
    crew = crew_of(nodes, SECURE)
    until(lambda: status(crew, "sim") == "runs" and status(crew, "learner") == "runs")
    assert nodes.hosts["sim"].order.secrets.keys() == {"ca.pem", "token"}
    assert {"certificate.pem", "key.pem", "tokens.json"} <= nodes.hosts["learner"].order.secrets.keys()
    assert token not in repr(nodes.hosts["sim"].order)
    key = nodes.hosts["learner"].order.secrets["key.pem"].decode().splitlines()[2]
    nodes.hosts["sim"].text = f"sent {token[:5]}"
    log = tmp_path / "runs" / "door" / "cluster" / "sim.log"
    until(lambda: nodes.hosts["sim"].text == "")
    nodes.hosts["sim"].text = f"{token[5:]}, and no more\n"
    nodes.hosts["learner"].text = f"a key: {key}\n"
    until(lambda: log.exists() and (log.parent / "learner.log").exists())
    assert log.read_text() == f"sent {HIDDEN}, and no more\n"
    until(lambda: crew.attendants["sim"].state.said == f"sent {HIDDEN}, and no more")
    written = "".join(path.read_text() for path in log.parent.iterdir())
    assert token not in written and key not in written and token not in json.dumps(crew.state())


def test_credentials_go_to_no_other_machine_in_clear_unless_the_file_allows_it(crew_of, token):
    crew = crew_of(PretendNodes(elsewhere=True), SECURE)
    until(lambda: status(crew, "sim") == "gave up")
    assert "RAY_USE_TLS=1" in crew.attendants["sim"].state.why
    open_crew = crew_of(PretendNodes(elsewhere=True), SECURE, encrypted=True)
    until(lambda: status(open_crew, "sim") == "runs")


def test_an_actor_on_another_machine_needs_a_learner_that_it_can_reach(crew_of):
    crew = crew_of(PretendNodes(elsewhere=True))
    until(lambda: status(crew, "sim") == "gave up")
    assert "set learner.host and credentials" in crew.attendants["sim"].state.why
