"""Chooses the processor's kernels by device, type and shape, and sets them back afterwards."""

import ctypes
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from vitlab.machine import processor_maker
from vitlab.shapes import AttentionWeights, Heads

MAX_EXPLICIT_TOKENS = 1024
"""Beyond so many tokens plain products gain nothing in float32, and take memory by the square."""

_explicit_dtypes: tuple[torch.dtype, ...] = (torch.bfloat16,)
"""Data types whose attention on the processor runs by plain products; float32 is added where it helps."""


Tap = Callable[[AttentionWeights], AttentionWeights]


def as_it_is(probabilities: AttentionWeights) -> AttentionWeights:
    """Returns its argument: the tap where nobody listens."""
    return probabilities


def explicit_attention(q: Heads, k: Heads, v: Heads, dropout_p: float = 0.0, tap: Tap = as_it_is) -> Heads:
    """Returns softmax(q kᵀ / √head_dim) v by plain products; the softmax passes through the `tap`."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    probabilities = F.dropout(tap(scores.softmax(dim=-1)), dropout_p)
    return probabilities @ v


def takes_plain_products(device: str, dtype: torch.dtype, num_tokens: int) -> bool:
    """Tells whether attention over these tokens runs by plain products, not the fused kernel."""
    return device == "cpu" and dtype in _explicit_dtypes and num_tokens <= MAX_EXPLICIT_TOKENS


def attend(q: Heads, k: Heads, v: Heads, dropout_p: float = 0.0, tap: Tap = as_it_is) -> Heads:
    """Returns attention by the faster kernel; where it has probabilities, they pass through `tap`."""
    if takes_plain_products(v.device.type, v.dtype, k.shape[2]):
        return explicit_attention(q.to(v.dtype), k.to(v.dtype), v, dropout_p, tap)
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p)


@contextmanager
def plain_products() -> Iterator[None]:
    """Makes attention on the processor take plain products in the block: slower, with probabilities."""
    global _explicit_dtypes
    before = _explicit_dtypes
    _explicit_dtypes = (*before, torch.float32)
    try:
        yield
    finally:
        _explicit_dtypes = before


def describe(device: str, precision: str, num_tokens: int) -> str:
    """Returns a log line: the attention kernel of a precision such as bf16-mixed, and why."""
    dtype = (
        torch.bfloat16
        if precision.startswith("bf16")
        else torch.float16
        if precision.startswith("16")
        else torch.float32
    )
    what = f"attention over {num_tokens} tokens in {str(dtype).removeprefix('torch.')} on {device}"
    if takes_plain_products(device, dtype, num_tokens):
        return f"{what} by plain products (the fused kernel is slower there)"
    return f"{what} by torch's fused kernel"


def _relative_error() -> float:
    """Returns a float32 product's relative error as set: 1e-7, or 1e-4 where it rounds to bfloat16."""
    left, right = torch.linspace(-1, 1, 2 * 256 * 256).mul(1e5).sin().view(2, 256, 256)
    exact, magnitude = left.double() @ right.double(), left.double().abs() @ right.double().abs()
    return float(((left @ right - exact).abs() / magnitude).max())


def _keep_freed_memory(keep: bool) -> bool:
    """Makes glibc keep freed memory for the next tensor. Returns whether there is a glibc."""
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    # of mallopt(3); asked for once, glibc no longer adapts the thresholds itself
    trim_threshold, mmap_threshold, mmap_max = (
        -1,
        -3,
        -4,
    )
    settings = (
        {trim_threshold: 2**31 - 1, mmap_max: 0}
        if keep
        else {trim_threshold: 2**26, mmap_threshold: 2**25, mmap_max: 2**16}
    )
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(name, value) for name, value in settings.items()])


@contextmanager
def full_speed(device: str) -> Iterator[str]:
    """Sets the fastest libraries for a model on the `device` while the block runs; yields what it set and
    why, for a log line.

    Both settings are public and neither changes accuracy. Freed memory is kept: handing it back to the system
    after each tensor and faulting it in again took 5 to 8 % of a step of ViT-Ti/4. On AMD's processors with
    AVX-512, float32 products go to oneDNN, which uses those instructions there (MKL does not). The fused
    attention kernel becomes several times slower under that setting, so attention takes plain products with
    it.

    Three things stay as they were: a precision that the user chose, products that would round to bfloat16
    (processors with AMX), and every other device than the processor.
    """
    global _explicit_dtypes
    if device != "cpu":
        yield "torch's own choices"
        return
    before, dtypes_before = torch.get_float32_matmul_precision(), _explicit_dtypes
    said = []
    try:
        if (
            before == "highest"
            and processor_maker() == "AuthenticAMD"
            and torch.backends.cpu.get_cpu_capability() == "AVX512"
        ):
            # lets oneDNN in; without AMX it computes in float32 all the same
            torch.set_float32_matmul_precision("medium")
            error = _relative_error()
            if error < 1e-6:
                _explicit_dtypes = (*dtypes_before, torch.float32)
                said.append(
                    "float32 products by oneDNN, which on AMD uses AVX-512 where MKL does not (error"
                    f" {error:.0e})"
                )
            else:
                torch.set_float32_matmul_precision(before)
        if _keep_freed_memory(True):
            said.append("freed memory kept for the next tensor")
        yield ", ".join(said) or "torch's own choices"
    finally:
        _keep_freed_memory(False)
        torch.set_float32_matmul_precision(before)
        _explicit_dtypes = dtypes_before
