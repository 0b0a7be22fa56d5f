"""Detections: how well two sets of boxes agree, what many sets say together, and where on an orbit a detector fails."""

import pytest
import torch
from scipy import ndimage

from intertwine import audit
from intertwine.audit import OrbitGrid
from intertwine.audit.boxes import COCO, average_precision, box_iou, mean_iou
from intertwine.groups import SE, Dihedral
from intertwine.reps import Boxes, Images, Invariant, Nested, box_corners

SIZE, SLOTS = 32, 4


def detections(boxes, scores=None, labels=None):
    out = {"boxes": torch.as_tensor(boxes, dtype=torch.float64).reshape(-1, 4)}
    if scores is not None:
        out["scores"] = torch.as_tensor(scores, dtype=torch.float64)
    if labels is not None:
        out["labels"] = torch.as_tensor(labels)
    return out


def one(*args, **options):
    return audit.pad_boxes([detections(*args, **options)])


def test_iou():
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 4, 1], [5, 5, 5, 9]])
    b = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 5, 9]])
    torch.testing.assert_close(box_iou(a, b), torch.tensor([[1, 1 / 7, 0], [2 / 6, 0, 0], [0, 0, 0]]))
    assert box_iou(a[None, :0], b[None]).shape == (1, 0, 3)


def test_slots():
    d = audit.pad_boxes([detections([[0, 0, 1, 1], [2, 2, 3, 3]], [0.2, 0.9], [4, 5]), detections([])], 2)
    assert d["boxes"].shape == (2, 2, 4)
    assert d["scores"].tolist() == [[0.9, 0.2], [0, 0]]
    assert d["labels"].tolist() == [[5, 4], [0, 0]]
    assert audit.pad_boxes([detections([[0, 0, 1, 1], [2, 2, 3, 3]], [0.2, 0.9])], 1)["scores"].tolist() == [[0.9]]
    turned = audit.pad_boxes([{"boxes": box_corners(torch.rand(3, 4))}, {"boxes": torch.zeros(0, 4, 2)}])
    assert turned["boxes"].shape == (2, 3, 4, 2)
    assert turned["scores"].tolist() == [[1, 1, 1], [0, 0, 0]]
    with pytest.raises(ValueError, match="at least one image"):
        audit.pad_boxes([])
    with pytest.raises(ValueError, match="do not fit"):
        one([[0, 0, 1, 1]], [0.5, 0.5])
    with pytest.raises(ValueError, match="detections are a dict with 'boxes'"):
        mean_iou({"scores": torch.ones(1, 2)}, one([[0, 0, 1, 1]]))


def slow_average_precision(found, wanted, thresholds):
    """One image, plain loops: for each label and threshold the area under the best precision at each recall."""
    kinds = sorted({w[1] for w in wanted})
    if not kinds:
        return float(not found)
    areas = []
    for kind in kinds:
        truth = [w[0] for w in wanted if w[1] == kind]
        mine = sorted((f for f in found if f[2] == kind), key=lambda f: -f[1])
        for t in thresholds:
            left, flags = list(range(len(truth))), []
            for box, _, _ in mine:
                overlaps = [(box_iou(box[None], truth[j][None]).item(), -j) for j in left]
                best = max(overlaps, default=(0.0, 0))
                flags.append(best[0] >= t)
                if flags[-1]:
                    left.remove(-best[1])
            right, curve = 0, []
            for n, flag in enumerate(flags):
                right += flag
                curve.append((right / len(truth), right / (n + 1)))
            area, before = 0.0, 0.0
            for i, (recall, _) in enumerate(curve):
                area += (recall - before) * max(p for _, p in curve[i:])
                before = recall
            areas.append(area)
    return sum(areas) / len(areas)


def test_average_precision_against_plain_loops(generator):
    images, both = 40, []
    for _ in range(images):
        n = int(torch.randint(0, 4, (), generator=generator))
        corner = torch.rand(n, 2, generator=generator, dtype=torch.float64) * 20
        truth = torch.cat([corner, corner + 4 + 6 * torch.rand(n, 2, generator=generator)], 1)
        label = torch.randint(0, 2, (n,), generator=generator)
        copies = torch.randint(0, 3, (n,), generator=generator)
        found = truth.repeat_interleave(copies, 0)
        found = found + torch.randn(found.shape, generator=generator)
        own = label.repeat_interleave(copies)
        both.append(
            (detections(truth, labels=label), detections(found, torch.rand(len(own), generator=generator), own))
        )
    target, output = (audit.pad_boxes([pair[i] for pair in both], 6 if i else None) for i in (0, 1))
    for thresholds in ((0.5,), COCO):
        value = average_precision(output, target, thresholds)
        expected = [
            slow_average_precision(
                list(zip(d["boxes"], d["scores"].tolist(), d["labels"].tolist())),
                list(zip(t["boxes"], t["labels"].tolist())),
                thresholds,
            )
            for t, d in both
        ]
        torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64))
        assert 0 < value.min() + value.mean() < 1.9


def test_scores_of_simple_cases():
    truth = one([[0, 0, 4, 4], [10, 10, 14, 14]], labels=[1, 2])
    for found, iou, ap in (
        (one([[0, 0, 4, 4], [10, 10, 14, 14]], [0.5, 0.6], [1, 2]), 1, 1),
        (one([[0, 0, 4, 4], [10, 10, 14, 14]], [0.5, 0.6], [2, 1]), 0, 0),  # labels count
        (one([[0, 0, 4, 2], [10, 10, 14, 14]], [0.5, 0.6], [1, 2]), 0.75, 0.55),  # IoU ½ and 1: one threshold of ten
        (one([[0, 0, 4, 4], [10, 10, 14, 14], [20, 20, 22, 22]], [0.5, 0.6, 0.9], [1, 2, 1]), 1, 0.75),
        (one([[0, 0, 4, 4], [10, 10, 14, 14], [20, 20, 22, 22]], [0.5, 0.6, 0.1], [1, 2, 1]), 1, 1),  # after all hits
        (one([[0, 0, 4, 4], [0, 0, 4, 4]], [0.5, 0.6], [1, 1]), 0.5, 0.5),  # the second finds nothing left
        (audit.pad_boxes([detections([])], 3), 0, 0),
        (audit.pad_boxes([detections([])]), 0, 0),
    ):
        assert mean_iou(found, truth).item() == pytest.approx(iou)
        assert average_precision(found, truth).item() == pytest.approx(ap)
    nothing = audit.pad_boxes([detections([])], 2)
    for metric in (mean_iou, average_precision):
        assert metric(nothing, nothing).item() == 1
        assert metric(truth, nothing).item() == 0


# --- a detector that needs no training


def scenes(n, generator):
    """Images with two bright things of different brightness and shape, away from the border; and their boxes."""
    x, truth = torch.zeros(n, 1, SIZE, SIZE, dtype=torch.float64), []
    for i in range(n):
        boxes = []
        for j, (width, height) in enumerate(((7, 4), (4, 6))):
            left = int(torch.randint(9 + 8 * j, 10 + 8 * j, (), generator=generator))
            top = int(torch.randint(8, 18, (), generator=generator))
            x[i, 0, top : top + height, left : left + width] = 1 - 0.4 * j
            boxes.append([left, top, left + width, top + height])
        truth.append(detections(boxes, labels=[0, 1]))
    return x, audit.pad_boxes(truth)


def bright(x):
    """Connected bright regions, labelled by their brightness, their score."""
    out = []
    for image in x[:, 0]:
        regions, count = ndimage.label((image > 0.3).numpy())
        boxes, scores, labels = [], [], []
        for region, (rows, columns) in zip(range(1, count + 1), ndimage.find_objects(regions)):
            level = float(image[torch.from_numpy(regions == region)].mean())
            boxes.append([columns.start, rows.start, columns.stop, rows.stop])
            scores.append(level)
            labels.append(int(level < 0.8))
        out.append(detections(boxes, scores, torch.tensor(labels, dtype=torch.int64)))
    return audit.pad_boxes(out, SLOTS)


def blind_in_a_corner(x):
    """Sees nothing whose centre is in the upper left quarter."""
    found = bright(x)
    centre = (found["boxes"][..., :2] + found["boxes"][..., 2:]) / 2
    return found | {"scores": torch.where((centre < SIZE / 2).all(-1), 0.0, found["scores"])}


def flat_boxes(x):
    """Draws no box higher than four pixels: wrong for what stands upright."""
    found = bright(x)
    boxes = found["boxes"].clone()
    boxes[..., 3] = torch.minimum(boxes[..., 3], boxes[..., 1] + 4)
    return found | {"boxes": boxes}


def actions(group):
    boxes = Nested({"boxes": Boxes(group, (SIZE, SIZE)), "scores": Invariant(), "labels": Invariant()})
    return Images(group), boxes


@pytest.mark.parametrize("metric", ["iou", "ap50", "map"])
def test_a_right_detector_is_flat_under_quarter_turns_and_whole_shifts(metric, generator):
    x, truth = scenes(6, generator)
    shifts = OrbitGrid.torus(5, 3, 0.25, group=SE(2))  # of 2 and 4 pixels: half the height is 16
    for grid in (OrbitGrid.finite(Dihedral(4)), shifts):
        rep_in, rep_out = actions(grid.group)
        for options in ({"targets": truth}, {}, {"consensus": "boxes"}):
            r = audit.nero(bright, rep_in, rep_out, x, orbit=grid, metric=metric, generator=generator, **options)
            torch.testing.assert_close(r.values, torch.ones_like(r.values), atol=1e-10, rtol=0)
            if "consensus" in options:
                assert (r.agreement == 1).all()
    assert r.better == "higher"
    assert r.label == {"iou": "IoU", "ap50": "AP50", "map": "mAP"}[metric]


def test_upright_things_show_at_quarter_turns(generator):
    x, truth = scenes(12, generator)
    grid = OrbitGrid.finite(Dihedral(4))
    rep_in, rep_out = actions(grid.group)
    r = audit.nero(
        {"all": bright, "flat": flat_boxes}, rep_in, rep_out, x, orbit=grid, metric="iou", targets=truth,
        generator=generator,
    )  # fmt: skip
    assert (r.aggregate[0] == 1).all()
    expected = {True: (1 + 4 / 6) / 2, False: (4 / 7 + 1) / 2}  # the thing that stands is cut to four pixels
    for k, step in enumerate(Dihedral(4).elements()[:, 1].tolist()):
        assert r.aggregate[1, k].item() == pytest.approx(expected[step % 2 == 0])


@pytest.mark.parametrize("options", ["labels", "consensus"])
def test_shifts_find_the_blind_corner_with_labels_and_without(options, generator):
    x, truth = scenes(12, generator)
    grid = OrbitGrid.torus(9, 9, 0.5, group=SE(2))
    rep_in, rep_out = actions(grid.group)
    given = {"targets": truth} if options == "labels" else {"consensus": "boxes"}
    r = audit.nero(blind_in_a_corner, rep_in, rep_out, x, orbit=grid, metric="iou", generator=generator, **given)
    worst, best = r.extremes(0)
    places = grid.coordinates
    assert places["x"][worst] < 0 > places["y"][worst], "to the left and up: y points down"
    assert places["x"][best] > 0 or places["y"][best] > 0
    assert r.values.max().item() == pytest.approx(1)
    if options == "consensus":
        assert 0.5 < r.agreement.mean() < 1
    else:
        inside = (places["x"].abs() < 0.3) & (places["y"].abs() < 0.3)
        assert r.aggregate[0, inside].min() < 0.6


def test_a_consensus_of_boxes(generator):
    """Must hold 3 for detections: fewer than half of the sets are wrong, and it is the clean boxes that come out."""
    group = Dihedral(4)
    _, rep_out = actions(group)
    x, truth = scenes(5, generator)
    g = group.elements()
    moved = torch.stack([Images(group)(g[k], x) for k in range(8)], 1)
    outputs = {name: t.unflatten(0, (5, 8)) for name, t in bright(moved.flatten(0, 1)).items()}
    clean = audit.consensus(outputs, rep_out, g, kind="boxes")
    assert mean_iou(clean.value, truth).min().item() == pytest.approx(1)
    assert (clean.agreement == 1).all()
    assert clean.value["scores"].shape == (5, SLOTS)
    torch.testing.assert_close(clean.value["scores"][:, :2], torch.tensor([1.0, 0.6]).double().expand(5, 2))
    outputs["boxes"][:, :2] += 40  # two sets of eight see everything elsewhere
    outputs["boxes"][:, 0] -= 33  # one of them inside the image
    outputs["scores"][:, 2, 1] = 0  # another misses one thing
    dirty = audit.consensus(outputs, rep_out, g, kind="boxes")
    assert mean_iou(dirty.value, truth).min().item() == pytest.approx(1)
    assert ((dirty.value["scores"] > 0).sum(1) == 2).all()
    assert (dirty.agreement < 0.75).all()
    each = audit.consensus(outputs, rep_out, g.expand(5, 8, 2), kind="boxes", weight="uniform")
    torch.testing.assert_close(each.value["boxes"][:, :2], dirty.value["boxes"][:, :2])


def test_averages_weigh_by_score():
    rep_out = actions(Dihedral(1))[1]
    outputs = {
        "boxes": torch.tensor([[0.0, 0, 10, 10], [0, 0, 8, 10]], dtype=torch.float64).reshape(1, 2, 1, 4),
        "scores": torch.tensor([0.9, 0.3], dtype=torch.float64).reshape(1, 2, 1),
        "labels": torch.zeros(1, 2, 1, dtype=torch.int64),
    }
    g = Dihedral(1).identity(2)
    for weight, width in ((None, 9.5), ("confidence", 9.5), ("uniform", 9), (torch.tensor([[1.0, 3.0]]), 9)):
        found = audit.consensus(outputs, rep_out, g, kind="boxes", weight=weight)
        assert found.value["boxes"][0, 0, 2].item() == pytest.approx(width)
    assert found.value["scores"].item() == pytest.approx(0.25 * 0.9 + 0.75 * 0.3)


def test_what_leaves_the_image_does_not_vote():
    """A thing near the border is out of sight for half of the shifts; those say nothing about it."""
    rep_in, rep_out = actions(SE(2))
    x = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.float64)
    x[0, 0, 10:14, 1:5] = 1
    grid = OrbitGrid.torus(9, 3, 1.0, group=SE(2))
    outputs = bright(rep_in(grid.elements, x.expand(27, 1, SIZE, SIZE)))
    found = audit.consensus({n: t[None] for n, t in outputs.items()}, rep_out, grid.elements, kind="boxes")
    assert ((outputs["scores"] > 0).sum() / 27) < 0.5
    assert found.value["boxes"][0, 0].tolist() == pytest.approx([1, 10, 5, 14])
    without = Nested({"boxes": Boxes(SE(2)), "scores": Invariant(), "labels": Invariant()})
    assert without.parts["boxes"].size is None


def test_a_page_with_detections(tmp_path, generator):
    x, truth = scenes(11, generator)
    grid = OrbitGrid.torus(5, 5, 0.5, group=SE(2))
    r = audit.nero(blind_in_a_corner, *actions(SE(2)), x, orbit=grid, metric="map", targets=truth, generator=generator)
    content = r.to_html(tmp_path / "boxes.html").read_text()
    assert "mAP" in content
    assert content.count("data:image/png") >= 11


def test_errors(generator):
    rep_in, rep_out = actions(Dihedral(4))
    x, _ = scenes(3, generator)
    grid = OrbitGrid.finite(Dihedral(4))
    with pytest.raises(ValueError, match="'boxes' does not combine a Tensor"):
        audit.consensus(torch.zeros(2, 8, 4), rep_out, grid.elements, kind="boxes")
    with pytest.raises(ValueError, match="'mean' does not combine a dict"):
        audit.consensus({"boxes": torch.zeros(2, 8, 1, 4)}, rep_out, grid.elements)
    with pytest.raises(ValueError, match="detections are a dict with 'boxes'"):
        audit.nero(lambda x: x, rep_in, rep_in, x, orbit=grid, metric="iou", generator=generator)
