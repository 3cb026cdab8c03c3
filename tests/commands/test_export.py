"""From a finished run to folders that other libraries open: the model card's own program classifies
photographs as vitlab does."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image

from vitlab.checkpoint.reading import load_model_weights, read_checkpoint
from vitlab.construct import build_model
from vitlab.predictor import Predictor
from vitlab.uncertainty import likely_range

FAST = [
    "trainer.max_epochs=6",
    "data.image_size=32",
    "patch_size=8",
    "data.batch_size=8",
    "model.depth=1",
    "schedule.warmup_epochs=0",
]
FAST += [
    "hardware=cpu",
    "callbacks=[default]",
    "callbacks.evaluation=null",
    "data.test_fraction=0.25",
    "augment.crop_padding=2",
    "optimizer.lr=3e-3",
]
FAST += ["model.global_pool=token", "model.class_token=true", "data.eval_size=40"]


@pytest.fixture(scope="module")
def run(trained_in, write_photos, tmp_path_factory):
    """Trains three colours of photographs; returns the run's folder."""
    folder = tmp_path_factory.mktemp("colours")
    return trained_in(folder, "data=folder", f"data.root={write_photos(folder / 'photos')}", *FAST)


def predictor_of(checkpoint):
    """What `vitlab predict` asks."""
    content = read_checkpoint(checkpoint)
    card = content["card"]
    model = build_model(card.config)
    load_model_weights(model, content, checkpoint)
    return Predictor(model, card.class_names, card.preprocessing, "cpu")


def test_every_formats_own_program_classifies_photographs_as_vitlab_does(
    vitlab, run, tmp_path, monkeypatch, capfd
):
    checkpoint = run / "checkpoints" / "best.ckpt"
    record, predictor = json.loads((run / "run.json").read_text()), predictor_of(checkpoint)
    exported = tmp_path / "exported"
    for name in ("timm", "hf", "onnx", "torch_export"):
        ended = vitlab("export", f"checkpoint={checkpoint}", f"format={name}", f"hydra.run.dir={exported}")
        assert ended.status == 0 and not ended.err, ended
        assert str(exported / name) in ended.out
        monkeypatch.chdir(exported / name)
        page = Path("README.md").read_text()
        for label, channel in (("ash", 0), ("birch", 1), ("cedar", 2)):
            pixels = np.full((90, 160, 3), 60, dtype=np.uint8)
            pixels[..., channel] += np.linspace(60, 140, 160, dtype=np.uint8)
            Image.fromarray(pixels).save("picture.jpg")
            namespace = {}
            exec(page.partition("```python\n")[2].partition("```")[0], namespace)
            assert capfd.readouterr().out.splitlines()[-1] == label
            (answer,) = predictor.classify([Path("picture.jpg")], top_k=3)
            assert answer[0][0] == label
            given = torch.as_tensor(namespace["logits"]).softmax(dim=1)[0]
            expected = torch.tensor([probability for _, probability in sorted(answer)])
            torch.testing.assert_close(given, expected, rtol=0.0, atol=1e-4)

        told = ModelCard.load("README.md").data
        assert told.pipeline_tag == "image-classification" and "vitlab" in told.tags
        for fact in (
            record["data"]["fingerprint"],
            "vitlab train data=folder data.root=PATH ",
            f"{record['parameters']:,}",
            f"{record['metrics']['test/accuracy']:.2%}",
        ):
            assert fact in page, fact
        assert str(run.parent) not in page and str(exported) not in page  # no place on this machine
        low, high = likely_range(record["metrics"]["test/accuracy"], record["num_tested"])
        assert f" | {low:.1%} to {high:.1%} | {record['num_tested']} |" in page
        assert f"    vitlab predict checkpoint={checkpoint.name} images=picture.jpg" in page
        (versions,) = [line for line in page.splitlines() if line.startswith("- Versions: ")]
        assert [word.split()[0] for word in versions.split(", ")[1:]] == [
            "vitlab",
            "torch",
            "pytorch-lightning",
            "numpy",
            "pillow",
        ]
    assert not list(exported.glob(".[a-z]*.[0-9]*"))  # no half-made folder


def test_a_card_tells_only_what_is_known_of_this_checkpoint(vitlab, run, tmp_path):
    record = json.loads((run / "run.json").read_text())
    last = vitlab(
        "export", f"checkpoint={run}/checkpoints/last.ckpt", "format=timm", f"hydra.run.dir={tmp_path}/last"
    )
    assert last.status == 0, last.err
    page = (tmp_path / "last" / "timm" / "README.md").read_text()
    assert f"| val | loss | {record['metrics']['val/loss']:.4f} |" in page
    assert "| test |" not in page  # it was measured with the best checkpoint
    elsewhere = tmp_path / "copy" / "elsewhere.ckpt"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes())
    (tmp_path / "run.json").write_text(
        json.dumps(record | {"config": record["config"] | {"seed": 1}})
    )  # of another run
    alone = vitlab("export", f"checkpoint={elsewhere}", "format=timm", f"hydra.run.dir={tmp_path}/alone")
    assert alone.status == 0 and "no run.json of this checkpoint's run" in alone.out, alone
    page = (tmp_path / "alone" / "timm" / "README.md").read_text()
    assert (
        "vitlab train" not in page and record["data"]["fingerprint"] not in page and "## Results" not in page
    )
    assert f"{record['parameters']:,}" in page


def test_bad_input_is_refused_in_one_line_and_leaves_nothing_behind_but_what_was_there(
    vitlab, run, tmp_path, monkeypatch
):
    checkpoint = f"checkpoint={run}/checkpoints/best.ckpt"
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    content["vitlab"]["config"]["model"]["ffn"] = "dwconv"
    weights = build_model(content["vitlab"]["config"]).state_dict()
    torch.save(
        content | {"state_dict": {f"model.{name}": value for name, value in weights.items()}},
        tmp_path / "dwconv.ckpt",
    )
    content["vitlab"]["preprocessing"]["interpolation"] = (
        "BICUBIC) or print('executed'"  # it would stand in the card's program
    )
    torch.save(content, tmp_path / "evil.ckpt")
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes((run / "checkpoints" / "best.ckpt").read_bytes()[:5000])
    (tmp_path / "damaged" / "checkpoints").mkdir(parents=True)
    (tmp_path / "damaged" / "run.json").write_text("{")
    shutil.copy(run / "checkpoints" / "best.ckpt", tmp_path / "damaged" / "checkpoints")
    cases = [
        ([checkpoint, "format=keras"], "format=keras is not known; known: timm, hf, onnx, torch_export"),
        ([checkpoint], "format has no value; give one: format=..."),
        (["format=timm"], "checkpoint has no value"),
        (["checkpoint=no/where.ckpt", "format=timm"], "checkpoint=no/where.ckpt is no file"),
        ([f"checkpoint={broken}", "format=timm"], "cut short"),
        (
            [f"checkpoint={tmp_path}/damaged/checkpoints/best.ckpt", "format=timm"],
            "damaged/run.json cannot be read",
        ),
        (
            [f"checkpoint={tmp_path}/dwconv.ckpt", "format=hf"],
            "this model has DepthwiseConvMlp; format=onnx and format=torch_export",
        ),
        ([checkpoint, "format=timm", "opset=18"], "opset=18 with format=timm: only format=onnx takes one"),
        (
            [checkpoint, "format=onnx", "opset=new"],
            "opset=new with format=onnx: only format=onnx takes one, a whole number",
        ),
        ([checkpoint, "format=onnx", "opset=3"], "opset=3 cannot be written; 18 to"),
        ([checkpoint, "format=timm", "fromat=hf"], "unknown key fromat; did you mean format?"),
        ([checkpoint, "format=[timm]"], "format=['timm'] is not known"),
        (
            [f"checkpoint={tmp_path}/evil.ckpt", "format=onnx"],
            "its preprocessing.interpolation is not what `vitlab train` writes",
        ),
    ]
    for arguments, says in cases:
        ended = vitlab("export", *arguments)
        assert ended.status == 2 and says in ended.err, ended
        assert len(ended.err.strip().splitlines()) == 1, ended.err
        assert not list((tmp_path / "outputs").rglob("*.*"))
    monkeypatch.setitem(sys.modules, "onnxscript", None)  # as where it is not installed
    ended = vitlab("export", checkpoint, "format=onnx")
    assert ended.status == 2 and "format=onnx needs onnxscript: pip install 'vitlab[onnx]'" in ended.err

    arguments = ["export", checkpoint, "format=timm", f"hydra.run.dir={tmp_path}/exported"]
    assert vitlab(*arguments).status == 0
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "exported" / "timm").iterdir()}
    again = vitlab(*arguments)
    assert again.status == 2 and "timm is there already" in again.err
    assert files == {file: file.stat().st_mtime_ns for file in (tmp_path / "exported" / "timm").iterdir()}
