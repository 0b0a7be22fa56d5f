"""`intertwine fit | validate | test | predict`: Lightning's command line; a checkpoint fills in what is not said."""

import json
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from intertwine.data.atoms import write
from intertwine.files import write_atomically
from intertwine.models import saved

from .checkpoint import SafetensorsIO
from .data import AtomicDataModule
from .fit import loggers, quiet
from .keep import KeepCheckpoints
from .potential import PotentialModule
from .report import write_report


def run(argv: Sequence[str]) -> None:
    """Run one of the commands fit, validate, test, predict; `argv` begins with its name.

    A checkpoint, named after the command or by --ckpt_path, gives the defaults of all --model and --data options.
    Raises what reading data, building and training raise; SystemExit for options that do not parse.
    """
    command, *rest = argv
    if rest and not rest[0].startswith("-"):
        rest = [f"--ckpt_path={rest[0]}", *rest[1:]]
    before = sys.argv
    # Lightning starts the other processes of a DDP run from sys.argv, so it must hold what was asked for.
    sys.argv = [before[0], command, *rest]
    try:
        with quiet(), warnings.catch_warnings():
            # Lightning 2.6 speaks to jsonargparse in names that jsonargparse 4.49 calls deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            PotentialCLI(
                PotentialModule,
                AtomicDataModule,
                seed_everything_default=0,
                trainer_defaults={
                    "devices": 1,
                    "max_epochs": -1,
                    "num_sanity_val_steps": 0,
                    "enable_model_summary": False,
                    "use_distributed_sampler": False,
                },
                save_config_kwargs={"overwrite": True},
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                parser_kwargs={"prog": "intertwine"},
            )
    finally:
        sys.argv = before


class PotentialCLI(LightningCLI):
    """Lightning's CLI with safe checkpoints, one folder per run, and tables of errors in meV."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--out", type=str | None, default=None, help="Folder of the run; default runs/<name of the data file>."
        )
        parser.add_argument(
            "--save_every", type=int | None, default=None, help="Steps between writes of last.ckpt, besides validation."
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        path = _value_of("--ckpt_path", sys.argv)
        if path:
            tree = saved.load(path)
            command = parser._subcommands_action._name_parser_map[sys.argv[1]]
            command.set_defaults(_flat("model", tree.get("hyper_parameters", {})))
            command.set_defaults(_flat("data", tree.get("datamodule_hyper_parameters", {})))
        super().parse_arguments(parser, args)

    def _parse_ckpt_path(self) -> None:
        """Nothing left to do: the checkpoint has set the defaults already."""

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        config = self._get(self.config_init, "trainer")
        fit = self.subcommand == "fit"
        if fit and not _limited(config):
            raise ValueError("fit: nothing ends this run; give --trainer.max_epochs, --trainer.max_steps or .max_time")
        self.folder = self._folder(fit)
        kwargs["default_root_dir"] = str(self.folder)
        kwargs["plugins"] = [*(config.get("plugins") or []), SafetensorsIO()]
        if config.get("logger") in (None, True):
            kwargs["logger"] = loggers(self.folder) if fit else False
        if fit:
            kwargs["callbacks"] = [*(config.get("callbacks") or []), self._keep()]
            self.model.run_config = self.parser.dump(self.config)
        else:
            self.save_config_callback = None
            kwargs["enable_checkpointing"] = False
        return super().instantiate_trainer(**kwargs)

    def _keep(self) -> KeepCheckpoints:
        return KeepCheckpoints(str(self.folder), every=self._get(self.config, "save_every"))

    def _folder(self, fit: bool) -> Path:
        out, checkpoint = self._get(self.config, "out"), self._get(self.config, "ckpt_path")
        if out is not None:
            return Path(out)
        if checkpoint is not None:
            return Path(checkpoint).parent
        path = self._get(self.config, "data").path
        name = Path(path if isinstance(path, str) else path[0]).name.split(".")[0]
        folder, n = Path("runs") / name, 1
        while fit and (folder / "last.ckpt").exists():
            n += 1
            folder = Path("runs") / f"{name}-{n}"
        sys.argv.append(f"--out={folder}")  # the other processes of a DDP run must not choose again
        return folder

    def fit(self, **kwargs: Any) -> None:
        """Train; after Ctrl-C say how to go on, and exit with 130 as interrupted programs do."""
        try:
            self.trainer.fit(**kwargs)
        except SystemExit:
            if self.model.stop_requested and self.trainer.is_global_zero:
                _say(f"interrupted; resume with: intertwine fit --ckpt_path {self.folder / 'last.ckpt'}")
            raise SystemExit(130 if self.model.stop_requested else 1) from None

    def after_fit(self) -> None:
        """Say where the model is and how good it is on the validation set."""
        if self.trainer.is_global_zero:
            metrics = {k: float(v) for k, v in self.trainer.callback_metrics.items() if k.startswith("val/")}
            _say(_table({"validation": _named(metrics, "val")}))
            _say(f"best model: {self.trainer.checkpoint_callback.best_model_path}")

    def validate(self, **kwargs: Any) -> None:
        """Errors on the validation set, as a table and in `validation.json`."""
        self.trainer.validate(**(kwargs | {"verbose": False}))
        self._report("validation.json")

    def test(self, **kwargs: Any) -> None:
        """Errors on the test set, as a table, in `metrics.json`, and with pictures in `report.html`."""
        self.trainer.test(**(kwargs | {"verbose": False}))
        self._report("metrics.json")
        if self.trainer.is_global_zero:
            checkpoint = self._get(self.config, "ckpt_path")
            history = None if checkpoint is None else Path(checkpoint).parent
            try:
                page = write_report(
                    self.folder / "report.html",
                    self.model.potential,
                    self.model.seen,
                    self.model.metrics,
                    history=history,
                )
                _say(f"written: {page}")
            except ModuleNotFoundError as missing:
                _say(f"no report.html: {missing}")

    def _report(self, name: str) -> None:
        if self.trainer.is_global_zero:
            table = self.model.metrics.table()
            _say(_table(table))
            elements = {"by_element": found} if (found := self.model.metrics.by_element()) else {}
            write_atomically(self.folder / name, json.dumps(table | elements, indent=1))
            _say(f"written: {self.folder / name}")

    def predict(self, **kwargs: Any) -> None:
        """Predict and write `predictions.extxyz`, predictions beside the labels."""
        batches = self.trainer.predict(**(kwargs | {"return_predictions": True}))
        graphs, predictions = list(self.datamodule.parts["predict"]), []
        for batch in batches or []:
            sizes = batch["natoms"].tolist()
            forces = batch["forces"].split(sizes) if "forces" in batch else [None] * len(sizes)
            for i in range(len(sizes)):
                one = {"energy": batch["energy"][i], "forces": forces[i]}
                if "stress" in batch and bool(graphs[len(predictions)].pbc.all()):
                    one["stress"] = batch["stress"][i]
                predictions.append({k: v for k, v in one.items() if v is not None})
        path = self.folder / "predictions.extxyz"
        write(path, graphs, predictions)
        _say(f"written: {path}, {len(graphs)} structures")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _value_of(flag: str, argv: Sequence[str]) -> str | None:
    for i, word in enumerate(argv):
        if word == flag and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(flag + "="):
            return word.split("=", 1)[1]
    return None


def _flat(prefix: str, values: dict[str, Any]) -> dict[str, Any]:
    """{"loss": {"energy": 1}} -> {"model.loss.energy": 1}; `options` stays a mapping, its keys are a network's own."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}.{key}"
        flat |= _flat(name, value) if isinstance(value, dict) and key in _NESTED else {name: value}
    return flat


_NESTED = ("loss", "optimizer", "keys", "checks")


def _limited(config: Any) -> bool:
    return any(config.get(name) not in (None, -1) for name in ("max_epochs", "max_steps", "max_time"))


def _named(metrics: dict[str, float], stage: str) -> dict[str, float]:
    prefix = f"{stage}/"
    return {k.removeprefix(prefix): v for k, v in metrics.items() if k.startswith(prefix) and k.count("/") == 1}


_COLUMNS = (
    ("energy_mae", "E MAE", "meV"),
    ("energy_rmse", "E RMSE", "meV"),
    ("energy_mae_per_atom", "E MAE/atom", "meV"),
    ("forces_mae", "F MAE", "meV/Å"),
    ("forces_rmse", "F RMSE", "meV/Å"),
    ("stress_mae", "stress MAE", "meV/Å³"),
)


def _table(rows: dict[str, dict[str, float]]) -> str:
    """Errors as text, one row per set, one column per measure that any row has."""
    columns = [c for c in _COLUMNS if any(c[0] in row for row in rows.values())]
    width = max(12, *(len(name) for name in rows))
    lines = [" " * width + "".join(f"{f'{title} ({unit})':>20}" for _, title, unit in columns)]
    for name, row in rows.items():
        cells = "".join(f"{row[key]:20.2f}" if key in row else f"{'-':>20}" for key, _, _ in columns)
        lines.append(f"{name:<{width}}{cells}")
    return "\n".join(lines)
