"""What two points, directions or frames have in common however space is moved: the numbers a kernel may depend on."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .lengths import length

Space = Literal["Rn", "R2xS1", "R3xS2", "SE3"]


def pair_invariants(
    pos_i: Float[Tensor, "*#batch n"],
    pos_j: Float[Tensor, "*#batch n"],
    ori_i: Float[Tensor, "..."] | None = None,
    ori_j: Float[Tensor, "..."] | None = None,
    *,
    space: Space = "Rn",
    complete: bool | Literal["E"] = False,
) -> Float[Tensor, "... attributes"]:
    """Attributes of a pair of receiver i and sender j, Δ = p_j - p_i; leading axes broadcast.

    "Rn": |Δ|. "R2xS1", unit vectors o [.., 2], o^⊥ = o turned by +90°: (Δ·o_i, Δ·o_i^⊥, o_i·o_j). "R3xS2", o [.., 3]:
    (Δ·o_i, |Δ - (Δ·o_i) o_i|, o_i·o_j). "SE3", frames R [.., 3, 3] with axes as columns: R_iᵀΔ and R_iᵀR_j, 12 numbers.
    These are invariant under SE(n), "Rn" and "R3xS2" under E(n).
    complete: the published numbers of "R2xS1" and "R3xS2" do not tell all pairs apart. True adds what is missing under
    SE(n): o_j·o_i^⊥ in the plane; o_j·Δ and the volume det(o_i, Δ, o_j) in space. "E" takes the volume's absolute
    value, so that reflections count as equal too ("R3xS2" only). "Rn" and "SE3" are complete as they are.
    Where Δ = 0, or Δ lies along o_i to rounding, the gradient of the lengths is taken as zero: they have none there.
    Raises ValueError for an unknown space, and for directions that are missing or of another shape.
    Source: arXiv:2310.02970, theorem 1.
    """
    wanted = {"Rn": None, "R2xS1": (2,), "R3xS2": (3,), "SE3": (3, 3)}
    if space not in wanted or (complete == "E" and space == "R2xS1"):
        raise ValueError(
            f"pair_invariants: space must be one of {', '.join(wanted)}, and complete='E' needs invariants under "
            f"reflections, which 'R2xS1' has not; got {space!r}, complete={complete!r}"
        )
    delta = pos_j - pos_i
    if space == "Rn":
        return length(delta)[..., None]
    shape = wanted[space]
    for name, ori in (("ori_i", ori_i), ("ori_j", ori_j)):
        if ori is None or ori.shape[ori.ndim - len(shape) :] != shape or delta.shape[-1] != shape[-1]:
            raise ValueError(
                f"pair_invariants: space {space!r} needs positions [.., {shape[-1]}] and directions [.., "
                f"{', '.join(map(str, shape))}], got positions {tuple(delta.shape)} and {name} "
                f"{None if ori is None else tuple(ori.shape)}"
            )
    if space == "SE3":
        place, turn = (ori_i.mT @ delta[..., None])[..., 0], (ori_i.mT @ ori_j).flatten(-2)
        batch = torch.broadcast_shapes(place.shape[:-1], turn.shape[:-1])
        return torch.cat([place.expand(*batch, 3), turn.expand(*batch, 9)], -1)
    numbers = [*seen_from(delta, ori_i), _dot(ori_i, ori_j)]
    if complete and space == "R2xS1":
        numbers.append(_dot(quarter_turn(ori_i), ori_j))
    elif complete:
        volume = _dot(torch.linalg.cross(*torch.broadcast_tensors(ori_i, delta)), ori_j)
        numbers += [_dot(ori_j, delta), volume.abs() if complete == "E" else volume]
    return torch.stack(torch.broadcast_tensors(*numbers), -1)


def seen_from(
    delta: Float[Tensor, "*#batch n"], ori: Float[Tensor, "*#batch n"]
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Δ along o and across it: a signed number in the plane (along o^⊥), a length in space."""
    along = _dot(delta, ori)
    if delta.shape[-1] == 2:
        return along, _dot(delta, quarter_turn(ori))
    return along, length(delta - along[..., None] * ori, delta)


def angle_between(ori_i: Float[Tensor, "*#batch n"], ori_j: Float[Tensor, "*#batch n"], complete: bool) -> Tensor:
    """(o_i·o_j), and with `complete` in the plane also o_j·o_i^⊥: the angle with its sign; [.., 1 or 2]."""
    cosine = _dot(ori_i, ori_j)
    return torch.stack([cosine, _dot(quarter_turn(ori_i), ori_j)] if complete else [cosine], -1)


def quarter_turn(o: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
    """The vector turned by +90 degrees."""
    return torch.stack([-o[..., 1], o[..., 0]], -1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1)
