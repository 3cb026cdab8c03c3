"""Processes that torchrun or srun has started make one run, or are told why not."""

import pytest

from vitlab.ranks import refuse_sweep, share_folder
from vitlab.training.hardware import check_hardware

TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "2"}
SRUN = {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "night"}


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
