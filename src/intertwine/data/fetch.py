"""Published data sets by name: from a folder on this machine where it is there, else downloaded once and checked."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..extras import require

_BOTNET = "https://raw.githubusercontent.com/davkovacs/BOTNet-datasets/29e6d467317e4b5967b7ea5cbee54de953fa0d45/"
# davkovacs/BOTNet-datasets, MIT licence: energies and forces by ORCA (arXiv:2205.06643), and isolated atoms.
_BOTNET_FILES = {
    "acac/isolated_atoms.xyz": "b74f321b453374621b447d65c60979f70df1b7182c8ee0215388b2c574f33823",
    "acac/train_300K.xyz": "8f5706d6902360555a5be59395612d2afc3489a75688388a58e7275fdad68af3",
    "acac/train_600K.xyz": "180c2538508f7810a623c279426f44953ee7cfb2af77e48ea3986ff97645a71c",
    "acac/test_MD_300K.xyz": "2291f3186a3cc6a5e05e92952c84a9237ca53f862d78fd3316a769360719ec43",
    "acac/test_MD_600K.xyz": "d5a5bba154ec43f915eb7529f86ec3af60e6f911743859daba030181a0378ff7",
    "ethanol/isolated_atoms.xyz": "a2a662390f31ad623ce493038e680bc34214f88d4432566bf8fbd0761be57583",
    "ethanol/train.xyz": "a26a16d8910581fa321fedc3bd3dfe31f2460e8cbfdc7a8f65243f4fd7250dd0",
    "ethanol/test_MD.xyz": "b8726933d5b9083989d8e3cc7013c18e0950cf0cbc6f6cd570fdb9759001031c",
}


@dataclass(frozen=True)
class Remote:
    """One published file: its name here ("acac/train_300K.xyz"), where it is, and the SHA-256 of its bytes."""

    name: str
    url: str
    sha256: str


def published() -> tuple[Remote, ...]:
    """The files that `fetch` knows."""
    return tuple(Remote(name, f"{_BOTNET}dataset_{name}", digest) for name, digest in _BOTNET_FILES.items())


def fetch(
    name: str, *, folder: str | Path | None = None, progress: bool = False, files: Iterable[Remote] | None = None
) -> Path:
    """Path of a published file such as "acac/train_300K.xyz"; `published` lists them.

    Looked for in `folder`, else in $INTERTWINE_DATA, else in the user's cache; a missing one is downloaded, into
    `folder` when it is given, else into the cache. Its SHA-256 is checked, wherever it was found.
    Raises ValueError for an unknown name or a file whose bytes are not the published ones, OSError when the download
    fails, naming the place where the file can be put by hand.
    """
    known = {file.name: file for file in (published() if files is None else files)}
    if name not in known:
        raise ValueError(f"fetch: no data file {name!r}; there are {', '.join(sorted(known))}")
    file = known[name]
    shelf = folder if folder is not None else os.environ.get("INTERTWINE_DATA")
    if shelf is not None and (local := Path(shelf) / file.name).is_file():
        if hashlib.sha256(local.read_bytes()).hexdigest() != file.sha256:
            raise ValueError(f"fetch: {local} is not the published {file.name} (other SHA-256); move it away")
        return local
    pooch = require("pooch", "atoms")
    target = Path(folder if folder is not None else pooch.os_cache("intertwine")) / file.name
    try:
        found = pooch.retrieve(
            file.url, f"sha256:{file.sha256}", fname=target.name, path=target.parent, progressbar=progress
        )
    except OSError as problem:  # requests' errors are OSErrors
        hint = f"get it by hand and put it at $INTERTWINE_DATA/{file.name}"
        raise OSError(f"fetch: cannot download {file.url} ({type(problem).__name__}); {hint}") from problem
    return Path(found)
