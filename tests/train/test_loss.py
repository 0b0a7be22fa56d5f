"""The loss is a sum over a count: by hand, with labels missing, and exact under data parallelism."""

from types import SimpleNamespace

import pytest
import torch

from intertwine.train import EnergyForceLoss

NATOMS = torch.tensor([2, 3, 1])


def batch(generator, has_energy=(True, True, True), has_forces=(True, True, True), weight=(1.0, 1.0, 1.0)):
    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    labels = SimpleNamespace(
        natoms=NATOMS,
        batch=torch.repeat_interleave(torch.arange(3), NATOMS),
        energy=draw(3),
        forces=draw(6, 3),
        stress=draw(3, 3, 3),
        has_energy=torch.tensor(has_energy),
        has_forces=torch.tensor(has_forces),
        has_stress=torch.tensor([True, False, False]),
        weight=torch.tensor(weight),
    )
    return {"energy": draw(3), "forces": draw(6, 3), "stress": draw(3, 3, 3)}, labels


def test_the_terms_by_hand(generator):
    prediction, labels = batch(generator)
    energy = (((prediction["energy"] - labels.energy) / NATOMS) ** 2).mean()
    forces = ((prediction["forces"] - labels.forces) ** 2).mean()
    stress = ((prediction["stress"] - labels.stress)[0] ** 2).mean()
    out = EnergyForceLoss(energy=2.0, forces=3.0, stress=5.0)(prediction, labels)
    torch.testing.assert_close(out["loss"], 2 * energy + 3 * forces + 5 * stress)
    torch.testing.assert_close((out["energy"], out["forces"], out["stress"]), (energy, forces, stress))


def test_other_kinds(generator):
    prediction, labels = batch(generator)
    difference = prediction["forces"] - labels.forces
    one = EnergyForceLoss(energy=0.0, forces=1.0, kind="l1")(prediction, labels)["loss"]
    torch.testing.assert_close(one, difference.abs().mean())
    norm = EnergyForceLoss(energy=0.0, forces=1.0, kind="l2norm")(prediction, labels)["loss"]
    torch.testing.assert_close(norm, difference.norm(dim=1).mean())
    huber = EnergyForceLoss(energy=0.0, forces=1.0, kind="huber", huber_delta=0.5)(prediction, labels)["loss"]
    torch.testing.assert_close(huber, torch.nn.HuberLoss(delta=0.5)(prediction["forces"], labels.forces))
    whole = EnergyForceLoss(energy=1.0, forces=0.0, per_atom=False)(prediction, labels)["loss"]
    torch.testing.assert_close(whole, ((prediction["energy"] - labels.energy) ** 2).mean())


def test_missing_labels_leave_sum_and_count(generator):
    prediction, labels = batch(generator, has_energy=(True, False, True), has_forces=(False, True, False))
    labels.energy[1] = labels.forces[0] = torch.nan  # what is not there must not be looked at
    for value in prediction.values():
        value.requires_grad_()
    out = EnergyForceLoss(energy=1.0, forces=1.0)(prediction, labels)
    energy = (((prediction["energy"] - labels.energy) / NATOMS) ** 2)[[0, 2]].mean()
    forces = ((prediction["forces"] - labels.forces)[2:5] ** 2).mean()
    torch.testing.assert_close(out["loss"], energy + forces)
    out["loss"].backward()
    assert prediction["forces"].grad[:2].eq(0).all()
    assert prediction["forces"].grad.isfinite().all()


def test_weights_of_frames(generator):
    prediction, labels = batch(generator, weight=(0.0, 2.0, 0.0))
    out = EnergyForceLoss(energy=0.0, forces=1.0)(prediction, labels)
    torch.testing.assert_close(out["loss"], 2 * ((prediction["forces"] - labels.forces)[2:5] ** 2).sum() / 18)


@pytest.mark.parametrize(
    ("options", "says"),
    [({"energy": -1.0}, ">= 0"), ({"energy": 0.0, "forces": 0.0}, "not all zero"), ({"kind": "mae"}, "mse, huber")],
)
def test_bad_options(options, says):
    with pytest.raises(ValueError, match=says):
        EnergyForceLoss(**options)
