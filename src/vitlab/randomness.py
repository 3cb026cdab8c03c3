"""Randomness as a function: every random draw of a run follows from its seed and its place in the run."""

import hashlib

import torch


def derive_seed(seed: int, *place: int | str) -> int:
    """Returns a 63-bit seed for one place in a run, such as `derive_seed(seed, "order", epoch)`. Places that
    differ in any part give unrelated seeds; the result does not depend on the process or the machine."""
    text = repr((seed, *place)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def reseed(device: torch.device, seed: int) -> None:
    """Seeds the default generators of the CPU and of `device`. `torch.manual_seed` also visits every other
    kind of device, which costs half a millisecond and some memory at each call without CUDA."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def generator_at(seed: int, *place: int | str) -> torch.Generator:
    """Returns a fresh CPU generator for one place in a run; see `derive_seed`."""
    return torch.Generator().manual_seed(derive_seed(seed, *place))
