"""What is wrong with a structure file, said so that the user can mend it: file, frame, problem, fix."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path


class DataError(ValueError):
    """A structure or file that cannot be used as it is; names the file, the frame (from 0) and the fix."""

    def __init__(self, problem: str, *, path: str | Path | None = None, frame: int | None = None, fix: str = ""):
        self.problem, self.fix = problem, fix
        self.path, self.frame = None if path is None else str(path), frame
        place = ", ".join(filter(None, [self.path, None if frame is None else f"frame {frame}"]))
        super().__init__(f"{place + ': ' if place else ''}{problem}{'; ' + fix if fix else ''}")

    def __reduce__(self):  # exceptions cross process borders by pickle, which knows positional arguments only
        return _rebuild, (self.problem, self.path, self.frame, self.fix)


def _rebuild(problem: str, path: str | None, frame: int | None, fix: str) -> DataError:
    return DataError(problem, path=path, frame=frame, fix=fix)


class DataWarning(UserWarning):
    """Something in a file that is usable but looks wrong."""


@dataclass(frozen=True)
class Defect:
    """One thing found in one frame: `kind` groups them, a fatal one makes the frame unusable."""

    kind: str
    problem: str
    fix: str = ""
    fatal: bool = True
    frame: int | None = None
    path: str | None = None

    def error(self) -> DataError:
        """The exception that says the same."""
        return DataError(self.problem, path=self.path, frame=self.frame, fix=self.fix)


@dataclass
class ReadReport:
    """What reading a file found: frames read, kept, dropped, and every defect; prints as a table."""

    paths: tuple[str, ...] = ()
    read: int = 0
    kept: int = 0
    dropped: int = 0
    isolated: int = 0
    unlabelled: dict[str, int] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)

    def count(self) -> dict[str, int]:
        """Number of defects of each kind, in the order they were met."""
        return dict(Counter(defect.kind for defect in self.defects))

    def __str__(self) -> str:
        lines = [
            f"{', '.join(self.paths) or 'structures'}: {self.read} frames read, {self.kept} kept, "
            f"{self.dropped} dropped, {self.isolated} isolated atoms"
        ]
        lines += [f"  without {label}: {n} frames" for label, n in self.unlabelled.items() if n]
        for kind, n in self.count().items():
            first = next(d for d in self.defects if d.kind == kind)
            where = "" if first.frame is None else f"frame {first.frame}: "
            lines.append(f"  {kind}: {n}, first {where}{first.problem}")
        return "\n".join(lines)
