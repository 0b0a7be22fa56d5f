"""The Lightning module that trains a `Potential`: built to fit its data, saved with everything that made it."""

from typing import Any, Literal

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from torch import Tensor

from intertwine import __version__
from intertwine.models import catalog
from intertwine.models.atoms.potential import Potential
from intertwine.models.saved import CONVENTIONS, UNITS, differences

from .ema import EMA
from .loss import EnergyForceLoss
from .metrics import PotentialMetrics
from .schedule import Optimizer, parameter_groups, progress
from .seen import Seen


class NonFiniteLoss(RuntimeError):
    """The loss or its gradient stopped being a number; says in which step and for which frames of the data."""


class PotentialModule(pl.LightningModule):
    """Trains an interatomic potential on energies, forces and stress.

    network: a name listed by `intertwine models`; options: its keyword arguments, such as {"channels": 32};
    species, cutoff, neighbour counts, shifts and scale come from the data module when `fit` begins. compile=True
    compiles the training step (worth it for runs of many minutes, and needs a C++ compiler on CPUs). forces: "gradient"
    or "direct", those of a network's force head.
    tf32=True lets products of float32 matrices round to 10 bits while fit runs, on GPUs that have TensorFloat-32.
    Raises ValueError for an unknown network or option, and for direct forces with a loss on stress.
    """

    def __init__(
        self,
        network: str = "NequIP",
        options: dict[str, Any] | None = None,
        loss: EnergyForceLoss = EnergyForceLoss(),  # noqa: B008 (frozen)
        optimizer: Optimizer = Optimizer(),  # noqa: B008 (frozen)
        compile: bool = False,
        seed: int = 0,
        forces: Literal["gradient", "direct"] = "gradient",
        tf32: bool = False,
    ):
        super().__init__()
        catalog.check(network, options or {})
        if forces == "direct" and loss.stress > 0:
            raise ValueError(
                f"PotentialModule: the loss weighs stress by {loss.stress:g}, but direct forces come without stress; "
                "set its weight to 0 or take forces='gradient'"
            )
        self.network = network
        self.options = dict(options or {})
        self.loss = loss
        self.optimizer = optimizer
        self.compile_step = compile
        self.tf32 = tf32
        self._matmul: str | None = None  # the process's setting before training
        self.seed = seed
        self.forces = forces
        self.potential: Potential | None = None
        self.metrics = PotentialMetrics()
        self.seen = Seen()  # of the last test
        self.stop_requested = False  # set by a signal handler
        self.stop_agreed = False  # the same, once every process knows
        self.data_hash = ""
        self.run_config: str | None = None  # the command line's configuration, kept in every checkpoint
        self.save_hyperparameters(
            {
                "network": network,
                "options": self.options,
                "loss": _plain(loss),
                "optimizer": _plain(optimizer),
                "compile": compile,
                "tf32": tf32,
                "seed": seed,
                "forces": forces,
            }
        )

    # --- building, saving, loading ---------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        data = self.trainer.datamodule
        self.metrics = PotentialMetrics(tuple(getattr(data, "config_types", ())))
        if self.potential is None and stage == "fit":
            if not hasattr(data, "facts"):
                raise ValueError("PotentialModule: fit needs an AtomicDataModule, or a potential set beforehand")
            self.data_hash = data.facts.hash
            self.potential = self.build(data.facts)

    def build(self, facts: Any) -> Potential:
        """The potential that fits a data set: `facts` has species, cutoff, avg_num_neighbors, shift and scale."""
        generator = torch.Generator().manual_seed(self.seed)
        backbone = catalog.build(
            self.network,
            species=facts.species,
            cutoff=facts.cutoff,
            avg_num_neighbors=facts.avg_num_neighbors,
            generator=generator,
            **self.options,
        )
        return Potential(
            backbone,
            facts.species,
            facts.cutoff,
            energy_shift=dict(zip(facts.species, facts.shift_scale.shift.tolist())),
            energy_scale=dict(zip(facts.species, facts.shift_scale.scale.tolist())),
            forces=self.forces,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        potential = self._potential()
        checkpoint["intertwine"] = {
            "version": __version__,
            "kind": "potential",
            "potential": potential.config,
            "conservative": potential.conservative,
            "data_hash": self.data_hash,
            "config": self.run_config,
            "conventions": CONVENTIONS,
            "units": UNITS,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        about = checkpoint.get("intertwine", {})
        if about.get("kind") != "potential":
            raise ValueError(f"this checkpoint holds a {about.get('kind', 'model of unknown kind')}, not a potential")
        saved = about["potential"]
        if self.potential is None:
            self.potential = catalog.potential(saved)
            self.data_hash = about["data_hash"]
        elif found := differences(saved, self.potential.config):
            raise ValueError(
                f"the checkpoint holds another model, a {saved['backbone']} for {', '.join(saved['species'])}, "
                f"than this run's {self.potential.config['backbone']} for {', '.join(self.potential.species)}: "
                f"{'; '.join(found)}"
            )

    def _potential(self) -> Potential:
        if self.potential is None:
            raise ValueError("PotentialModule: no model yet; give a checkpoint (--ckpt_path) or fit first")
        return self.potential

    # --- training --------------------------------------------------------------------------------------------------

    def configure_callbacks(self) -> list[pl.Callback]:
        return [EMA(self.optimizer.ema)]

    def configure_optimizers(self) -> Any:
        groups = parameter_groups(self._potential(), self.optimizer.weight_decay)
        adam = torch.optim.AdamW(groups, lr=self.optimizer.lr, amsgrad=self.optimizer.amsgrad, foreach=True)
        if self.optimizer.schedule != "plateau":
            return adam
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            adam, factor=self.optimizer.factor, patience=self.optimizer.patience
        )
        return {"optimizer": adam, "lr_scheduler": {"scheduler": scheduler, "monitor": "val/loss"}}

    def on_fit_start(self) -> None:
        if self.tf32:
            self._matmul = torch.get_float32_matmul_precision()
            torch.set_float32_matmul_precision("high")
        if self.compile_step:
            self._potential().compile_training()

    def teardown(self, stage: str) -> None:
        if self._matmul is not None:
            torch.set_float32_matmul_precision(self._matmul)
            self._matmul = None

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # The rate is a function of the step and the budget alone, so a resumed run needs no scheduler state.
        if self.optimizer.schedule != "plateau":
            rate = self.optimizer.rate(self.global_step, progress(self.trainer))
            for group in self.optimizers(use_pl_optimizer=False).param_groups:
                group["lr"] = rate

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        parts = self.loss(self._potential()(batch, training=True), batch)
        loss = parts["loss"]
        self._check_finite(loss.detach(), batch)
        if (self.global_step + 1) % self.trainer.log_every_n_steps == 0:
            rate = self.optimizers(use_pl_optimizer=False).param_groups[0]["lr"]
            self.log_dict({"lr": rate, **{f"train/{k}": v.detach() for k, v in parts.items()}}, batch_size=1)
        self._frames = batch.frame
        return loss

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        norm = torch.nn.utils.clip_grad_norm_(self.parameters(), self.optimizer.clip, foreach=True)
        if not torch.isfinite(norm):
            # Stop before the step: the weights, and so the last checkpoint, are still good.
            raise NonFiniteLoss(self._message("gradient of the loss", float(norm), self._frames))

    def _check_finite(self, loss: Tensor, batch: Any) -> None:
        bad = not bool(torch.isfinite(loss))
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            # One process that stops alone would leave the others waiting for its gradient.
            flags = torch.tensor([float(bad), float(self.stop_requested)], device=loss.device)
            dist.all_reduce(flags)
            self.stop_agreed = bool(flags[1] > 0)
            if flags[0] > 0 and not bad:
                raise NonFiniteLoss(f"step {self.global_step}: the loss of another process is not finite")
        if bad:
            raise NonFiniteLoss(self._message("loss", float(loss), batch.frame))

    def _message(self, what: str, value: float, frames: Tensor) -> str:
        return (
            f"step {self.global_step}: the {what} is {value} for frames {frames.tolist()} of the data; training "
            "stopped and the last checkpoint was kept. Look at these frames, or lower the learning rate"
        )

    # --- evaluation ------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.metrics.reset()
        self._loss_sum, self._loss_count = 0.0, 0

    def _evaluate(self, batch: Any) -> dict[str, Tensor]:
        # Errors are those of the model as it will be used, whatever precision the training steps have.
        with torch.no_grad(), torch.autocast(batch.pos.device.type, enabled=False):
            prediction = self._potential()(batch, training=False)
        self.metrics.update(prediction, batch)
        return prediction

    def _finish(self, stage: str) -> dict[str, float]:
        self.metrics.reduce()
        table = self.metrics.table()
        flat = {f"{stage}/{name}": value for name, value in table["all"].items()}
        for row, values in table.items():
            if row != "all":
                flat |= {f"{stage}/{row}/{name}": value for name, value in values.items()}
        flat[f"{stage}/loss"] = self._score(table["all"])
        self.log_dict({k: torch.tensor(v, dtype=torch.float64) for k, v in flat.items()}, batch_size=1)
        return flat

    def _score(self, errors: dict[str, float]) -> float:
        """The mean-square loss, from the summed errors, in eV units: comparable between epochs and process counts."""
        score = self.loss.energy * (errors.get("energy_rmse_per_atom", 0.0) * 1e-3) ** 2
        return score + self.loss.forces * (errors.get("forces_rmse", 0.0) * 1e-3) ** 2

    def on_validation_epoch_start(self) -> None:
        self._start()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        self._finish("val")

    def on_test_epoch_start(self) -> None:
        self._start()
        self.seen = Seen()

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.seen.add(self._evaluate(batch), batch)

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def predict_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        with torch.no_grad():
            out = self._potential()(batch, training=False)
        return {**out, "frame": batch.frame, "natoms": batch.natoms}


def _plain(options: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(options)
