"""Average over a frame of the input: the wrapper for points in space, and for sets and graphs."""

from collections.abc import Collection
from typing import Literal

from torch import nn

from ..groups import SO, Group, O, S
from ..groups.matrix import SE, E
from ..reps import Action
from .average import ElementSource, Symmetrizer
from .pca_frame import PCAFrame
from .sort_frame import SortFrame
from .stochastic_frame import StochasticFrame


class FrameAverage(Symmetrizer):
    """Any model made exactly equivariant by averaging over a few group elements computed from the input.

    frame: "auto" for `PCAFrame` under E(d), SE(d), O(d), SO(d) and `SortFrame` under S(n); "stochastic" for one drawn
    element of it per sample in training and all of it in eval mode; or any `ElementSource`, such as
    `PCAFrame(E(3), on_degenerate="error")`. Keeps what the model can express: an equivariant model is unchanged.
    The other arguments are those of `Symmetrizer`. Raises ValueError for a group without frames.
    Source: arXiv:2110.03336; stochastic frames arXiv:2305.05577.
    """

    def __init__(
        self,
        model: nn.Module,
        rep_in: Action,
        rep_out: Action,
        *,
        frame: Literal["auto", "stochastic"] | ElementSource = "auto",
        chunk: int | None = None,
        invariant_args: Collection[int | str] = (),
    ):
        if isinstance(frame, str):
            if frame not in ("auto", "stochastic"):
                raise ValueError(f"FrameAverage: frame must be 'auto', 'stochastic' or an ElementSource, got {frame!r}")
            if not isinstance(rep_in, Action) or rep_in.group is None:
                raise TypeError(f"FrameAverage: rep_in must be an Action that names its group, got {rep_in!r}")
            whole = frame_of(rep_in.group)
            frame = StochasticFrame(whole) if frame == "stochastic" else whole
        super().__init__(model, rep_in, rep_out, frame, chunk=chunk, invariant_args=invariant_args)


def frame_of(group: Group) -> ElementSource:
    """The frame that `FrameAverage` takes for a group. Raises ValueError for a group without one."""
    if type(group) in (O, SO, E, SE):
        return PCAFrame(group)
    if type(group) is S:
        return SortFrame(group)
    raise ValueError(
        f"FrameAverage: no frame is known for {group}; there are frames for E(d), SE(d), O(d), SO(d) and S(n). For a "
        "finite group use GroupAverage, for a compact one GroupAverage(..., samples=k), or give an ElementSource"
    )
