"""Dropping tokens against the model on fewer patches, closed forms of curves, and what does not belong
together."""

import pytest
import torch
from torch import nn

from vitlab.insight.attention import maps as maps_module
from vitlab.insight.attention.maps import chunk_size
from vitlab.insight.explain import explain
from vitlab.insight.honesty.faithfulness import compare, faithfulness
from vitlab.insight.honesty.likeness import class_sensitivity
from vitlab.insight.honesty.randomisation import randomisation_cascade
from vitlab.insight.views.view_of import view_of
from vitlab.models.patch_embed import LinearPatchEmbed
from vitlab.models.vit import VisionTransformer


def make_vit(depth=2, **options):
    torch.manual_seed(0)
    model = VisionTransformer(
        LinearPatchEmbed(4, 1, 8), (16, 12), 3, embed_dim=8, depth=depth, num_heads=2, **options
    )
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            nn.init.normal_(parameter, std=0.4)
    return model.eval()


def counter(evidence):
    """A ViT without layers to speak of, whose logit for class 1 is `evidence` times the mean brightness of
    the patches it is given."""
    model = make_vit(depth=1, class_token=False, global_pool="avg", pos_embed="none")
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    model.patch_embed.proj.weight.data[0] = 1 / 16
    model.fc_norm = nn.Identity()
    model.head.weight.data[1, 0] = evidence
    return model


def bright_patches(places, num_images):
    """Images whose patches at these places of the grid of 4 x 3 are white, on black."""
    images = torch.zeros(num_images, 1, 16, 12)
    for row, column in places:
        images[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] = 1
    return images


def test_deletion_and_insertion_are_the_areas_that_the_evidence_makes_by_hand():
    images = bright_patches([(1, 1)], num_images=2)
    heat = torch.rand(2, 4, 3, generator=torch.Generator().manual_seed(0))
    heat[:, 1, 1] = 2
    found = faithfulness(counter(5.0), images, heat, torch.tensor([1, 1]), num_steps=4)

    def probability(kept):  # one patch of those kept is white, or none is
        return 1 / (1 + 2 * torch.tensor(-5.0 * (1 / kept)).exp())

    without, kept_at = torch.tensor(1 / 3), [12, 9, 6, 3, 1]
    deletion = torch.trapezoid(torch.stack([probability(12), *[without] * 4])) / 4
    insertion = torch.trapezoid(torch.stack([probability(kept) for kept in kept_at])) / 4
    assert found.deletion == pytest.approx(deletion.item(), abs=1e-6)
    assert found.insertion == pytest.approx(insertion.item(), abs=1e-6)
    assert found.deletion_gain == pytest.approx(found.random - found.deletion, abs=1e-6)
    assert found.insertion_gain == pytest.approx(found.insertion - found.random, abs=1e-6)


def test_the_mean_over_random_orders_nears_the_expectation():
    images = bright_patches([(1, 1)], num_images=500)
    found = faithfulness(
        counter(5.0), images, torch.rand(500, 4, 3), torch.ones(500, dtype=torch.long), num_steps=4
    )
    kept = torch.tensor([12.0, 9, 6, 3, 1])
    expected = torch.trapezoid(kept / 12 / (1 + 2 * (-5 / kept).exp()) + (1 - kept / 12) / 3) / 4
    assert abs(found.random - expected) < 4 * found.random_se


def test_knowing_the_evidence_beats_random_and_maps_without_it_do_not():
    model, images = counter(20.0), bright_patches([(0, 2), (3, 0)], num_images=200)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(200, 4, 3, generator=generator)
    right, wrong = (torch.full((200, 4, 3), value) for value in (0.0, 1.0))
    right[:, 0, 2] = right[:, 3, 0] = 1.0
    wrong[:, 0, 2] = wrong[:, 3, 0] = 0.0
    scores = compare(
        model, images, {"right": right, "noise": noise, "wrong": wrong}, torch.ones(200, dtype=torch.long)
    )
    assert (
        scores["right"].beats_random
        and scores["right"].insertion_gain > 2 * scores["right"].insertion_gain_se
    )
    assert abs(scores["noise"].deletion_gain) < 4 * scores["noise"].deletion_gain_se
    assert (
        not scores["wrong"].beats_random
        and scores["wrong"].deletion_gain < -2 * scores["wrong"].deletion_gain_se
    )


def test_equal_shares_are_as_good_as_a_random_order():
    model, images = counter(20.0), bright_patches([(0, 0)], num_images=400)
    found = faithfulness(model, images, torch.full((400, 4, 3), 1 / 12), torch.ones(400, dtype=torch.long))
    assert abs(found.deletion_gain) < 4 * found.deletion_gain_se


@pytest.mark.parametrize(
    "options",
    [{"reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}],
    ids=["class token", "mean pooling"],
)
def test_dropped_tokens_leave_what_a_shorter_sequence_gives(options):
    """One step down to one patch: two forward passes by the model's own parts give both areas."""
    model, images = make_vit(**options), torch.randn(5, 1, 16, 12, generator=torch.Generator().manual_seed(2))
    heat = explain(model, images, "relevance")
    found = faithfulness(model, images, heat, num_steps=1)
    tokens = model.embed(images)
    whole = model(images).softmax(dim=1)
    target = whole.argmax(dim=1)
    areas = []
    for last in (heat.flatten(1).argmin(dim=1), heat.flatten(1).argmax(dim=1)):
        kept = torch.stack(
            [tokens[index, model.num_prefix_tokens + patch] for index, patch in enumerate(last)]
        )[:, None]
        short = model.forward_head(
            model.encode(torch.cat([tokens[:, : model.num_prefix_tokens], kept], dim=1), model.grid)
        ).softmax(dim=1)
        areas.append((whole + short).gather(1, target[:, None]).mean() / 2)
    assert (found.deletion, found.insertion) == pytest.approx([area.item() for area in areas], abs=1e-5)


def test_with_a_depthwise_convolution_a_dropped_patch_is_what_lies_beyond_the_border():
    """What is kept of each order is a smaller image: the whole, its lower or upper half, its last or first
    patch."""
    model = make_vit(depth=2, ffn="dwconv", class_token=False, global_pool="avg", pos_embed="none")
    images = torch.randn(4, 1, 16, 12, generator=torch.Generator().manual_seed(3))
    row_by_row = torch.arange(12.0, 0.0, -1.0).view(1, 4, 3).expand(4, -1, -1)
    found = faithfulness(model, images, row_by_row, torch.zeros(4, dtype=torch.long), num_steps=2)

    def area(*parts):
        whole, half, patch = (model(part).softmax(dim=1)[:, 0].mean().item() for part in parts)
        return (whole + 2 * half + patch) / 4

    assert found.deletion == pytest.approx(area(images, images[:, :, 8:], images[:, :, 12:, 8:]), abs=1e-6)
    assert found.insertion == pytest.approx(area(images, images[:, :, :8], images[:, :, :4, :4]), abs=1e-6)


def test_scores_follow_from_the_seed_and_leave_model_and_generator_alone():
    model, images = make_vit(drop_rate=0.5).train(), torch.randn(6, 1, 16, 12)
    heat = explain(model, images, "rollout")
    state = torch.get_rng_state()
    with torch.inference_mode():
        one, again, other = (faithfulness(model, images, heat, seed=seed) for seed in (0, 0, 1))
    assert one == again and one.random != other.random
    assert one.deletion == pytest.approx(other.deletion)  # no share is equal to another
    assert torch.equal(torch.get_rng_state(), state) and model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_several_methods_at_once_score_as_they_do_alone():
    model, images = make_vit(), torch.randn(70, 1, 16, 12)
    maps = {method: explain(model, images, method) for method in ("rollout", "random")}
    scores = compare(model, images, maps)
    for method, heatmaps in maps.items():
        assert scores[method] == pytest.approx(faithfulness(model, images, heatmaps), abs=1e-6)


def test_deletion_alone_is_the_same_deletion():
    model, images = make_vit(), torch.randn(5, 1, 16, 12, generator=torch.Generator().manual_seed(0))
    maps = {name: explain(model, images, name) for name in ("rollout", "relevance")}
    both, alone = compare(model, images, maps), compare(model, images, maps, with_insertion=False)
    for name in maps:
        for field in (
            "deletion",
            "random",
            "random_spread",
            "deletion_gain",
            "deletion_gain_se",
            "agreement_at_half",
        ):
            assert getattr(alone[name], field) == pytest.approx(getattr(both[name], field), abs=1e-6)
        assert torch.tensor([alone[name].insertion, alone[name].insertion_gain]).isnan().all()


def test_no_more_images_run_at_once_than_the_maps_bound_of_memory_allows_and_the_scores_stay(monkeypatch):
    model, images = make_vit(), torch.randn(9, 1, 16, 12, generator=torch.Generator().manual_seed(0))
    heat, running = explain(model, images, "rollout"), []
    handle = model.blocks[0].register_forward_pre_hook(lambda _, given: running.append(len(given[0])))

    def measured():
        running.clear()
        scores = faithfulness(model, images, heat), class_sensitivity(model, images, "relevance")
        cascade = randomisation_cascade(model, images, "relevance")
        return [*scores[0], scores[1], *cascade.values()], max(running)

    whole, largest = measured()
    view = view_of(model)
    monkeypatch.setattr(
        maps_module, "WORKING_BYTES", maps_module.WORKING_BYTES * 2 // chunk_size(view, view.layout(images))
    )
    chunked, largest_chunk = measured()
    handle.remove()
    assert largest > 9 and largest_chunk == 2
    assert chunked == pytest.approx(whole, abs=1e-4)


def test_the_spread_is_that_of_single_orders_also_where_the_two_ends_of_an_order_offset_each_other():
    """With as much evidence for as against, what one end of an order gains the other loses: their mean hardly
    varies, one order does."""
    model, num_images, places = counter(3.0), 2000, [(row, column) for row in range(4) for column in range(3)]
    images = bright_patches(places[:6], num_images) - bright_patches(places[6:], num_images)
    found = faithfulness(
        model, images, torch.rand(num_images, 4, 3), torch.ones(num_images, dtype=torch.long), num_steps=4
    )
    values = torch.tensor([1.0] * 6 + [-1.0] * 6)[
        torch.rand(4000, 12, generator=torch.Generator().manual_seed(0)).argsort(dim=1)
    ]
    curves = [1 / (1 + 2 * (-3 * values[:, :kept].mean(dim=1)).exp()) for kept in (12, 9, 6, 3, 1)]
    one_order = (torch.trapezoid(torch.stack(curves), dim=0) / 4).std().item()
    assert found.random_spread == pytest.approx(one_order, rel=0.05)
    assert (
        found.random_se * (4 * num_images) ** 0.5 < 0.6 * one_order
    )  # what four unrelated curves of an image would have


def test_one_image_has_no_standard_error_and_beats_nothing():
    found = faithfulness(
        counter(20.0), bright_patches([(0, 0)], 1), torch.eye(4)[None, :, :3], torch.tensor([1])
    )
    assert (
        found.deletion_gain > 0
        and found.deletion_gain_se != found.deletion_gain_se
        and not found.beats_random
    )


def test_agreement_at_half_is_the_share_that_keeps_its_class():
    images = bright_patches([(0, 0)], num_images=1000)
    model = counter(5.0)
    model.head.bias.data[0] = 0.1  # the prediction is class 1 where the white patch is kept, else class 0
    found = faithfulness(model, images, torch.rand(1000, 4, 3), num_steps=2)
    assert found.agreement_at_half == pytest.approx(0.5)  # of the two ends of an order exactly one has it


@pytest.mark.parametrize(
    ("shape", "num_steps", "complaint"),
    [((2, 3, 4), 8, r"\[2, 4, 3\] would work"), ((2, 4, 3), 13, "1 to 12 would work")],
)
def test_a_map_or_a_number_of_steps_that_does_not_fit_is_refused(shape, num_steps, complaint):
    with pytest.raises(ValueError, match=complaint):
        faithfulness(make_vit(), torch.randn(2, 1, 16, 12), torch.rand(shape), num_steps=num_steps)
