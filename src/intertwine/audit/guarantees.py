"""Which explanations of an invariant model follow the symmetry by themselves, and why (arXiv:2304.06715, section 3)."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from ..groups import Affine, Cyclic, Dihedral, E, O
from ..reps import Action, Images, Invariant, Nested, Permute, Points, Rep, Rows, Tensors, Vectors
from .elements import concatenate
from .tree import named_tensors

Motion = Literal["permutation", "signed permutation", "orthogonal", "affine", "other"]
MOTIONS: tuple[Motion, ...] = ("permutation", "signed permutation", "orthogonal", "affine", "other")
ENTRYWISE = ("gradient_abs", "input_x_gradient", "integrated_gradients", "gradient_shap", "deeplift")
TAKEN_AWAY = ("feature_ablation", "permutation_importance", "occlusion")
LOSS_BASED = ("influence", "tracin")
OF_A_LAYER = ("representation_similarity", "simplex", "concept_activation", "concept_regions")
METHODS = ("gradient", *ENTRYWISE, *TAKEN_AWAY, *LOSS_BASED, *OF_A_LAYER)


@dataclass(frozen=True)
class Guarantee:
    """Whether an explanation of an exactly invariant model is symmetric, and the reason."""

    level: Literal["exact", "conditional", "none"]
    reason: str

    def __str__(self) -> str:
        return f"{self.level}: {self.reason}"


def motion(action: Action) -> Motion:
    """What an Action does to the entries of its data, as far as its type says."""
    match action:
        case Permute() | Invariant():
            return "permutation"
        case Images(group=Cyclic(n=1 | 2 | 4) | Dihedral(n=1 | 2 | 4)):
            return "permutation"  # of the pixels of square images
        case Nested(parts=parts):
            return max((motion(part) for part in parts.values()), key=MOTIONS.index)
        case Rep():
            if action.is_permutation:
                return "permutation"
            if action.is_signed_permutation:
                return "signed permutation"
            return "orthogonal" if action.is_orthogonal else "other"
        case Points() | Vectors() | Rows() | Tensors():
            if isinstance(action.group, E) and not isinstance(action.group, Affine):
                return "affine" if isinstance(action, Points) else "orthogonal"
            return "orthogonal" if isinstance(action.group, O) else "other"
    return "other"


def guarantee(
    method: str,
    rep_in: Action,
    *,
    baseline: Any = None,
    windows: Bool[Tensor, "windows *sample"] | None = None,
) -> Guarantee:
    """Whether this method follows `rep_in` on an exactly invariant model, with ρ_E = ρ_in or, for examples, invariant.

    baseline: of methods that have one, a single sample; None for zero. windows: of occlusion. Conditional: only under
    the condition that the reason names. Raises ValueError for a method that is not known.
    """
    if method not in METHODS:
        raise ValueError(f"guarantee: {method!r} is none of {', '.join(METHODS)}")
    moves = motion(rep_in)
    if method in LOSS_BASED:
        return Guarantee("exact", "the loss is as invariant as the model, and so is its gradient by the parameters")
    if method in OF_A_LAYER:
        return Guarantee("conditional", "invariant exactly where the layer is; measure the layer")
    if method == "gradient":
        if moves in ("permutation", "signed permutation", "orthogonal"):
            return Guarantee("exact", f"a gradient moves with ρ⁻ᵀ, which is ρ for a {moves} action")
        if moves == "affine":
            return Guarantee("conditional", "shifts do not move gradients; with Vectors(group) as rep_explanation")
        return Guarantee("none", "a gradient moves with ρ⁻ᵀ, and this action is not known to be orthogonal")
    if moves == "signed permutation" and method in (*ENTRYWISE, *TAKEN_AWAY):
        return Guarantee("conditional", "signs cancel entry by entry; with the unsigned permutation as rep_explanation")
    if moves != "permutation":
        return Guarantee("none", f"{method} looks at single entries, which this action mixes")
    if baseline is not None and not _fixed(rep_in, baseline):
        return Guarantee("none", "the group moves the baseline, so inputs are compared with different ones")
    if method in ("gradient_shap", "permutation_importance"):
        return Guarantee("conditional", "in expectation over what it draws, a single call is not")
    if method == "deeplift":
        return Guarantee("conditional", "where every layer is equivariant: it looks inside the model")
    if method == "occlusion":
        if windows is None:
            return Guarantee("conditional", "where the group maps the set of windows to itself; give windows")
        if not _maps_to_itself(rep_in, windows):
            return Guarantee("none", "the group does not map the set of windows to itself")
        return Guarantee("exact", "the group permutes the entries and the windows")
    return Guarantee("exact", "the group permutes the entries, and the method treats all alike")


def _some(action: Action) -> Any:
    group = action.group
    drawn = group.sample(8, generator=torch.Generator().manual_seed(0))
    return concatenate(group, [group.generators(), drawn])


def _each(action: Action) -> list[Any]:
    elements = _some(action)
    (k,) = action.group.batch_shape(elements)
    return [action.group.take(elements, i) for i in range(k)]


def _fixed(action: Action, baseline: Any) -> bool:
    """Whether the group leaves one sample where it is."""
    batch = action.collate([baseline])
    for g in _each(action):
        moved = named_tensors(action(g, batch))
        if any((moved[name].double() - t.double()).abs().max() > 1e-6 for name, t in named_tensors(batch).items()):
            return False
    return True


def _maps_to_itself(action: Action, windows: Bool[Tensor, "windows *sample"]) -> bool:
    def rows(w: Tensor) -> set[tuple[bool, ...]]:
        return {tuple(row) for row in (w.reshape(len(w), -1) > 0.5).tolist()}

    return all(rows(action(g, windows.double())) == rows(windows) for g in _each(action))
