import math

import torch
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from vitlab.data.augment.boxes import outside, random_boxes
from vitlab.data.augment.geometry import (
    boxes_by_resize,
    resized,
    rotation,
    sample,
    scaling,
    shearing,
    translation,
    window,
)


def smooth_images(number: int, height: int, width: int) -> torch.Tensor:
    coarse = torch.rand(number, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 255
    return interpolate(coarse, (height, width), mode="bilinear").round().to(torch.uint8)


def test_affine_views_equal_torchvisions_of_each_sample():
    pixels = smooth_images(24, 21, 30)
    angle, shear_x, shear_y, factor, x, y = (
        2 * torch.rand(6, 24, generator=torch.Generator().manual_seed(1)) - 1
    ).unbind()
    angle, shear_x, shear_y, factor, x, y = (
        90 * angle,
        20 * shear_x,
        20 * shear_y,
        1 + 0.4 * factor,
        (8 * x).round(),
        (8 * y).round(),
    )

    slopes = torch.deg2rad(shear_x).tan(), torch.deg2rad(shear_y).tan()
    views = sample(
        pixels, shearing(*slopes) @ scaling(factor) @ rotation(angle) @ translation(x, y), (21, 30)
    )

    for i in range(24):
        expected = reference.affine(
            pixels[i],
            angle=angle[i].item(),
            translate=[int(x[i]), int(y[i])],
            scale=factor[i].item(),
            shear=[shear_x[i].item(), shear_y[i].item()],
            interpolation=InterpolationMode.BILINEAR,
        )
        off = (views[i].int() - expected.int()).abs()
        # where a value lies between two levels, the last bit of the matrix decides
        assert off.max() <= 1 and (off > 0).float().mean() < 0.005


def test_a_window_at_the_stored_scale_is_the_slice():
    pixels = smooth_images(2, 20, 24)
    boxes = torch.tensor([[3.0, 5.0, 15.0, 19.0], [0.0, 10.0, 12.0, 24.0]])
    views = sample(pixels, window(boxes, (20, 24), (12, 14)), (12, 14))
    assert torch.equal(views[0], pixels[0, :, 3:15, 5:19])
    assert torch.equal(views[1], pixels[1, :, 0:12, 10:24])


def test_a_window_with_its_sides_swapped_is_the_mirrored_slice():
    pixels = smooth_images(1, 20, 24)
    view = sample(pixels, window(torch.tensor([[3.0, 19.0, 15.0, 5.0]]), (20, 24), (12, 14)), (12, 14))
    assert torch.equal(view[0], pixels[0, :, 3:15, 5:19].flip(-1))


def test_a_window_of_the_whole_image_is_torchs_bilinear_resize():
    pixels = smooth_images(2, 16, 12)
    for size in ((40, 30), (11, 9)):
        views = sample(
            pixels,
            window(torch.tensor([[0.0, 0.0, 16.0, 12.0]]).expand(2, 4), (16, 12), size),
            size,
            beyond="border",
        )
        off = (views.float() - interpolate(pixels.float(), size, mode="bilinear")).abs()
        assert off.max() <= 0.5 + 1e-3


def test_both_kernels_of_resized_boxes_show_the_same_to_a_level_mirrored_too():
    pixels = smooth_images(64, 60, 48)
    boxes = random_boxes(
        torch.rand(64, 4, generator=torch.Generator().manual_seed(2)), (0.1, 1.0), (0.75, 4 / 3), (60, 48)
    ).round()
    boxes[::2] = boxes[::2][:, [0, 3, 2, 1]]
    for size in ((64, 32), (20, 24)):
        by_resize = boxes_by_resize(pixels, boxes, size).int()
        by_sampling = sample(pixels, window(boxes, (60, 48), size), size, beyond="border").int()
        off = (by_resize - by_sampling).abs()
        assert off[:, :, 2:-2, 2:-2].max() <= 1  # fixed point against floating point
        assert off.max() <= 12  # at the edge half a pixel of what lies beyond the box


def test_a_box_of_the_stored_size_is_the_slice_in_both_directions():
    pixels = smooth_images(2, 20, 24)
    boxes = torch.tensor([[3.0, 5.0, 15.0, 19.0], [3.0, 19.0, 15.0, 5.0]])
    views = boxes_by_resize(pixels, boxes, (12, 14))
    assert torch.equal(views[0], pixels[0, :, 3:15, 5:19])
    assert torch.equal(views[1], pixels[1, :, 3:15, 5:19].flip(-1))


def test_photographs_are_resized_and_smaller_images_sampled():
    boxes = torch.tensor([[3.0, 5.0, 60.0, 90.0]])
    for side, is_photograph in ((95, False), (96, True)):
        pixels = smooth_images(1, 120, side)
        views = resized(pixels, boxes, (40, 40))
        assert torch.equal(views, boxes_by_resize(pixels, boxes, (40, 40))) == is_photograph
        assert (
            torch.equal(
                views, sample(pixels, window(boxes, (120, side), (40, 40)), (40, 40), beyond="border")
            )
            != is_photograph
        )


def test_boxes_of_photographs_end_at_the_nearest_pixels_each_by_itself_and_have_one_at_least():
    pixels = smooth_images(4, 120, 96)
    boxes = torch.tensor(
        [[3.6, 5.4, 60.5, 90.2], [3.2, 5.0, 3.4, 19.0], [119.7, 19.0, 119.9, 18.9], [0.0, 95.9, 120.0, 95.6]]
    )
    nearest = torch.tensor(
        [[4.0, 5.0, 60.0, 90.0], [3.0, 5.0, 4.0, 19.0], [119.0, 20.0, 120.0, 19.0], [0.0, 96.0, 120.0, 95.0]]
    )
    views = boxes_by_resize(pixels, boxes, (12, 14))
    assert torch.equal(views, boxes_by_resize(pixels, nearest, (12, 14)))
    assert torch.equal(views[:1], boxes_by_resize(pixels[:1], boxes[:1], (12, 14)))


def test_photographs_are_cut_in_inference_mode_too_and_torch_keeps_its_threads():
    pixels, boxes = smooth_images(2, 120, 96), torch.tensor([[3.0, 5.0, 60.0, 90.0], [0.0, 0.0, 120.0, 96.0]])
    threads = torch.get_num_threads()
    with torch.inference_mode():
        inside = boxes_by_resize(pixels.clone(), boxes, (40, 40))
    assert torch.equal(inside, boxes_by_resize(pixels, boxes, (40, 40)))
    assert torch.get_num_threads() == threads


def test_random_boxes_have_the_area_and_aspect_asked_for_and_lie_inside():
    draws = torch.rand(20_000, 4, generator=torch.Generator().manual_seed(0))
    for height, width in ((30, 40), (32, 32)):
        top, left, bottom, right = random_boxes(draws, (0.1, 0.6), (0.5, 2.0), (height, width)).unbind(1)
        area, ratio = (bottom - top) * (right - left) / (height * width), (bottom - top) / (right - left)
        assert area.min() >= 0.1 - 1e-5 and area.max() <= 0.6 + 1e-5
        assert ratio.min() >= 0.5 - 1e-4 and ratio.max() <= 2 + 1e-4
        assert (
            top.min() >= 0
            and left.min() >= 0
            and bottom.max() <= height + 1e-4
            and right.max() <= width + 1e-4
        )
        assert abs(area.mean() - 0.35) < 0.005  # uniform: 0.35 +- 0.001
        small = area < 0.2  # no aspect is cut off for these, so its logarithm is uniform around 0
        assert (
            abs(ratio[small].log().mean()) < 0.03
            and abs(ratio[small].log().std() - math.log(4) / math.sqrt(12)) < 0.02
        )


def test_boxes_of_an_image_longer_than_any_aspect_still_fit():
    draws = torch.rand(1000, 4, generator=torch.Generator().manual_seed(0))
    for height, width in ((100, 20), (20, 100)):
        top, left, bottom, right = random_boxes(draws, (0.9, 1.0), (0.75, 4 / 3), (height, width)).unbind(1)
        assert (
            top.min() >= 0
            and left.min() >= 0
            and bottom.max() <= height + 1e-3
            and right.max() <= width + 1e-3
        )
        assert ((bottom - top) * (right - left) / 2000).min() >= 0.9 - 1e-4


def test_the_pixels_of_a_box_are_those_with_their_centre_in_it():
    boxes = torch.tensor([[1.4, 0.6, 3.5, 2.4], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 4.0, 5.0]])
    masks = outside(boxes, (4, 5), torch.device("cpu"))
    expected = torch.ones(4, 5)
    expected[1:3, 1:2] = 0  # rows at 1.5 and 2.5, the column at 1.5
    assert torch.equal(masks[:, 0], torch.stack([expected, torch.ones(4, 5), torch.zeros(4, 5)]))
