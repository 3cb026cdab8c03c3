"""All corruptions by the names of the paper, and shifts of one kind at several strengths."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from vitlab.corruptions import blur, digital, weather
from vitlab.corruptions.constants import strength
from vitlab.corruptions.draws import Draws

CORRUPTIONS: dict[str, Callable[[Tensor, Any, Draws], Tensor]] = {
    "gaussian_noise": digital.gaussian_noise,
    "shot_noise": digital.shot_noise,
    "impulse_noise": digital.impulse_noise,
    "defocus_blur": blur.defocus,
    "glass_blur": blur.glass,
    "motion_blur": blur.motion,
    "zoom_blur": blur.zoom,
    "snow": weather.snow,
    "frost": weather.frost,
    "fog": weather.fog,
    "brightness": digital.brightness,
    "contrast": digital.contrast,
    "elastic_transform": digital.elastic,
    "pixelate": digital.smaller,
    "jpeg_compression": digital.jpeg,
}

SEVERITIES = (1, 2, 3, 4, 5)

SHIFTS: dict[str, tuple[Callable[[Tensor, Any], Tensor], Sequence[float]]] = {
    "size": (digital.resized, (0.75, 0.5, 0.35, 0.25, 0.15)),
    "blur": (blur.gaussian, (0.5, 1.0, 2.0, 3.0, 4.0)),
    "jpeg": (lambda images, quality: digital.jpeg(images, int(quality)), (90, 70, 50, 30, 10)),
}
"""Changes by name with their strengths: share of the size, the Gaussian's sigma in pixels, JPEG's quality."""


def chosen(given: str | Sequence[str] | None) -> list[str]:
    """Returns the corruptions that `all` or a list names. Raises ValueError for one that is not known."""
    names = [] if given is None else given.split(",") if isinstance(given, str) else list(given)
    if names == ["all"]:
        return list(CORRUPTIONS)
    for name in names:
        if name not in CORRUPTIONS:
            raise ValueError(f"corruptions={name} is none; known: all, {', '.join(CORRUPTIONS)}")
    return list(dict.fromkeys(names))


def _as_pixels(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).byte()


def corrupted(pixels: Tensor, name: str, severity: int, seed: int, places: Tensor) -> Tensor:
    """Returns corrupted uint8 images [batch, channels, height, width]; draws follow from seed and place."""
    images = pixels.cpu().float() / 255
    amount = strength(name, severity, min(images.shape[2:]))
    draws = Draws(seed, places, name, severity)
    return _as_pixels(CORRUPTIONS[name](images, amount, draws)).to(pixels.device)


def shifted(pixels: Tensor, name: str, amount: float) -> Tensor:
    """Returns uint8 images with a shift of `SHIFTS`, on their device."""
    return _as_pixels(SHIFTS[name][0](pixels.cpu().float() / 255, amount) + 0.5 / 255).to(pixels.device)


def check_images(in_channels: int, key: str) -> None:
    """Raises ValueError for images that are neither grey nor in colour."""
    if in_channels not in (1, 3):
        raise ValueError(f"{key} are defined for 1 or 3 channels, and these images have {in_channels}")
