"""What holds for every run of the tests: its closing lines name the real peers."""

import os

import pytest

from tests.peers import registry


def _whole(config: pytest.Config) -> bool:
    """Tell whether this run is of all tests: nothing was chosen on the command line."""
    return config.args_source is not pytest.Config.ArgsSource.ARGS and not (
        config.option.keyword or config.option.markexpr or config.option.collectonly
    )


def _faults(config: pytest.Config) -> list[str]:
    """Name the peers whose absence fails this run."""
    if os.environ.get("CI") != "true" or not _whole(config):
        return []
    return [outcome.name for outcome in registry.outcomes() if outcome.fault]


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
    for name in _faults(config):
        terminalreporter.line(f"CI: {name} could have run on this machine and did not", red=True)
