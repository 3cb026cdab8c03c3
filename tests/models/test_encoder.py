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


def test_a_vit_with_it_knows_the_grid_of_another_resolution():
    torch.manual_seed(0)
    options = {"ffn": "dwconv", "reg_tokens": 2, "pos_embed": "none", "global_pool": "avg"}
    model = VisionTransformer(LinearPatchEmbed(8, 3, 32), (16, 24), 5, 32, 1, 2, **options).eval()
    tokens = model.embed(torch.randn(2, 3, 32, 16))  # a grid of 4 x 2
    block = model.blocks[0]
    with_attention = tokens + block.attn(block.norm1(tokens))
    expected = with_attention + block.mlp(block.norm2(with_attention), (4, 2))
    torch.testing.assert_close(block(tokens, (4, 2)), expected)
    images = torch.randn(2, 3, 32, 16)
    seen = model(images)
    nn.init.zeros_(block.mlp.dwconv.weight)
    assert not torch.allclose(
        seen, model(images), atol=1e-6
    )  # without positions only the convolution knows where a token lies
    torch.testing.assert_close(model(images), model(images.roll(8, dims=2)), rtol=1e-4, atol=1e-5)
