"""`metrics.csv`, one file for one run: a resumed run goes on in it, and steps that are done again replace the old ones.

Lightning's own CSV logger deletes the file of the run it resumes, and loses its last rows when it is killed.
"""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from intertwine.files import write_atomically


class History(Logger):
    """Writes every row when it is logged, to `metrics.csv` in a folder; a new column rewrites the file."""

    def __init__(self, folder: str | Path):
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._columns: list[str] = []

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        """The folder; Lightning writes the configuration there."""
        return str(self.path.parent)

    @property
    def log_dir(self) -> str:
        """The folder, by its other name."""
        return self.save_dir

    @rank_zero_only
    def begin(self, step: int) -> None:
        """Training begins, or goes on, at this step: rows of this step and later ones are forgotten."""
        rows = [row for row in self._read() if int(row["step"]) < step]
        self._columns = sorted({key for row in rows for key in row})
        self._write(rows)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        row = {"step": step, **{key: float(value) for key, value in metrics.items()}}
        if not set(row) <= set(self._columns):
            self._columns = sorted({*self._columns, *row})
            self._write([*self._read(), row])
        else:
            with open(self.path, "a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the configuration is in `config.yaml` and in every checkpoint."""

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        with open(self.path, newline="") as file:
            return list(csv.DictReader(file))

    def _write(self, rows: list[dict[str, Any]]) -> None:
        if not rows:
            self.path.unlink(missing_ok=True)
            return
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, text.getvalue())
