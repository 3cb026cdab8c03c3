"""A picture file is prepared for prediction exactly as evaluation prepared it."""

import pytest
import torch
from torch import nn

from vitlab.data.augment.policy import Augment
from vitlab.data.files.find import find_images
from vitlab.data.image_data import ImageData
from vitlab.data.preprocessing import Preprocessing
from vitlab.data.sources.folder import ImageFolder
from vitlab.predictor import Predictor


@pytest.mark.parametrize(
    ("interpolation", "fit"), [("bicubic", "crop"), ("bilinear", "pad"), ("bicubic", "squash")]
)
def test_a_file_gets_the_probabilities_that_evaluation_gives_it(interpolation, fit, photo_folder, tmp_path):
    root = photo_folder(side=40)
    how = {"interpolation": interpolation, "fit": fit}
    source = ImageFolder(str(root), [20, 30], cache_dir=str(tmp_path / "cache"), **how)
    fixed = {
        "batch_size": 8,
        "num_workers": 0,
        "val_fraction": 0.1,
        "test_fraction": 0.2,
        "split_seed": 0,
        "seed": 0,
    }
    data = ImageData(source, Augment(), 16, 3, 3, **fixed, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6])
    data.setup()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3)).eval()
    answers = Predictor(model, source.class_names, data.preprocessing(), device="cpu").classify(
        find_images(root), top_k=3
    )
    assert data.preprocessing().fit == fit
    found = torch.tensor([[value for _, value in answer] for answer in answers])
    for batch in data.test_dataloader():
        images = data.on_after_batch_transfer(batch, 0).images
        with torch.no_grad():
            evaluated = model(images).softmax(dim=1).sort(dim=1, descending=True).values
        assert len(evaluated) == 6
        nearest = (evaluated[:, None] - found).abs().amax(dim=2).min(dim=1)
        assert nearest.values.max() < 1e-5 and len(nearest.indices.unique()) == 6


def test_pictures_are_resized_as_the_checkpoint_says(photo_folder):
    root = photo_folder(side=40, count=1)
    facts = {"in_channels": 3, "mean": (0.5,) * 3, "std": (0.5,) * 3}
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3)).eval()
    bicubic, bilinear = (
        Predictor(
            model, "abc", Preprocessing((16, 16), (16, 16), interpolation=name, **facts), device="cpu"
        ).classify(find_images(root), top_k=3)
        for name in ("bicubic", "bilinear")
    )
    assert bicubic != bilinear
