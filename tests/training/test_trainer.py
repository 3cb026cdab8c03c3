"""What Lightning says on every run is not said; its warnings about real trouble are."""

import warnings

import pytorch_lightning as pl

from vitlab.training.trainer import quiet_lightning


def test_where_slurm_is_installed_a_run_outside_a_job_is_not_told_to_use_srun(tmp_path, monkeypatch):
    (tmp_path / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
        assert any("`srun` command" in str(each.message) for each in said)
        said.clear()
        quiet_lightning()
        pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    assert not said
