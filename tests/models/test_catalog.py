"""Every model on the list can be built by name, saved and built again; nothing else can."""

import pytest
import torch

from intertwine.models import catalog, load_potential, saved
from intertwine.models.atoms import Potential


@pytest.mark.parametrize("entry", catalog.ENTRIES, ids=lambda entry: entry.name)
def test_a_potential_is_built_again_from_its_description(entry, tmp_path):
    generator = torch.Generator().manual_seed(0)
    network = catalog.build(
        entry.name, species=("H", "O"), cutoff=3.0, avg_num_neighbors=2.5, generator=generator, n_bessel=5
    )
    made = Potential(network, ("H", "O"), 3.0, energy_shift={"H": -13.6, "O": -2041.1234567890123}, energy_scale=0.7)
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


def test_unknown_names_and_options():
    with pytest.raises(ValueError, match="no model 'Nequipp'; there are: NequIP"):
        catalog.entry("Nequipp")
    with pytest.raises(ValueError, match="NequIP has no option chanels; it has: layers, degree, channels"):
        catalog.check("nequip", {"chanels": 3})
    with pytest.raises(ValueError, match="there is no model 'os'"):
        catalog.potential({"backbone": "os", "species": ["H"], "cutoff": 1.0, "options": {}})
