"""ViTs, DeiTs and DINOv2s that `transformers` saved."""

from pathlib import Path

from vitlab.weights import names
from vitlab.weights.facts import Pretrained
from vitlab.weights.files import read_json, read_safetensors, read_torch
from vitlab.weights.preprocessing import hugging_face_preprocessing, image_size_of
from vitlab.weights.readers.in_common import label_names, pretrained_of


def read_hugging_face(weights: Path, config: Path, processor: Path | None, source: str) -> Pretrained:
    """Reads a ViT, DeiT or DINOv2 of `transformers`; `processor` is its image processor's file."""
    described = read_json(config)
    model_type = described.get("model_type")
    if model_type not in names.HUGGING_FACE:
        known_types = ", ".join(names.HUGGING_FACE)
        raise ValueError(
            f"model.weights={source}: {config.name} says model_type={model_type}; known here: {known_types}"
        )
    if described.get("hidden_act", "gelu") != "gelu" or described.get("use_swiglu_ffn"):
        kind = (
            "use_swiglu_ffn=true"
            if described.get("use_swiglu_ffn")
            else f"hidden_act={described['hidden_act']}"
        )
        raise ValueError(
            f"model.weights={source} has {kind}, which vitlab lacks; a model with a GELU in its MLP would"
            " work"
        )
    state = names.from_hugging_face(
        read_safetensors(weights) if weights.suffix == ".safetensors" else read_torch(weights), model_type
    )
    image_size = described.get("image_size")
    known = {
        "num_heads": described.get("num_attention_heads"),
        "norm_eps": described.get("layer_norm_eps"),
        "image_size": image_size_of(image_size) if image_size is not None else None,
        "no_embed_class": model_type == "dinov2_with_registers",
    }
    preprocessing = hugging_face_preprocessing(read_json(processor), image_size or 224) if processor else None
    unusable = (
        "it reads the class token and the mean of the patches" if model_type.startswith("dinov2") else None
    )
    class_names = label_names(described.get("id2label"))
    return pretrained_of(
        source, state, known, preprocessing=preprocessing, class_names=class_names, unusable_head=unusable
    )
