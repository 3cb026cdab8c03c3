"""What vitlab writes for others it also reads: weights, class names and preprocessing."""

import pytest
import torch

from vitlab.export import to_hugging_face, to_timm
from vitlab.weights.loading import load_pretrained
from vitlab.weights.sources import read_weights


@pytest.mark.parametrize(
    ("write", "kind"), [(to_timm.write, "timm"), (to_hugging_face.write, "hf")], ids=["timm", "hf"]
)
def test_an_exported_folder_is_a_source_of_weights(write, kind, make_model, make_card, tmp_path):
    model, card = make_model(), make_card(stored_size=(40, 40), interpolation="bilinear")
    write(model, card, tmp_path)
    weights = read_weights(f"{kind}:{tmp_path}")
    fresh = make_model()
    for parameter in fresh.parameters():
        torch.nn.init.zeros_(parameter)
    load_pretrained(fresh, weights, card.class_names)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(fresh(images), model(images), rtol=0.0, atol=0.0)
    told = weights.preprocessing
    assert told is not None
    assert (told.image_size, told.crop_pct, told.interpolation) == (32, 0.8, "bilinear")
    assert (told.mean, told.std) == (list(card.preprocessing.mean), list(card.preprocessing.std))
