"""An exported potential is the potential: on sizes never seen while tracing, in calculators and in motion."""

import copy

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from intertwine.data.atoms import collate, from_ase
from intertwine.interop.ase import Calculator
from intertwine.interop.export import export, load_exported, load_model
from intertwine.models.atoms import MACE, NequIP, Potential, Verlet
from models.atoms.conftest import CUTOFF, SCALE, SHIFT, SPECIES, images, potential
from models.atoms.springs import Springs

NETWORKS = {
    "NequIP": lambda g: NequIP(SPECIES, cutoff=CUTOFF, layers=2, channels=2, radial=(4,), generator=g),
    "MACE": lambda g: MACE(
        SPECIES, cutoff=CUTOFF, layers=1, edge_degree=1, channels=2, correlation=2, radial=(4,), readout=2, generator=g
    ),
}


def small(name: str, dtype: torch.dtype) -> Potential:
    network = NETWORKS[name](torch.Generator().manual_seed(0))
    return Potential(network, SPECIES, CUTOFF, energy_shift=SHIFT, energy_scale=SCALE).to(dtype).eval()


def batches() -> list:
    """One graph and several, open, periodic and mixed, an atom without edges: sizes that the tracer never saw."""
    found = images()
    chosen = (["water"], ["crystal"], ["atom"], ["ethanol", "slab", "self-images", "atom", "crystal"])
    return [collate([from_ase(found[name], cutoff=CUTOFF) for name in names]) for names in chosen]


def assert_equal(exported, model, tolerance: float) -> None:
    for batch in batches():
        theirs, ours = exported(batch), model(batch)
        assert set(theirs) == set(ours)
        for name, value in ours.items():
            assert theirs[name].dtype == value.dtype
            # in float32, of the largest number that went into the sum
            torch.testing.assert_close(theirs[name], value.detach(), rtol=tolerance, atol=tolerance * 10)


@pytest.fixture(scope="module", params=["NequIP", pytest.param("MACE", marks=pytest.mark.slow)])
def exported(request, tmp_path_factory):
    model = small(request.param, torch.float64)
    path = export(model, tmp_path_factory.mktemp("made") / "x.pt2", example=batches()[3], target="torch.export")
    assert [each.name for each in path.parent.iterdir()] == ["x.pt2"]
    return model, load_model(path)


def test_it_agrees_on_sizes_never_seen(exported):
    model, loaded = exported
    assert_equal(loaded, model, 1e-12)
    assert (loaded.target, loaded.species, loaded.cutoff) == ("torch.export", SPECIES, CUTOFF)
    assert (loaded.dtype, loaded.conservative, loaded.stress) == (torch.float64, True, True)
    with pytest.raises(ValueError, match="holds Au; this model knows H, C, O, Cu"):
        loaded(collate([from_ase(bulk("Au"), cutoff=CUTOFF)]))
    # exporting leaves the model as it was
    assert all(p.requires_grad for p in model.parameters())


def test_it_moves_and_calculates_as_the_model_does(exported):
    model, loaded = exported
    ours, theirs = molecule("H2O"), molecule("H2O")
    ours.calc, theirs.calc = Calculator(model), Calculator(loaded)
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), rtol=0, atol=1e-12)
    batch = collate([from_ase(molecule("H2O"), cutoff=None)] * 2)
    a, b = (Verlet(each, batch, timestep=0.2).run(3).pos for each in (model, loaded))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_a_compiled_package_agrees_in_float32(tmp_path):
    """Must hold: 1e-6 on sizes never seen; against float64 it is as good as the model in float32."""
    model = small("NequIP", torch.float32)
    loaded = load_exported(export(model, tmp_path / "x.pt2", example=batches()[0]))
    assert loaded.target == "aoti"
    assert_equal(loaded, model, 1e-6)
    exact = copy.deepcopy(model).double()
    for batch in batches():
        wanted, ours, theirs = exact(batch)["forces"], model(batch)["forces"], loaded(batch)["forces"]
        assert (theirs - wanted).abs().max() <= 3 * (ours - wanted).abs().max() + 1e-6


def test_without_a_compiler_it_exports_and_says_so(tmp_path):
    from torch._inductor import config

    model = Potential(Springs(), ["H", "O"], 3.0).double()
    example = collate([from_ase(molecule("H2O"), cutoff=3.0)])
    # Torch's own patch: what pytest's puts back leaves the option missing for whatever compiles next.
    with config.patch({"cpp.cxx": ("no-such-compiler",)}), pytest.warns(UserWarning, match="no C\\+\\+ compiler"):
        path = export(model, tmp_path / "x.pt2", example=example)
    loaded = load_exported(path)
    assert loaded.target == "torch.export"
    assert torch.equal(loaded(example)["forces"], model.eval()(example)["forces"])


def test_what_cannot_be_exported_or_loaded_is_said(tmp_path):
    model, example = potential("Pair"), batches()[0]
    with pytest.raises(ValueError, match=r"must be named \*.pt2"):
        export(model, tmp_path / "x.onnx", example=example)
    with pytest.raises(ValueError, match="target must be"):
        export(model, tmp_path / "x.pt2", example=example, target="onnx")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_exported(tmp_path / "x.pt2")
    (tmp_path / "x.pt2").write_text("nothing")
    with pytest.raises(ValueError, match=r"is no \.pt2 archive"):
        load_exported(tmp_path / "x.pt2")

    class Counting(Springs):
        def forward(self, species, vectors, edge_index):
            return super().forward(species, vectors, edge_index) + 0.0 * torch.arange(len(species))

    with pytest.raises(ValueError, match="fixes the number of atoms"):
        export(Potential(Counting(), ["H", "O"], 3.0), tmp_path / "y.pt2", example=example, target="torch.export")
    assert not (tmp_path / "y.pt2").exists()
