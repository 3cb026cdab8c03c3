"""A SLURM for all tests of this folder, and the run whose bits all of theirs must have."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

HERE = Path(__file__).parent

TRAIN = [
    "srun vitlab train hardware=slurm trainer.accelerator=cpu trainer.precision=32-true",
    "model.depth=1 model.embed_dim=16 model.num_heads=2 model.drop_path_rate=0.1 data.batch_size=32",
    "trainer.max_epochs=5 trainer.log_every_n_steps=5 callbacks=[default] callbacks.evaluation=null",
    "+callbacks.slow._target_=slow.Slow logger=csv resume=auto",
]
STEPS = 100
"""Of a run of two processes: five epochs of 1,295 images in batches of 2 x 32."""


def load(name):
    """Returns a file of this folder as a module."""
    spec = spec_from_file_location(name, HERE / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


clusters = load("cluster")


def read(folder):
    """Returns the record of a run, or an empty one."""
    file = folder / "run.json"
    return json.loads(file.read_text()) if file.exists() else {}


class Runs:
    """Trainings of two processes on the cluster, each in a folder of its own below `place`."""

    def __init__(self, cluster, place):
        self.cluster = cluster
        self.place = place
        self.jobs = {}

    def submit(self, name, *options, nodes="n14,n15", slow="0 0"):
        """Submits a training that is as slow as `slow.Slow` has it; returns the job's id."""
        num = len(nodes.split(","))
        shape = [f"--nodes={num}", f"--ntasks-per-node={2 // num}", f"--nodelist={nodes}"]
        shape += ["--partition=batch" if nodes == "n3" else "--partition=pairs"]
        place = [
            f"trainer.num_nodes={num}",
            f"trainer.devices={2 // num}",
            f"hydra.run.dir={self.place}/{name}",
        ]
        log = f"--output={self.place}/{name}.log"
        self.cluster.environment["SLOW"] = slow
        return self.cluster.submit(" ".join([*TRAIN, *place]), *shape, log, f"--chdir={self.place}", *options)

    def record(self, name):
        return read(self.place / name)

    def said(self, name):
        return (self.place / f"{name}.log").read_text()

    def has_told(self, name, step):
        """Tells whether a run has told of this step."""
        file = self.place / name / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return any(json.loads(line).get("step", 0) >= step for line in lines if line.endswith("}"))

    def assert_same_end(self, name):
        """Fails where a run has not come to the end of one that nothing happened to."""
        hashes = self.record("whole")["hashes"]
        assert self.record(name)["hashes"] == hashes, self.said(name)[-2000:]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A SLURM of three nodes; skips where there is none to be had."""
    if missing := clusters.missing():
        pytest.skip(f"SLURM is not here and cannot be installed: {', '.join(missing)} missing")
    built = clusters.Cluster(tmp_path_factory.mktemp("slurm") / "home")
    built.environment |= {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(HERE),
        "VITLAB_TARGETS": "slow",
        "PATH": f"{Path(sys.executable).parent}:{built.environment['PATH']}",
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
    }
    try:
        built.start()
        yield built
    finally:
        built.stop()


@pytest.fixture(scope="session")
def runs(cluster, tmp_path_factory):
    """Trainings on the cluster: `whole`, that nothing happens to, and two that wait for their time limits
    while the tests run."""
    found = Runs(cluster, tmp_path_factory.mktemp("runs"))
    # the least limits there are; SLURM may send the signal a minute earlier than it is told
    told = ["--time=2", "--signal=SIGUSR1@30"]
    found.jobs["told_in_time"] = found.submit("told_in_time", *told, nodes="n3", slow="0.9 0.1")
    found.jobs["not_told"] = found.submit("not_told", "--time=1", nodes="n3", slow="2 0")
    found.jobs["whole"] = found.submit("whole")
    cluster.wait(found.jobs["whole"], 120, "COMPLETED")
    assert found.record("whole")["steps"] == STEPS
    return found
