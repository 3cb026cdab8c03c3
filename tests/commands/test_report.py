"""`vitlab report`: numbers that come out as they went in, a page that needs nothing else, and a best command
that composes."""

import base64
import csv
import hashlib
import json
import math
import re
import shlex
import statistics
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from vitlab.comparison.collect import collect
from vitlab.comparison.curves import curves_figure
from vitlab.comparison.groups import group
from vitlab.comparison.importance import importance
from vitlab.comparison.pictures import parallel_figure, parameters_figure
from vitlab.comparison.write import summary_lines
from vitlab.runs.history import FILE as HISTORY_FILE
from vitlab.sweeps.jobs import Job, Sweep


def accuracy(lr, depth, seed):
    return round(
        0.9 - {"1e-3": 0.0, "1e-2": 0.2, "1e-1": 0.5}[lr] + 0.01 * int(depth) + 0.003 * int(seed) ** 2, 6
    )


def curve(final):
    return [(10 * step, final * step / 5) for step in range(1, 6)]


def write_run(folder, overrides, final, status="completed", reason=None):
    folder.mkdir(parents=True)
    metrics = (
        {"best/val/accuracy": final, "val/loss": 1 - final, "test/accuracy": 1 - final}
        if status == "completed"
        else {}
    )
    seed = int(dict(override.split("=") for override in overrides).get("seed", "0"))
    record = {
        "status": status,
        "reason": reason,
        "metrics": metrics,
        "seconds": 2.0,
        "overrides": overrides,
        "config": {"seed": seed},
    }
    record["started"] = "2026-11-27T00:38:54+00:00"
    (folder / "run.json").write_text(json.dumps(record))
    rows = [
        json.dumps({"step": step, "val/accuracy": value}) + "\n"
        for step, value in curve(final)[: None if metrics else 2]
    ]
    (folder / HISTORY_FILE).write_text("".join(rows))


def write_sweep(
    folder,
    lrs=("1e-3", "1e-2", "1e-1"),
    depths=("2", "4"),
    seeds=("0", "1", "2"),
    failed=(4,),
    common="experiment=digits_vit",
):
    sweep = Sweep(
        folder,
        {
            "metric": "best/val/accuracy",
            "direction": "maximize",
            "command": "vitlab train -m",
            "config_dir": None,
        },
    )
    for lr in lrs:
        for depth in depths:
            for seed in seeds:
                varied = {"optimizer.lr": lr, "model.depth": depth, "seed": seed}
                job = Job(
                    len(sweep.jobs), [common, *(f"{key}={value}" for key, value in varied.items())], varied
                )
                status = (
                    ("failed", "Diverged: train/loss is <nan> at step 20")
                    if job.number in failed
                    else ("completed", None)
                )
                write_run(sweep.folder_of(job), job.overrides, accuracy(lr, depth, seed), *status)
                sweep.jobs.append(job)
    sweep.write()
    return folder


@pytest.fixture
def sweep(tmp_path):
    return write_sweep(tmp_path / "sweeps" / "grid")


def test_the_report_gives_means_and_deviations_over_seeds_costs_and_what_failed(vitlab, sweep):
    ended = vitlab("report", str(sweep))
    assert ended.status == 0, ended.err
    with (sweep / "report" / "configurations.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert [(row["optimizer.lr"], row["model.depth"]) for row in rows[:2]] == [
        ("1e-3", "4"),
        ("1e-3", "2"),
    ]  # the best first
    values = [accuracy("1e-3", "4", seed) for seed in "02"]  # seed 1 failed
    assert rows[0]["best/val/accuracy"] == f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"
    assert (rows[0]["runs"], rows[0]["seconds"], rows[0]["which"]) == (
        "2 completed, 1 failed",
        "6",
        "3, 4, 5",
    )
    for row in rows:
        assert row["best/val/accuracy"] in ended.out

    with (sweep / "report" / "runs.csv").open() as file:
        runs = {row["run"]: row for row in csv.DictReader(file)}
    assert len(runs) == 18
    assert float(runs["17"]["best/val/accuracy"]) == accuracy("1e-1", "4", "2")
    assert (
        runs["4"]["reason"] == "Diverged: train/loss is <nan> at step 20"
        and runs["4"]["best/val/accuracy"] == ""
    )
    assert re.search(
        r"4 +optimizer.lr=1e-3 model.depth=4 seed=1 +failed +Diverged: train/loss is <nan> at step 20",
        ended.out,
    )
    assert "18 runs: 17 completed, 1 failed; 36 s in all" in ended.out


def test_folds_of_one_configuration_are_one_row_that_says_so(vitlab, tmp_path):
    for rate, folds in (("1e-3", range(5)), ("1e-2", range(4))):
        for fold in folds:
            folder = tmp_path / "runs" / f"{rate}_{fold}"
            overrides = [f"optimizer.lr={rate}", "data.num_folds=5", f"data.fold={fold}"]
            write_run(folder, overrides, accuracy(rate, "2", fold))
            record = json.loads((folder / "run.json").read_text())
            record["config"]["data"] = {"num_folds": 5, "fold": fold}
            (folder / "run.json").write_text(json.dumps(record))
    ended = vitlab("report", "runs")
    with (tmp_path / "runs/report/configurations.csv").open() as file:
        rows = list(csv.DictReader(file))
    values = [accuracy("1e-3", "2", fold) for fold in range(5)]
    expected = f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"
    assert [row["mean over"] for row in rows] == ["5 folds", "4 of 5 folds"]
    assert rows[0]["best/val/accuracy"] == expected
    assert f"best by best/val/accuracy: {expected} over 5 folds with optimizer.lr=1e-3" in ended.out
    with (tmp_path / "runs/report/runs.csv").open() as file:
        assert {row["data.fold"] for row in csv.DictReader(file)} == set("01234")


def test_the_best_is_chosen_by_the_validation_metric_and_its_command_composes(vitlab, sweep):
    ended = vitlab("report", str(sweep))
    (line,) = [line for line in ended.out.splitlines() if line.startswith("to train it again: ")]
    command = shlex.split(line.partition(": ")[2])
    assert command == [
        "vitlab",
        "train",
        "experiment=digits_vit",
        "optimizer.lr=1e-3",
        "model.depth=4",
        "seed=2",
    ]
    composed = vitlab(*command[1:], "--cfg", "job")
    assert composed.status == 0
    assert "lr: 0.001" in composed.out and "seed: 2" in composed.out
    by_test = collect([sweep], metric="test/accuracy")
    assert "optimizer.lr=1e-1 model.depth=2" in summary_lines(by_test)[1]
    assert "chosen by its test" in summary_lines(by_test)[2] and "chosen by its test" not in ended.out
    least = collect([sweep], metric="val/loss")
    assert least.direction == "minimize" and "optimizer.lr=1e-3 model.depth=4" in summary_lines(least)[1]


def test_the_page_holds_everything_and_loads_nothing(vitlab, sweep):
    vitlab("report", str(sweep))
    page = (sweep / "report" / "report.html").read_text()
    assert not re.search(r"""src=["'](?!data:)""", page)
    assert "http://" not in page and "https://" not in page and "file:" not in page
    assert page.count("data:image/png;base64,") >= 3
    assert "&lt;nan&gt;" in page and "<nan>" not in page  # a reason is text, whatever it holds
    markdown = (sweep / "report" / "report.md").read_text()
    for name in re.findall(r"\]\((\w+\.png)\)", markdown):
        with Image.open(sweep / "report" / name) as picture:
            assert len(picture.convert("RGB").getcolors(maxcolors=1_000_000)) > 20


def test_the_pictures_show_the_values_of_every_run(sweep):
    comparison = collect([sweep])
    (lr, depth) = parameters_figure(comparison).axes  # a seed is no parameter
    points = lr.lines[0].get_xydata()
    assert len(points) == 17
    means = dict(lr.lines[1].get_xydata())
    expected = [accuracy("1e-3", d, s) for d in "24" for s in "012" if (d, s) != ("4", "1")]
    assert means[0.0] == pytest.approx(statistics.mean(expected))
    assert [text.get_text() for text in lr.get_xticklabels()] == ["1e-3", "1e-2", "1e-1"]
    assert depth.get_xlabel() == "model.depth"

    (axes,) = curves_figure(comparison).axes
    drawn = [line.get_xydata().tolist() for line in axes.lines if len(line.get_xydata()) > 1]
    runs = {
        (lr, d, s): curve(accuracy(lr, d, s)) for lr in ("1e-3", "1e-2", "1e-1") for d in "24" for s in "012"
    }
    failed = runs.pop(("1e-3", "4", "1"))[:2]
    groups = {key[:2]: [runs[each] for each in runs if each[:2] == key[:2]] for key in runs}
    means = [
        [(step, statistics.mean(dict(each)[step] for each in curves)) for step, _ in curves[0]]
        for curves in groups.values()
    ]
    assert sorted(drawn) == [pytest.approx(np.array(each)) for each in sorted([*means, failed])]
    bands = [band.get_paths()[0].vertices for band in axes.collections]
    reach = statistics.stdev(accuracy("1e-1", "2", s) for s in "012")  # at the last step
    assert (
        any(np.allclose(np.ptp(band[band[:, 0] == 50][:, 1]), 2 * reach) for band in bands)
        and len(bands) == 6
    )
    (axes,) = parallel_figure(comparison).axes
    lines = [
        line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 3
    ]  # two parameters and what was reached
    ends = {round(line[-1], 6) for line in lines}
    assert len(ends) == 17 and min(ends) == 0.0 and max(ends) == 1.0


def test_where_only_seeds_differ_nothing_is_drawn_against_them(tmp_path):
    comparison = collect([write_sweep(tmp_path / "seeds", lrs=("1e-3",), depths=("2",), failed=())])
    assert comparison.varied == ["seed"]
    assert parameters_figure(comparison) is None and parallel_figure(comparison) is None


def test_the_page_says_which_sweep_of_which_day_and_leads_to_its_runs(vitlab, tmp_path):
    folder = write_sweep(
        tmp_path / "out puts" / "digits" / "rates & 100%", lrs=("1e-3", "1e-2"), depths=("2",)
    )
    ended = vitlab("report", str(folder))
    assert ended.status == 0, ended.err
    page = (folder / "report" / "report.html").read_text()
    assert "<h1>Sweep rates &amp; 100% of digits, 2026-11-27</h1>" in page
    links = re.findall(r'<a href="([^"]+)">(\d+)</a>', page)
    assert {label for _, label in links} == set("012345")
    for link, label in links:
        assert (folder / "report" / unquote(link)).samefile(folder / label)
    assert (
        (folder / "report" / "report.md")
        .read_text()
        .startswith("# `Sweep rates & 100% of digits, 2026-11-27`")
    )


def test_a_command_is_code_beside_a_button_and_the_one_script_is_the_pages_own(vitlab, sweep):
    ended = vitlab("report", str(sweep))
    page = (sweep / "report" / "report.html").read_text()
    command = next(
        line.partition(": ")[2] for line in ended.out.splitlines() if line.startswith("to train it again: ")
    )
    button = '<button type="button" class="copy">copy</button>'
    assert f"<pre><code>{command}</code></pre>{button}" in page
    assert f"<pre><code>vitlab train -m</code></pre>{button}" in page  # the whole sweep
    (script,) = re.findall(r'<script type="module">(.*?)</script>', page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page and "onclick" not in page


def write_corrected_sweep(folder, reason, common, more):
    """Two jobs that were refused before they had a config, and the same two again with what was missing."""
    facts = {
        "metric": "best/val/accuracy",
        "direction": "maximize",
        "command": "vitlab train -m",
        "overrides": [*common, *more],
    }
    sweep = Sweep(folder, facts)
    for overrides, ends in ((common, "failed"), ([*common, *more], "completed")):
        for depth in ("2", "4"):
            varied = {"model.depth": depth}
            sweep.jobs.append(
                Job(
                    len(sweep.jobs),
                    [*overrides, f"model.depth={depth}"],
                    varied,
                    ends,
                    reason if ends == "failed" else None,
                )
            )
            if ends == "completed":
                write_run(sweep.folder_of(sweep.jobs[-1]), sweep.jobs[-1].overrides, 0.5 + int(depth) / 10)
    sweep.write()
    return folder


def test_a_corrected_sweep_does_not_mix_what_failed_before_with_what_is_good_now(vitlab, tmp_path):
    folder = write_corrected_sweep(
        tmp_path / "s", "warm-up does not fit", ["trainer.max_epochs=3"], ["schedule.warmup_epochs=1"]
    )
    ended = vitlab("report", str(folder))
    assert ended.status == 0, ended.err
    with (folder / "report" / "configurations.csv").open() as file:
        rows = [(row["model.depth"], row["runs"], row["which"]) for row in csv.DictReader(file)]
    assert rows == [("4", "1 completed", "3"), ("2", "1 completed", "2")]
    assert re.search(r"0 +model.depth=2 +failed, since corrected +warm-up does not fit", ended.out)
    assert "2 of them a later command corrected" in ended.out
    page = (folder / "report" / "report.html").read_text()
    assert (
        page.count('<a href="../') == 2 and "<td>0</td>" in page
    )  # what never began has no folder to lead to


def test_a_job_that_never_began_is_in_a_row_with_those_that_were_told_the_same(tmp_path):
    folder = write_corrected_sweep(
        tmp_path / "s", "refused", ["trainer.max_epochs=3"], ["schedule.warmup_epochs=1"]
    )
    content = json.loads((folder / "sweep.json").read_text())
    content["jobs"][0] |= {"overrides": ["trainer.max_epochs=3", "schedule.warmup_epochs=1", "model.depth=2"]}
    content["jobs"][1] |= {"varied": {"model.depth": "4", "seed": "1"}}  # of another grid: no job corrects it
    (folder / "sweep.json").write_text(json.dumps(content))
    rows = [[entry.label for entry in member.entries] for member in group(collect([folder]))]
    assert rows == [["3"], ["0", "2"], ["1"]]


def test_what_mattered_is_what_was_made_to_matter(sweep):
    pytest.importorskip("optuna", reason="an extra of vitlab")
    shares = importance(collect([sweep]))
    assert list(shares) == ["optimizer.lr", "model.depth"]
    assert shares["optimizer.lr"] > 0.9
    assert sum(shares.values()) == pytest.approx(1.0)


def test_sweeps_and_single_runs_are_compared_by_what_differs_between_them(tmp_path, sweep):
    other = write_sweep(
        tmp_path / "other", lrs=("1e-3",), depths=("2",), failed=(), common="experiment=flowers_vit"
    )
    write_run(
        tmp_path / "alone", ["experiment=digits_vit", "optimizer.lr=0.001", "model.depth=2", "seed=3"], 0.95
    )
    comparison = collect([sweep, other, tmp_path / "alone"])
    assert len(comparison.entries) == 18 + 3 + 1
    assert comparison.varied == ["experiment", "optimizer.lr", "model.depth", "seed"]
    assert summary_lines(comparison)[1].endswith("with experiment=digits_vit optimizer.lr=1e-3 model.depth=4")
    alike = [
        entry.label
        for entry in comparison.entries
        if comparison.values(entry, ["experiment", "model.depth"]) == ("digits_vit", "2")
    ]
    assert "alone" in alike and "grid/0" in alike


def test_what_a_run_was_not_told_its_config_says(tmp_path):
    write_run(tmp_path / "0", ["optimizer.lr=1e-3", "model=vit_tiny"], 0.8)
    write_run(tmp_path / "1", [], 0.7)
    record = json.loads((tmp_path / "1" / "run.json").read_text())
    record |= {
        "config": {"seed": 0, "optimizer": {"lr": 0.001}, "model": {"depth": 4}},
        "choices": {"model": "vit_micro"},
    }
    (tmp_path / "1" / "run.json").write_text(json.dumps(record))
    comparison = collect([tmp_path])
    assert comparison.varied == ["model"]
    assert [comparison.value(entry, "model") for entry in comparison.entries] == ["vit_tiny", "vit_micro"]


def test_the_same_run_twice_says_nothing_about_the_spread(tmp_path):
    for name in ("first", "again"):
        write_run(tmp_path / name, ["model.depth=2", "seed=1"], 0.8)
    write_run(tmp_path / "other", ["model.depth=2", "seed=2"], 0.6)
    (line,) = [line for line in summary_lines(collect([tmp_path])) if line.startswith("best by")]
    assert f"0.7000 ± {statistics.stdev([0.8, 0.6]):.4f}" in line


def test_a_configuration_without_a_number_is_the_last_and_never_the_best(vitlab, tmp_path):
    for number, (depth, reached) in enumerate([("2", 0.5), ("2", 0.7), ("4", math.nan), ("4", 0.9)]):
        write_run(tmp_path / "runs" / str(number), [f"model.depth={depth}", f"seed={number}"], reached)
    ended = vitlab("report", "runs")
    assert ended.status == 0, ended.err
    with (tmp_path / "runs" / "report" / "configurations.csv").open() as file:
        rows = [(row["model.depth"], row["best/val/accuracy"]) for row in csv.DictReader(file)]
    assert rows == [("2", "0.6000 ± 0.1414"), ("4", "nan ± nan")]
    assert "0.6000 ± 0.1414 with model.depth=2" in ended.out


def test_damaged_files_are_named_and_the_others_reported(vitlab, tmp_path):
    for number in range(4):
        write_run(
            tmp_path / "runs" / str(number),
            ["experiment=digits_vit", f"model.depth={number}"],
            0.5 + number / 10,
        )
    (tmp_path / "runs" / "3" / "run.json").write_text('{"status": "comp')
    history = tmp_path / "runs" / "1" / HISTORY_FILE
    history.write_text("no row\n" + history.read_text())
    ended = vitlab("report", "runs")
    assert ended.status == 0, ended.err
    assert "4 runs: 3 completed, 1 damaged" in ended.out
    assert re.search(r"3 +damaged +run.json cannot be read", ended.out)
    assert "0.7000 with model.depth=2" in ended.out
    assert (
        "1/metrics.jsonl, line 1 is no row of metrics"
        in (tmp_path / "runs" / "report" / "report.html").read_text()
    )


def test_a_run_that_is_named_twice_counts_once(sweep):
    labels = [entry.label for entry in collect([sweep, sweep / "7", sweep.parent]).entries]
    assert sorted(labels) == sorted(f"grid/{number}" for number in range(18))


def test_a_job_that_ended_before_it_had_a_config_makes_no_column(tmp_path):
    write_run(tmp_path / "0", ["optimizer.lr=1e-3", "name=mine"], 0.8)
    write_run(tmp_path / "1", ["optimizer.lr=1e-2"], 0.7, "failed", "RuntimeError: no")
    record = json.loads((tmp_path / "1" / "run.json").read_text())
    (tmp_path / "1" / "run.json").write_text(json.dumps(record | {"config": {}}))
    assert collect([tmp_path]).varied == ["optimizer.lr"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["empty"], "empty holds no sweep and no run"),
        (["sweeps/grid", "--metric", "val/f1"], "no run has the metric val/f1; there are best/val/accuracy"),
    ],
)
def test_a_report_of_nothing_is_refused_in_one_line(vitlab, sweep, arguments, says):
    Path("empty").mkdir()
    ended = vitlab("report", *arguments)
    assert ended.status == 2
    assert len(ended.err.strip().splitlines()) == 1
    assert says in ended.err


def test_a_sweep_in_which_nothing_completed_has_a_report_too(vitlab, tmp_path):
    folder = write_sweep(tmp_path / "bad", lrs=("1e-1",), depths=("2",), failed=(0, 1, 2))
    ended = vitlab("report", str(folder))
    assert ended.status == 0, ended.err
    assert "no run completed, so none is the best" in ended.out
    assert (folder / "report" / "report.html").is_file()


def test_a_sweep_whose_jobs_never_measured_its_metric_shows_how_they_ended(vitlab, tmp_path):
    folder = write_sweep(tmp_path / "blind", lrs=("1e-1",), depths=("2",), failed=(1,))
    for file in folder.glob("*/run.json"):
        record = json.loads(file.read_text())
        file.write_text(json.dumps(record | {"metrics": {}}))
    ended = vitlab("report", str(folder))
    assert ended.status == 0, ended.err
    assert "no run has the metric best/val/accuracy" in ended.err
    assert "no run has best/val/accuracy, so none is the best" in ended.out
    assert "1 failed" in ended.out and "2 completed" in ended.out
