"""Processes that torchrun or srun has started make one run, or are told why not."""

import os
import signal
from typing import Any

import pytest

from vitlab.ranks import refuse_sweep, share_folder
from vitlab.slurm import obeyed_from_the_start
from vitlab.training.hardware import check_hardware
from vitlab.training.trainer import build_trainer

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "2"}
SRUN = {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "night"}


@pytest.fixture(params=[TORCHRUN, SRUN], ids=["torchrun", "srun"])
def second_of_two(request, monkeypatch):
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("second_of_two")
@pytest.mark.parametrize("devices", [1, 3, "auto", "1", -1, [0]])
def test_two_processes_that_would_each_train_alone_in_one_folder_are_refused(devices):
    with pytest.raises(ValueError, match="is not the 2 processes that were started"):
        check_hardware({"accelerator": "cpu", "devices": devices})


@pytest.mark.usefixtures("second_of_two")
@pytest.mark.parametrize(("devices", "nodes"), [(2, 1), (1, 2), ([0, 1], 1)])
def test_two_processes_on_two_devices_are_taken(devices, nodes):
    check_hardware({"accelerator": "cpu", "devices": devices, "num_nodes": nodes})


@pytest.mark.usefixtures("second_of_two")
def test_two_processes_need_one_folder_and_run_no_sweep_twice():
    with pytest.raises(ValueError, match="DIR is missing: 2 processes share one run"):
        share_folder(["seed=1"], "train")
    assert share_folder(["hydra.run.dir=x"], "train")[1:] == [
        "hydra.output_subdir=null",
        "hydra.job.name=train_ddp_process_1",
    ]
    with pytest.raises(ValueError, match="each of 2 processes would run the whole sweep"):
        refuse_sweep()


def test_several_machines_without_anyone_to_start_processes_there_are_refused(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ValueError, match="nothing started processes on other machines"):
        check_hardware({"accelerator": "cpu", "devices": 1, "num_nodes": 2})


def test_processes_that_were_started_are_told_which_devices_would_fit_them(monkeypatch):
    for name, value in SRUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        ValueError, match=r"trainer.devices=-1 x trainer.num_nodes=2 .*trainer.devices=1 would"
    ):
        check_hardware({"accelerator": "cpu", "devices": -1, "num_nodes": 2})


def test_a_first_machine_whose_name_means_this_one_is_said(monkeypatch, caplog):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    for name, value in (TORCHRUN | {"GROUP_RANK": "1", "MASTER_ADDR": "localhost"}).items():
        monkeypatch.setenv(name, value)
    check_hardware({"accelerator": "cpu", "devices": 1, "num_nodes": 2})
    assert "host name localhost resolves to 127.0.0.1 here" in caplog.text
    caplog.clear()
    monkeypatch.setenv("GROUP_RANK", "0")
    check_hardware({"accelerator": "cpu", "devices": 1, "num_nodes": 2})
    assert not caplog.text


def test_tasks_that_sbatch_was_asked_for_and_nobody_started_are_refused_in_a_line(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "2")
    refuse_sweep()  # only one process would run it
    with pytest.raises(ValueError, match=r"nothing started the 2 tasks .* srun before vitlab would"):
        check_hardware({"accelerator": "cpu", "devices": 2})


def test_a_shell_that_srun_has_opened_under_that_name_is_named(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    for name, value in (SRUN | {"SLURM_JOB_NAME": "bash"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="SLURM_JOB_NAME=bash is taken for a shell: srun --job-name=night"):
        check_hardware({"accelerator": "cpu", "devices": 1, "num_nodes": 2})


@pytest.mark.filterwarnings("ignore:GPU available")
def test_one_task_of_slurm_starts_a_process_for_each_device(monkeypatch, tmp_path):
    for name, value in {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "night", "SLURM_JOB_ID": "7"}.items():
        monkeypatch.setenv(name, value)
    chosen = {"_target_": "pytorch_lightning.Trainer", "accelerator": "cpu", "devices": 2, "strategy": "ddp"}
    config = {"callbacks": {}, "logger": {}, "run_dir": str(tmp_path), "trainer": chosen}
    strategy: Any = build_trainer(config).strategy
    assert not strategy.cluster_environment.creates_processes_externally


@pytest.mark.parametrize(
    ("number", "preempted", "told"),
    [("SIGUSR1", "None", True), ("SIGTERM", "2026-11-26T10:00:00", True), ("SIGTERM", "None", False)],
)
def test_a_job_that_is_told_to_make_room_before_its_run_begins_is_queued_again(
    monkeypatch, tmp_path, number, preempted, told
):
    program = tmp_path / "scontrol"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = show ] && echo "PreemptTime={preempted}" || echo "$@" > {tmp_path}/told\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1)}
    asked = signal.Signals[number]
    try:
        with pytest.raises(SystemExit) as end, obeyed_from_the_start():
            os.kill(os.getpid(), asked)
        assert end.value.code == 128 + asked
        os.kill(os.getpid(), asked)  # which does no more harm
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    assert (tmp_path / "told").exists() == told
    assert not told or (tmp_path / "told").read_text() == "requeue 77\n"
