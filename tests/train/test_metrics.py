"""Errors are sums over what was seen: independent of batching, split by configuration type, in meV."""

from types import SimpleNamespace

import pytest
import torch

from intertwine.train import PotentialMetrics


def frames(generator, sizes, types):
    made = []
    for n, kind in zip(sizes, types):
        draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
        made.append((n, kind, draw(1), draw(1), draw(n, 3), draw(n, 3)))
    return made


def joined(chosen, has=None):
    n = torch.tensor([f[0] for f in chosen])
    yes = torch.ones(len(chosen), dtype=torch.bool)
    labels = SimpleNamespace(
        natoms=n,
        batch=torch.repeat_interleave(torch.arange(len(n)), n),
        z=torch.ones(int(n.sum()), dtype=torch.int64),
        energy=torch.cat([f[2] for f in chosen]),
        forces=torch.cat([f[4] for f in chosen]),
        has_energy=yes,
        has_forces=yes if has is None else torch.tensor(has),
        has_stress=~yes,
        config_type=[f[1] for f in chosen],
    )
    return {"energy": torch.cat([f[3] for f in chosen]), "forces": torch.cat([f[5] for f in chosen])}, labels


def test_ragged_batches_give_the_errors_of_the_union(generator):
    made = frames(generator, (2, 5, 1, 3, 4), ("a", "b", "a", "a", "b"))
    metrics = PotentialMetrics(("a", "b"))
    for part in (made[:3], made[3:4], made[4:]):
        metrics.update(*joined(part))
    prediction, labels = joined(made)
    found = metrics.compute()
    energy = (prediction["energy"] - labels.energy) * 1e3
    forces = (prediction["forces"] - labels.forces) * 1e3
    expected = {
        "energy_mae": energy.abs().mean(),
        "energy_rmse": energy.square().mean().sqrt(),
        "energy_rmse_aligned": energy.std(correction=0),
        "energy_mae_per_atom": (energy / labels.natoms).abs().mean(),
        "energy_rmse_per_atom": (energy / labels.natoms).square().mean().sqrt(),
        "forces_mae": forces.abs().mean(),
        "forces_rmse": forces.square().mean().sqrt(),
        "forces_rmse_relative": 100 * (forces.square().sum() / (1e6 * labels.forces.square().sum())).sqrt(),
        "forces_cosine": torch.nn.functional.cosine_similarity(prediction["forces"], labels.forces).mean(),
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), rel=1e-12), name


def test_configuration_types_have_their_own_rows(generator):
    made = frames(generator, (2, 5, 1), ("a", "b", "unheard of"))
    metrics = PotentialMetrics(("a", "b", "never seen"))
    metrics.update(*joined(made))
    alone = PotentialMetrics()
    alone.update(*joined(made[1:2]))
    assert metrics.table()["b"] == alone.compute()
    assert set(metrics.table()) == {"all", "a", "b", "other"}


def test_what_has_no_label_is_left_out(generator):
    made = frames(generator, (2, 3), ("a", "a"))
    prediction, labels = joined(made, has=[False, True])
    labels.forces[:2] = torch.nan
    metrics = PotentialMetrics()
    metrics.update(prediction, labels)
    only = PotentialMetrics()
    only.update(*joined(made[1:]))
    assert metrics.compute()["forces_rmse"] == pytest.approx(only.compute()["forces_rmse"])
    assert PotentialMetrics().compute() == {}
