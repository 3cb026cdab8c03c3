"""What the depthwise convolution in the MLP promises."""

import torch
from torch import nn

from vitlab.models.encoder import DepthwiseConvMlp, Mlp
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


def test_the_depthwise_mlp_with_an_empty_filter_is_the_plain_mlp():
    torch.manual_seed(0)
    plain, depthwise = Mlp(16, 32, 0.0), DepthwiseConvMlp(16, 32, 0.0)
    nn.init.zeros_(depthwise.dwconv.weight)
    nn.init.zeros_(depthwise.dwconv.bias)
    depthwise.load_state_dict(plain.state_dict(), strict=False)
    tokens = torch.randn(2, 3 + 12, 16)
    torch.testing.assert_close(depthwise(tokens, (3, 4)), plain(tokens, (3, 4)), rtol=0, atol=0)


def test_a_token_reaches_its_eight_neighbours_and_no_one_else():
    torch.manual_seed(0)
    mlp = DepthwiseConvMlp(16, 32, 0.0)
    tokens = torch.randn(1, 2 + 20, 16)  # two prefix tokens, a grid of 4 x 5
    changed = tokens.clone()
    changed[0, 2 + 1 * 5 + 2] += 1.0  # row 1, column 2
    moved = (mlp(tokens, (4, 5)) - mlp(changed, (4, 5))).abs().sum(dim=-1)[0] > 0
    assert not moved[:2].any()
    reached = {(int(index) // 5, int(index) % 5) for index in moved[2:].nonzero()}
    assert reached == {(row, column) for row in (0, 1, 2) for column in (1, 2, 3)}


def test_a_vit_with_it_takes_another_resolution_and_prefix_tokens():
    torch.manual_seed(0)
    model = VisionTransformer(LinearPatchEmbed(8, 3, 32), (16, 24), 5, 32, 2, 2, ffn="dwconv", reg_tokens=2).eval()
    images = torch.randn(2, 3, 32, 16)
    torch.testing.assert_close(model(images)[:1], model(images[:1]), rtol=1e-5, atol=1e-5)
    assert not torch.equal(model(images)[0], model(images[:, :, :, torch.arange(16).roll(8)])[0])
