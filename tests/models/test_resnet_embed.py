"""The patch embeddings with a ResNet inside, against torchvision's ResNets and against what each of them
promises."""

import pytest
import torch
import torchvision.models as tv
from torch import nn

from vitlab.models.resnet_embed import PatchResNet, ResNetStage
from vitlab.models.vit import VisionTransformer

PRETRAINED = {"stem": "imagenet", "norm": "batch"}
FRESH = {"stem": "small", "norm": "group"}


def peer(name):
    """torchvision's own model with statistics and weights that are no defaults, in evaluation mode and double
    precision."""
    torch.manual_seed(0)
    model = getattr(tv, name)(weights=None).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.double()


def features_of(model, images, stages):
    x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    for stage in range(stages):
        x = getattr(model, f"layer{stage + 1}")(x)
    return x


def load_trunk(embed, model):
    names = embed.trunk.state_dict().keys()
    embed.trunk.load_state_dict(
        {name: value for name, value in model.state_dict().items() if name in names}, strict=True
    )


@pytest.mark.parametrize(("name", "stages"), [("resnet18", 2), ("resnet34", 4), ("resnet50", 3)])
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_a_stage_with_torchvisions_weights_gives_torchvisions_feature_map(name, stages, training):
    model = peer(name)
    stride = 4 * 2 ** (stages - 1)
    embed = ResNetStage(stride, 3, 48, name, stages, **PRETRAINED).double().train(training)
    load_trunk(embed, model)
    images = torch.randn(2, 3, 64, 96, dtype=torch.double)
    expected = features_of(model, images, stages)
    torch.testing.assert_close(embed.trunk(images), expected)
    assert embed(images).shape == (2, expected.shape[2] * expected.shape[3], 48)
    tokens = embed.proj(expected).flatten(2).transpose(1, 2)  # row by row
    torch.testing.assert_close(embed(images), tokens)


def test_fixed_batch_norm_keeps_its_statistics_while_its_weights_train():
    embed = ResNetStage(8, 3, 16, "resnet18", 2, **PRETRAINED).train()
    before = {name: value.clone() for name, value in embed.state_dict().items()}
    embed(torch.randn(4, 3, 32, 32) + 3.0).square().mean().backward()
    torch.optim.SGD(embed.parameters(), lr=0.1).step()
    after = embed.state_dict()
    assert all(
        torch.equal(after[name], before[name]) for name in before if "running" in name or "tracked" in name
    )
    assert not torch.equal(after["trunk.bn1.weight"], before["trunk.bn1.weight"])


def test_each_patch_is_embedded_as_if_it_were_the_only_one():
    torch.manual_seed(0)
    embed = PatchResNet(8, 3, 32, "resnet18", 2, **FRESH, trunk_size=None, chunk_size=1000)
    images = torch.randn(2, 3, 16, 24)
    tokens = embed(images)
    for row in range(2):
        for column in range(3):
            alone = images[1:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
            torch.testing.assert_close(tokens[1, row * 3 + column], embed(alone)[0, 0], rtol=1e-5, atol=1e-5)


def test_a_patch_goes_through_torchvisions_network_resized_to_the_trunks_size():
    model = peer("resnet18")
    embed = PatchResNet(48, 3, 40, "resnet18", 4, **PRETRAINED, trunk_size=32, chunk_size=3).double()
    load_trunk(embed, model)
    images = torch.randn(1, 3, 96, 48, dtype=torch.double)
    patches = nn.functional.interpolate(
        torch.cat([images[..., :48, :], images[..., 48:, :]]), 32, mode="bilinear", antialias=True
    )
    expected = embed.proj(model.avgpool(features_of(model, patches, 4)).flatten(1))
    torch.testing.assert_close(embed(images)[0], expected)


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_chunks_change_neither_tokens_nor_gradients(norm):
    torch.manual_seed(0)
    embed = PatchResNet(4, 1, 32, "resnet18", 2, "small", norm, trunk_size=None, chunk_size=10_000)
    images = torch.randn(3, 1, 16, 16)
    results = []
    for chunk_size in (10_000, 7, 16):
        embed.chunk_size = chunk_size
        embed.zero_grad()
        tokens = embed(images)
        tokens.square().mean().backward()
        results.append([tokens.detach(), *[parameter.grad.clone() for parameter in embed.parameters()]])
    for chunked in results[1:]:
        torch.testing.assert_close(chunked, results[0], rtol=1e-4, atol=1e-6)


def test_chunks_keep_fewer_activations_for_the_backward_pass():
    embed = PatchResNet(4, 3, 32, "resnet18", 2, **FRESH, trunk_size=None, chunk_size=10_000)
    images = torch.randn(4, 3, 32, 32)
    kept = {}
    for chunk_size in (10_000, 16):
        embed.chunk_size = chunk_size
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, sizes=sizes: sizes.append(tensor.numel()), lambda tensor: tensor
        ):
            embed(images)
        kept[chunk_size] = sum(sizes)
    assert kept[16] < kept[10_000] / 20


def test_the_papers_trunk_has_a_third_stage_of_nine_blocks_and_stride_sixteen():
    embed = ResNetStage(16, 3, 64, "resnet50_349", 3, "imagenet", "group")
    assert [len(embed.trunk.get_submodule(f"layer{stage}")) for stage in (1, 2, 3)] == [3, 4, 9]
    assert embed(torch.randn(1, 3, 64, 32)).shape == (1, 8, 64)


@pytest.mark.parametrize("kind", ["patch_resnet", "resnet_stage"])
def test_a_hybrid_learns_to_tell_two_textures_apart(kind):
    torch.manual_seed(0)
    shape = (4, 1, 32, "resnet18", 1, *FRESH.values())
    embed = (
        PatchResNet(*shape, trunk_size=None, chunk_size=64) if kind == "patch_resnet" else ResNetStage(*shape)
    )
    model = VisionTransformer(embed, 8, 2, 32, 1, 2, class_token=False, global_pool="avg")
    labels = torch.arange(64) % 2
    stripes = torch.tensor([1.0, -1.0]).repeat(4).expand(8, 8)
    images = torch.where(labels.view(-1, 1, 1, 1) == 1, stripes, stripes.T)[:, None].reshape(
        64, 1, 8, 8
    ) + 0.5 * torch.randn(64, 1, 8, 8)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(15):
        loss = nn.functional.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(images).argmax(dim=1) == labels).float().mean() > 0.95


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (
            lambda: ResNetStage(6, 3, 16, "resnet18", 2, "imagenet", "group"),
            r"no divisor of patch_size=6; with patch_embed.stem=small more",
        ),
        (
            lambda: ResNetStage(12, 3, 16, "resnet18", 4, "small", "group"),
            r"divisor of patch_size=12; patch_embed.stages=1 or 2 or 3 would work",
        ),
        (
            lambda: ResNetStage(16, 3, 16, "resnet50_349", 4, "imagenet", "group"),
            r"stages=4: resnet50_349 has the stages 1 to 3",
        ),
        (
            lambda: PatchResNet(4, 3, 16, "resnet18", 4, "small", "group", None, 10),
            r"more than a patch of 4; patch_embed.stages=1 or 2 or 3 would work",
        ),
        (
            lambda: PatchResNet(4, 3, 16, "resnet18", 2, "small", "group", 0, 10),
            r"patch_embed.trunk_size=0 must be at least 1",
        ),
        (
            lambda: PatchResNet(4, 3, 16, "resnet18", 2, "small", "group", None, 0),
            r"patch_embed.chunk_size=0",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(build, says):
    with pytest.raises(ValueError, match=says):
        build()
