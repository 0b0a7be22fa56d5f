"""Lightning's door to our checkpoint file: `Trainer(plugins=[SafetensorsIO()])` writes no pickle and tears no file."""

from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import CheckpointIO

from intertwine.models import saved


class SafetensorsIO(CheckpointIO):
    """Reads and writes checkpoints as one safetensors file each, see `models.saved`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write it whole or not at all; raises OSError, or TypeError naming an entry that has no safe form."""
        if storage_options is not None:
            raise TypeError("SafetensorsIO writes local files and takes no storage_options")
        saved.save(checkpoint, path)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read the file to the CPU (Lightning moves each state on); raises ValueError for a file of another kind."""
        return saved.load(path)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete the file if it is there."""
        Path(path).unlink(missing_ok=True)
