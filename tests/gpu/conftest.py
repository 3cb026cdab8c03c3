"""Checks of the part "Is it right?" of `python -m benchmarks.gpu`: on CUDA where CHECK_DEVICE says so, else a
rehearsal in tiny sizes."""

import json
import os

import jaxtyping
import pytest
import torch

DEVICE = os.environ.get("CHECK_DEVICE", "cpu")


def pytest_generate_tests(metafunc):
    """A check with a mark `full` runs with all of its values on a GPU, and with the first of them in a
    rehearsal."""
    for marker in metafunc.definition.iter_markers("full"):
        name, values = marker.args
        chosen = list(values) if DEVICE == "cuda" else list(values)[:1]
        metafunc.parametrize(name, chosen, ids=lambda value: getattr(value, "name", str(value)))


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "full(name, values): all values on a GPU, the first one in a rehearsal"
    )
    config.addinivalue_line(
        "markers",
        "on_a_gpu(held_by): left out of a rehearsal, because the suite has a test of it on a processor",
    )


def pytest_runtest_setup(item):
    marker = item.get_closest_marker("on_a_gpu")
    if marker is not None and DEVICE != "cuda":
        pytest.skip(f"on a processor {marker.kwargs['held_by']} holds it")


@pytest.fixture(scope="session")
def device():
    return DEVICE


@pytest.fixture
def note(record_property):
    """Keeps a number for the page."""
    return record_property


@pytest.fixture
def exact_products():
    """Float32 products and convolutions in float32: torch lets cuDNN round them to TF32 otherwise."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.fixture
def compiler(device):
    """The compiler's default backend on a GPU, in a rehearsal one that needs no C++; checks of shapes stay
    out of the graphs."""
    torch._dynamo.reset()
    jaxtyping.config.update("jaxtyping_disable", True)
    yield "inductor" if device == "cuda" else "aot_eager"
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def train(vitlab, tmp_path):
    """Runs `vitlab train ...` in this process, in a folder by that name; returns the folder of the run."""

    def run(name, *overrides):
        ended = vitlab("train", *overrides, f"hydra.run.dir={tmp_path / name}")
        assert ended.status == 0, ended.err[-3000:]
        return tmp_path / name

    return run


@pytest.fixture(scope="session")
def rows_of():
    """Returns the values of a metric in a run's history, in order."""

    def read(folder, key):
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [row[key] for row in rows if key in row]

    return read


@pytest.fixture(scope="session")
def hardware(device):
    """Returns the overrides for the device, in a precision."""

    def choose(precision="bf16-mixed"):
        return [f"hardware={'gpu' if device == 'cuda' else 'cpu'}", f"trainer.precision={precision}"]

    return choose


def furthest(these, those):
    """Returns the largest difference over the largest value."""
    return float((these - those).abs().max() / those.abs().max())


@pytest.fixture(scope="session")
def distance():
    """Returns the largest difference between two tensors over the largest value of the second."""
    return lambda these, those: furthest(these.double().cpu(), those.double().cpu())
