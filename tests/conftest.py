"""What holds for every run of the tests: its closing lines name the real peers.

They also name what the checklist claims and this run did not show.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

from tests import checklist
from tests.peers import registry

# No test is timed: a busy machine is no fault of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def _whole(config: pytest.Config) -> bool:
    """Tell whether this run is of all tests: nothing was chosen on the command line."""
    return config.args_source is not pytest.Config.ArgsSource.ARGS and not (
        config.option.keyword or config.option.markexpr or config.option.collectonly
    )


def _faults(config: pytest.Config) -> list[str]:
    """Say what is absent that fails this run: peers, and tests that the checklist names."""
    if os.environ.get("CI") != "true" or not _whole(config):
        return []
    peers = [
        f"{outcome.name} could have run on this machine and did not"
        for outcome in registry.outcomes()
        if outcome.fault
    ]
    return peers + [f"the checklist names {test}, and it did not pass" for test in _not_shown()]


def _not_shown() -> list[str]:
    return [f"{test} (rows {rows})" for test, rows in checklist.not_shown().items()]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note how each test went, for the checklist."""
    if report.when == "call" or not report.passed:
        checklist.note(report.nodeid, report.passed)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run under CI that met fewer peers than this machine could have brought."""
    if session.exitstatus == pytest.ExitCode.OK and _faults(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name every peer that ran, with its version, and every one that did not, with the reason."""
    whole = _whole(config)
    shown = [outcome for outcome in registry.outcomes() if whole or outcome.met]
    if shown:
        terminalreporter.section("real peers")
    for outcome in shown:
        terminalreporter.line(str(outcome))
    for what, value in registry.figures().items():
        terminalreporter.line(f"{what}: {value}")
    if whole:
        terminalreporter.section("checklist")
        ticked = sum(row.ticked for row in checklist.rows())
        terminalreporter.line(f"{ticked} of 150 rows are ticked")
        for test in _not_shown():
            terminalreporter.line(f"not shown in this run: {test}")
    for fault in _faults(config):
        terminalreporter.line(f"CI: {fault}", red=True)
