"""A folder that `transformers.ViTForImageClassification` and `AutoImageProcessor` open."""

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitlab.checkpoint.card import Card
from vitlab.export.labels import are_numbers, said_in_code, thresholds_of
from vitlab.export.plain_vit import ANY_MODEL, PlainViT, from_timm_arguments, plain_vit, timm_arguments
from vitlab.export.preprocessing import resize_and_crop
from vitlab.export.program import in_code
from vitlab.export.proof import hold_equal, random_images
from vitlab.models.vit import VisionTransformer
from vitlab.weights.names import from_hugging_face, to_hugging_face


def check_fits(vit: PlainViT) -> None:
    """Raises ValueError naming the option that `ViTForImageClassification` has no word for."""
    arguments = timm_arguments(vit)
    height, width = arguments["img_size"]
    obstacles = {
        f"model.global_pool={vit.model.global_pool}": vit.model.global_pool != "token",
        f"model.reg_tokens={arguments['reg_tokens']}": arguments["reg_tokens"] > 0,
        "model.qk_norm=true": arguments["qk_norm"],
        "layer scale (model.init_values)": arguments["init_values"] is not None,
        f"images of {height} x {width} px (only squares)": height != width,
    }
    standing = [name for name, stands in obstacles.items() if stands]
    if standing:
        raise ValueError(
            f"format=hf has no place for {', '.join(standing)}; format=timm knows these, and {ANY_MODEL}"
        )


def hugging_face_weights(model: VisionTransformer) -> dict[str, Tensor]:
    """Returns the tensors under transformers' names; a token without a position gets zeros."""
    assert model.cls_token is not None
    no_position = torch.zeros_like(model.cls_token)
    positions = (
        no_position.expand(-1, model.grid[0] * model.grid[1], -1)
        if model.pos_embed is None
        else model.pos_embed
    )
    if not model.positions_on_prefix:
        positions = torch.cat([no_position, positions], dim=1)
    renamed = to_hugging_face(model.state_dict() | {"pos_embed": positions})
    return {name: value.detach().contiguous() for name, value in renamed.items()}


def hugging_face_config(vit: PlainViT, card: Card) -> dict[str, Any]:
    """Returns the content of config.json."""
    arguments, names, thresholds = timm_arguments(vit), card.class_names, thresholds_of(card)
    return {
        "architectures": ["ViTForImageClassification"],
        "model_type": "vit",
        "hidden_size": arguments["embed_dim"],
        "num_hidden_layers": arguments["depth"],
        "num_attention_heads": arguments["num_heads"],
        "intermediate_size": vit.block.mlp.fc1.out_features,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": vit.block.norm1.eps,
        "image_size": arguments["img_size"][0],
        "patch_size": arguments["patch_size"],
        "num_channels": arguments["in_chans"],
        "qkv_bias": arguments["qkv_bias"],
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
        **({"problem_type": "regression"} if are_numbers(card) else {}),
        **(
            {}
            if thresholds is None
            else {"problem_type": "multi_label_classification", "thresholds": thresholds}
        ),
    }


def image_processor(card: Card) -> dict[str, Any]:
    """Returns preprocessor_config.json. The processor is CLIP's, which in every release scales the shorter
    side and cuts out the centre; ViT's own squeezes a picture into a square before 5."""
    facts = card.preprocessing
    view = resize_and_crop(facts)
    size: dict[str, int] = {"shortest_edge": view.shorter_side}
    if facts.fit == "squash":
        size = dict(zip(("height", "width"), facts.stored_size, strict=True))
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": facts.in_channels == 3,
        "do_resize": True,
        "size": size,
        "resample": int(Image.Resampling[facts.interpolation.upper()]),
        "do_center_crop": True,
        "crop_size": {"height": view.size[0], "width": view.size[1]},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(facts.mean),
        "image_std": list(facts.std),
    }


@torch.inference_mode()
def write(model: nn.Module, card: Card, folder: Path) -> None:
    """Writes the files of `transformers`. Raises ValueError where they cannot say what the model says."""
    vit = plain_vit(model, "hf")
    check_fits(vit)
    save_file(hugging_face_weights(vit.model), folder / "model.safetensors", metadata={"format": "pt"})
    for name, content in (
        ("config.json", hugging_face_config(vit, card)),
        ("preprocessor_config.json", image_processor(card)),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")

    arguments = timm_arguments(vit) | {"pos_embed": "learn", "no_embed_class": False}
    config = json.loads((folder / "config.json").read_text())
    reread = from_timm_arguments(arguments, config["layer_norm_eps"])
    reread.load_state_dict(from_hugging_face(load_file(folder / "model.safetensors"), "vit"))
    images = random_images(card.preprocessing, 2)
    hold_equal(model(images), reread(images), 1e-5, "hf")


def snippet(card: Card) -> str:
    """Returns a program that asks the model about picture.jpg."""
    imports = "" if thresholds_of(card) is None else "import json\nfrom pathlib import Path\n\n"
    by_index = "model.config.id2label"
    names = f"list({by_index}.values())" if imports or are_numbers(card) else by_index
    return f"""\
{imports}import numpy as np
import torch
from PIL import Image, ImageOps
from transformers import ViTForImageClassification

{in_code(card.preprocessing)}

model = ViTForImageClassification.from_pretrained(".").eval()  # once on the hub: "NAME/OF_THE_REPOSITORY"
with torch.inference_mode():
    logits = model(torch.from_numpy(images)).logits.numpy()
{said_in_code(card, names)}"""
