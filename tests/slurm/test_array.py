"""A sweep's jobs as the guide submits them: an array whose jobs hear of their time limit."""

import json
import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

pytestmark = pytest.mark.slurm

SPEC = spec_from_file_location("cluster", Path(__file__).parent / "cluster.py")
SPEC.loader.exec_module(clusters := module_from_spec(SPEC))

JOBS = [
    *("hardware=cpu", "model.depth=1", "model.embed_dim=16", "model.num_heads=2", "data.batch_size=64"),
    *("trainer.max_epochs=2", "callbacks=[default]", "callbacks.evaluation=null", "logger=csv"),
    *("+callbacks.slow._target_=slow.Slow", "trainer.log_every_n_steps=5,10", "sweep.name=array"),
]
"""Two jobs that differ by what they write down alone."""


def the_guides_line():
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
    lines = re.search(r"&& (sbatch --array.*?)\n\n", guide, re.DOTALL)[1]
    return " ".join(line.strip().removesuffix("\\") for line in lines.splitlines())


def test_a_job_of_the_guides_array_hears_sigusr1_and_goes_on_to_the_same_bits(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vitlab = [sys.executable, "-m", "vitlab.cli", "train", "-m"]
    Path("jobs.txt").write_text(cluster.ask(*vitlab, *JOBS, "sweep.print_commands=true"))
    folder = tmp_path / "outputs" / "train" / "array"
    (folder / "0.slow").write_text("10")
    (job,) = re.findall(r"job (\d+)", cluster.ask("bash", "-c", the_guides_line()))

    def is_at_work():
        file = folder / "0" / "metrics.jsonl"
        return file.exists() and len(file.read_text().splitlines()) > 2

    log = tmp_path / f"slurm-{job}_1.out"
    clusters.wait_until(is_at_work, 90, lambda: log.read_text() if log.exists() else "no log")
    cluster.ask("scancel", "--signal=USR1", "--batch", f"{job}_1")  # as the time limit does
    (folder / "0.slow").unlink()
    for number in (1, 2):
        cluster.wait(f"{job}_{number}", 90, "COMPLETED")
    assert cluster.state(f"{job}_1")["Restarts"] == "1"
    records = [json.loads((folder / name / "run.json").read_text()) for name in ("0", "1")]
    assert len(records[0]["resumes"]) == 1 and "resumes" not in records[1]
    assert records[0]["hashes"]["final"] == records[1]["hashes"]["final"]
