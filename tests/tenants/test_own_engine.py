"""What may go wrong with a user's own engine of sweeps; docs/extending.md has one that works, which
test_extending.py runs."""

import pytest

PACKAGE = """
class Shell:
    outlived = False

    def __init__(self, sweep, command_of, say, shell: str):
        pass

    def start(self, jobs):
        return 0

    def state(self, job):
        return None

    def stop(self, jobs, number):
        pass


class Half:
    outlived = True

    def __init__(self, sweep, command_of, say, shell):
        pass
"""

CONF = """
defaults: [grid, _self_]
engine:
  _target_: tenant_engine.Shell
  shell: sh -c
"""

QUICK = ("hardware=cpu", "trainer.fast_dev_run=true", "callbacks=[default]", "seed=0,1")


@pytest.fixture
def sweep(vitlab, own_package, tmp_path):
    options = own_package("tenant_engine", PACKAGE, "sweep/shell", CONF)
    return lambda *more: vitlab(
        "train", *options, "-m", "sweep=shell", *QUICK, f"hydra.sweep.dir={tmp_path}/sweep", *more
    )


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
