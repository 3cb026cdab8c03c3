"""The Python front door: what a script gets is what the command line gets."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vitlab as package
from vitlab.construct import allow_from_environment, build_model
from vitlab.runs.record import load_record

SHORT = (
    "data=digits",
    "hardware=cpu",
    "callbacks=[default]",
    "model.depth=1",
    "trainer.max_epochs=2",
    "schedule.warmup_ratio=0.1",
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return package.train(*SHORT, folder=tmp_path_factory.mktemp("lab") / "run", quiet=True)


def test_a_script_trains_to_the_bits_of_the_command(trained, vitlab, tmp_path):
    ended = vitlab("train", *SHORT, f"hydra.run.dir={tmp_path}/run")
    assert ended.status == 0, ended.err
    assert trained.record["hashes"] == load_record(tmp_path / "run")["hashes"]
    assert trained.record["overrides"] == list(SHORT)


def test_what_is_loaded_evaluates_to_the_runs_own_numbers_and_predicts_what_the_command_does(
    trained, vitlab, tmp_path, photo_folder
):
    model = package.load(trained.folder)
    assert model.checkpoint == trained.checkpoint and model.class_names == list("0123456789")
    measured = model.evaluate()
    assert measured == pytest.approx({name: trained.metrics[name] for name in measured}, rel=1e-5)
    assert set(measured) == {"test/loss", "test/accuracy", "test/accuracy_top5"}
    photos = sorted(photo_folder(side=8, count=1).rglob("*.png"))
    answers = model.predict(photos, top_k=2)
    ended = vitlab(
        "predict",
        f"checkpoint={trained.checkpoint}",
        f"images={tmp_path}/photos",
        "top_k=2",
        "hydra.run.dir=said",
    )
    assert ended.status == 0, ended.err
    rows = [line.split(",") for line in (tmp_path / "said" / "predictions.csv").read_text().splitlines()[1:]]
    assert [[row[1], row[3]] for row in rows] == [[name for name, _ in answer] for answer in answers]
    assert (
        model.explain(photos).shape
        == package.explain(model.model, model.images(photos), "relevance").shape
        == (3, 4, 4)
    )


def test_what_is_loaded_gives_its_data_and_the_network_that_its_run_began_with(trained):
    model = package.load(trained.folder)
    data = model.data("val")
    assert len(data.splits["val"]) == trained.record["num_validated"]
    compared = zip(model.untrained().state_dict().values(), model.model.state_dict().values(), strict=True)
    assert not all(torch.equal(before, after) for before, after in compared)
    config = package.compose(*SHORT)
    torch.testing.assert_close(
        model.untrained().state_dict(), build_model(config).state_dict(), rtol=0, atol=0
    )
    with pytest.raises(ValueError, match="split=validation: train, val or test would work"):
        model.data("validation")


def test_a_complete_run_stays_as_it_is_and_no_run_is_begun_over_another(trained):
    assert package.resume(trained.folder, quiet=True).record == trained.record
    with pytest.raises(ValueError, match=r"holds a run already; vitlab.resume\(folder\) goes on with it"):
        package.train(*SHORT, folder=trained.folder, quiet=True)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["optimzer.lr=1"], "did you mean optimizer.lr"),
        (["model=vit_tinny"], "did you mean vit_tiny"),
        (["trainer.max_epochs=many"], "trainer.max_epochs=many is of the wrong kind"),
        (["hydra.job.env_set.PATH=/"], "hydra"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(tmp_path, overrides, says):
    with pytest.raises(ValueError, match=says) as complaint:
        package.train(*overrides, folder=tmp_path / "run", quiet=True)
    assert "\n" not in str(complaint.value)
    assert not (tmp_path / "run").exists()


def test_a_config_is_composed_as_plain_data():
    config = package.compose("model=vit_tiny", "data=digits", "optimizer.lr=3e-4")
    assert (
        config["optimizer"]["lr"] == 3e-4 and config["model"]["embed_dim"] == 192 and isinstance(config, dict)
    )


def test_every_name_is_there_and_importing_the_package_imports_nothing_heavy():
    assert all(getattr(package, name) is not None for name in package.__all__)
    assert dir(package) == sorted(package.__all__)  # what a notebook completes by Tab
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018
    program = (
        "import sys, vitlab; assert not {'torch', 'hydra', 'pytorch_lightning', 'numpy', 'yaml'} &"
        " set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_run_that_was_killed_goes_on_from_python(fork_train, tmp_path):
    command = [
        *SHORT,
        "checkpoint_every_steps=2",
        "+callbacks.at._target_=starts.At",
        f"hydra.run.dir={tmp_path}/run",
    ]
    log = tmp_path / "log"
    assert fork_train(command, log, at="SIGKILL step 5 0") == [-9], log.read_text()
    assert load_record(tmp_path / "run")["status"] == "running"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VITLAB_TARGETS", "starts")
        patch.syspath_prepend(str(Path(__file__).parent / "commands"))
        allow_from_environment()
        done = package.resume(tmp_path / "run", quiet=True)
    allow_from_environment()
    assert done.record["status"] == "completed" and torch.isfinite(torch.tensor(done.metrics["test/loss"]))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda run: package.train("resume=x", folder=run),
            r"resume=x: not from Python; vitlab\.resume\(folder",
        ),
        (lambda run: package.train("hydra.run.dir=x", folder=run), "not from Python; folder=DIR would work"),
        (lambda run: package.train("sweep.name=x", folder=run), "a run is trained at a time"),
        (lambda run: package.train("-m", "seed=0,1", folder=run), "a run is trained at a time"),
        (lambda run: package.train(folder=run / "run.json"), "run.json is a file; another name would work"),
        (lambda run: package.compose(config_dir=run / "no"), "no is no folder; one with your own configs"),
        (lambda run: package.resume(run / "no"), "holds no run; a folder with a run.json would work"),
        (lambda run: package.load(run).predict(["x.png"], top_k=0), "top_k=0: a whole number from 1 on"),
        (lambda run: package.load(run).explain([]), "names no picture; one or more would work"),
        (
            lambda run: looked_at(run, torch.zeros(1, 1, 8, 8).double()),
            r"images of torch\.float64, \[1, 1, 8, 8",
        ),
        (lambda run: looked_at(run, torch.zeros(0, 1, 8, 8)), "images hold no image"),
    ],
)
def test_what_the_front_door_cannot_take_is_one_line(trained, call, says):
    with pytest.raises(ValueError, match=says) as refused:
        call(trained.folder)
    assert "\n" not in str(refused.value)


def looked_at(run, images):
    return package.explain(package.load(run).model, images, "rollout")


def test_a_map_with_nan_is_refused(trained):
    model, images = package.load(trained.folder).model, torch.zeros(1, 1, 8, 8)
    with pytest.raises(ValueError, match="the map heatmaps has numbers that are not finite"):
        package.faithfulness(model, images, torch.full((1, 4, 4), float("nan")))


WRONG_TYPES = """
import torch, vitlab
from PIL import Image
model = vitlab.load(RUN)
for call in (
    lambda: model.predict("x.png"),
    lambda: model.predict([Image.new("L", (8, 8))]),
    lambda: vitlab.explain(model, torch.zeros(1, 1, 8, 8), "rollout"),
    lambda: vitlab.attention_maps(model.model, [1]),
    lambda: vitlab.train({"seed": 1}, folder="new"),
):
    try:
        call()
    except TypeError as error:
        print(error)
"""


def test_wrong_types_are_lines_too(trained, tmp_path):
    """A process of its own: in the tests' own, types are checked before any of ours is asked."""
    program = WRONG_TYPES.replace("RUN", repr(str(trained.folder)))
    ended = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert ended.stdout.splitlines() == [
        "files='x.png' is one name; a list of them would work: ['x.png']",
        "files: a Image is no file's name; a picture saved as a file has one",
        "a TrainedModel is no torch.nn.Module; of what vitlab.load gives, .model is",
        "images=list: a tensor would work, as vitlab.load(checkpoint).images(files) gives them",
        "overrides: {'seed': 1} is a dict; texts such as 'seed=1' would work",
    ], ended.stderr
    assert not any(tmp_path.iterdir())
