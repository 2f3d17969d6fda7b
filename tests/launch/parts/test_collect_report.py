"""What `collect` says at its end."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from recorded import episode

from warmloop.actor.environment import EnvironmentConfig
from warmloop.launch.parts.collect_report import show


@pytest.mark.parametrize(
    ("rule", "signals", "warned"),
    [
        ("info:dockd", [None, None], True),
        ("info:docked", [None, [False] * 6], False),
        ("auto", [None, None], False),
        ("operator", [None, None], False),
    ],
)
def test_a_rule_that_no_step_had_a_signal_by_is_told_with_the_table(rule, signals, warned, caplog, capsys):
    recorded = [episode(6, number, success=signal) for number, signal in enumerate(signals)]
    plan = SimpleNamespace(environment=EnvironmentConfig("Dock-v0", success=rule), episodes=2)
    tally: Any = SimpleNamespace(plan=plan, complete=True, succeeded=lambda: [True, False])
    show(Path("demos.npz"), recorded, tally)
    assert "success      1 of 2 attempted (50%)" in capsys.readouterr().out
    assert (f'No step had a success signal by the rule "{rule}"' in caplog.text) is warned
