"""A SLURM for all tests of this folder, and the run whose bits all of theirs must have."""

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def load(name):
    """Returns a file of this folder as a module."""
    spec = spec_from_file_location(name, HERE / f"{name}.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


clusters = load("cluster")
trainings = load("runs")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A SLURM; skips where there is none to be had."""
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
    """Trainings on the cluster: `whole`, that nothing happens to, and those of `runs.disturbed`, which go on
    while other tests run."""
    found = trainings.Runs(cluster, tmp_path_factory.mktemp("runs"))
    with ThreadPoolExecutor() as pool:
        found.disturbed = trainings.begin_all(found, pool)
        yield found
