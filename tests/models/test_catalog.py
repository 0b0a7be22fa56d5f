"""Every model on the list can be built by name, saved and built again; nothing else can."""

import pytest
import torch

from intertwine.models import catalog, load_potential, saved
from intertwine.models.atoms import Potential


@pytest.mark.parametrize("entry", catalog.ENTRIES, ids=lambda entry: entry.name)
def test_a_potential_is_built_again_from_its_description(entry, tmp_path):
    data = {"species": ("H", "O"), "cutoff": 3.0, "avg_num_neighbors": 2.5}
    chosen = {"n_bessel": 5} if "n_bessel" in catalog.options(entry.name) else {}
    network = catalog.build(entry.name, **data, **chosen, generator=torch.Generator().manual_seed(0))
    shift, forces = {"H": -13.6, "O": -2041.1234567890123}, "gradient" if getattr(network, "smooth", True) else "direct"
    made = Potential(network, ("H", "O"), 3.0, energy_shift=shift, energy_scale=0.7, forces=forces)
    tree = {
        "intertwine": {"kind": "potential", "potential": made.config},
        "state_dict": {f"potential.{name}": value for name, value in made.state_dict().items()},
    }
    saved.save(tree, tmp_path / "x")
    again = load_potential(tmp_path / "x")
    assert again.config == made.config
    assert torch.equal(again.shift, made.shift)
    for name, value in made.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert not again.training
    assert next(load_potential(tmp_path / "x", dtype=torch.float64).parameters()).dtype == torch.float64


@pytest.mark.parametrize("entry", catalog.OTHERS, ids=lambda entry: entry.name)
def test_other_models_are_listed_and_not_built_as_potentials(entry):
    assert entry.load().__name__ == entry.name
    with pytest.raises(ValueError, match=f"{entry.name} is no potential .*; import it from {entry.module}"):
        catalog.build(entry.name.lower(), species=("H",), cutoff=3.0)


def test_unknown_names_and_options():
    with pytest.raises(ValueError, match="no model 'Nequipp'; there are: NequIP"):
        catalog.entry("Nequipp")
    with pytest.raises(ValueError, match="NequIP has no option chanels; it has: layers, degree, channels"):
        catalog.check("nequip", {"chanels": 3})
    with pytest.raises(ValueError, match="there is no model 'os'"):
        catalog.potential({"backbone": "os", "species": ["H"], "cutoff": 1.0, "options": {}})
