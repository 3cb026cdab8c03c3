"""A probe on kept features is a probe of the full model; they are computed once, and again when anything they
depend on changes."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from sklearn.linear_model import LogisticRegression

from vitlab import optim
from vitlab.data.augment.crop import centre_view, normalise
from vitlab.data.augment.policy import Augment
from vitlab.data.feature_data import FeatureData
from vitlab.data.image_data import ImageData
from vitlab.data.samples import HeldImages
from vitlab.data.sources.digits import Digits
from vitlab.models.patch_embed import ConvStem, LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.objectives.linear_probe import LinearProbe
from vitlab.training.module import TrainingModule


def make_data(image_size=8, mean=0.3, seed=0, split_seed=0):
    return ImageData(
        Digits(), Augment(), image_size, 1, 10, 128, 0, 0.1, 0.2, split_seed, seed, [mean], [0.38]
    )


def make_model(seed=0, image_size=8, num_heads=2, drop_rate=0.1, **options):
    torch.manual_seed(seed)
    return VisionTransformer(
        LinearPatchEmbed(4, 1, 32), image_size, 10, 32, 2, num_heads, drop_rate=drop_rate, **options
    )


def probe(folder, data=None, model=None, epochs=2, precision="32-true"):
    """Trains a head on features kept in `folder`; returns model, data, features, and how many times the
    blocks were run."""
    model, data = model or make_model(), data or make_data()
    forwards = []
    model.blocks[0].register_forward_hook(lambda *_: forwards.append(1))
    classifier = TrainingModule(
        model,
        LinearProbe(10, 0.0, "val/accuracy", "max"),
        partial(optim.adamw, lr=3e-2, weight_decay=1e-3, betas=(0.9, 0.999), layer_decay=1.0, frozen=[]),
        partial(
            optim.warmup_schedule,
            shape="cosine",
            warmup_ratio=0.0,
            warmup_epochs=1,
            final_lr_ratio=0.01,
            frozen_epochs=0,
            unfrozen_lr_ratio=1.0,
        ),
        seed=0,
    )
    features = FeatureData(data, model, batch_size=500, cache_dir=str(folder))
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        log_every_n_steps=5,
        max_epochs=epochs,
    )
    trainer.fit(classifier, datamodule=features)
    return classifier, data, features, len(forwards)


def images_of(data, name):
    split = data.splits[name]
    return normalise(centre_view(split.samples.images[split.indices], data.image_size), data.mean, data.std)


FULL = 3 + 1 + 1
"""Runs of the blocks at 500 images each: 1,295 to train, 143 to validate, 359 to test."""


@pytest.mark.parametrize(
    "options", [{}, {"global_pool": "avg", "class_token": False}], ids=["class token", "mean pooling"]
)
def test_features_are_the_full_models_and_the_head_gives_the_same_logits_on_them(tmp_path, options):
    classifier, data, features, _ = probe(tmp_path, model=make_model(**options))
    model = classifier.model.eval()
    for name in ("train", "val", "test"):
        images = images_of(data, name)
        with torch.no_grad():
            expected = model.forward_head(model.forward_features(images), pre_logits=True)
            logits = model(images)
        torch.testing.assert_close(features.splits[name].features, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(classifier(features.splits[name].features), logits, rtol=1e-4, atol=1e-5)
        assert torch.equal(features.splits[name].labels, data.splits[name].labels)


class Parts(Digits):
    """Digits that come in parts already, two of them of one size."""

    def load(self):
        whole = super().load()["all"]
        cuts = {"train": slice(0, 600), "val": slice(600, 800), "test": slice(800, 1000)}
        return {name: HeldImages(whole.images[cut], whole.labels[cut]) for name, cut in cuts.items()}


def test_parts_of_one_size_are_told_apart(tmp_path):
    data = ImageData(Parts(), Augment(), 8, 1, 10, 128, 0, 0.1, 0.2, 0, 0, [0.3], [0.38])
    classifier, data, features, _ = probe(tmp_path, data=data)
    for name in ("val", "test"):
        with torch.no_grad():
            expected = classifier.model.eval()(images_of(data, name))
        torch.testing.assert_close(classifier(features.splits[name].features), expected, rtol=1e-4, atol=1e-5)


def test_only_the_head_learns(tmp_path):
    before = make_model(reg_tokens=2)
    start = {name: value.clone() for name, value in before.state_dict().items()}
    classifier, *_ = probe(tmp_path, model=before)
    for name, value in classifier.model.state_dict().items():
        assert torch.equal(value, start[name]) == (not name.startswith("head.")), name


def test_the_second_run_computes_nothing_and_ends_in_the_same_weights(tmp_path):
    first, _, _, forwards = probe(tmp_path)
    assert forwards == FULL
    second, _, _, again = probe(tmp_path)
    assert again == 0
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def other_weights():
    model = make_model()
    with torch.no_grad():
        model.blocks[1].mlp.fc2.bias[-1] += 1e-6
    return model


CHANGES = {
    "one weight": lambda: {"model": other_weights()},
    "as many heads of another width": lambda: {"model": make_model(num_heads=4)},
    "another epsilon": lambda: {"model": make_model(norm_eps=1e-5)},
    "image size": lambda: {"data": make_data(12), "model": make_model()},
    "mean": lambda: {"data": make_data(mean=0.31)},
    "another split": lambda: {"data": make_data(split_seed=1)},
    "precision": lambda: {"precision": "bf16-mixed"},
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    probe(folder)
    return folder


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_features_are_computed_again_when_what_they_depend_on_changes(kept, change):
    assert probe(kept, **change())[3] == FULL


def test_what_features_do_not_depend_on_computes_nothing(kept):
    other_head = make_model()
    torch.nn.init.ones_(other_head.head.weight)
    assert probe(kept, model=other_head)[3] == 0
    assert probe(kept, data=make_data(seed=5), epochs=3)[3] == 0


def test_other_images_are_computed(kept, monkeypatch):
    digits = Digits().load()["all"]
    changed = HeldImages(digits.images.clone(), digits.labels)
    changed.images[5, 0, 0, 0] += 1
    source = Digits()
    monkeypatch.setattr(source, "load", lambda: {"all": changed})
    data = make_data()
    data.source = source
    assert probe(kept, data=data)[3] == FULL


def damage_cut_short(file):
    file.write_bytes(file.read_bytes()[:-100])


def damage_bit(file):
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


def damage_pickle(file):
    np.save(file, np.array([{"a": Path}], dtype=object), allow_pickle=True)


def damage_no_meta(file):
    file.with_name("meta.json").unlink()


@pytest.mark.parametrize("damage", [damage_cut_short, damage_bit, damage_pickle, damage_no_meta])
def test_damaged_features_are_computed_again(tmp_path, damage):
    first, *_ = probe(tmp_path)
    largest = max(tmp_path.rglob("features.npy"), key=lambda file: file.stat().st_size)
    damage(largest)
    second, _, _, forwards = probe(tmp_path)
    assert forwards == 3  # the training split's
    assert torch.equal(first.model.head.weight, second.model.head.weight)
    assert probe(tmp_path)[3] == 0


def test_a_cache_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"features.cache_dir=.*file.* cannot be written"):
        probe(tmp_path / "file")


def test_batch_statistics_stay_as_they_were(tmp_path):
    torch.manual_seed(0)
    model = VisionTransformer(ConvStem(4, 1, 32), 8, 10, 32, 1, 2)
    start = {name: buffer.clone() for name, buffer in model.named_buffers()}
    assert any("running_mean" in name for name in start)
    probe(tmp_path, model=model)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, start[name]), name


def test_the_probe_reaches_what_logistic_regression_reaches_on_the_same_features(tmp_path):
    classifier, _, features, _ = probe(tmp_path, model=make_model(image_size=8), epochs=100)
    train, test = features.splits["train"], features.splits["test"]
    theirs = LogisticRegression(max_iter=5000).fit(train.features.numpy(), train.labels.numpy())
    reached = (classifier(test.features).argmax(dim=1) == test.labels).float().mean()
    assert reached > theirs.score(test.features.numpy(), test.labels.numpy()) - 0.02
    assert reached > 0.7
