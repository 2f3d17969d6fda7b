"""The page over its real server: what it answers, whom it lets in, and what it does when somebody is gone."""

import contextlib
import json
import ssl
from pathlib import Path

import pytest
from looking import Look
from secrets_folder import make_credentials

pytest.importorskip("uvicorn", reason="uvicorn is not installed")
pytest.importorskip("starlette", reason="starlette is not installed")

from acting_at_desk import Acting
from page_served import Served, served
from waiting import until

from warmloop.actor.config import ActorConfig
from warmloop.data.errors import WarmloopError
from warmloop.data.files.run_folder import RunFolder
from warmloop.data.wire.keyring import LearnerCredentials
from warmloop.launch.operating.access import Access
from warmloop.launch.operating.viewers import MOST_VIEWERS


def episode(number: int, outcome: str = "success", **more) -> str:
    line = {"time": 1e9 + number, "actor": "actor-0", "number": number, "outcome": outcome, "length": 10, "environment_steps": 10 * number}
    return json.dumps(line | more) + "\n"


@pytest.fixture
def run(tmp_path) -> Path:
    """The folder of a run that has ended."""
    steps = [{"updates": 100 * n, "time": 1e9 + n, "environment_steps": 100 * n} for n in range(1, 6)]
    lines = [line | {"actor/episode_return": n, "critic/loss": 1 / n} for n, line in enumerate(steps, 1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    outcomes = ["success"] * 15 + ["no success"] * 5 + ["discarded", "fault"]
    (tmp_path / "episodes.jsonl").write_text("".join(episode(n, outcome) for n, outcome in enumerate(outcomes)))
    return tmp_path


@pytest.fixture
def page(run):
    with served(run) as page:
        yield page


def refused(answer: tuple[int, dict, bytes]) -> str:
    return json.loads(answer[2]).get("refused", "")


def test_a_run_that_has_ended_is_shown_from_its_files(page: Served):
    viewer = page.look()
    state = viewer.state_where(lambda state: state["steps"] == 500)
    assert state["success"]["20"] | {"low": 0, "high": 0} == {"rate": 0.75, "low": 0, "high": 0, "count": 20, "helped": 0}
    assert state["actors"] == [] and not state["run"]["here"]
    curves = json.loads(page.ask("GET", "/curves")[2])
    assert curves["plots"]["return"]["return"] == [1, 2, 3, 4, 5] and curves["axis"] == "environment steps"
    assert curves["plots"]["success"]["last 20"][-1] == 0.75
    marks = json.loads(page.ask("GET", "/episodes?after=-1")[2])["episodes"]
    assert [mark["outcome"] for mark in marks][-2:] == ["discarded", "fault"] and len(marks) == 22
    assert [mark["id"] for mark in json.loads(page.ask("GET", "/episodes?after=19")[2])["episodes"]] == [20, 21]
    viewer.close()


def test_what_is_new_comes_by_itself_and_a_file_that_was_replaced_is_read_anew(page: Served, run):
    viewer = page.look()
    viewer.state_where(lambda state: state["steps"] == 500)
    with open(run / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"updates": 600, "time": 1e9, "environment_steps": 600}) + '\n{"updates": 700, "ti')
    viewer.state_where(lambda state: state["steps"] == 600)
    (run / "other").write_text(episode(0, "failure"))
    (run / "other").replace(run / "episodes.jsonl")
    state = viewer.state_where(lambda state: state["success"]["20"]["count"] == 1)
    assert state["success"]["20"]["rate"] == 0 and state["readings"] == 1
    viewer.close()


def test_everything_comes_from_the_package_and_nothing_from_outside(page: Served):
    status, headers, body = page.ask("GET", "/")
    assert status == 200 and "default-src 'none'" in headers["content-security-policy"]
    named = [part.split(b'"')[0].decode() for key in (b'href="', b'src="') for part in body.split(key)[1:]]
    assert named and all(name.startswith("/static/") for name in named)
    for name in {*named, "/static/actors.js", "/static/marks.js", "/static/plots.js", "/static/shown.js"}:
        status, _, found = page.ask("GET", name)
        assert status == 200, name
        others = [line for line in found.decode().splitlines() if "://" in line]
        assert all("github.com/leeoniya/uPlot" in line or "http://www.w3.org" in line for line in others), name


@pytest.mark.parametrize(
    "path", ["/static/page_run.py", "/static/..%2fsite.py", "/clip/..%2fconfig.json", "/clip/metrics.jsonl", "/camera/x/y", "/config.json"]
)
def test_other_files_are_not_served(page: Served, path):
    assert page.ask("GET", path)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::1"])
def test_another_host_is_turned_away(page: Served, host):
    for path in ("/", "/live", "/curves"):
        assert page.ask("GET", path, Host=host or " ")[0] in (400, 421)


@pytest.mark.parametrize("origin", ["", "null", "http://evil.example", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_words_from_another_page_are_turned_away(page: Served, origin):
    viewer = page.look()
    word = {"viewer": viewer.next("hello")["viewer"], "actor": "actor-0", "word": "success"}
    answer = page.ask("POST", "/word", word, Origin=origin)
    assert answer[0] == 403
    assert page.ask("POST", "/word", word, Content_Type="text/plain")[0] == 415
    viewer.close()


def test_a_word_for_a_process_that_is_not_here_is_refused_in_words(page: Served):
    viewer = page.look()
    known = viewer.next("hello")["viewer"]
    assert "does not run on this machine" in refused(page.ask("POST", "/word", {"viewer": known, "actor": "actor-0", "word": "success"}))
    assert "no such word" in refused(page.ask("POST", "/word", {"viewer": known, "actor": "actor-0", "word": "dance"}))
    assert "lost" in refused(page.ask("POST", "/word", {"viewer": "stranger", "actor": "actor-0", "word": "success"}))
    assert page.ask("POST", "/word", ["success"])[0] == 400
    viewer.close()


def test_a_body_that_is_too_long_ends_the_request(page: Served):
    connection = page._connection()
    connection.request("POST", "/note", b"x" * 1_000_000, {"Content-Type": "application/json", "Origin": page.address})
    with contextlib.suppress(OSError):  # where it is hung up on
        assert connection.getresponse().status >= 400


def test_no_more_look_than_may_and_a_place_is_free_again(page: Served):
    viewers = [page.look() for _ in range(MOST_VIEWERS)]
    for viewer in viewers:
        viewer.next("hello")
    assert "8 viewers" in refused(page.ask("GET", "/live"))
    viewers.pop().close()
    late = until(lambda: one if (one := page.look()).status == 200 else None)
    for viewer in [*viewers, late]:
        viewer.close()


def test_a_note_is_kept_beside_the_run_and_comes_with_its_episode(page: Served, run):
    viewer = page.look()
    viewer.state_where(lambda state: state["steps"] == 500)
    assert page.ask("POST", "/note", {"actor": "actor-0", "number": 3, "text": "slipped"})[0] == 200
    assert json.loads((run / "notes.jsonl").read_text())["text"] == "slipped"
    viewer.next("state")
    viewer.next("state")
    marks = json.loads(page.ask("GET", "/episodes?after=-1")[2])["episodes"]
    assert {mark["number"]: mark.get("note") for mark in marks}[3] == "slipped"
    assert page.ask("POST", "/note", {"actor": "actor-0", "number": 99, "text": "?"})[0] == 400
    assert page.ask("POST", "/note", {"actor": "actor-0", "number": 3, "text": "x" * 501})[0] == 400
    viewer.close()


def test_a_word_reaches_a_running_actor_and_ends_its_episode(page: Served, run):
    with Acting(run, config=ActorConfig(hold_episodes=True)) as acting:
        viewer = page.look()
        known = viewer.next("hello")["viewer"]
        viewer.state_where(lambda state: any(actor["here"] and actor["doing"] == "acting" for actor in state["actors"]))
        while "No training episode" in refused(page.ask("POST", "/word", {"viewer": known, "actor": "actor-0", "word": "success"})):
            pass
        state = viewer.state_where(lambda state: state["actors"] and state["actors"][0].get("last", {}).get("signal") == "success")
        assert state["run"]["state"] == "running"
        assert page.ask("POST", "/word", {"viewer": known, "actor": "actor-0", "word": "pause"})[0] == 200
        viewer.state_where(lambda state: state["actors"][0]["doing"] == "paused")
        steps = acting.loop.loop.steps_taken
        assert page.ask("POST", "/word", {"viewer": known, "actor": "actor-0", "word": "evaluate", "episodes": 3})[0] == 200
        viewer.close()  # the page is lost: the evaluation that waits for the resume does not count, and the pause holds
        until(lambda: not acting.desk.words.waiting)
        assert acting.desk.words.paused and acting.loop.loop.steps_taken == steps


def test_nobody_is_followed_while_nobody_looks(page: Served, run, monkeypatch):
    monkeypatch.setattr("warmloop.launch.operating.viewers.LINGER_SECONDS", 0.5)
    with Acting(run):
        viewer = page.look()
        viewer.state_where(lambda state: state["run"]["here"])
        viewer.close()
        until(lambda: not page.site.desks.processes)
        other = Look(RunFolder(run).desks, "actor-0")
        other.state()
        other.close()


@pytest.fixture
def secrets(tmp_path_factory) -> Path:
    return make_credentials(tmp_path_factory.mktemp("secrets"), "actor-0", "page")


def test_elsewhere_than_on_loopback_a_certificate_and_a_token_are_needed(run, secrets):
    with pytest.raises(WarmloopError, match=r'Other machines can reach "0\.0\.0\.0", so the page needs a certificate and a token'):
        Access("0.0.0.0")
    credentials = LearnerCredentials.read(secrets)
    trusted = ssl.create_default_context(cafile=str(secrets / "actor-0" / "ca.pem"))
    with served(run, credentials, trusted) as page:
        assert b"The page's token" in page.ask("GET", "/")[2]
        assert [page.ask("GET", path)[0] for path in ("/live", "/curves", "/episodes", "/clip/x.mp4", "/camera/a/b")] == [401] * 5
        assert page.ask("POST", "/word", {})[0] == 401
        actors, pages = ((secrets / name / "token").read_text().strip() for name in ("actor-0", "page"))
        assert page.ask("POST", "/session", {"token": actors})[0] == 403
        status, headers, _ = page.ask("POST", "/session", {"token": pages})
        cookie = headers["set-cookie"]
        assert status == 200 and all(word in cookie for word in ("HttpOnly", "Secure", "SameSite=strict"))
        session = cookie.split(";")[0]
        assert pages not in cookie
        assert page.ask("GET", "/curves", Cookie=session)[0] == 200
        assert page.ask("GET", "/curves", Cookie=f"{session}x")[0] == 401
        assert page.ask("GET", "/curves", Cookie=session, Host="trainer.lab")[0] == 200
        assert page.ask("GET", "/curves", Cookie=session, Host="other.lab")[0] == 421


def test_the_token_of_the_page_is_no_actors(secrets):
    credentials = LearnerCredentials.read(secrets)
    assert set(credentials.tokens) == {"actor-0"} and set(credentials.page_tokens) == {"page"}


def test_credentials_without_a_token_for_the_page_are_refused_in_words(tmp_path):
    with pytest.raises(WarmloopError, match=r"no token for the page; add one with `warmloop credentials"):
        Access("0.0.0.0", LearnerCredentials.read(make_credentials(tmp_path, "actor-0")))
