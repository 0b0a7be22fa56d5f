"""FAENet from a configuration: one frame drawn for each structure in training, all in every evaluation."""

import pytest
import torch
import yaml

from intertwine import audit
from intertwine.data.atoms import collate
from intertwine.groups import E
from intertwine.models import load_potential
from intertwine.train.command import run
from train.conftest import data

SIZES = {"hidden": 8, "filters": 8, "layers": 1, "n_gaussian": 4, "period_group": 1}


@pytest.mark.parametrize("forces", ["gradient", "direct"])
def test_a_configuration_trains_stochastic_frames(forces, structures, tmp_path, monkeypatch):
    from intertwine.models.atoms import FAENet

    atoms, bare = [], FAENet.bare

    def counted(self, species, *rest):
        atoms.append((self.training, len(species)))
        return bare(self, species, *rest)

    monkeypatch.setattr(FAENet, "bare", counted)
    config = {
        "model": {
            "network": "FAENet",
            "options": {**SIZES, "frames": "stochastic", "force_head": forces == "direct"},
            "forces": forces,
        },
        "data": {"path": str(structures), "val": 4, "test": 2, "cutoff": 3.5, "shift": "mean", "split": "random"},
        "trainer": {"max_steps": 3, "accelerator": "cpu", "enable_progress_bar": False},
        "out": str(tmp_path / "run"),
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    run(["fit", "--config", str(tmp_path / "config.yaml")])
    drawn, whole = ({count for mode, count in atoms if mode is training} for training in (True, False))
    assert max(drawn) <= 5 * 6 + 3  # five structures of at most six atoms, and a lonely atom of each species
    assert max(whole) >= 8 * (3 + 3 + 6 + 6)
    model = load_potential(tmp_path / "run" / "best.ckpt", dtype=torch.float64)
    assert model.backbone.config["frames"] == "stochastic"
    assert model.conservative == (forces == "gradient")
    graphs = list(data(structures).parts["test"])
    out, group = model(collate(graphs)), E(3)
    for g in group.sample(3, generator=torch.Generator().manual_seed(0)):
        turned = model(model.rep_in(g, collate(graphs)))
        torch.testing.assert_close(turned["energy"], out["energy"], rtol=0, atol=1e-10)
        torch.testing.assert_close(turned["forces"], out["forces"] @ group.linear_part(g).mT, rtol=0, atol=1e-10)
    sampler = audit.Sampler(group, scale=1.0)
    generator = torch.Generator().manual_seed(0)
    result = audit.measure(
        model, model.rep_in, model.rep_out, graphs, elements=sampler, n_elements=2, generator=generator
    )
    assert result.verdict.word == "exact"
