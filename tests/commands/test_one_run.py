"""A run goes on only where record, checkpoint and logs are its own; a checkpoint that describes another model
than it holds is refused."""

import json
import resource
import shutil

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vitlab.dashboard.tags import Tags
from vitlab.runs.history import first_difference, read_history

SMALL = [
    "hardware=cpu",
    "model.depth=2",
    "model.embed_dim=16",
    "model.num_heads=2",
    "data.batch_size=192",
    "schedule.warmup_epochs=0.5",
]
SMALL += [
    "callbacks=[default,attention]",
    "callbacks.attention.num_shown=2",
    "callbacks.attention.num_scored=4",
    "checkpoint_every_steps=5",
]
SMALL += ["trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2", "callbacks.evaluation=null"]


@pytest.fixture(scope="module")
def ended(trained_in, tmp_path_factory):
    """A run whose last step is no validation's."""
    return trained_in(tmp_path_factory.mktemp("ended"), *SMALL)


@pytest.fixture
def killed(ended, tmp_path):
    """The same, as a kill in its test leaves it, in a folder of its own."""

    def make(name="killed"):
        folder = tmp_path / name
        shutil.copytree(ended, folder)
        record = json.loads((folder / "run.json").read_text())
        for key in ("hashes", "metrics", "steps"):
            del record[key]
        (folder / "run.json").write_text(json.dumps(record | {"status": "interrupted"}))
        return folder

    return make


def tags(folder):
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()
    kinds = {"scalars": events.Scalars, "images": events.Images}
    return {
        tag: [event.step for event in read(tag)]
        for kind, read in kinds.items()
        for tag in events.Tags()[kind]
    }


def test_what_belongs_to_the_end_is_done_again_by_a_run_that_was_killed_in_its_test(vitlab, ended, killed):
    folder = killed()
    assert vitlab("train", f"resume={folder}").status == 0
    assert first_difference(read_history(ended), read_history(folder)) is None
    hashes = [json.loads((each / "run.json").read_text())["hashes"] for each in (ended, folder)]
    assert hashes[0] == hashes[1]
    assert tags(folder) == tags(ended)
    assert tags(ended)[Tags().of_picture("attention/evolution")] == [18]  # three epochs of six steps


def refused(vitlab, folder):
    before = (folder / "run.json").read_bytes()
    ended = vitlab("train", f"resume={folder}")
    assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1, ended
    assert (folder / "run.json").read_bytes() == before
    return ended.err


def test_a_record_and_a_checkpoint_that_differ_are_refused_by_the_name_of_what_differs(vitlab, killed):
    folder = killed()
    record = json.loads((folder / "run.json").read_text())
    for key, name, value in (
        ("objective", "label_smoothing", 0.3),
        ("optimizer", "lr", 0.5),
        ("datamodule", "seed", 7),
    ):
        config = record["config"] | {key: record["config"][key] | {name: value}}
        (folder / "run.json").write_text(json.dumps(record | {"config": config}))
        assert f"{key}.{name} was {record['config'][key][name]}, is {value}" in refused(vitlab, folder)


def test_another_runs_checkpoint_is_not_taken(vitlab, killed, tmp_path):
    folder = killed()
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    old = content["vitlab"]["config"]["run_dir"]
    content["vitlab"]["config"] = json.loads(
        json.dumps(content["vitlab"]["config"]).replace(old, f"{tmp_path}/another")
    )
    torch.save(content, folder / "checkpoints" / "last.ckpt")
    assert f"last.ckpt is of the run in {tmp_path}/another" in refused(vitlab, folder)
    shutil.copy(folder / "checkpoints" / "previous.ckpt", folder / "checkpoints" / "last.ckpt")
    history = (folder / "metrics.jsonl").read_text()
    (folder / "metrics.jsonl").write_text(
        history.replace("0.", "1.", 1)
    )  # as another run's of the same config and length
    assert "metrics.jsonl no longer begins with" in refused(vitlab, folder)


def test_a_history_that_was_cut_or_changed_is_told_before_training_and_one_that_is_gone_is_said_and_recorded(
    vitlab, killed
):
    folder = killed()
    history = (folder / "metrics.jsonl").read_bytes()
    for damaged in (history[:100], b"x" + history[1:], history[:300].replace(b"1", b"2") + history[300:]):
        (folder / "metrics.jsonl").write_bytes(damaged)
        assert "metrics.jsonl no longer begins with" in refused(vitlab, folder)
    (folder / "metrics.jsonl").unlink()
    ended = vitlab("train", f"resume={folder}")
    assert ended.status == 0 and "metrics.jsonl is gone; what it told of the run is lost" in ended.out
    assert json.loads((folder / "run.json").read_text())["resumes"][0]["lost"] == ["metrics.jsonl is gone"]


def test_a_checkpoint_that_trips_the_trainer_is_named(vitlab, killed):
    folder = killed()
    content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    for change in (
        {"optimizer_states": [{"state": 3}]},
        {"loops": {}},
        {"resume": content["resume"] | {"step": "x"}},
        {"resume": 3},
    ):
        torch.save(content | change, folder / "checkpoints" / "last.ckpt")
        shutil.copy(folder / "checkpoints" / "last.ckpt", folder / "checkpoints" / "previous.ckpt")
        ended = vitlab("train", f"resume={folder}")
        assert ended.status == 2 and len(ended.err.strip().splitlines()) == 1 and "last.ckpt" in ended.err, (
            ended
        )


OTHERS = {
    "more blocks": (("config", "model", "depth"), 3),
    "blocks without end": (("config", "model", "depth"), 10**8),
    "a width that has no end": (("config", "model", "mlp_ratio"), 1e12),
    "a width beyond all": (("config", "model", "embed_dim"), 10**13 + 1),
    "patches of another size": (("config", "model", "patch_embed", "patch_size"), 10**9),
    "a wide stem": (("config", "model", "patch_embed", "in_channels"), 10**6),
    "images that fill the memory": (("preprocessing", "stored_size"), [10**6, 10**6]),
    "images far from those of training": (("preprocessing", "image_size"), [4096, 4096]),
    "images that patches do not divide": (("preprocessing", "image_size"), [7, 7]),
    "classes without names": (("class_names",), ["a", "b"]),
    "a word for a number": (("config", "model", "depth"), "many"),
    "a model that is none": (("config", "model", "_target_"), "vitlab.models.encoder.Block"),
    "a part that is none": (("config", "model", "patch_embed"), 3),
    "processes without end": (("config", "datamodule", "num_workers"), 10**6),
}


@pytest.mark.parametrize(("place", "value"), OTHERS.values(), ids=OTHERS.keys())
def test_a_config_of_another_model_than_the_tensors_is_refused_before_it_is_built(
    vitlab, ended, tmp_path, place, value
):
    content = torch.load(ended / "checkpoints" / "last.ckpt", weights_only=True)
    *path, key = place
    node = content["vitlab"]
    for part in path:
        node = node[part]
    node[key] = value
    torch.save(content, tmp_path / "odd.ckpt")
    (tmp_path / "images").mkdir()
    said = vitlab("predict", f"checkpoint={tmp_path}/odd.ckpt", f"images={tmp_path}/images")
    assert said.status == 2 and len(said.err.strip().splitlines()) == 1 and "odd.ckpt" in said.err, said
    if key in ("depth", "embed_dim", "patch_size"):
        said = vitlab("train", *SMALL, "model=pretrained", f"model.weights={tmp_path}/odd.ckpt")
        assert said.status == 2 and len(said.err.strip().splitlines()) == 1 and "odd.ckpt" in said.err, said


@pytest.mark.parametrize(("kilobytes", "file"), [(60, "events.out.tfevents"), (8, "run.json")])
def test_a_file_that_takes_no_more_is_named_in_one_line_also_where_a_thread_writes_it(
    vitlab, tmp_path, kilobytes, file
):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * kilobytes, limits[1]))
        ended = vitlab("train", *SMALL, "callbacks.last=null", f"hydra.run.dir={tmp_path}/run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ended.status in (1, 2) and "Traceback" not in ended.err, ended
    *logs, line = ended.err.strip().splitlines()
    assert line.startswith("vitlab: ") and file in line and "File too large" in line
    assert all("train.log could not be written" in log for log in logs)
