"""One door to all wrappers: the method by its name, or by the group where one is exact."""

from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from ..groups import SO, O, S
from ..groups.matrix import SE, E
from ..reps import Action
from .average import Symmetrizer
from .canonicalize import Canonicalize
from .frame_average import FrameAverage
from .group_average import GroupAverage
from .orbit_canonicalize import OrbitCanonicalize

LISTED = 64  # finite groups up to this order are averaged over as a whole by how="auto"

How = Literal["auto", "frame", "stochastic", "group", "canonicalize", "orbit"]


def _stochastic(*args: Any, **options: Any) -> Symmetrizer:
    return FrameAverage(*args, frame="stochastic", **options)


WRAPPERS: dict[str, Callable[..., Symmetrizer]] = {
    "frame": FrameAverage,
    "stochastic": _stochastic,
    "group": GroupAverage,
    "canonicalize": Canonicalize,
    "orbit": OrbitCanonicalize,
}


def symmetrize(model: nn.Module, rep_in: Action, rep_out: Action, how: How = "auto", **options: Any) -> Symmetrizer:
    """Make any model symmetric by a method named, or by the exact one that fits the group of its Actions.

    how="auto": finite groups of at most 64 elements are averaged over ("group"), O, SO, E, SE(d) and S(n) get frames
    ("frame"). "stochastic" draws one element of a frame in training, "canonicalize" takes `canonicalizer=` (a network
    of scores, or a source), "orbit" may take `source=`. options: those of `FrameAverage`, `GroupAverage`,
    `Canonicalize`, `OrbitCanonicalize`. Raises ValueError for any other name or group: nothing is drawn silently; and
    as the wrapper does. `SoftEquivariance` is no average: it needs the Reps of layers.
    """
    valid = ", ".join(map(repr, ("auto", *WRAPPERS)))
    if not isinstance(rep_in, Action) or rep_in.group is None:
        raise TypeError(
            f"symmetrize: rep_in must be an Action that names its group, such as Points(E(3)); got {rep_in!r}"
        )
    if how == "soft":
        raise ValueError(
            "symmetrize: a soft symmetry is a term of the loss; use SoftEquivariance(model, symmetries), with the Reps "
            f"of its linear layers. Valid here: {valid}"
        )
    if how != "auto" and how not in WRAPPERS:
        raise ValueError(f"symmetrize: how must be one of {valid}, got {how!r}")
    if how == "canonicalize" and "canonicalizer" not in options:
        raise ValueError(
            "symmetrize: how='canonicalize' needs canonicalizer=, a network of one score per sample for a finite "
            "group, or a source such as ContinuousCanonicalizer(net, SO(3))"
        )
    if how == "auto":
        group = rep_in.group
        if group.is_finite and group.order <= LISTED:
            how = "group"
        elif type(group) in (O, SO, E, SE, S):
            how = "frame"
        else:
            raise ValueError(
                f"symmetrize: {group} has no exact method without training; use how='group' with samples=k (in "
                f"expectation), how='orbit' (a learned element), or another source of elements. Valid: {valid}"
            )
    return WRAPPERS[how](model, rep_in, rep_out, **options)
