"""Runs that are killed, anywhere and several times, end as the run that was not: bit by bit, curves
included."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vitlab.config.resume import find_run
from vitlab.runs.history import read_history
from vitlab.runs.load import load_model

SMALL = [
    "hardware=cpu",
    "model.depth=1",
    "model.embed_dim=16",
    "model.num_heads=2",
    "model.drop_path_rate=0.1",
]
SMALL += [
    "model.proj_drop_rate=0.1",
    "trainer.max_epochs=4",
    "schedule.warmup_epochs=0.5",
    "trainer.log_every_n_steps=3",
]
SMALL += ["data.batch_size=192", "callbacks.evaluation=null", "+callbacks.at._target_=starts.At"]
STEPS = 6  # an epoch's: 1,295 images in batches of 192

NOT_RESULTS = {
    "loggers",
    "config",
    "current_score",
    "train/images_per_second",
    "5_training/images_per_second",
}
"""Of a checkpoint: where loggers stood, where the run lies, what Lightning never reads back, and time."""


@pytest.fixture(scope="module")
def start(fork_train):
    """Starts `vitlab train ...` in a process of its own, or several; returns the exit status, or the list,
    negative for a signal."""

    def run(folder, *arguments, at="", environment=(), processes=1):
        if arguments[: len(SMALL)] == tuple(SMALL) and not any(
            argument.startswith("callbacks=") for argument in arguments
        ):
            arguments += ("callbacks=[default]",)  # attention pictures take longer than this training
        arguments = {
            argument.partition("=")[0]: argument for argument in arguments
        }.values()  # what comes later counts
        place = [] if f"resume={folder}" in arguments else [f"hydra.run.dir={folder}"]
        statuses = fork_train(
            [*arguments, *place], f"{folder}.log", at=at, environment=dict(environment), processes=processes
        )
        return statuses if processes > 1 else statuses[0]

    return run


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory):
    """Returns the folder of a run that nothing happened to, one for each set of overrides."""
    known = {}

    def run(*overrides):
        if overrides not in known:
            folder = tmp_path_factory.mktemp("whole") / "run"
            assert start(folder, *SMALL, *overrides) == 0, said(folder)
            known[overrides] = folder
        return known[overrides]

    return run


def said(folder):
    return Path(f"{folder}.log").read_text()


def record(folder):
    return json.loads((folder / "run.json").read_text())


def last(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)


def plain(value, folder):
    """Tensors become their bytes, the folder a word, and what is no result is left out."""
    if isinstance(value, torch.Tensor):
        return (
            value.dtype,
            tuple(value.shape),
            value.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"",
        )
    if isinstance(value, dict):
        return {
            plain(key, folder): plain(entry, folder) for key, entry in value.items() if key not in NOT_RESULTS
        }
    if isinstance(value, list | tuple):
        return [plain(entry, folder) for entry in value]
    return value.replace(str(folder), "RUN") if isinstance(value, str) else value


def curves(folder):
    """Every scalar and picture's step, with the value of a scalar; fails where a step comes twice or goes
    back."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0}).Reload()
    points = {
        tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]
    }
    points |= {tag: [(event.step, None) for event in events.Images(tag)] for tag in events.Tags()["images"]}
    for tag, values in points.items():
        steps = [step for step, _ in values]
        assert steps == sorted(set(steps)), tag
    return {tag: values for tag, values in points.items() if tag not in NOT_RESULTS}


def results(folder):
    facts = record(folder)
    assert facts["status"] == "completed"
    return {
        "checkpoint": plain(last(folder), folder),
        "curves": curves(folder),
        "metrics": plain(facts["metrics"], folder),
    }


def differences(one, other, path=""):
    if isinstance(one, dict) and isinstance(other, dict):
        return [
            line
            for key in one.keys() | other.keys()
            for line in differences(one.get(key), other.get(key), f"{path}/{key}")
        ]
    return [] if one == other else [f"{path}: {str(one)[:80]} and {str(other)[:80]}"]


def assert_same_end(folder, whole):
    assert differences(results(folder), results(whole)) == []


def kill_again_and_again(start, folder, overrides, kills):
    """Returns the step of the checkpoint that each start found; then lets the run end."""
    found = []
    for at in kills:
        assert start(folder, *SMALL, *overrides, "resume=auto", at=at) == -9, said(folder)
        found.append(last(folder)["resume"]["step"] if (folder / "checkpoints" / "last.ckpt").exists() else 0)
    assert start(folder, *SMALL, *overrides, "resume=auto") == 0, said(folder)
    return found


KINDS = {
    "no workers, EMA": ["callbacks=[default,ema,early_stopping]", "checkpoint_every_steps=2"],
    "two workers, accumulation, an end inside an epoch": [
        "data.num_workers=2",
        "trainer.accumulate_grad_batches=3",
        "checkpoint_every_steps=1",
        "trainer.check_val_every_n_epoch=3",
        "trainer.max_steps=7",
    ],
    "accumulation, EMA, Muon": [
        "callbacks=[default,ema]",
        "trainer.accumulate_grad_batches=3",
        "optimizer=muon",
        "patch_embed=conv_stem",
        "checkpoint_every_steps=1",
    ],
    "two workers, EMA, attention pictures, strong augmentation": [
        "data.num_workers=2",
        "callbacks=[default,ema,attention]",
        "callbacks.ema.start_step=9",
        "augment=strong",
        "augment.crop_padding=1",
        "checkpoint_every_steps=3",
    ],
    "validation twice an epoch": [
        "+trainer.val_check_interval=3",
        "checkpoint_every_steps=1",
        "trainer.limit_train_batches=5",
    ],
}


def steps_in(overrides):
    """Optimizer steps of an epoch, and of a run."""
    steps = (
        2
        if any("accumulate" in override for override in overrides)
        else 5
        if any("limit_train" in o for o in overrides)
        else STEPS
    )
    return steps, 7 if "trainer.max_steps=7" in overrides else 4 * steps


@pytest.mark.parametrize("kind", [*KINDS][:2])
def test_a_run_killed_at_three_moments_ends_as_the_one_that_was_not(start, uninterrupted, tmp_path, kind):
    overrides = KINDS[kind]
    epoch, total = steps_in(overrides)
    moments = [
        f"batch_end {epoch + 1} 0",
        f"batch_end {2 * epoch} 0",
        "test 0 0",
    ]  # after an epoch boundary's checkpoint, at one, in the test
    found = kill_again_and_again(
        start, tmp_path / "run", overrides, [f"SIGKILL {moment}" for moment in moments]
    )
    assert found == [epoch, 2 * epoch - (1 if epoch == 2 else 2), total]
    assert [resumed["step"] for resumed in record(tmp_path / "run")["resumes"]] == found
    assert_same_end(tmp_path / "run", uninterrupted(*overrides))


def test_a_run_on_all_images_without_validation_and_test_ends_as_the_one_that_was_not_killed(
    start, uninterrupted, tmp_path
):
    overrides = ["data.val_fraction=0", "data.test_fraction=0", "callbacks=[default,ema]"]
    overrides += ["checkpoint_every_steps=2", "trainer.max_epochs=2"]  # of 9 steps each
    (found,) = kill_again_and_again(start, tmp_path / "run", overrides, ["SIGKILL batch_end 14 0"])
    assert 9 < found <= 14
    assert_same_end(tmp_path / "run", uninterrupted(*overrides))


LABELS = ["data=planted_labels", "objective=multilabel", "objective.positive_weights=auto"]
LABELS += ["augment.mixup=0.2", "augment.cutmix=1.0", "data.source.num_images=400", "data.batch_size=64"]


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_a_run_of_several_labels_or_numbers_that_was_killed_ends_as_the_one_that_was_not(
    start, uninterrupted, numbers_in_a_table, tmp_path, kind
):
    overrides = LABELS if kind == "labels" else [*numbers_in_a_table, "data.batch_size=4"]
    overrides = [*overrides, "checkpoint_every_steps=2", "trainer.max_epochs=2"]  # of 5 steps each
    kills = ["SIGKILL batch_end 7 0", "SIGKILL test 0 0"]
    found = kill_again_and_again(start, tmp_path / "run", overrides, kills)
    assert 5 <= found[0] <= 7 and found[1] == 10
    assert_same_end(tmp_path / "run", uninterrupted(*overrides))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_five_kills_at_random_moments_of_a_run_leave_no_trace(start, uninterrupted, tmp_path, kind):
    overrides = KINDS[kind]
    epoch, total = steps_in(overrides)
    rng = random.Random(kind)
    moments = sorted([*rng.sample(range(1, total), 4), 2 * epoch + 1 if epoch > 1 else 2 * epoch])
    kills = [f"SIGKILL step {step} {rng.uniform(0, 0.01):.4f}" for step in moments]
    found = kill_again_and_again(start, tmp_path / "run", overrides, kills)
    print(kind, list(zip(moments, found, strict=True)))
    assert found == sorted(found)
    assert_same_end(tmp_path / "run", uninterrupted(*overrides))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS][:3])
def test_a_kill_at_any_step_and_right_after_leaves_no_trace(start, uninterrupted, tmp_path, kind):
    overrides = KINDS[kind]
    epoch, total = steps_in(overrides)
    for step in {epoch - 1, epoch, epoch + 1, 3 * epoch - 1, 3 * epoch, total} - {0}:
        folder = tmp_path / f"run{step}"
        kills = [
            f"SIGKILL batch_end {step} 0",
            f"SIGKILL batch_end {min(step + 1, total)} 0",
            "SIGKILL test 0 0",
        ]
        kill_again_and_again(start, folder, overrides, kills)
        assert_same_end(folder, uninterrupted(*overrides))


SIGNALS = {
    "SIGTERM in a step": ("SIGTERM batch_end 7 0", 143, 7),
    "Ctrl-C in validation": ("SIGINT validation 6 0", 130, 6),
    "Ctrl-C twice": ("SIGINT,SIGINT batch_end 7 0", 130, 6),
    "SIGTERM in the sanity check": ("SIGTERM sanity_check 0 0", 143, 0),
    "Ctrl-C in the test": ("SIGINT test 0 0", 130, 24),
}


@pytest.mark.parametrize(
    "case", [*[*SIGNALS][:3], *(pytest.param(case, marks=pytest.mark.slow) for case in [*SIGNALS][3:])]
)
def test_a_signal_saves_within_a_step_ends_with_its_status_and_leaves_no_trace(
    start, uninterrupted, tmp_path, case
):
    at, status, step = SIGNALS[case]
    overrides, folder = KINDS["no workers, EMA"], tmp_path / "run"
    assert start(folder, *SMALL, *overrides, "resume=auto", at=at) == status, said(folder)
    assert record(folder)["status"] == "interrupted"
    assert record(folder)["reason"].startswith(at.partition(" ")[0].partition(",")[0])
    assert (last(folder)["resume"]["step"] if step else 0) == step
    assert start(folder, *SMALL, *overrides, "resume=auto") == 0, said(folder)
    assert_same_end(folder, uninterrupted(*overrides))


def test_a_slurm_job_that_is_told_to_make_room_saves_queues_itself_again_and_goes_on(
    start, uninterrupted, tmp_path
):
    overrides, folder = KINDS["no workers, EMA"], tmp_path / "run"
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\n[ "$1" = requeue ] && echo "$@" >> {tmp_path}/told\n'
        f'[ "$1" = show ] && cat {tmp_path}/shown\nexit 0\n'
    )
    shown = tmp_path / "shown"
    program.chmod(0o755)
    names = {
        "SLURM_JOB_ID": "77",
        "SLURM_NTASKS": "1",
        "SLURM_JOB_NAME": "night",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
    }
    environment = names | {"SLURM_NODEID": "0", "PATH": f"{program.parent}:{os.environ['PATH']}"}
    cases = [  # the first is a plain scancel, the last a preemption with a time of grace
        ("SIGTERM sanity_check 0", 143, 0, "None", 0),
        ("SIGUSR1 sanity_check 0", 138, 0, "None", 1),
        ("SIGUSR1 batch_end 7", 138, 7, "None", 2),
        ("SIGTERM batch_end 9", 143, 9, "2026-11-26T10:00:00", 3),
        ("SIGUSR1 test 0", 138, 24, "None", 4),
    ]
    (tmp_path / "told").touch()
    for at, status, step, preempted, number in cases:
        shown.write_text(f"JobId=77 JobState=RUNNING\n   PreemptTime={preempted} SuspendTime=None\n")
        ended = start(folder, *SMALL, *overrides, "resume=auto", at=f"{at} 0", environment=environment)
        assert ended == status, said(folder)
        assert record(folder)["status"] == "interrupted"
        assert (last(folder)["resume"]["step"] if step else 0) == step
        assert (tmp_path / "told").read_text() == "requeue 77\n" * number
    assert start(folder, *SMALL, *overrides, "resume=auto", environment=environment) == 0, said(folder)
    assert not list(folder.rglob("hpc_ckpt*"))  # Lightning's own, written in the middle of a step
    assert_same_end(folder, uninterrupted(*overrides))


TWO = [each for each in SMALL if not each.startswith(("data.batch_size", "trainer.max_epochs"))]
TWO += [
    "data.batch_size=96",
    "trainer.max_epochs=2",
    "checkpoint_every_steps=4",
    "trainer.devices=2",
    "trainer.strategy=ddp",
]
TWO += ["callbacks=[default]"]

TWO_ARE_ASKED = {
    "Ctrl-C to one": ("SIGINT batch_end 7 0 1", 130, 8),
    "SIGTERM to all, twice, by the terminal and by the launcher": ("SIGTERM,SIGTERM batch_end 7 0", 143, 8),
    "SIGTERM at the last step": ("SIGTERM batch_end 12 0 1", 143, 12),
    "a SLURM job's SIGUSR1": ("SIGUSR1 batch_end 7 0", 138, 8),
}


@pytest.mark.parametrize(
    "case",
    [*[*TWO_ARE_ASKED][:1], *(pytest.param(each, marks=pytest.mark.slow) for each in [*TWO_ARE_ASKED][1:])],
)
def test_two_processes_obey_a_signal_at_the_same_step_and_leave_no_trace(
    start, tmp_path_factory, tmp_path, case
):
    at, status, step = TWO_ARE_ASKED[case]
    whole, folder = tmp_path_factory.getbasetemp() / "two" / "run", tmp_path / "run"
    if not whole.exists():
        whole.parent.mkdir()
        assert start(whole, *TWO, processes=2) == [0, 0], said(whole)
    assert start(folder, *TWO, "resume=auto", at=at, environment={"SLURM_JOB_ID": "77"}, processes=2) == [
        status,
        status,
    ], said(folder)
    assert ("scontrol requeue 77" in said(folder)) == (status == 138)  # which is not there; one process asks
    assert f"saved at step {step}" in record(folder)["reason"]
    assert last(folder)["resume"]["step"] == step
    assert start(folder, *TWO, "resume=auto", processes=2) == [0, 0], said(folder)
    assert_same_end(folder, whole)


@pytest.mark.slow
def test_two_processes_of_which_one_sees_its_loss_diverge_both_say_so(start, tmp_path):
    bad = "+callbacks.bad._target_=starts.OneBadLoss"
    assert start(tmp_path / "run", *TWO, bad, processes=2) == [3, 3], said(tmp_path / "run")
    assert record(tmp_path / "run")["reason"].startswith("Diverged: train/loss is nan at step 3")


def test_fsdp_goes_on_after_a_signal_learns_as_one_process_does_and_leaves_a_checkpoint_for_one(
    start, tmp_path
):
    fixed = [
        *TWO[:-3],
        "callbacks=[default]",
        "model.drop_path_rate=0",
        "model.proj_drop_rate=0",
        "trainer.log_every_n_steps=1",
    ]
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert start(alone, *fixed, "data.batch_size=192") == 0, said(alone)
    fixed += ["trainer.devices=2", "trainer.strategy=fsdp", "resume=auto"]
    assert start(shared, *fixed, at="SIGTERM batch_end 7 0 0", processes=2) == [143, 143], said(shared)
    assert start(shared, *fixed, processes=2) == [0, 0], said(shared)
    assert record(shared)["resumes"][0]["step"] == 8
    losses = [
        [value for (_, name), value in read_history(folder).items() if name == "train/loss"]
        for folder in (alone, shared)
    ]
    assert len(losses[0]) == 12 and losses[1] == pytest.approx(losses[0], rel=1e-5)
    model, _ = load_model(alone / "checkpoints" / "last.ckpt")
    for name, value in load_model(shared / "checkpoints" / "last.ckpt")[0].state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-3, atol=1e-5)
    metrics = record(shared)["metrics"]
    assert metrics["test/accuracy"] * 359 == pytest.approx(round(metrics["test/accuracy"] * 359), abs=1e-3)
    assert metrics["test/loss"] == pytest.approx(record(alone)["metrics"]["test/loss"], abs=1e-5)


@pytest.mark.slow
def test_two_processes_with_fsdp_are_killed_and_end_with_the_same_bits(start, tmp_path):
    fixed = [*TWO[:-2], "callbacks=[default]", "trainer.strategy=fsdp", "resume=auto"]
    assert start(tmp_path / "whole", *fixed, processes=2) == [0, 0], said(tmp_path / "whole")
    assert start(tmp_path / "killed", *fixed, at="SIGKILL batch_end 7 0", processes=2) == [-9, -9]
    assert start(tmp_path / "killed", *fixed, processes=2) == [0, 0], said(tmp_path / "killed")
    assert record(tmp_path / "killed")["resumes"][0]["step"] in (4, 6)
    assert_same_end(tmp_path / "killed", tmp_path / "whole")


def test_a_linear_probe_goes_on_with_the_features_of_the_weights_it_began_with(
    start, photo_folder, pretrained_file, tmp_path
):
    probe = [
        "experiment=flowers_linear_probe",
        "data=folder",
        f"data.root={photo_folder()}",
        f"model.weights=timm:{pretrained_file}",
    ]
    probe += [
        "data.image_size=32",
        "data.batch_size=8",
        "data.test_fraction=0.25",
        "hardware=cpu",
        "trainer.max_epochs=4",
    ]
    probe += [
        "trainer.check_val_every_n_epoch=1",
        "checkpoint_every_steps=2",
        "+callbacks.at._target_=starts.At",
    ]
    for name, kills in (("whole", []), ("killed", ["SIGKILL batch_end 1 0", "SIGKILL batch_end 5 0"])):
        for at in kills:
            assert start(tmp_path / name, *probe, "resume=auto", at=at) == -9, said(tmp_path / name)
        assert start(tmp_path / name, *probe, "resume=auto") == 0, said(tmp_path / name)
    assert_same_end(tmp_path / "killed", tmp_path / "whole")


VARIANTS = {
    "one worker": ["data.num_workers=1"],
    "two workers": ["data.num_workers=2"],
    "another logging interval": ["trainer.log_every_n_steps=1"],
    "no logger": ["logger=csv"],
    "validation every other epoch": ["trainer.check_val_every_n_epoch=2"],
    "validation in the middle": ["+trainer.val_check_interval=4"],
    "checkpoints at every step": ["checkpoint_every_steps=1"],
    "attention maps": ["callbacks=[default,attention]"],
}


@pytest.mark.parametrize(
    "variant",
    [
        name if name in ("two workers", "attention maps") else pytest.param(name, marks=pytest.mark.slow)
        for name in VARIANTS
    ],
)
def test_what_only_watches_or_fetches_changes_no_bit_of_the_weights(start, uninterrupted, variant):
    def trained(folder):
        checkpoint = plain(last(folder), folder)
        return {key: checkpoint[key] for key in ("state_dict", "optimizer_states", "lr_schedulers")}

    assert differences(trained(uninterrupted(*VARIANTS[variant])), trained(uninterrupted())) == []
    assert differences(trained(uninterrupted("seed=1")), trained(uninterrupted())) != []


def test_a_damaged_checkpoint_is_passed_over_aloud_and_the_one_before_it_is_as_good(
    start, uninterrupted, tmp_path
):
    overrides, folder = KINDS["no workers, EMA"], tmp_path / "run"
    assert start(folder, *SMALL, *overrides, "resume=auto", at="SIGKILL batch_end 11 0") == -9
    newest = folder / "checkpoints" / "last.ckpt"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    (folder / "checkpoints" / ".last.ckpt.part-12345-0123abcd").write_bytes(b"half")
    assert start(folder, *SMALL, *overrides, "resume=auto") == 0, said(folder)
    (told,) = [line for line in said(folder).splitlines() if "cannot be read" in line]
    assert "checkpoints/last.ckpt" in told and "going on from" in told and "previous.ckpt, step 8" in told
    assert {file.name for file in newest.parent.iterdir()} == {"best.ckpt", "last.ckpt", "previous.ckpt"}
    assert_same_end(folder, uninterrupted(*overrides))


def test_a_run_is_resumed_by_its_folder_alone_asked_for_nothing_else_and_then_is_complete(
    start, uninterrupted, tmp_path
):
    overrides, folder = KINDS["no workers, EMA"], tmp_path / "run"
    assert start(folder, *SMALL, *overrides, at="SIGKILL batch_end 9 0") == -9  # nobody thought of resuming
    before = record(folder)

    def refused(*arguments):
        log = Path(f"{folder}.log")
        log.unlink(missing_ok=True)
        status = start(folder, *arguments)
        return status == 2 and log.read_text().strip()

    assert "already holds a run; to go on with it: resume=auto" in refused(*SMALL, *overrides)
    assert "optimizer.lr=0.5 is not what the run began with" in refused(
        *SMALL, *overrides, "optimizer.lr=0.5", "resume=auto"
    )
    assert "the run began with checkpoint_every_steps=2, which is missing now" in refused(
        *SMALL, *overrides[:-1], "resume=auto"
    )
    assert record(folder) == before
    assert "resume=nowhere holds no run" in refused(*SMALL, "resume=nowhere")
    assert "optimizer.lr=0.5 is not what the run began with" in refused(
        f"resume={folder}", "optimizer.lr=0.5"
    )
    assert "name=@x is not what the run began with" in refused(
        f"resume={folder}", "name=@x"
    )  # which is no YAML
    for strange, says in (
        ({"config": {}}, "config.model is not what"),
        ({"status": None}, "it is no run's record"),
    ):
        other = tmp_path / next(iter(strange))
        other.mkdir()
        (other / "run.json").write_text(json.dumps(before | strange))
        assert start(other, f"resume={other}") == 2
        assert says in said(other).strip()
    folder = folder.rename(tmp_path / "moved")
    assert start(folder, f"resume={folder}", "seed=0") == 0, said(folder)  # which it is anyway
    assert not (tmp_path / "run").exists()
    assert_same_end(folder, uninterrupted(*overrides))
    events = {file.name: file.read_bytes() for file in folder.glob("events*")}
    assert start(folder, *SMALL, *overrides, "resume=auto") == 0
    assert "is complete: test accuracy" in said(folder).splitlines()[-1]
    assert events == {file.name: file.read_bytes() for file in folder.glob("events*")}


def test_a_run_s_folder_may_be_named_twice_as_lightning_does_for_its_other_processes_but_not_another(
    tmp_path,
):
    (tmp_path / "a run").mkdir()
    (tmp_path / "a run" / "run.json").touch()
    asked = f"resume='{tmp_path}/a run'"
    assert find_run([asked, f'hydra.run.dir="{tmp_path}/a run"'])[-2:] == [
        f"hydra.run.dir='{tmp_path}/a run'",
        "hydra.output_subdir=null",
    ]
    for also in (f"hydra.run.dir={tmp_path}", "-m"):
        with pytest.raises(ValueError, match="is a run's folder already"):
            find_run([asked, also])


@pytest.mark.slow
def test_two_processes_that_are_killed_or_whose_launcher_alone_is_asked_to_end_go_on_as_if_nothing_had_been(
    tmp_path,
):
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "XDG_CACHE_HOME": str(tmp_path),
        "VITLAB_TARGETS": "starts",
    }
    environment["PYTHONPATH"] = str(Path(__file__).parent)
    two = [
        *SMALL,
        "callbacks=[default]",
        "trainer.devices=2",
        "trainer.strategy=ddp",
        "data.batch_size=96",
        "checkpoint_every_steps=2",
    ]
    two.remove("data.batch_size=192")

    def run(folder, *arguments, at=""):
        command = [sys.executable, "-m", "vitlab.cli", "train", *arguments]
        with Path(f"{folder}.log").open("a") as log:
            return subprocess.run(
                command, stdout=log, stderr=log, cwd=tmp_path, env=environment | {"AT": at}, timeout=300
            ).returncode

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(whole, *two, f"hydra.run.dir={whole}") == 0, said(whole)
    assert run(killed, *two, f"hydra.run.dir={killed}", at="SIGKILL batch_end 9 0") == -9
    assert run(killed, f"resume={killed}", at="SIGTERM batch_end 14 0 0") == 143, said(killed)
    assert run(killed, f"resume={killed}") == 0, said(killed)
    assert [resumed["step"] for resumed in record(killed)["resumes"]] == [8, 15]
    assert record(killed)["hashes"] == record(whole)["hashes"]
