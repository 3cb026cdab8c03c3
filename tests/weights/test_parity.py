"""Weights that other libraries wrote in their own formats give the same logits in vitlab."""

import json
from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models import load_checkpoint, save_for_hf
from timm.models.vision_transformer import checkpoint_filter_fn
from torchvision.models import VisionTransformer as TorchvisionViT
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
)

from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer
from vitlab.weights.facts import architecture_of
from vitlab.weights.loading import load_pretrained
from vitlab.weights.names import from_hugging_face, from_jax, from_torchvision, to_hugging_face
from vitlab.weights.preprocessing import TheirPreprocessing
from vitlab.weights.sources import read_weights

TIMM = {
    "plain": {},
    "tiny": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "layer scale, QK norm, no qkv bias": {"init_values": 1e-5, "qk_norm": True, "qkv_bias": False},
    "registers as in DINOv2": {"reg_tokens": 4, "no_embed_class": True, "init_values": 1e-5},
    "registers with positions": {"reg_tokens": 2},
    "mean pooling without class token": {"global_pool": "avg", "class_token": False},
    "an oblong image": {"img_size": (24, 40)},  # 15 patches and the class token: 16, which also is a square
    "an MLP of an odd width": {"mlp_ratio": 3.7362},
}


def timms(**options):
    small = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 2, "num_heads": 4, "num_classes": 7}
    return timm.create_model("vit_tiny_patch16_224", **small | options)


def images(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def assert_same(ours, theirs, inputs, of=lambda output: output):
    expected = of(theirs(inputs))
    assert expected.std() > 0.01
    torch.testing.assert_close(ours(inputs), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", TIMM.values(), ids=TIMM.keys())
def test_timms_safetensors_give_timms_logits(options, tmp_path, randomise, model_for):
    peer = randomise(timms(**options))
    save_for_hf(peer, tmp_path, safe_serialization=True)
    weights = read_weights(f"timm:{tmp_path}/model.safetensors")
    model = model_for(weights)
    account = load_pretrained(model, weights)
    assert len(account.names("loaded")) == len(peer.state_dict()) == len(model.state_dict())
    assert_same(model, peer, images(2, 3, *model.image_size))


@pytest.mark.parametrize("new_size", [48, 24], ids=["larger", "smaller"])
def test_at_another_resolution_positions_are_resized_as_timm_does(new_size, tmp_path, randomise, model_for):
    save_for_hf(randomise(timms()), tmp_path, safe_serialization=True)
    peer = timms(img_size=new_size).eval()
    load_checkpoint(peer, tmp_path / "model.safetensors", filter_fn=checkpoint_filter_fn)
    weights = read_weights(f"timm:{tmp_path}")
    model = model_for(weights, image_size=new_size)
    assert load_pretrained(model, weights).names("resized") == ["pos_embed"]
    assert_same(model, peer, images(2, 3, new_size, new_size))


def test_a_model_for_grey_images_answers_as_the_colour_model_does_to_grey_in_three_channels(
    tmp_path, randomise, model_for
):
    peer = randomise(timms())
    save_for_hf(peer, tmp_path, safe_serialization=True)
    weights = read_weights(f"timm:{tmp_path}")
    model = model_for(weights, in_channels=1)
    assert load_pretrained(model, weights).names("adapted") == ["patch_embed.proj.weight"]
    with torch.no_grad():
        grey = images(2, 1, 32, 32)
        torch.testing.assert_close(model(grey), peer(grey.expand(-1, 3, -1, -1)), rtol=1e-5, atol=1e-5)


def test_timms_config_tells_preprocessing_heads_and_class_names(tmp_path):
    save_for_hf(
        timms(num_classes=3),
        tmp_path,
        safe_serialization=True,
        model_config={"label_names": ["ash", "birch", "cedar"]},
    )
    weights = read_weights(f"timm:{tmp_path}")
    peer = timm.data.resolve_data_config({}, model=timms())
    assert weights.preprocessing == TheirPreprocessing(
        32, peer["crop_pct"], peer["interpolation"], list(peer["mean"]), list(peer["std"])
    )
    assert weights.class_names == ("ash", "birch", "cedar")
    assert weights.architecture["num_heads"] == 4 and not weights.guessed
    written = json.loads((tmp_path / "config.json").read_text())
    written |= written.pop("pretrained_cfg") | {"crop_mode": "squash"}  # as files were before 2023
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert read_weights(f"timm:{tmp_path}").preprocessing == replace(
        weights.preprocessing, crop_mode="squash"
    )


POOLINGS = {
    "by attention": ({"global_pool": "map"}, "it pools by attention, which vitlab lacks"),
    "after the norm": (
        {"global_pool": "avg", "class_token": False, "fc_norm": False},
        "it pools after its norm, and vitlab before",
    ),
}


@pytest.mark.parametrize(("options", "says"), POOLINGS.values(), ids=POOLINGS.keys())
def test_a_pooling_that_vitlab_lacks_is_named_with_and_without_timms_config(options, says, tmp_path):
    save_for_hf(timms(**options), tmp_path, safe_serialization=True)
    for _ in range(2):
        with pytest.raises(ValueError, match=says):
            read_weights(f"timm:{tmp_path}")
        (tmp_path / "config.json").unlink(missing_ok=True)


def test_of_timms_distilled_deit_the_class_tokens_head_is_kept_and_the_others_share_told(
    tmp_path, randomise, model_for
):
    peer = randomise(
        timm.create_model(
            "deit_tiny_distilled_patch16_224", img_size=32, patch_size=8, depth=1, num_classes=7
        )
    )
    save_for_hf(peer, tmp_path, safe_serialization=True)
    weights = read_weights(f"timm:{tmp_path}")
    account = load_pretrained(model_for(weights), weights)
    assert set(account.names("ignored")) == {"head_dist.weight", "head_dist.bias"}
    assert "the head of the distillation token, whose logits its library averages with the others" in str(
        account
    )


def test_what_a_lone_file_is_taken_for_is_said(tmp_path, model_for):
    save_for_hf(
        timms(img_size=(24, 40)), tmp_path, safe_serialization=True
    )  # 15 patches and the class token: 16, a square
    described = read_weights(f"timm:{tmp_path}")
    assert described.architecture["image_size"] == [24, 40] and not described.notes
    written = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(written | {"model_args": {}}))
    assert read_weights(f"timm:{tmp_path}").architecture["image_size"] == [24, 40]  # by pretrained_cfg
    (tmp_path / "config.json").unlink()
    lone = read_weights(f"timm:{tmp_path}")
    assert "image shape: taken to be a plain ViT's, and square" in str(load_pretrained(model_for(lone), lone))


SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 7,
}

CLASSIFIERS = {
    "ViT": (ViTForImageClassification, ViTConfig, {"intermediate_size": 96}),
    "ViT, tiny": (
        ViTForImageClassification,
        ViTConfig,
        {"hidden_size": 192, "num_hidden_layers": 12, "num_attention_heads": 3},
    ),
    "ViT without qkv bias": (ViTForImageClassification, ViTConfig, {"qkv_bias": False}),
    "ViT with a large epsilon": (ViTForImageClassification, ViTConfig, {"layer_norm_eps": 0.1}),
    "DeiT": (DeiTForImageClassification, DeiTConfig, {}),
}


@pytest.mark.parametrize(("peer_class", "config", "options"), CLASSIFIERS.values(), ids=CLASSIFIERS.keys())
def test_transformers_classifiers_give_their_logits(
    peer_class, config, options, tmp_path, randomise, model_for
):
    peer = randomise(peer_class(config(**SMALL | options)))
    peer.save_pretrained(tmp_path)
    weights = read_weights(f"hf:{tmp_path}")
    model = model_for(weights)
    assert set(load_pretrained(model, weights).names("loaded")) == set(model.state_dict())
    assert_same(model, peer, images(2, 3, 32, 32), of=lambda output: output.logits)


def test_a_binary_file_of_transformers_gives_the_same(tmp_path, randomise, model_for):
    peer = randomise(ViTForImageClassification(ViTConfig(**SMALL)))
    peer.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "old.safetensors")
    torch.save(load_file(tmp_path / "old.safetensors"), tmp_path / "pytorch_model.bin")
    weights = read_weights(f"hf:{tmp_path}")
    model = model_for(weights)
    load_pretrained(model, weights)
    assert_same(model, peer, images(2, 3, 32, 32), of=lambda output: output.logits)


FEATURES = {
    "ViT without a head": (ViTModel, ViTConfig, {}),
    "DINOv2": (Dinov2Model, Dinov2Config, {}),
    "DINOv2 with registers": (
        Dinov2WithRegistersModel,
        Dinov2WithRegistersConfig,
        {"num_register_tokens": 3},
    ),
}


@pytest.mark.parametrize(("peer_class", "config", "options"), FEATURES.values(), ids=FEATURES.keys())
def test_transformers_features_are_the_same(peer_class, config, options, tmp_path, randomise, model_for):
    peer = randomise(peer_class(config(**SMALL | options)))
    peer.save_pretrained(tmp_path)
    weights = read_weights(f"hf:{tmp_path}")
    model = model_for(weights)
    assert load_pretrained(model, weights).names("fresh") == ["head.weight", "head.bias"]
    assert_same(
        model.forward_features, peer, images(2, 3, 32, 32), of=lambda output: output.last_hidden_state
    )


def test_a_head_that_reads_something_else_is_replaced_and_the_reason_given(tmp_path, randomise, model_for):
    peer = randomise(Dinov2ForImageClassification(Dinov2Config(**SMALL)))
    peer.save_pretrained(tmp_path)
    weights = read_weights(f"hf:{tmp_path}")
    model = model_for(weights)
    head = model.head.weight.clone()
    account = load_pretrained(model, weights)
    assert set(account.names("replaced")) == {"head.weight", "head.bias"}
    assert "it reads the class token and the mean of the patches" in str(account)
    assert torch.equal(model.head.weight, head)


def test_of_a_distilled_deit_the_class_tokens_head_is_kept(tmp_path, randomise, model_for):
    peer = randomise(DeiTForImageClassificationWithTeacher(DeiTConfig(**SMALL)))
    peer.save_pretrained(tmp_path)
    weights = read_weights(f"hf:{tmp_path}")
    model = model_for(weights)
    assert len(load_pretrained(model, weights).names("ignored")) == 2
    assert_same(model, peer, images(2, 3, 32, 32), of=lambda output: output.cls_logits)


def test_an_image_processors_file_tells_the_preprocessing(tmp_path):
    ViTForImageClassification(ViTConfig(**SMALL, id2label=dict(enumerate("abcdefg")))).save_pretrained(
        tmp_path
    )
    ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]
    ).save_pretrained(tmp_path)
    weights = read_weights(f"hf:{tmp_path}")
    assert weights.preprocessing == TheirPreprocessing(
        32, 1.0, "bilinear", [0.1, 0.2, 0.3], [0.4, 0.5, 0.6], "squash"
    )
    assert weights.class_names == tuple("abcdefg")
    cropping = {
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
        "resample": 3,
    }
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(cropping))
    assert read_weights(f"hf:{tmp_path}").preprocessing == TheirPreprocessing(
        224, 224 / 256, "bicubic", [0.5] * 3, [0.5] * 3
    )
    ViTImageProcessor(size={"height": 32, "width": 32}, do_normalize=False).save_pretrained(tmp_path)
    processor, facts = (
        ViTImageProcessor.from_pretrained(tmp_path),
        read_weights(f"hf:{tmp_path}").preprocessing,
    )
    pixels = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    theirs = processor(pixels, return_tensors="pt")["pixel_values"][0]
    ours = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    torch.testing.assert_close(
        (ours - torch.tensor(facts.mean)[:, None, None]) / torch.tensor(facts.std)[:, None, None], theirs
    )


@pytest.mark.parametrize("model_type", ["vit", "deit", "dinov2", "dinov2_with_registers"])
def test_names_of_transformers_lead_there_and_back(model_type, tmp_path, randomise):
    peer = {
        "vit": lambda: ViTForImageClassification(ViTConfig(**SMALL)),
        "deit": lambda: DeiTForImageClassification(DeiTConfig(**SMALL)),
        "dinov2": lambda: Dinov2Model(Dinov2Config(**SMALL, use_mask_token=False)),
        "dinov2_with_registers": lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SMALL)),
    }[model_type]()
    randomise(peer).save_pretrained(tmp_path)
    state = read_weights(f"hf:{tmp_path}").state
    back = from_hugging_face(to_hugging_face(state, model_type), model_type)
    assert back.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(back[name], value, rtol=0, atol=0)


def test_torchvisions_vit_gives_its_logits(tmp_path, randomise, model_for):
    peer = randomise(
        TorchvisionViT(
            image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=128, mlp_dim=256, num_classes=7
        )
    )
    torch.save(peer.state_dict(), tmp_path / "vit.pth")
    weights = read_weights(f"torchvision:{tmp_path}/vit.pth")
    model = model_for(weights)
    assert set(load_pretrained(model, weights).names("loaded")) == set(model.state_dict())
    assert_same(model, peer, images(2, 3, 32, 32))


def jax_shapes(
    embed_dim=64, depth=2, num_heads=4, hidden_dim=128, patch_size=8, num_patches=16, num_classes=7
):
    """Names and shapes of the arrays in Google's files."""
    head_dim = embed_dim // num_heads
    shapes = {
        "cls": (1, 1, embed_dim),
        "embedding/kernel": (patch_size, patch_size, 3, embed_dim),
        "embedding/bias": (embed_dim,),
        "Transformer/posembed_input/pos_embedding": (1, 1 + num_patches, embed_dim),
        "Transformer/encoder_norm/scale": (embed_dim,),
        "Transformer/encoder_norm/bias": (embed_dim,),
        "head/kernel": (embed_dim, num_classes),
        "head/bias": (num_classes,),
    }
    for index in range(depth):
        block = f"Transformer/encoderblock_{index}"
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            shapes |= {
                f"{attention}/{part}/kernel": (embed_dim, num_heads, head_dim),
                f"{attention}/{part}/bias": (num_heads, head_dim),
            }
        shapes |= {
            f"{attention}/out/kernel": (num_heads, head_dim, embed_dim),
            f"{attention}/out/bias": (embed_dim,),
        }
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            shapes |= {f"{block}/{norm}/scale": (embed_dim,), f"{block}/{norm}/bias": (embed_dim,)}
        shapes |= {
            f"{block}/MlpBlock_3/Dense_0/kernel": (embed_dim, hidden_dim),
            f"{block}/MlpBlock_3/Dense_0/bias": (hidden_dim,),
        }
        shapes |= {
            f"{block}/MlpBlock_3/Dense_1/kernel": (hidden_dim, embed_dim),
            f"{block}/MlpBlock_3/Dense_1/bias": (embed_dim,),
        }
    return shapes


def jax_arrays():
    generator = np.random.default_rng(0)
    return {
        name: generator.normal(scale=0.2, size=shape).astype(np.float32)
        for name, shape in jax_shapes().items()
    }


@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_googles_arrays_give_the_logits_that_timm_gives_them(prefix, tmp_path, model_for):
    file = tmp_path / "vit.npz"
    np.savez(file, **{f"{prefix}{name}": value for name, value in jax_arrays().items()})
    peer = timms(mlp_ratio=2.0).eval()
    peer.load_pretrained(file)
    weights = read_weights(str(file))
    model = model_for(weights)
    assert weights.architecture["num_heads"] == 4
    assert set(load_pretrained(model, weights).names("loaded")) == set(model.state_dict())
    assert_same(model, peer, images(2, 3, 32, 32))


def test_a_layer_before_googles_old_head_makes_the_head_useless(tmp_path, model_for):
    arrays = jax_arrays() | {
        "pre_logits/kernel": np.ones((64, 64), np.float32),
        "pre_logits/bias": np.ones(64, np.float32),
    }
    np.savez(tmp_path / "vit.npz", **arrays)
    weights = read_weights(f"{tmp_path}/vit.npz")
    account = load_pretrained(model_for(weights), weights)
    assert set(account.names("replaced")) == {"head.weight", "head.bias"}
    assert set(account.names("ignored")) == {"pre_logits.fc.weight", "pre_logits.fc.bias"}


SIZES = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12)}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())
def test_every_size_has_a_place_for_each_of_its_peers_tensors(size):
    embed_dim, depth, num_heads = size
    with torch.device("meta"):
        model = VisionTransformer(LinearPatchEmbed(16, 3, embed_dim), 224, 1000, embed_dim, depth, num_heads)
        shape = {"hidden_size": embed_dim, "num_hidden_layers": depth, "num_attention_heads": num_heads}
        transformers_vit = ViTForImageClassification(
            ViTConfig(**shape, intermediate_size=4 * embed_dim, num_labels=1000)
        )
        torchvision_vit = TorchvisionViT(224, 16, depth, num_heads, embed_dim, 4 * embed_dim)
        arrays = {
            name: torch.empty(shape)
            for name, shape in jax_shapes(embed_dim, depth, num_heads, 4 * embed_dim, 16, 196, 1000).items()
        }
        theirs = to_hugging_face(model.state_dict())
        read = {
            "transformers": from_hugging_face(theirs, "vit"),
            "torchvision": from_torchvision(torchvision_vit.state_dict()),
            "Google": from_jax(arrays),
        }
    assert sum(value.numel() for value in theirs.values()) == sum(
        value.numel() for value in transformers_vit.state_dict().values()
    )
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    for peer, state in read.items():
        assert {name: value.shape for name, value in state.items()} == shapes, peer
        assert architecture_of(state)["num_heads"] == num_heads
