"""`model.weights=SOURCE`: what a source is, where its files lie, and who reads them."""

import difflib
from collections.abc import Callable
from pathlib import Path

from vitlab.weights.downloads import fetch_from_hub, fetch_from_torchvision
from vitlab.weights.facts import Pretrained
from vitlab.weights.files import first_line
from vitlab.weights.forms import SUFFIXES, require_form
from vitlab.weights.preprocessing import TheirPreprocessing
from vitlab.weights.readers.of_hugging_face import read_hugging_face
from vitlab.weights.readers.of_jax import read_jax
from vitlab.weights.readers.of_timm import read_timm
from vitlab.weights.readers.of_torchvision import from_torchvision_state, read_torchvision
from vitlab.weights.readers.of_vitlab import read_vitlab

FORMS = "a vitlab checkpoint, timm:NAME, torchvision:NAME, hf:NAME_OR_FOLDER or a .npz file"

RESNETS = ("resnet18", "resnet34", "resnet50")


def _is_local(name: str) -> bool:
    return name.endswith(SUFFIXES) or name.startswith((".", "/", "~")) or Path(name).exists()


def _of_timm(name: str, source: str) -> Pretrained:
    if not _is_local(name):
        repo = f"timm/{name}"
        config = fetch_from_hub(repo, "config.json", source)
        weights = fetch_from_hub(repo, "model.safetensors", source)
        assert weights is not None
        return read_timm(weights, config, source)
    path = Path(name).expanduser()
    weights = path / "model.safetensors" if path.is_dir() else path
    if weights != path and not weights.is_file():
        raise ValueError(f"model.weights={source}: {path} has no model.safetensors")
    require_form(weights, "safetensors", source)
    config = weights.with_name("config.json")
    return read_timm(weights, config if config.is_file() else None, source)


def _of_torchvision(name: str, source: str) -> Pretrained:
    if _is_local(name):
        path = Path(name).expanduser()
        require_form(path, "torch", source)
        return read_torchvision(path, source)
    from torchvision.models import get_model_weights, list_models

    known = [model for model in list_models() if model.startswith("vit_")] + list(RESNETS)
    model, _, version = name.partition(".")
    if model not in known:
        raise ValueError(
            f"model.weights={source}: known here are {', '.join(known)}, or the path of a .pth file"
        )
    versions = get_model_weights(model)
    if version and version not in versions.__members__:
        raise ValueError(f"model.weights={source}: {model} has the weights {', '.join(versions.__members__)}")
    weights = versions[version or "DEFAULT"]
    preset = weights.transforms()
    preprocessing = TheirPreprocessing(
        image_size=preset.crop_size[0],
        crop_pct=min(preset.crop_size[0] / preset.resize_size[0], 1.0),
        interpolation=preset.interpolation.value,
        mean=list(preset.mean),
        std=list(preset.std),
    )
    state = fetch_from_torchvision(weights, source)
    return from_torchvision_state(state, source, preprocessing, tuple(weights.meta["categories"]))


def _of_hugging_face(name: str, source: str) -> Pretrained:
    folder = Path(name).expanduser()
    if folder.is_dir():
        config, processor = folder / "config.json", folder / "preprocessor_config.json"
        weights = next(
            (
                folder / file
                for file in ("model.safetensors", "pytorch_model.bin")
                if (folder / file).is_file()
            ),
            None,
        )
        if weights is None:
            raise ValueError(
                f"model.weights={source}: {folder} has neither model.safetensors nor pytorch_model.bin, in"
                " one piece"
            )
        require_form(weights, "safetensors" if weights.suffix == ".safetensors" else "torch", source)
        return read_hugging_face(weights, config, processor if processor.is_file() else None, source)
    if _is_local(name):
        raise ValueError(
            f"model.weights={source}: {folder} is no folder; give one with config.json and model.safetensors"
        )
    config = fetch_from_hub(name, "config.json", source)
    processor = fetch_from_hub(name, "preprocessor_config.json", source, required=False)
    weights = fetch_from_hub(name, "model.safetensors", source, required=False)
    weights = weights or fetch_from_hub(name, "pytorch_model.bin", source)
    assert config is not None and weights is not None
    return read_hugging_face(weights, config, processor, source)


SCHEMES: dict[str, Callable[[str, str], Pretrained]] = {
    "timm": _of_timm,
    "torchvision": _of_torchvision,
    "hf": _of_hugging_face,
}


def read_weights(source: str) -> Pretrained:
    """Returns the weights that `source` names, downloaded where they must be. Raises ValueError, in one line,
    where they cannot be had, are damaged, could run code, or are no ViT's (or torchvision ResNet's)."""
    scheme, colon, name = source.partition(":")
    try:
        if colon and scheme in SCHEMES and name:
            return SCHEMES[scheme](name, source)
        path = Path(source).expanduser()
        if colon and scheme.isalpha() and len(scheme) > 1 and not path.exists():
            close = difflib.get_close_matches(scheme, SCHEMES, n=1) if name else []
            raise ValueError(
                f"model.weights={source}: "
                + (f"did you mean {close[0]}:{name}?" if close else f"give {FORMS}")
            )
        if not path.is_file():
            raise ValueError(f"model.weights={source} is no file; give {FORMS}")
        if path.suffix in (".safetensors", ".pth", ".pt", ".bin"):
            likely = "timm" if path.suffix == ".safetensors" else "torchvision"
            raise ValueError(
                f"model.weights={source}: say whose names its tensors have, for example"
                f" model.weights={likely}:{source}"
            )
        return read_jax(path, source) if path.suffix == ".npz" else read_vitlab(path, source)
    except ValueError as error:
        raise (
            error
            if str(error).startswith("model.weights")
            else ValueError(f"model.weights={source}: {error}")
        ) from None
    except (OSError, RuntimeError) as error:  # no such user, a name too long, no permission
        raise ValueError(f"model.weights={source} cannot be read ({first_line(error)})") from None
    except (
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
    ) as error:  # a stranger's description may hold anything
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(
            f"model.weights={source}: its description is not what it should be ({reason})"
        ) from error
