"""Skipped tests: with --no-unlisted-skips, a run fails where a test is skipped for a reason that tests/skips.toml does not list.

A pytest plugin, loaded by tests/conftest.py. Under xdist, the reports of the workers reach the process that started them.
"""

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

LIST = Path(__file__).resolve().parents[1] / "skips.toml"
OPTION = "--no-unlisted-skips"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(OPTION, action="store_true", help=f"fail where a test is skipped for a reason that {LIST.name} does not list")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(OPTION) and not hasattr(config, "workerinput"):  # a worker's reports are judged by the process that started it
        config.pluginmanager.register(UnlistedSkips(read_list()), "unlisted-skips")


def read_list(path: Path = LIST) -> dict[str, str]:
    """Why a test may be skipped: a regular expression for the reason that pytest reports, and why nothing can be done about it."""
    return {entry["reason"]: entry["why"] for entry in tomllib.loads(path.read_text())["skip"]}


class UnlistedSkips:
    """Collects the reasons of skipped tests, and fails the run for those that match no expression of the list."""

    def __init__(self, listed: dict[str, str]):
        self._listed = listed
        self._unlisted: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self._note(report.longrepr)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A module that is skipped as a whole is reported when it is collected, by each worker."""
        if report.skipped:
            self._note(report.longrepr)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session):
        if self._unlisted and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        return (yield)

    def pytest_terminal_summary(self, terminalreporter) -> None:
        if not self._unlisted:
            return
        terminalreporter.section(f"skipped for a reason that {LIST.name} does not list", red=True, bold=True)
        for reason, count in self._unlisted.most_common():
            terminalreporter.line(f"[{count}] {reason}")
        terminalreporter.line(f"Install what is missing, or list the reason in {LIST.name} and say why.")

    def _note(self, longrepr: object) -> None:
        path, line, reason = longrepr if isinstance(longrepr, tuple) else ("?", 0, str(longrepr))
        reason = str(reason).removeprefix("Skipped: ")
        if not any(re.search(pattern, reason) for pattern in self._listed):
            self._unlisted[f"{path}:{line}: {reason}"] += 1
