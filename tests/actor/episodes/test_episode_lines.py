"""An actor says every episode once, at a rate that a person can read."""

import logging
import re

from warmloop.actor.episodes.episode_lines import Ended, EpisodeLines

LOG = logging.getLogger("warmloop.test_lines")


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def said(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == LOG.name]


def ended(number, success=True, takeovers=0, by_hand=0, version=40):
    return Ended(number, success, 2.5, 50, takeovers, by_hand, version, 4.25)


def test_an_episode_is_a_line_with_all_that_is_asked_of_it(caplog):
    caplog.set_level(logging.INFO, LOG.name)
    clock = Clock()
    lines = EpisodeLines(LOG, "actor-3", clock=clock)
    for one in (ended(7), ended(8, False, 2, 10), ended(9, version=-1)):
        lines.ended(one)
        clock.now += 5
    assert said(caplog) == [
        "actor-3 episode 7: success, return 2.5, 50 steps, policy 40, 4.2 s",
        "actor-3 episode 8: no success, return 2.5, 50 steps, 2 interventions (20 % of the steps), policy 40, 4.2 s",
        "actor-3 episode 9: success, return 2.5, 50 steps, random actions, 4.2 s",
    ]


def test_short_episodes_are_told_together_none_twice_and_none_is_left_out(caplog):
    caplog.set_level(logging.INFO, LOG.name)
    clock = Clock()
    lines = EpisodeLines(LOG, "actor-0", seconds=2.0, clock=clock)
    for number in range(1000):
        lines.ended(ended(number, success=number % 4 == 0))
        clock.now += 0.01
    lines.flush()
    lines.flush()
    assert len(said(caplog)) <= 2 + 1000 * 0.01 / 2
    told = [
        tuple(map(int, re.findall(r"episodes? (\d+)(?: to (\d+))?", line)[0][:2] if "episodes" in line else (0, 0)))
        for line in said(caplog)
    ]
    assert said(caplog)[0].startswith("actor-0 episode 0: success")
    assert [low for low, _ in told[1:]] == [1, *(high + 1 for _, high in told[1:-1])] and told[-1][1] == 999
    won = sum(int(re.findall(r"(\d+) of \d+ succeeded", line)[0]) for line in said(caplog)[1:])
    assert won + 1 == 250


def test_an_evaluation_is_a_line_behind_the_episodes_before_it(caplog):
    caplog.set_level(logging.INFO, LOG.name)
    lines = EpisodeLines(LOG, "actor-0", seconds=60.0)
    lines.ended(ended(0))
    lines.ended(ended(1))
    scalars = {"success_rate": 0.9, "success_low": 0.7, "success_high": 0.97, "episodes": 20.0, "episode_return": 3.25}
    lines.evaluated(500, {f"evaluation/{name}": value for name, value in scalars.items()}, 60, 31.0)
    assert [line.split(":")[0] for line in said(caplog)] == ["actor-0 episode 0", "actor-0 episode 1", "actor-0 evaluation after 500 steps"]
    assert said(caplog)[-1].endswith("18 of 20 succeeded (0.70 to 0.97), mean return 3.25, policy 60, 31.0 s")
