"""Shapes and types are checked while the tests run: the hook wraps every function of vitlab that is imported
after it."""

import atexit
import gc
import json
import logging
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jaxtyping
import numpy as np
import pytest
from checked import checked
from PIL import Image

# torch would start a process to compile in, one that imports torch too
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
# and try each kind of vector instruction first; what the kernels compute is no claim here, and loops compile
# faster without
os.environ.setdefault("TORCHINDUCTOR_VEC_ISA_OK", "0")

gc.disable()  # until all files are imported: looking for garbage meanwhile takes a fifth of the time

# the hook writes `@jaxtyping.jaxtyped(...)` above each function of vitlab
jaxtyping.jaxtyped = checked
jaxtyping.install_import_hook("vitlab", "beartype.beartype")

from vitlab import cli  # noqa: E402


def pytest_collection_finish():
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # libraries in C++ would complain of leaks at the end


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


@contextmanager
def no_handlers_left() -> Iterator[None]:
    """Closes what Hydra logs to when the block ends: it would outlive the terminal and the folder of this
    moment."""
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in before:
                handler.close()
        root.handlers[:] = before


@pytest.fixture(scope="session")
def found_out_once():
    """Has commands that run in this process find out once what does not change meanwhile."""
    import unchanging  # noqa: F401


@pytest.fixture
def vitlab(tmp_path, monkeypatch, capfd, found_out_once):
    """Runs `vitlab ...` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(
        "PYTHONSAFEPATH", "1"
    )  # which a command sets for those that it starts, and which ends with the test here

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["vitlab", *arguments])
        status = 0
        try:
            with no_handlers_left():
                cli.main()
        except SystemExit as end:
            status = end.code or 0
        return Ended(status, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def trained_in(found_out_once):
    """Runs `vitlab train ...` for more than one test: the function returns the run, `run` in a folder of its
    own."""

    def train(folder, *arguments):
        with pytest.MonkeyPatch.context() as patching, no_handlers_left():
            patching.chdir(folder)
            patching.setenv("PYTHONSAFEPATH", "1")
            patching.setattr(sys, "argv", ["vitlab", "train", *arguments, f"hydra.run.dir={folder}/run"])
            cli.main()
        return folder / "run"

    return train


@pytest.fixture(scope="session")
def fork_train(tmp_path_factory):
    """Runs `vitlab train ...` in forks of a process that has imported it once (commands/starts.py); returns
    the list of exit statuses."""
    starts = Path(__file__).parent / "commands" / "starts.py"
    folder = tmp_path_factory.mktemp("starts")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder), "TMPDIR": "/dev/shm"}
    places = (str(starts.parent), str(Path(__file__).parent / "helpers"), os.environ.get("PYTHONPATH"))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, places))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, str(starts)], cwd=folder, env=environment, **pipes) as server:

        def run(arguments, log, at="", environment=None, processes=1, one_device=False):
            order = {"arguments": arguments, "at": at, "environment": environment or {}, "log": str(log)}
            order |= {"processes": processes, "one_device": one_device}
            print(json.dumps(order), file=server.stdin, flush=True)
            return json.loads(server.stdout.readline())

        yield run
        # an end of its input would not do: whatever else was forked meanwhile holds that open
        server.terminate()


@pytest.fixture(scope="session")
def pretrained_file(tmp_path_factory):
    """A safetensors file of a small ViT for images of 32 px, in timm's names, with ten classes."""
    import torch
    from safetensors.torch import save_file

    from vitlab.models.patch_embed import LinearPatchEmbed
    from vitlab.models.vit import VisionTransformer

    torch.manual_seed(0)
    model = VisionTransformer(
        LinearPatchEmbed(8, 3, 64), image_size=32, num_classes=10, embed_dim=64, depth=2, num_heads=1
    )
    file = tmp_path_factory.mktemp("pretrained") / "vit.safetensors"
    save_file(model.state_dict(), file)
    return file


@pytest.fixture(scope="session")
def write_photos():
    """Makes a folder of class folders with small photographs that a model could tell apart by colour."""

    def write(root, classes=("ash", "birch", "cedar"), count=12, side=32):
        generator = np.random.default_rng(0)
        for label, class_name in enumerate(classes):
            folder = root / class_name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = generator.integers(0, 120, (side, side, 3), dtype=np.uint8)
                pixels[..., label % 3] += 100
                Image.fromarray(pixels).save(folder / f"{index}.png")
        return root

    return write


@pytest.fixture(scope="session")
def numbers_in_a_table(tmp_path_factory, write_photos):
    """Options of a small run that learns two numbers of each photograph, from columns of a table."""
    folder = tmp_path_factory.mktemp("numbers")
    root = write_photos(folder / "photos", side=16)
    files = sorted(str(file.relative_to(root)) for file in root.rglob("*.png"))
    rows = [f"{file},{1000 + 3 * place},{-place}" for place, file in enumerate(files)]
    (folder / "table.csv").write_text("\n".join(["path,grams,debt", *rows]))
    options = ["data=table", f"data.root={root}", f"data.file={folder}/table.csv", "objective=regression"]
    options += ["data.label_column=[grams,debt]", "data.image_size=16", "patch_size=8", "data.num_workers=0"]
    return [*options, "data.val_fraction=0.2", "data.crop_padding=2"]


@pytest.fixture
def photo_folder(tmp_path, write_photos):
    """Makes one in the test's own folder."""
    return lambda name="photos", **facts: write_photos(tmp_path / name, **facts)


def write_cifar(root, num_classes):
    import torchvision.datasets

    original = {10: torchvision.datasets.CIFAR10, 100: torchvision.datasets.CIFAR100}[num_classes]
    folder = root / original.base_folder
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name, _ in (*original.train_list, *original.test_list):
        labels = [label for label in range(num_classes) for _ in range(2)]
        pixels = generator.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        (folder / name).write_bytes(
            pickle.dumps({"data": pixels, "labels" if num_classes == 10 else "fine_labels": labels})
        )
    names = {original.meta["key"]: [f"class {index}" for index in range(num_classes)]}
    (folder / original.meta["filename"]).write_bytes(pickle.dumps(names))
    return [f"data.root={root}", "data.verify=false"]


def write_mnist(root):
    from vitlab.data.sources.mnist import FILES

    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    generator = np.random.default_rng(0)
    labels = np.arange(60, dtype=np.uint8) % 10
    for name in FILES:
        array = generator.integers(0, 256, (60, 28, 28), dtype=np.uint8) if "images" in name else labels
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
        (raw / name).write_bytes(header + array.tobytes())
    return [f"data.root={root}"]


@pytest.fixture
def fake_data(tmp_path, photo_folder):
    """Writes fake images in the layout that the experiment's data set has; returns the overrides that point
    there."""

    def write(experiment):
        if experiment.startswith("cifar"):
            return write_cifar(tmp_path / "fake", 100 if "100" in experiment else 10)
        if experiment.startswith("mnist"):
            return write_mnist(tmp_path / "fake")
        if experiment.startswith("flowers"):
            classes = ("daisy", "dandelion", "rose", "sunflower", "tulip")
            return [f"data.root={photo_folder('fake', classes=classes, count=6, side=160)}"]
        if experiment.startswith("planted"):
            return ["data.source.num_images=200"]
        return []

    return write


@pytest.fixture
def tiny_training():
    """A classifier with a one-block ViT, ready for a trainer and its checkpoints, and the digits for it."""
    from functools import partial

    from vitlab import optim
    from vitlab.checkpoint.card import Card
    from vitlab.data.augment.policy import Augment
    from vitlab.data.image_data import ImageData
    from vitlab.data.preprocessing import Preprocessing
    from vitlab.data.sources.digits import Digits
    from vitlab.models.patch_embed import LinearPatchEmbed
    from vitlab.models.vit import VisionTransformer
    from vitlab.objectives.classification import Classification
    from vitlab.training.module import TrainingModule

    data = ImageData(
        Digits(), Augment(), 8, 1, 10, 64, 0, 0.1, 0.2, split_seed=0, seed=0, mean=[0.3], std=[0.38]
    )
    flat = {
        "shape": "constant",
        "warmup_ratio": 0.0,
        "warmup_epochs": 0.0,
        "final_lr_ratio": 1.0,
        "frozen_epochs": 0,
        "unfrozen_lr_ratio": 1.0,
    }
    classifier = TrainingModule(
        VisionTransformer(LinearPatchEmbed(4, 1, 16), 8, 10, 16, 1, 2),
        Classification(10, 0.0, "val/accuracy", "max"),
        optimizer=partial(
            optim.sgd, lr=0.1, weight_decay=0.0, momentum=0.9, nesterov=False, layer_decay=1.0, frozen=[]
        ),
        schedule=partial(optim.warmup_schedule, **flat),
        seed=0,
    )
    preprocessing = Preprocessing((8, 8), (8, 8), 1, "bicubic", mean=(0.3,), std=(0.38,))
    classifier.card = Card({"model": {}, "objective": {}}, list("0123456789"), preprocessing, data={})
    return classifier, data


@pytest.fixture
def not_root() -> Iterator[None]:
    """Root may read everything: whoever runs the tests as root is nobody for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)
