"""The kernels that a model may run with give one result, and the settings they need do not outlive their
block."""

import subprocess
import sys

import pytest
import timm.models.vision_transformer as timm_vit
import torch
import torch.nn.functional as F

from vitlab.models import kernels
from vitlab.models.encoder import DepthwiseConvMlp
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_plain_products_give_what_the_fused_kernel_gives(dtype, tolerance):
    torch.manual_seed(0)
    q, k, v, sent = (torch.randn(2, 3, 17, 8, dtype=dtype) for _ in range(4))
    given = []
    for kernel in (kernels.explicit_attention, F.scaled_dot_product_attention):
        parts = [part.clone().requires_grad_() for part in (q, k, v)]
        out = kernel(*parts)
        given.append([out, *torch.autograd.grad(out, parts, sent)])
    torch.testing.assert_close(given[0], given[1], rtol=tolerance, atol=tolerance)


def test_plain_products_run_on_the_processor_in_bfloat16_up_to_a_length():
    assert kernels.takes_plain_products("cpu", torch.bfloat16, kernels.MAX_EXPLICIT_TOKENS)
    for other in (
        ("cuda", torch.bfloat16, 65),
        ("cpu", torch.bfloat16, kernels.MAX_EXPLICIT_TOKENS + 1),
        ("cpu", torch.float32, 65),
    ):
        assert not kernels.takes_plain_products(*other)
    assert "plain products" in kernels.describe("cpu", "bf16-mixed", 65)
    assert (
        kernels.describe("cuda", "bf16-true", 65)
        == "attention over 65 tokens in bfloat16 on cuda by torch's fused kernel"
    )


def on_amd(monkeypatch, error=None):
    """Has this processor pass for AMD's with AVX-512; `error` is what a product then shows, without one what
    it really has."""
    monkeypatch.setattr(kernels, "processor_maker", lambda: "AuthenticAMD")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    if error is not None:
        monkeypatch.setattr(kernels, "_relative_error", lambda: error)


def test_at_full_speed_a_model_keeps_timms_logits_and_gradients_in_float32(monkeypatch):
    on_amd(monkeypatch)
    torch.manual_seed(0)
    peer = timm_vit.VisionTransformer(
        img_size=32, patch_size=4, embed_dim=64, depth=3, num_heads=4, num_classes=10
    )
    model = VisionTransformer(LinearPatchEmbed(4, 3, 64), 32, 10, 64, 3, 4)
    model.load_state_dict(peer.state_dict())
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    with kernels.full_speed("cpu"):
        logits = model(images)
        F.cross_entropy(logits, labels).backward()
    expected = peer(images)
    F.cross_entropy(expected, labels).backward()
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    gradients = {name: parameter.grad for name, parameter in peer.named_parameters()}
    for name, parameter in model.named_parameters():
        scale = float(gradients[name].abs().max())
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5 * scale + 1e-8)


def test_settings_hold_in_the_block_and_are_as_before_after_an_error(monkeypatch):
    on_amd(monkeypatch, error=1e-7)
    with pytest.raises(ZeroDivisionError), kernels.full_speed("cpu") as said:
        assert "oneDNN" in said
        assert torch.get_float32_matmul_precision() == "medium"
        assert kernels.takes_plain_products("cpu", torch.float32, 65)
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == "highest"
    assert not kernels.takes_plain_products("cpu", torch.float32, 65)


def test_products_that_would_round_keep_the_library_they_had(monkeypatch):
    on_amd(monkeypatch, error=1e-4)
    with kernels.full_speed("cpu") as said:
        assert "oneDNN" not in said
        assert torch.get_float32_matmul_precision() == "highest"
        assert not kernels.takes_plain_products("cpu", torch.float32, 65)


def test_for_another_device_than_the_processor_nothing_is_set(monkeypatch):
    on_amd(monkeypatch, error=1e-7)
    with kernels.full_speed("cuda") as said:
        assert said == "torch's own choices"  # no memory kept either
        assert torch.get_float32_matmul_precision() == "highest"
        assert not kernels.takes_plain_products("cpu", torch.float32, 65)


@pytest.mark.parametrize("chosen", ["high", "medium"])
def test_a_precision_that_the_user_chose_stays(monkeypatch, chosen):
    on_amd(monkeypatch, error=1e-7)
    torch.set_float32_matmul_precision(chosen)
    try:
        with kernels.full_speed("cpu") as said:
            assert "oneDNN" not in said
            assert torch.get_float32_matmul_precision() == chosen
        assert torch.get_float32_matmul_precision() == chosen
    finally:
        torch.set_float32_matmul_precision("highest")


def test_the_check_sees_a_product_that_rounds_to_bfloat16(monkeypatch):
    assert kernels._relative_error() < 1e-6
    exact = torch.Tensor.__matmul__
    monkeypatch.setattr(
        torch.Tensor,
        "__matmul__",
        lambda a, b: exact(a.bfloat16(), b.bfloat16()).float() if a.dtype == torch.float32 else exact(a, b),
    )
    assert kernels._relative_error() > 1e-5


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_freed_memory_is_used_again_without_page_faults():
    program = """
import resource, torch
from vitlab.models.kernels import full_speed
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        a, b = torch.ones(2_000_000), torch.ones(12_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
torch.set_num_threads(1)
before = faults()
with full_speed("cpu"):
    faults()
    during = faults()
print(before, during)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before, during = map(int, done.stdout.split())
    assert before > 10_000
    assert during < before / 5


READING = {
    "plain": {},
    "registers": {"reg_tokens": 3},
    "qk norm and layer scale": {"qk_norm": True, "init_values": 0.1},
}


@pytest.mark.parametrize("options", READING.values(), ids=READING)
def test_a_class_token_read_alone_gives_the_logits_and_gradients_of_all_tokens(options):
    torch.manual_seed(0)
    model = VisionTransformer(LinearPatchEmbed(8, 3, 32), 32, 5, 32, 3, 4, **options)
    images, labels = torch.randn(3, 3, 32, 32), torch.arange(3)
    given = []
    for logits in (model(images), model.forward_head(model.forward_features(images))):
        given.append(
            [logits, *torch.autograd.grad(F.cross_entropy(logits, labels), list(model.parameters()))]
        )
    torch.testing.assert_close(given[0], given[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "rows"), [({}, 3), ({"global_pool": "avg"}, 3 * 17), ({"ffn": "dwconv"}, 3 * 17)]
)
def test_the_last_block_projects_no_token_that_the_head_does_not_read(options, rows):
    model = VisionTransformer(LinearPatchEmbed(8, 3, 32), 32, 5, 32, 2, 4, **options)
    assert isinstance(model.blocks[-1].mlp, DepthwiseConvMlp) == ("ffn" in options)
    seen = {}
    for index, block in enumerate(model.blocks):
        block.attn.proj.register_forward_hook(
            lambda module, inputs, out, index=index: seen.update({index: out.numel() // 32})
        )
    model(torch.randn(3, 3, 32, 32))
    assert seen == {0: 3 * 17, 1: rows}
