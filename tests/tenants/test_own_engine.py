"""A user's own engine of sweeps, from a package outside this repository: one Python file and one YAML."""

import pytest

from vitlab.sweeps.jobs import Sweep

PACKAGE = '''
"""Runs jobs by a shell, one at a time."""

import shlex
import subprocess

from vitlab.sweeps.engine import Ended, Stand


class Shell:
    outlived = False

    def __init__(self, sweep, command_of, say, shell: str):
        self.sweep, self.command_of, self.say, self.shell, self.running = sweep, command_of, say, shell, {}

    def start(self, jobs):
        if self.running:
            return 0
        log = self.sweep.log_of(jobs[0])
        log.parent.mkdir(exist_ok=True)
        command = [*shlex.split(self.shell), "exec " + shlex.join(self.command_of(jobs[0]))]
        with log.open("a") as file:
            self.running[jobs[0].number] = subprocess.Popen(command, stdout=file, stderr=file)
        self.say(f"job {jobs[0].number} by {self.shell}")
        return 1

    def state(self, job):
        if job.number not in self.running:
            return Stand.NOT_STARTED
        status = self.running[job.number].poll()
        if status is None:
            return Stand.UNDER_WAY
        del self.running[job.number]
        return Ended(status)

    def stop(self, jobs, number):
        for job in jobs:
            if job.number in self.running:
                self.running[job.number].send_signal(number)


class Half:
    outlived = True

    def __init__(self, sweep, command_of, say, shell):
        pass
'''

CONF = """
defaults: [grid, _self_]
engine:
  _target_: tenant_engine.Shell
  shell: sh -c
"""

QUICK = ("hardware=cpu", "trainer.fast_dev_run=true", "callbacks=[default]", "seed=0,1")


@pytest.fixture
def sweep(vitlab, own_package, tmp_path, monkeypatch):
    options = own_package("tenant_engine", PACKAGE, "sweep/shell", CONF)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "package"))
    return lambda *more: vitlab(
        "train", *options, "-m", "sweep=shell", *QUICK, f"hydra.sweep.dir={tmp_path}/sweep", *more
    )


def test_an_engine_of_ones_own_runs_a_sweeps_jobs(sweep, tmp_path):
    ended = sweep()
    assert ended.status == 0, ended.err
    assert "job 1 by sh -c" in ended.out
    found = Sweep.read(tmp_path / "sweep")
    assert found is not None and [job.status for job in found.jobs] == ["completed", "completed"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["sweep.engine.shell=5"], "sweep.engine.shell=5 is of the wrong kind"),
        (["sweep.engine.host=a"], "unknown key sweep.engine.host=a; known here: shell"),
        (["sweep.memory_limit_gib=2"], "an engine of your own sets no limit of memory"),
        (["sweep.detach=true"], "the jobs of Shell end with the sweep"),
        (["sweep.slurm.time=1"], "sweep.engine=tenant_engine.Shell submits nothing"),
        (["sweep.engine={_target_:os.system}"], "sweep.engine._target_=os.system is not allowed"),
        (["sweep.engine._target_=tenant_engine.Half"], "tenant_engine.Half is no engine; `outlived`"),
    ],
)
def test_what_is_no_engine_or_asks_too_much_of_one_is_a_line(sweep, given, said):
    ended = sweep(*given)
    assert ended.status == 2 and said in ended.err, ended
    assert len(ended.err.splitlines()) == 1
