import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from intertwine import audit
from intertwine.groups import SO, Cyclic, E, Lorentz, O, S
from intertwine.reps import Action, Invariant, Nested, Permute, Points, Vectors

V = SO(3).V


def radial(x):
    """Equivariant: x times a function of its length."""
    return x * x.square().sum(-1, keepdim=True).tanh()


class TurnImage(Action):
    """Bilinear rotation of images [B, 1, H, W] about their centre: an Action that interpolates."""

    group = SO(2)

    def act(self, g, x):
        back = g.mT.to(x).expand(len(x), 2, 2)
        theta = torch.cat([back, back.new_zeros(len(x), 2, 1)], 2)
        grid = nn.functional.affine_grid(theta, list(x.shape), align_corners=True)
        return nn.functional.grid_sample(x, grid, align_corners=True, padding_mode="border")


def cloud(n, generator, dtype=torch.float32):
    return torch.randn(n, 3, generator=generator, dtype=dtype)


# --- verdicts on models whose symmetry is known


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_exact_model_is_exact(dtype, generator):
    result = audit.measure(radial, V, V, cloud(60, generator, dtype), generator=generator)
    assert result.verdict.word == "exact"
    assert result.row("relative").maximum < 1e-12
    assert result.row("relative", dtype="float32").maximum < 1e-5
    assert result.floor.dtype > 1e-9 > result.floor.action
    assert all(row.value < 1e-9 for row in result.table if row.name == "lie_derivative")


def test_a_planted_defect_is_found_with_its_element_and_direction(generator):
    """A preferred axis z: turns about z are harmless, all others break."""

    def planted(x):
        return radial(x) + 0.3 * x * x[:, 2:].square()

    result = audit.measure(planted, V, V, cloud(100, generator), generator=generator)
    assert result.verdict.word == "broken"
    directions = {row.detail: row.value for row in result.table if row.name == "lie_derivative"}
    assert directions["turn in plane xy"] < 1e-12
    assert min(directions["turn in plane xz"], directions["turn in plane yz"]) > 0.1
    errors = dict(zip(result.labels, result.headline.special_errors.square().mean(0).sqrt().tolist()))
    assert errors["identity"] < 1e-12
    assert errors["quarter turn: turn by 90° about (0.000, 0.000, -1.000)"] < 1e-12
    assert max(errors.values()) > 0.1


def test_the_worst_pair_is_reproduced_by_its_snippet(generator):
    def planted(x):
        return x.abs()

    data = cloud(40, generator, torch.float64)
    result = audit.measure(planted, V, V, data, generator=generator, n_samples=20)
    worst = result.worst[0]
    scope = {"audit": audit, "torch": torch, "fn": planted, "rep_in": V, "rep_out": V, "data": data}
    assert eval(worst.snippet, scope)[""] == pytest.approx(worst.absolute, rel=1e-12)
    everything = torch.cat([result.per_pair, result.headline.special_errors], 1)
    assert worst.absolute == pytest.approx(everything.max().item(), rel=1e-12)
    column = result.n_elements + worst.element if worst.special else worst.element
    assert everything[result.samples.index(worst.sample), column] == everything.max()
    assert len(result.worst) == 10
    assert [w.relative for w in result.worst] == sorted((w.relative for w in result.worst), reverse=True)


def test_a_constant_model_is_no_evidence(generator):
    result = audit.measure(
        lambda x: torch.ones_like(x[:, :1]), V, SO(3).trivial, cloud(50, generator), generator=generator
    )
    assert result.verdict.word == "trivially invariant"


class Noisy(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.scale * radial(nn.functional.dropout(x, self.p, training=True))


def test_a_model_that_draws_is_stochastic(generator):
    torch.manual_seed(0)
    result = audit.measure(Noisy(0.2), V, V, cloud(50, generator), generator=generator)
    assert result.verdict.word == "stochastic"
    assert result.floor.repeat > 0.1
    assert "run-to-run" in result.verdict.reason


def test_dropout_that_knows_eval_is_no_noise(generator):
    class Equivariant(nn.Module):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.5)
            self.fixed = nn.BatchNorm1d(1).eval()

        def forward(self, x):
            return x * self.dropout(self.fixed(x.norm(dim=-1, keepdim=True)))

    model = Equivariant().train()
    model.fixed.eval()
    result = audit.measure(model, V, V, cloud(50, generator), generator=generator)
    assert result.verdict.word == "exact"
    assert model.training
    assert model.dropout.training
    assert not model.fixed.training
    assert next(model.parameters()).dtype == torch.float32


def test_float32_only_is_never_exact(generator):
    x = cloud(50, generator)
    asked = audit.measure(radial, V, V, x, dtype="float32", generator=generator)
    forced = audit.measure(lambda x: radial(x.float()), V, V, x, generator=generator)
    fails = audit.measure(lambda x: radial(x) @ torch.eye(3), V, V, x, generator=generator)
    for result in (asked, forced, fails):
        assert result.verdict.word == "undecided"
        assert result.dtype == "float32"
    assert "not asked for" in asked.verdict.reason
    assert "returns float32" in forced.verdict.reason
    assert "RuntimeError" in fails.verdict.reason
    with pytest.raises(ValueError, match="fn returns float32 for float64 inputs"):
        audit.measure(lambda x: radial(x.float()), V, V, x, dtype="float64", generator=generator)


def test_interpolation_of_the_action_is_not_blamed_on_the_model(generator):
    images = torch.rand(30, 1, 15, 15, generator=generator, dtype=torch.float64)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 15), torch.linspace(-1, 1, 15), indexing="ij")
    window = torch.exp(-4 * (x.square() + y.square())).double()
    images = nn.functional.avg_pool2d(images, 5, 1, 2) * window

    def total(x):
        return x.sum((1, 2, 3))[:, None]

    rep_out = SO(2).trivial
    result = audit.measure(total, TurnImage(), rep_out, images, generator=generator, dtype="float64")
    assert result.floor.round_trip > 1e-3
    assert result.verdict.word == "exact up to the Action's interpolation"

    def lopsided(x):
        return total(x * torch.linspace(-1, 1, 15, dtype=x.dtype))

    result = audit.measure(lopsided, TurnImage(), rep_out, images, generator=generator)
    assert result.verdict.word == "broken"


# --- numbers


def test_table_against_a_slow_twin(generator):
    def planted(x):
        return radial(x) + 0.1 * x.abs()

    x = cloud(25, generator, torch.float64)
    g = SO(3).sample(6, generator=generator)
    result = audit.measure(planted, V, V, x, elements=g, generator=generator, dtype="float64")
    y = planted(x)
    r2 = torch.stack([(y @ R.T - planted(x @ R.T)).square().mean(1) for R in g], 1)
    pairs = torch.stack([(y[i] - y[j]).square().mean() for i in range(25) for j in range(25) if i != j])
    torch.testing.assert_close(result.per_pair, r2.sqrt())
    assert result.row("absolute").value == pytest.approx(r2.mean().sqrt().item())
    assert result.row("absolute").mean == pytest.approx(r2.sqrt().mean().item())
    assert result.row("relative").value == pytest.approx((r2.mean() / y.square().mean()).sqrt().item())
    assert result.row("variation").value == pytest.approx((r2.mean() / pairs.mean()).sqrt().item())
    for name in ("absolute", "relative", "variation"):
        row = result.row(name)
        assert row.interval.low < row.value < row.interval.high
    assert result.row("absolute").maximum >= r2.max().sqrt()


def test_lie_derivative_forward_mode_agrees_with_the_difference(generator):
    """The planted term c·e_z breaks turns about x and y: its derivative has a closed form."""
    c = 0.7
    bias = torch.tensor([0, 0, c], dtype=torch.float64)
    x = cloud(20, generator, torch.float64)
    rows = {}
    for name, fn in {
        "jvp": lambda x: x + bias,
        "difference": lambda x: x + torch.as_tensor(bias.numpy().copy()),
    }.items():
        if name == "difference":
            wrapped = {"y": Vectors(SO(3))}
            result = audit.measure(
                lambda x, fn=fn: {"y": fn(x)}, V, Nested(wrapped), x, generator=generator, dtype="float64"
            )
        else:
            result = audit.measure(fn, V, V, x, generator=generator, dtype="float64")
        rows[name] = [row.value for row in result.table if row.name == "lie_derivative"]
    expected = [0.0, c / math.sqrt(3), c / math.sqrt(3)]  # -A b: turns in planes xy, xz, yz
    assert rows["jvp"] == pytest.approx(expected, abs=1e-14)
    assert rows["difference"] == pytest.approx(expected, abs=1e-8)


def test_decisions_that_flip_are_counted(generator):
    def scores(x):
        return torch.cat([x[:, :1], x[:, 1:2], x[:, 2:]], 1)

    x = torch.eye(3, dtype=torch.float64).repeat(8, 1) + 0.01 * cloud(24, generator, torch.float64)
    cyclic = S(3)
    result = audit.measure(scores, Permute(cyclic), Invariant(cyclic), x, generator=generator)
    assert result.row("flip").value == pytest.approx(
        2 / 3
    )  # of all six permutations, a third keep the largest in place
    assert "exhaustive over S(3)" in result.how
    assert result.element_labels[:2] == ["identity", "(1 2)"]
    with pytest.raises(KeyError, match="no row 'flip'"):
        audit.measure(radial, V, V, cloud(12, generator), generator=generator).row("flip")


# --- data and outputs of any kind


def molecules(sizes, generator):
    return [{"pos": torch.randn(n, 3, generator=generator, dtype=torch.float64)} for n in sizes]


class Molecules(Action):
    """Molecules of different sizes, joined along the atoms like graphs."""

    group = E(3)

    def collate(self, samples):
        return {
            "pos": torch.cat([s["pos"] for s in samples]),
            "batch": torch.repeat_interleave(
                torch.arange(len(samples)), torch.tensor([len(s["pos"]) for s in samples])
            ),
        }

    def act(self, g, x):
        R, t = self.group.linear_part(g), self.group.translation_part(g)
        if g.ndim == 3:
            R, t = R[x["batch"]], t[x["batch"]]
        return {**x, "pos": (R.to(x["pos"]) @ x["pos"][..., None])[..., 0] + t.to(x["pos"])}


def potential(x):
    pos, batch = x["pos"], x["batch"]
    n = int(batch.max()) + 1
    same = (batch[:, None] == batch[None]).to(pos)
    difference = pos[None] - pos[:, None]
    weight = same * torch.exp(-difference.square().sum(-1))
    atom_energy = weight.sum(1)
    return {
        "energy": torch.zeros(n, dtype=torch.float64).index_add(0, batch, atom_energy.double()) - 9391.0,
        "atom_energy": atom_energy,
        "forces": (weight[..., None] * difference).sum(1),
        "stress": torch.zeros(n, 3, 3, dtype=pos.dtype),
    }


POTENTIAL_OUT = Nested(
    {
        "energy": Invariant(E(3)),
        "atom_energy": Invariant(E(3)),
        "forces": Vectors(E(3)),
        "stress": Invariant(E(3)),
    }
)


def test_a_potential_over_molecules_of_different_sizes(generator):
    data = molecules([2, 5, 3, 4, 2, 6, 3, 3, 4, 5, 2, 3], generator)
    sampler = audit.Sampler(E(3), scale=2.0)
    result = audit.measure(potential, Molecules(), POTENTIAL_OUT, data, elements=sampler, generator=generator, chunk=7)
    assert {name: o.verdict.word for name, o in result.outputs.items()} == {
        "energy": "exact",
        "atom_energy": "exact",
        "forces": "exact",
        "stress": "trivially invariant",
    }
    assert result.verdict.word == "exact", "an output that is always zero does not speak for the others"
    assert "at scale 2" in result.how
    assert {row.output for row in result.table} == set(result.outputs)
    assert result.outputs["forces"].errors.shape == (12, 16)

    def tilted(x):
        out = potential(x)
        return {**out, "forces": out["forces"] * torch.tensor([1.0, 1.0, 1.5], dtype=x["pos"].dtype)}

    result = audit.measure(tilted, Molecules(), POTENTIAL_OUT, data, elements=sampler, generator=generator, chunk=64)
    assert result.verdict.word == "broken"
    assert result.headline.name == "forces"
    assert "output 'forces'" in result.sentence
    assert result.worst[0].output == "forces"
    again = audit.pair_error(tilted, Molecules(), POTENTIAL_OUT, data[0], E(3).identity())
    assert max(again.values()) < 1e-12


def test_the_size_of_chunks_and_the_form_of_the_data_change_nothing(generator):
    x = cloud(23, generator, torch.float64)
    g = SO(3).sample(5, generator=generator)

    def planted(x):
        return x.abs()

    labels = torch.zeros(23)
    forms = [
        (x, 256),
        (x, 4),
        (list(x), 256),
        (list(zip(x, labels)), 7),
        (torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=6), 256),
        (torch.utils.data.TensorDataset(x, labels), 256),
    ]
    results = [
        audit.measure(planted, V, V, data, elements=g, chunk=chunk, generator=generator, dtype="float64")
        for data, chunk in forms
    ]
    for result in results[1:]:
        torch.testing.assert_close(result.per_pair, results[0].per_pair, atol=1e-14, rtol=0)


def test_any_callable_numpy_included(generator):
    def numpy_model(x):
        return np.linalg.norm(x.numpy(), axis=1, keepdims=True)

    result = audit.measure(numpy_model, V, SO(3).trivial, cloud(30, generator), generator=generator)
    assert result.verdict.word == "exact"

    class Owner(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def predict(self, x):
            return radial(self.linear(x))

    owner = Owner()
    result = audit.measure(owner.predict, V, V, cloud(30, generator), generator=generator)
    assert result.verdict.word == "broken"
    assert result.dtype == "float64"
    assert owner.linear.weight.dtype == torch.float32
    assert result.meta["parameters"] == "12"


def test_samples_are_a_reproducible_subset(generator):
    x = cloud(500, generator)
    results = [
        audit.measure(torch.abs, V, V, x, n_samples=20, n_elements=3, generator=torch.Generator().manual_seed(7))
        for _ in range(2)
    ]
    assert results[0].samples == results[1].samples == sorted(results[0].samples)
    assert len(set(results[0].samples)) == 20
    assert torch.equal(results[0].per_pair, results[1].per_pair)
    assert results[0].to_dict() == results[1].to_dict()
    other = audit.measure(torch.abs, V, V, x + 1e-6, n_samples=20, generator=torch.Generator().manual_seed(7))
    assert other.meta["data fingerprint"] != results[0].meta["data fingerprint"]


def test_no_value_is_counted_and_listed_never_dropped(generator):
    """Fails for one sample wherever it is turned, and for all samples at some elements."""
    x = cloud(30, generator, torch.float64)
    x[4] = torch.tensor([7.0, 0, 0])

    def failing(x):
        y = radial(x)
        return torch.where(x.norm(dim=-1, keepdim=True) > 6.9, torch.nan, y)

    result = audit.measure(failing, V, V, x, generator=generator)
    columns = 16 + len(result.labels)
    assert result.row("absolute").missing == columns == result.missing_pairs
    assert {w.sample for w in result.missing} == {4}
    assert result.verdict.word == "undecided"
    assert f"{columns} of {30 * columns} pairs have no value" in result.verdict.reason
    assert result.per_pair[4].isnan().all()
    assert result.row("relative").value < 1e-12, "the others still count"
    assert "no value" in repr(result)

    def sometimes(x):
        return torch.where(x[:, :1] > 1.0, torch.inf, x.abs())

    result = audit.measure(sometimes, V, V, x, generator=generator)
    assert result.verdict.word == "broken"
    assert 0 < result.row("absolute").missing < 30 * columns
    nothing = audit.measure(lambda x: x * torch.nan, V, V, x, generator=generator)
    assert nothing.verdict.word == "undecided"


def test_few_samples_give_no_interval(generator):
    result = audit.measure(torch.abs, V, V, cloud(9, generator), generator=generator)
    assert result.row("variation").interval is None
    assert result.verdict.word == "undecided"
    assert "too few" in result.verdict.reason
    alone = audit.measure(torch.abs, V, V, cloud(1, generator), generator=generator)
    assert "one sample" in alone.verdict.reason
    assert audit.measure(radial, V, V, cloud(1, generator), generator=generator).verdict.word == "exact"


# --- elements


def test_non_compact_groups_need_a_sampler_and_say_its_scale(generator):
    points = torch.randn(12, 4, 3, generator=generator)

    def centred(x):
        return x - x.mean(1, keepdim=True)

    with pytest.raises(ValueError, match=r"E\(3\) is not compact.*audit.Sampler\(E\(3\), scale=1.0\)"):
        audit.measure(centred, Points(E(3)), Vectors(E(3)), points, generator=generator)
    result = audit.measure(
        centred, Points(E(3)), Vectors(E(3)), points, generator=generator, elements=audit.Sampler(E(3), scale=5.0)
    )
    assert result.verdict.word == "exact"
    assert "E(3) at scale 5" in result.how
    boosts = Lorentz(1, 3)
    events = torch.randn(12, 4, generator=generator)

    def interval(x):
        return (x[:, :1].square() - x[:, 1:].square().sum(1, keepdim=True)).tanh()

    result = audit.measure(
        interval, boosts.V, boosts.trivial, events, generator=generator, elements=audit.Sampler(boosts, 0.3)
    )
    assert result.verdict.word == "exact"


def test_products_of_groups(generator):
    group = S(3) * SO(3)
    rep = group.V

    def mean(x):
        return x.mean(-1, keepdim=True) + x  # not invariant under SO(3)

    def keep(x):
        return x * x.square().mean(-1, keepdim=True)

    x = torch.randn(20, 9, generator=generator)
    assert audit.measure(keep, rep, rep, x, generator=generator).verdict.word == "exact"
    result = audit.measure(mean, rep, rep, x, generator=generator)
    assert result.verdict.word == "broken"
    assert "S(3): " in result.worst[0].description
    assert len([row for row in result.table if row.name == "lie_derivative"]) == 3
    scope = {"audit": audit, "torch": torch, "fn": mean, "rep_in": rep, "rep_out": rep, "data": x.double()}
    assert eval(result.worst[0].snippet, scope)[""] == pytest.approx(result.worst[0].absolute, rel=1e-9)


def test_errors_before_any_time_is_spent(generator):
    x = cloud(12, generator)
    with pytest.raises(ValueError, match=r"rep_in belongs to SO\(3\), rep_out to O\(3\)"):
        audit.measure(radial, V, O(3).V, x, generator=generator)
    with pytest.raises(ValueError, match="the data holds no samples"):
        audit.measure(radial, V, V, x[:0], generator=generator)
    with pytest.raises(ValueError, match=r"the data does not fit rep_in.*dimension 3.*trailing dimension 4"):
        audit.measure(radial, V, V, torch.zeros(5, 4), generator=generator)
    with pytest.raises(ValueError, match=r"fn\(data\[0\]\) does not fit rep_out.*dimension 3.*trailing dimension 1"):
        audit.measure(lambda x: x[:, :1], V, V, x, generator=generator)
    with pytest.raises(ValueError, match="single number"):
        audit.measure(lambda x: x.sum(), V, V, x, generator=generator)
    with pytest.raises(ValueError, match="not all in"):
        audit.measure(radial, V, V, x, elements=2 * torch.eye(3)[None], generator=generator)
    with pytest.raises(ValueError, match="one leading axis"):
        audit.measure(radial, V, V, x, elements=torch.eye(3), generator=generator)
    with pytest.raises(ValueError, match="dtype must be"):
        audit.measure(radial, V, V, x, dtype="half", generator=generator)
    for bad in ({"n_samples": 0}, {"n_elements": 0}, {"chunk": 0}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            audit.measure(radial, V, V, x, generator=generator, **bad)
    with pytest.raises(TypeError, match="data must be"):
        audit.measure(radial, V, V, 3, generator=generator)
    with pytest.raises(ValueError, match="rows"):
        audit.measure(lambda x: x.repeat(2, 1)[1:], V, V, x, generator=generator)
    with pytest.raises(ValueError, match="scale must be positive"):
        audit.Sampler(E(3), scale=0.0)


# --- many audits, and the text


def test_many_audits_are_corrected_together(generator):
    x = cloud(40, generator)
    weak = audit.measure(lambda x: radial(x) + 0.02 * x.abs(), V, V, x, generator=generator, title="weak")
    strong = audit.measure(torch.abs, V, V, x, generator=generator, title="strong")
    exact = audit.measure(radial, V, V, x, generator=generator, title="exact")
    rows = {row.title: row for row in audit.family([weak, strong, exact])}
    assert rows["exact"].corrected == "exact"
    assert math.isnan(rows["exact"].p_holm)
    assert rows["strong"].p_holm == pytest.approx(2 * rows["strong"].p_value)
    many = audit.family([weak] * 200)
    assert {row.word for row in many} == {"approximate"}
    assert {row.corrected for row in many} == {"undecided"}, "1/2001 per test is not enough for 200 looks"


def test_repr_and_to_dict(generator):
    group = Cyclic(4)
    result = audit.measure(
        lambda x: x * torch.arange(4.0), group.V, group.V, torch.randn(30, 4, generator=generator), generator=generator,
        title="ramp", dtype="float32",
    )  # fmt: skip
    text = repr(result)
    for part in ("Broken under Cyclic(4)", "95% interval", "noise floor", "exhaustive", "3/30", "audit.pair_error"):
        assert part in text
    assert all(line == line.rstrip() for line in text.splitlines())
    tree = result.to_dict()
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    assert tree["verdict"]["word"] == "broken"
    assert tree["definitions"].keys() >= {row["name"] for row in tree["table"]}
    assert "seconds" not in tree
    assert tree["elements"] == ["turn by 0/4", "turn by 1/4", "turn by 2/4", "turn by 3/4"]
