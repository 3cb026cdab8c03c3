"""The GPU's minutes, rehearsed on the processor: the whole command, what outruns its share, what fails, the
images that travel."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from benchmarks.gpu import images
from benchmarks.gpu.__main__ import main, run_part
from benchmarks.gpu.findings import CUT, FAILED, PASSED, Finding, Findings, left_over, page, read_findings
from benchmarks.gpu.plan import Plan
from benchmarks.gpu.watch import busy_seconds
from PIL import Image


def test_the_whole_command_rehearses_and_leaves_every_page(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shares = [f"--share={part}=900" for part in ("right", "fast", "good")]  # also on a machine that is busy
    main(["--device", "cpu", "--out", str(tmp_path), *shares])
    assert f"wrote {tmp_path / 'gpu.md'}" in capsys.readouterr().out
    whole = (tmp_path / "gpu.md").read_text()
    assert "Rehearsed on CPU in tiny sizes; these are no measurements." in whole
    assert whole.endswith("Nothing failed.\n")
    for part, found in {
        "right": "a step has the processors loss and gradients",
        "fast": "end to end",
        "good": "for 1 min of training",
    }.items():
        assert (tmp_path / f"{part}.md").read_text() in whole
        findings = read_findings(tmp_path / f"{part}.json")
        assert any(found in each.name for each in findings)
        assert {
            each.status for each in findings if not each.reason.startswith("Skipped: on a processor")
        } == {PASSED}


def plan_for(folder, **shares):
    return Plan(str(folder), "cpu", None, {"right": 60.0} | shares, ["-k", "dropout"])


def test_a_part_that_outruns_its_share_is_stopped_with_all_it_started_and_the_command_goes_on(tmp_path):
    (found,) = run_part("right", plan_for(tmp_path, right=0.3))
    assert found.status == CUT
    assert "stopped after its share" in found.name


def test_what_a_part_found_before_it_broke_is_kept_and_the_break_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("VITLAB_GPU_PLAN", "{}")
    plan = plan_for(tmp_path)
    Findings(plan.json_file("fast")).add(Finding("before", PASSED, 1.0))
    (tmp_path / "log.txt").write_text("of an earlier part")
    monkeypatch.setattr(
        Plan, "environment", lambda self: {"VITLAB_GPU_PLAN": "{}"}
    )  # a plan that no part can read
    before, broken = run_part("fast", plan_for(tmp_path, fast=60.0))
    assert (before.name, broken.status) == ("before", FAILED)
    assert "TypeError" in broken.reason and "earlier" not in broken.reason
    assert "TypeError" in left_over({"fast": [before, broken]})


def test_cases_of_one_claim_are_a_row_with_the_largest_of_their_numbers():
    cases = [
        Finding(f"it holds[{name}]", status, 0.5, {"error": error})
        for name, status, error in (("a", PASSED, 0.1), ("b", FAILED, 0.3))
    ]
    assert "| it holds | 1 passed, 1 FAILED |     1.0 | error at most 0.3 |" in page("Right?", "", cases)


def test_overlapping_kernels_are_counted_once():
    assert busy_seconds([(0.0, 10e6), (5e6, 12e6), (20e6, 21e6)]) == pytest.approx(13.0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(["quick"], "no part quick; there are right, fast, good"), ([], "torch finds no GPU here")],
)
def test_what_cannot_run_is_refused(arguments, complaint, capsys, tmp_path):
    with pytest.raises(SystemExit):
        main([*arguments, "--out", str(tmp_path)])
    assert complaint in capsys.readouterr().err


def jpeg(pixels, quality=90):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=quality)
    return content.getvalue()


def archive(file, **qualities):
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(file, "w") as opened:
        for index in range(12):
            pixels = np.full((32, 32, 3), 20 * index, np.uint8) + generator.integers(
                0, 9, (32, 32, 3), np.uint8
            )
            opened.writestr(
                f"{'test' if index % 4 == 0 else 'train'}/{'cat' if index % 2 else 'ant'}/{index}.jpg",
                jpeg(pixels, **qualities),
            )
    return file


def test_what_is_packed_comes_out_in_torchvisions_layout_pixel_for_pixel(tmp_path):
    source = archive(tmp_path / "images.zip")
    assert "12 images" in images.pack(source, tmp_path / "packed.npz")
    images.unpack(tmp_path / "packed.npz", tmp_path / "root")
    folder = tmp_path / "root" / "cifar-10-batches-py"
    read = {file.name: pickle.loads(file.read_bytes()) for file in folder.iterdir()}
    assert read["batches.meta"]["label_names"] == ["ant", "cat"]
    found = {
        (bytes(row), label)
        for name, batch in read.items()
        if "data" in batch
        for row, label in zip(batch["data"], batch["labels"], strict=True)
    }
    with zipfile.ZipFile(source) as opened:
        expected = set()
        for name in opened.namelist():
            pixels = np.asarray(Image.open(io.BytesIO(opened.read(name))))
            expected.add((pixels.transpose(2, 0, 1).tobytes(), int("/cat/" in name)))
    assert found == expected
    assert len(read["test_batch"]["labels"]) == 3


def test_images_that_do_not_begin_alike_are_refused_by_name(tmp_path):
    source = archive(tmp_path / "images.zip")
    with zipfile.ZipFile(source, "a") as opened:
        opened.writestr("train/cat/other.jpg", jpeg(np.zeros((32, 32, 3), np.uint8), quality=30))
    with pytest.raises(ValueError, match=r"train/cat/other\.jpg begins otherwise"):
        images.pack(source, tmp_path / "packed.npz")


def test_findings_are_whole_after_each_one(tmp_path):
    kept = Findings(tmp_path / "part.json")
    for number in range(3):
        kept.add(Finding(f"claim {number}", PASSED, 0.0))
        assert len(json.loads((tmp_path / "part.json").read_text())) == number + 1
