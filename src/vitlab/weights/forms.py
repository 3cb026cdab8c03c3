"""What a file of weights is by its first bytes, so that another kind is called by its name."""

import zipfile
from pathlib import Path

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".npz")
"""What files of weights are called."""

NAMES = {
    "safetensors": "a safetensors file",
    "torch": "a file of torch.save",
    "pickle": "a bare pickle, which could run code",
    "npz": "an npz file",
    "pointer": "Git LFS's pointer to a file, not the file",
    "page": "a web page",
}

WAYS = {
    "safetensors": "model.weights=timm:{path} would read it if its tensors have timm's names",
    "torch": (
        "torchvision:{path} reads torchvision's names, {path} alone vitlab's checkpoint;"
        " safetensors.torch.save_file saves others"
    ),
    "pickle": "safetensors.torch.save_file could save its tensors anew, where you trust it",
    "npz": "model.weights={path} would read it if it is Google's",
    "pointer": "`git lfs pull` fetches it",
    "page": "fetch it again",
}


def form_of(path: Path) -> str | None:
    """Returns which of `NAMES` a file is; None for one that is damaged or something else."""
    with path.open("rb") as file:
        start = file.read(64)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32:
        return "safetensors"
    if start.startswith(b"version https://git-lfs"):
        return "pointer"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "page"
    if start[:1] == b"\x80":
        return "pickle"
    if not start.startswith(b"PK") or not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    if any(name.endswith("data.pkl") for name in names):
        return "torch"
    return "npz" if any(name.endswith(".npy") for name in names) else None


def require_form(path: Path, wanted: str, source: str) -> None:
    """Raises ValueError where a file is of another kind of `NAMES` than `wanted`."""
    found = form_of(path) if path.is_file() else None
    if found is not None and found != wanted:
        library = source.partition(":")[0]
        what = f"{path} is {NAMES[found]}, and {library}: reads {NAMES[wanted]}"
        raise ValueError(f"model.weights={source}: {what}; {WAYS[found].format(path=path)}")
