"""The program of a model card prepares a picture of every mode as `vitlab predict` does."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
import timm
import torch
from PIL import Image, ImageOps
from torch import nn

from vitlab.data.preprocessing import Preprocessing
from vitlab.export.formats import FORMATS, write_export
from vitlab.export.program import in_code
from vitlab.predictor import Predictor

VIEWS = {
    "as stored": ((40, 40), (40, 40), 3, "bicubic"),
    "the centre": ((40, 40), (32, 32), 3, "bilinear"),
    "grey": ((48, 48), (32, 32), 1, "bicubic"),
    "grey, bilinear": ((28, 28), (28, 28), 1, "bilinear"),
    "oblong": ((40, 64), (32, 48), 3, "bicubic"),
    "larger than most pictures": ((224, 224), (224, 224), 3, "bicubic"),
    "enlarged": ((20, 20), (32, 32), 3, "bilinear"),
    "padded": ((40, 56), (40, 56), 3, "bicubic", {"fit": "pad"}),
    "padded, grey, the centre": ((48, 48), (32, 32), 1, "bilinear", {"fit": "pad"}),
    "squashed": ((40, 40), (32, 32), 3, "bicubic", {"fit": "squash"}),
    "squashed, a stated range": (
        (64, 40),
        (64, 40),
        1,
        "bilinear",
        {"fit": "squash", "value_range": (9e3, 6e4)},
    ),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_a_cards_program_sees_a_picture_of_every_mode_as_predict_does(view, pictures, make_card):
    stored, size, channels, interpolation, *more = view
    facts = make_card(size, stored, channels, interpolation=interpolation, **dict(*more)).preprocessing
    predictor = Predictor(nn.Identity(), [], facts, "cpu")
    program = in_code(facts)
    for file in pictures:
        namespace = {"np": np, "Image": Image, "ImageOps": ImageOps}
        exec(program.replace("picture.jpg", str(file)), namespace)
        given, expected = torch.from_numpy(namespace["images"]), predictor.prepare([predictor.read(file)])
        torch.testing.assert_close(
            given, expected, rtol=0, atol=1e-5, msg=lambda text, file=file: f"{file.name}: {text}"
        )


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize("kind", ["npy", "chw.npy", "tif", "planar.tif"])
def test_a_cards_program_sees_bands_as_predict_does(fit, kind, make_card, tmp_path):
    values = np.random.default_rng(0).integers(0, 3000, (30, 50, 4)).astype(np.uint16)
    file, first = tmp_path / f"a.{kind}", np.ascontiguousarray(values.transpose(2, 0, 1))
    if kind.endswith("npy"):
        np.save(file, first if kind == "chw.npy" else values)
    else:
        how = {"tif": (values, "contig"), "planar.tif": (first, "separate")}[kind]
        tifffile.imwrite(file, how[0], photometric="minisblack", planarconfig=how[1])
    statistics = {"mean": (0.1, 0.2, 0.3, 0.4), "std": (0.5, 0.6, 0.7, 0.8)}
    for more in ({"white": 4095}, {"value_range": (100.0, 2000.0)}):
        facts = make_card((24, 24), (32, 32), 4, **statistics, fit=fit, **more).preprocessing
        namespace = {"np": np, "Image": Image, "ImageOps": ImageOps}
        exec(in_code(facts).replace("picture.jpg", str(file)), namespace)
        predictor = Predictor(nn.Identity(), [], Preprocessing.from_plain(facts.as_plain()), "cpu")
        expected = predictor.prepare([predictor.read(file)])
        torch.testing.assert_close(torch.from_numpy(namespace["images"]), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FORMATS)
def test_every_exports_program_gives_a_picture_of_every_mode_the_class_and_the_probabilities_of_predict(
    name, pictures, make_model, make_card, tmp_path, monkeypatch, capfd
):
    model, card = make_model(image_size=40, depth=1), make_card((40, 40), (48, 48), interpolation="bilinear")
    model.pos_embed.data.zero_()  # the picture shall decide
    write_export(model, card, {}, Path("best.ckpt"), tmp_path, name, {})
    monkeypatch.chdir(tmp_path)
    for library, load in ((torch.export, "load"), (timm, "create_model")):  # once, not for each picture
        monkeypatch.setattr(library, load, cache(getattr(library, load)))
    predictor = Predictor(model, card.class_names, card.preprocessing, "cpu")
    program = (tmp_path / "README.md").read_text().partition("```python\n")[2].partition("```")[0]
    answers = set()
    for file in pictures:
        namespace: dict = {}
        exec(program.replace("picture.jpg", str(file)), namespace)
        (answer,) = predictor.classify([file], top_k=5)
        assert capfd.readouterr().out.splitlines()[-1] == answer[0][0]
        given = torch.as_tensor(namespace["logits"]).softmax(dim=1)[0].tolist()
        assert given == pytest.approx([dict(answer)[known] for known in card.class_names], abs=1e-4), (
            file.name
        )
        answers.add(tuple(round(probability, 3) for probability in given))
    assert len(answers) > 10  # which the picture decides
