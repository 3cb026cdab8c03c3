"""A pytest plugin that keeps each check's outcome as a finding the moment it is known: a run that is cut
short still tells."""

import os
from pathlib import Path

import pytest

from benchmarks.gpu.findings import FAILED, PASSED, SKIPPED, Finding, Findings

FILE = "VITLAB_FINDINGS"
"""Environment variable with the file to write."""


class Collector:
    def __init__(self, file: Path):
        self.findings = Findings(file)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        ended_early = report.when != "call" and report.outcome != "passed"
        if report.when != "call" and not ended_early:
            return
        status = {"passed": PASSED, "failed": FAILED, "skipped": SKIPPED}[report.outcome]
        name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr or "")
        self.findings.add(
            Finding(name, status, report.duration, dict(report.user_properties), reason[-6000:])
        )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.findings.add(
                Finding(f"import of {report.nodeid}", FAILED, 0.0, {}, str(report.longrepr)[-6000:])
            )


def pytest_configure(config: pytest.Config) -> None:
    if FILE in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Collector(Path(os.environ[FILE])))
