import numpy as np
import pytest
import torch
from torch import nn

from intertwine import audit
from intertwine.audit import Metric, OrbitGrid
from intertwine.audit.nero_result import embed, orbit_mean
from intertwine.groups import SE, SO, Cyclic, Dihedral, E, O, S
from intertwine.reps import Invariant, Nested, Permute, Points, Vectors

V2 = SO(2).V


def points(n, generator, d=2):
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def equivariant(x):
    return x * x.square().sum(-1, keepdim=True).tanh()


def angle_of(x):
    return torch.atan2(x[:, 1], x[:, 0]) * 180 / torch.pi % 360


def fails_between_80_and_100(x):
    """Right, except when the input points to [80°, 100°]."""
    angle = angle_of(x)[:, None]
    return equivariant(x) + torch.where((angle >= 80) & (angle <= 100), 0.5, 0.0)


def east(n, generator):
    """Samples that all point to 0°, so that the element is the angle."""
    return torch.stack([1 + torch.rand(n, generator=generator, dtype=torch.float64), torch.zeros(n)], 1)


def test_an_equivariant_model_is_flat_everywhere(generator):
    """Must hold 1."""
    x = points(20, generator)
    for options in ({}, {"consensus": "mean"}, {"consensus": "median"}, {"targets": equivariant(x)}):
        result = audit.nero(equivariant, V2, V2, x, orbit=OrbitGrid.circle(36), generator=generator, **options)
        assert result.values.abs().max() < 1e-10
        if "consensus" in options:
            assert (result.agreement == 1).all()


def test_a_planted_defect_is_located_and_the_band_excludes_the_median(generator):
    """Must hold 2, for a score where high is good and for an error where high is bad."""
    x, grid = east(40, generator), OrbitGrid.circle(72)

    def closeness(y, t):
        return torch.exp(-(y - t).norm(dim=1))

    for metric, better in ((Metric("closeness", "higher", closeness), "higher"), ("rmse", "lower")):
        noise = 0.02 * torch.randn(40, 2, generator=generator, dtype=torch.float64)
        result = audit.nero(
            fails_between_80_and_100, V2, V2, x, orbit=grid, metric=metric, targets=equivariant(x) + noise,
            generator=generator,
        )  # fmt: skip
        assert result.better == better
        worst, _ = result.extremes(0)
        assert 80 - 5 <= grid.coordinates["angle"][worst] <= 100 + 5
        median = result.aggregate[0].median()
        low, high = result.ci[0, worst]
        assert not low <= median <= high
        assert "worst at" in result.sentence(0)


def test_consensus_of_an_equivariant_regressor_is_its_output(generator):
    """Must hold 3."""
    x = points(12, generator)
    g = SO(2).sample(9, generator=generator)
    outputs = torch.stack([equivariant(x @ R.T) for R in g], 1)
    for kind in ("mean", "median"):
        found = audit.consensus(outputs, V2, g, kind=kind)
        torch.testing.assert_close(found.value, equivariant(x), atol=1e-12, rtol=0)
        assert (found.agreement == 1).all()
    own = g.expand(12, 9, 2, 2)
    torch.testing.assert_close(audit.consensus(outputs, V2, own).value, equivariant(x), atol=1e-12, rtol=0)


def test_vote_and_median_survive_a_corrupted_minority(generator):
    """Must hold 3."""
    g = SO(2).sample(9, generator=generator)
    x = points(12, generator)
    outputs = torch.stack([equivariant(x @ R.T) for R in g], 1)
    outputs[:, :4] = 100 * torch.randn(12, 4, 2, generator=generator, dtype=torch.float64)
    found = audit.consensus(outputs, V2, g, kind="median")
    torch.testing.assert_close(found.value, equivariant(x), atol=1e-12, rtol=0)
    assert found.agreement.tolist() == pytest.approx([5 / 9] * 12)
    label = torch.randint(5, (12,), generator=generator)
    scores = torch.nn.functional.one_hot(label, 5).double()[:, None].repeat(1, 9, 1)
    scores[:, :4] = torch.rand(12, 4, 5, generator=generator, dtype=torch.float64)
    trivial = 5 * SO(2).trivial
    for weight in ("uniform", torch.ones(12, 9)):
        assert torch.equal(audit.consensus(scores, trivial, g, kind="vote", weight=weight).value, label)
    sure = audit.consensus(20 * scores, trivial, g, kind="vote", weight="confidence")
    assert not sure.tied.any()
    draw = torch.eye(2).double()[None]
    assert audit.consensus(draw, 2 * SO(2).trivial, g[:2], kind="vote").tied.all()


def test_consensus_without_labels_finds_the_same_defect(generator):
    x, grid = east(30, generator), OrbitGrid.circle(72)
    result = audit.nero(fails_between_80_and_100, V2, V2, x, orbit=grid, consensus="median", generator=generator)
    assert result.targets_used == "consensus"
    worst, _ = result.extremes(0)
    assert 75 <= grid.coordinates["angle"][worst] <= 105
    assert result.agreement.max() < 1
    assert "stability, not correctness" in repr(result)
    constant = audit.nero(
        lambda x: torch.ones_like(x[:, :1]), V2, SO(2).trivial, x, orbit=grid, consensus="mean", generator=generator
    )
    assert (constant.agreement == 1).all(), "which is why the page says what a consensus cannot tell"


def test_aggregates_are_means_of_individuals(generator):
    """Must hold 4."""
    x = points(30, generator)
    classes = ["a" if v > 0 else "b" for v in x[:, 0]]
    result = audit.nero(
        fails_between_80_and_100, V2, V2, x, orbit=OrbitGrid.circle(24), classes=classes, generator=generator
    )
    torch.testing.assert_close(result.aggregate, result.values.mean(1))
    share = classes.count("a") / 30
    torch.testing.assert_close(share * result.of_class("a") + (1 - share) * result.of_class("b"), result.aggregate)
    with pytest.raises(KeyError, match="no class 'c'"):
        result.of_class("c")


def test_zero_degrees_is_counted_once(generator):
    """Must hold 5: the closing point of a circle plot is drawn, not averaged."""
    x, grid = points(15, generator), OrbitGrid.circle(12)
    assert grid.coordinates["angle"].max() == 330
    result = audit.nero(fails_between_80_and_100, V2, V2, x, orbit=grid, generator=generator)
    torch.testing.assert_close(result.sample_mean[0], result.values[0].mean(1))
    svg = result.plot("individual")
    assert svg.count("360°") >= 1


def test_any_callable(generator):
    """Must hold 7."""

    def numpy_model(x):
        return np.asarray(x) * 2.0

    result = audit.nero(numpy_model, V2, V2, points(5, generator), orbit=OrbitGrid.circle(8), generator=generator)
    assert result.values.abs().max() < 1e-12


def test_another_number_of_labels_is_an_error(generator):
    """Must hold 8."""
    x, grid = points(10, generator), OrbitGrid.circle(8)
    for targets in (x[:9], x[:1], list(x[:9]), {"": x[:3]}):
        with pytest.raises(ValueError, match="targets"):
            audit.nero(equivariant, V2, V2, x, orbit=grid, targets=targets, generator=generator)
    with pytest.raises(ValueError, match="9 classes for 10 samples"):
        audit.nero(equivariant, V2, V2, x, orbit=grid, classes=[1] * 9, generator=generator)


def test_same_seed_same_numbers(generator):
    x = points(20, generator)
    results = [
        audit.nero(
            {"a": fails_between_80_and_100, "b": equivariant}, V2, V2, x, orbit=OrbitGrid.circle(16),
            generator=torch.Generator().manual_seed(1),
        ).to_dict()
        for _ in range(2)
    ]  # fmt: skip
    assert results[0] == results[1]


def test_a_classifier_and_its_twin_with_labels_and_classes(generator):
    x = points(60, generator)
    label = (x.norm(dim=1) > 1.2).long()

    def ring(x):
        r = x.norm(dim=1)
        return torch.stack([1.2 - r, r - 1.2], 1) * 20

    def half_plane(x):
        return torch.stack([-x[:, 0], x[:, 0]], 1) * 20

    rep_out = 2 * SO(2).trivial
    grid = OrbitGrid.circle(16)
    result = audit.nero(
        {"ring": ring, "half plane": half_plane}, V2, rep_out, x, orbit=grid, metric="accuracy", targets=label,
        generator=generator,
    )  # fmt: skip
    assert result.aggregate[0].min() == 1
    assert result.aggregate[1].max() < 0.8
    assert sorted(set(result.classes)) == ["0", "1"]
    confidence = audit.nero(
        ring, V2, rep_out, x, orbit=grid, metric="confidence", targets=label.tolist(), generator=generator
    )
    assert 0.5 < confidence.aggregate.min() <= 1
    voted = audit.nero(
        half_plane, V2, rep_out, x, orbit=grid, metric="accuracy", consensus="vote", weight="confidence",
        generator=generator,
    )  # fmt: skip
    assert voted.aggregate.max() < 0.8
    torch.testing.assert_close(voted.agreement[0], voted.values[0].mean(1))


def ragged(sizes, generator):
    return [{"pos": torch.randn(n, 3, generator=generator, dtype=torch.float64)} for n in sizes]


class Molecules(Nested):
    """Molecules of different sizes; batches join the atoms."""

    def __init__(self, group):
        super().__init__({"pos": Points(group), "batch": Invariant(), "n": Invariant()})

    def collate(self, samples):
        sizes = torch.tensor([len(s["pos"]) for s in samples])
        return {
            "pos": torch.cat([s["pos"] for s in samples]),
            "batch": torch.repeat_interleave(torch.arange(len(samples)), sizes),
            "n": sizes,
        }

    def act(self, g, x):
        R, t = self.group.linear_part(g), self.group.translation_part(g)
        if g.ndim == 3:
            R, t = R[x["batch"]], t[x["batch"]]
        return {**x, "pos": (R.to(x["pos"]) @ x["pos"][..., None])[..., 0] + t.to(x["pos"])}


def potential(x):
    total = torch.zeros(len(x["n"]), dtype=x["pos"].dtype)
    force = torch.empty_like(x["pos"])
    for i, pos in enumerate(x["pos"].split(x["n"].tolist())):
        r = pos - pos.mean(0)
        total[i] = r.square().sum()
        force[x["batch"] == i] = -2 * r
    return {"energy": total, "forces": force}


def lopsided(x):
    out = potential(x)
    return {"energy": out["energy"], "forces": out["forces"] * torch.tensor([1.0, 1.0, 1.5], dtype=torch.float64)}


def test_a_potential_over_the_rotations_of_space(generator):
    group = E(3)
    data = ragged([3, 5, 4, 6, 3], generator)
    rep_in, rep_out = Molecules(group), Nested({"energy": Invariant(group), "forces": Vectors(group)})
    grid = OrbitGrid.sphere_axis_angle(24, 7, group=group)
    labels = [potential(rep_in.collate([sample])) for sample in data]
    joined = {
        "energy": torch.cat([t["energy"] for t in labels]),
        "forces": torch.cat([t["forces"] for t in labels]),
    }
    for targets in (labels, joined):
        result = audit.nero(
            {"right": potential, "lopsided": lopsided}, rep_in, rep_out, data, orbit=grid, metric="forces:rmse",
            targets=targets, generator=generator, chunk=50,
        )  # fmt: skip
        assert result.values[0].max() < 1e-10
        assert result.aggregate[1].min() > 0.1, "wrong on upright molecules too"
    consensus = audit.nero(
        lopsided, rep_in, rep_out, data, orbit=grid, metric="forces:epe", consensus="mean", generator=generator
    )
    assert consensus.aggregate.std() > 0.01
    own = audit.nero(lopsided, rep_in, rep_out, data, orbit=grid, metric="mae", generator=generator)
    upright = grid.coordinates["angle"] == 0
    assert own.values[0][:, upright].max() < 1e-12
    assert own.floor[0] < 1e-12

    def per_molecule(y, t):  # a metric of one's own, called molecule by molecule because sizes differ
        return (y["forces"] - t["forces"]).abs().amax()

    result = audit.nero(lopsided, rep_in, rep_out, data, orbit=grid, metric=per_molecule, generator=generator)
    assert result.values.shape == (1, 5, 168)
    assert result.metric == "per_molecule"
    with pytest.raises(ValueError, match="nothing to compare"):
        audit.nero(potential, rep_in, rep_out, data, orbit=grid, metric="charge:rmse", generator=generator)


def test_finite_groups_and_shifts(generator):
    x = torch.randn(12, 4, generator=generator, dtype=torch.float64)
    result = audit.nero(
        lambda x: x * torch.arange(4.0), Dihedral(4).V, Dihedral(4).V, x, orbit=OrbitGrid.finite(Dihedral(4)),
        generator=generator,
    )  # fmt: skip
    assert result.aggregate[0, 0] < 1e-12 < result.aggregate[0, 1:].min()
    cloud = torch.randn(12, 5, 2, generator=generator, dtype=torch.float64)
    grid = OrbitGrid.torus(5, 5, 1.0)

    def pull_to_origin(x):
        return x * 0.9

    result = audit.nero(pull_to_origin, Points(SE(2)), Points(SE(2)), cloud, orbit=grid, generator=generator)
    torch.testing.assert_close(
        result.aggregate[0], 0.1 * (grid.coordinates["x"].square() + grid.coordinates["y"].square()).div(2).sqrt()
    )


def test_missing_values_are_counted_and_left_out(generator):
    x, grid = east(20, generator), OrbitGrid.circle(36)

    def undefined(x):
        return torch.where((angle_of(x) > 89)[:, None] & (angle_of(x) < 91)[:, None], torch.nan, equivariant(x))

    result = audit.nero(undefined, V2, V2, x, orbit=grid, generator=generator)
    assert result.missing == 20
    assert result.aggregate[0].isnan().nonzero().tolist() == [[9]]
    assert result.sample_mean.isfinite().all()
    assert "20 evaluations have no value" in repr(result)
    nothing = audit.nero(lambda x: x * torch.nan, V2, V2, x, orbit=grid, generator=generator)
    assert "no value anywhere" in repr(nothing)


def test_the_map_of_samples_is_one_deterministic_pca(generator):
    values = torch.randn(2, 9, 6, generator=generator, dtype=torch.float64)
    found = embed(values)
    X = values.reshape(18, 6) - values.reshape(18, 6).mean(0)
    U, s, Vt = torch.linalg.svd(X, full_matrices=False)
    for c in range(2):
        sign = Vt[c][Vt[c].abs().argmax()].sign()
        torch.testing.assert_close(found.reshape(18, 2)[:, c], sign * s[c] * U[:, c])
    wide = torch.randn(1, 4, 50, generator=generator, dtype=torch.float64)
    Xw = wide[0] - wide[0].mean(0)
    torch.testing.assert_close((embed(wide)[0].norm(dim=0)), torch.linalg.svdvals(Xw)[:2])
    assert embed(torch.ones(1, 5, 7)).abs().max() == 0
    assert embed(torch.tensor([[[torch.nan, 1.0], [0.0, 3.0], [0.0, 5.0]]], dtype=torch.float64)).isfinite().all()


def test_orbit_mean_weighs_and_skips_missing():
    mean, std = orbit_mean(torch.tensor([[1.0, 3.0, torch.nan]]).double(), torch.tensor([0.25, 0.25, 0.5]).double())
    assert (mean.item(), std.item()) == (2.0, 1.0)


def test_errors_at_the_call(generator):
    x, grid = points(10, generator), OrbitGrid.circle(8)
    with pytest.raises(ValueError, match=r"rep_out belongs to O\(2\), the orbit to SO\(2\)"):
        audit.nero(equivariant, V2, O(2).V, x, orbit=grid, generator=generator)
    with pytest.raises(ValueError, match="targets or a consensus, not both"):
        audit.nero(equivariant, V2, V2, x, orbit=grid, targets=x, consensus="mean", generator=generator)
    with pytest.raises(ValueError, match="none of rmse"):
        audit.nero(equivariant, V2, V2, x, orbit=grid, metric="r2", generator=generator)
    with pytest.raises(ValueError, match=r"must return one number for each"):
        audit.nero(equivariant, V2, V2, x, orbit=grid, metric=lambda y, t: (y - t).sum(), generator=generator)
    with pytest.raises(ValueError, match=r"accuracy needs scores"):
        audit.nero(equivariant, V2, V2, x, orbit=grid, metric="accuracy", targets=x, generator=generator)
    with pytest.raises(ValueError, match="kind must be one of"):
        audit.consensus(torch.zeros(2, 3, 2), V2, SO(2).identity(3), kind="mode")
    with pytest.raises(ValueError, match=r"outputs are \[B, K\] = \(2, 3\)"):
        audit.consensus(torch.zeros(2, 3, 2), V2, SO(2).identity(4))
    with pytest.raises(ValueError, match="weight must be"):
        audit.consensus(torch.zeros(2, 3, 2), V2, SO(2).identity(3), weight="none")
    with pytest.raises(ValueError, match="weights have shape"):
        audit.consensus(torch.zeros(2, 3, 2), V2, SO(2).identity(3), weight=torch.ones(3))


def test_modes_of_the_models_are_restored(generator):
    model = nn.Sequential(nn.Dropout(0.9), nn.Identity()).train()
    result = audit.nero(model, V2, V2, points(6, generator), orbit=OrbitGrid.circle(8), generator=generator)
    assert result.values.max() < 1e-12
    assert model[0].training
    assert audit.nero(
        torch.nn.functional.relu, Cyclic(3).V, Cyclic(3).V, torch.randn(4, 3, generator=generator),
        orbit=OrbitGrid.finite(Cyclic(3)), generator=generator,
    ).values.max() == 0  # fmt: skip
    assert audit.nero(
        lambda x: x.sum(1), Permute(S(3)), Invariant(S(3)), torch.randn(4, 3, 2, generator=generator),
        orbit=OrbitGrid.finite(S(3)), generator=generator,
    ).values.max() < 1e-6  # fmt: skip
