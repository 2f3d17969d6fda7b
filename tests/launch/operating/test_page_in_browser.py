"""The operator's page in a real browser, with a real actor's loop at its desk: seen, clicked, typed into, and left."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from browsers import DESKTOP, PHONE, Tab, browser

pytest.importorskip("uvicorn", reason="uvicorn is not installed")
pytest.importorskip("starlette", reason="starlette is not installed")

from acting_at_desk import Acting
from page_served import served
from waiting import until

from warmloop.actor.config import ActorConfig
from warmloop.actor.films.film import Film

pytestmark = pytest.mark.long
HOLD = ActorConfig(hold_episodes=True)


@pytest.fixture(scope="module")
def chromium():
    with browser() as started:
        yield started


@pytest.fixture
def run(tmp_path) -> Path:
    """The folder of a run with 30 episodes, one of them with a clip."""
    steps = [{"updates": n, "time": 1e9 + n, "environment_steps": n} for n in range(1, 300)]
    lines = [line | {"actor/episode_return": n, "critic/loss": 1 / n} for n, line in enumerate(steps, 1)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    kinds = ["success"] * 21 + ["no success", "failure", "discarded", "recorded again", "fault", "success", "success", "success", "success"]
    with open(tmp_path / "episodes.jsonl", "w") as file:
        for number, outcome in enumerate(kinds):
            shown = {"time": 1e9 + number, "actor": "actor-0", "number": number, "outcome": outcome, "length": 10 + number}
            hand = {"interventions": 1, "intervention_rate": 0.3} if number == 7 else {}
            file.write(json.dumps(shown | {"environment_steps": 10 * number, "return": 1.0} | hand) + "\n")
    (tmp_path / "videos").mkdir()
    with Film(tmp_path / "videos" / "intervention-000007-success.mp4", 10.0) as film:
        for _ in range(5):
            film.append(np.zeros((64, 64, 3), np.uint8))
    return tmp_path


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_shows_the_run_and_asks_nobody_else(chromium, run, size, scheme):
    with served(run) as page:
        tab = Tab(chromium, page.address, size, scheme)
        tab.page.locator("#success").get_by_text("90 %").wait_for()
        tab.page.locator(".plot canvas").first.wait_for()
        assert tab.page.locator(".mark").count() == 30
        assert not tab.overflows
        assert tab.page.get_by_text("This page is no emergency stop.").is_visible()
        back = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", back)[:3])) < 200) == (scheme == "dark")
        assert all(url.startswith(page.address) for url in tab.asked) and tab.wrong == []
        tab.close()


def test_an_episode_is_chosen_by_a_click_and_by_keys_and_shows_its_clip_and_keeps_a_note(chromium, run):
    with served(run) as page:
        tab = Tab(chromium, page.address)
        tab.page.locator("#mark-7").click()
        tab.page.locator("#chosen video").wait_for()
        tab.page.wait_for_function("document.querySelector('#chosen video').readyState >= 1")
        assert "actor-0 episode 7: success" in tab.page.locator("#chosen").inner_text()
        tab.page.locator("#marks").focus()
        tab.page.keyboard.press("ArrowRight")
        tab.page.get_by_text("actor-0 episode 8: success").wait_for()
        tab.page.get_by_label("A note on this episode").fill("the cup slipped")
        tab.page.get_by_role("button", name="Keep").click()
        tab.page.get_by_text("kept").wait_for()
        assert json.loads((run / "notes.jsonl").read_text())["text"] == "the cup slipped"
        assert tab.wrong == []
        tab.close()


def test_buttons_and_keys_speak_to_the_actor(chromium, run):
    with Acting(run, config=HOLD, settings={"terminates_at": -1}) as acting, served(run) as page:
        tab = Tab(chromium, page.address)
        card = tab.page.get_by_label("actor-0", exact=True)
        card.get_by_role("button", name="Pause after this episode").click()
        card.get_by_role("button", name="Resume").wait_for()
        assert acting.desk.words.paused
        tab.page.locator("#state", has_text="paused").wait_for()
        card.get_by_role("button", name="Success").click()
        card.get_by_text("No training episode is under way").wait_for()
        card.get_by_role("button", name="Resume").focus()
        tab.page.keyboard.press("p")
        card.get_by_role("button", name="Pause after this episode").wait_for()
        assert not acting.desk.words.paused
        for _ in range(40):  # between two episodes a word does not count, as a key's does not
            tab.page.keyboard.press("s")
            tab.page.wait_for_timeout(100)
            if "by a person's word" in card.inner_text():
                break
        assert "success, by a person's word" in card.inner_text()
        card.get_by_label("Episodes to evaluate").fill("2")
        card.get_by_role("button", name="Evaluate").click()
        until(lambda: any("evaluation/episodes" in dict(one.scalars) for one in acting.loop.intake.reports()))
        tab.close()


def test_stop_and_save_asks_first(chromium, run):
    with Acting(run) as acting, served(run) as page:
        stopped = list[bool]()
        acting.desk.stop = lambda: stopped.append(True)
        tab = Tab(chromium, page.address)
        tab.page.get_by_role("button", name="Stop and save").first.click()
        tab.page.get_by_role("button", name="Go on").click()
        assert not stopped
        tab.page.get_by_role("button", name="Stop and save").first.click()
        tab.page.locator("dialog").get_by_role("button", name="Stop and save").click()
        until(lambda: stopped)
        tab.close()


def test_what_an_actor_does_not_take_is_disabled_with_its_reason(chromium, run):
    with Acting(run), served(run) as page:
        tab = Tab(chromium, page.address)
        tab.page.get_by_text("hold_episodes to discard or to record again").wait_for()
        assert tab.page.get_by_role("button", name="Discard").is_disabled()
        assert tab.page.get_by_role("button", name="Success").is_enabled()
        tab.close()


def test_a_lost_page_says_so_and_comes_back(chromium, run):
    with served(run) as page:
        port = page.port
        tab = Tab(chromium, page.address)
        tab.page.locator("#success").get_by_text("90 %").wait_for()
    tab.page.get_by_text("No contact with the page's process").wait_for()
    with served(run, port=port):
        tab.page.get_by_text("No contact with the page's process").wait_for(state="hidden")
    tab.close()
