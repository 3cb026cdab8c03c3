"""The program of a model card prepares a picture of every mode as `vitlab predict` does."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image, ImageOps
from torch import nn

from vitlab.export.formats import FORMATS, write_export
from vitlab.export.preprocessing import in_code
from vitlab.predictor import Predictor

VIEWS = {
    "as stored": ((40, 40), (40, 40), 3, "bicubic"),
    "the centre": ((40, 40), (32, 32), 3, "bilinear"),
    "grey": ((48, 48), (32, 32), 1, "bicubic"),
    "grey, bilinear": ((28, 28), (28, 28), 1, "bilinear"),
    "oblong": ((40, 64), (32, 48), 3, "bicubic"),
    "larger than most pictures": ((224, 224), (224, 224), 3, "bicubic"),
    "enlarged": ((20, 20), (32, 32), 3, "bilinear"),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
def test_a_cards_program_sees_a_picture_of_every_mode_as_predict_does(view, pictures, make_card):
    stored, size, channels, interpolation = view
    facts = make_card(size, stored, channels, interpolation=interpolation).preprocessing
    predictor = Predictor(nn.Identity(), [], facts, "cpu")
    program = in_code(facts)
    for file in pictures:
        namespace = {"np": np, "Image": Image, "ImageOps": ImageOps}
        exec(program.replace("picture.jpg", str(file)), namespace)
        given, expected = torch.from_numpy(namespace["images"]), predictor.prepare([predictor.read(file)])
        torch.testing.assert_close(
            given, expected, rtol=0, atol=1e-5, msg=lambda text, file=file: f"{file.name}: {text}"
        )


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
