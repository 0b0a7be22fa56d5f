"""FAENet (arXiv:2305.05577): messages from bare components of edge vectors, made symmetric by frames around it.

The network is free to use x, y and z as they come; what makes energies invariant is that edges are first turned into
the frames of their structure (`EdgeFrames`): one drawn at random in training, all of them in evaluation.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import silu

from intertwine.data.atoms.species import atomic_numbers
from intertwine.maps.constants import Constants
from intertwine.nn.norm import InstanceNorm
from intertwine.nn.perceptron import affine
from intertwine.nn.radial import Gaussian, PolynomialEnvelope
from intertwine.nn.segment import segment_sum
from intertwine.so3 import Irreps

from .edge_frames import EdgeFrames

MESSAGES = ("base", "simple", "updownscale", "updownscale_base", "updown_local_env")
HEADS = ("final", "initial", None)
SKIPS = ("concat", "add", "concat_atom", None)


class FAENet(nn.Module):
    """One number per atom from its surroundings within `cutoff` Å; a `Backbone` for `Potential`.

    frames: "stochastic", one frame for each structure in training and all in evaluation; "all" always; "det", one
    chosen by the skew of the edges; None, the bare network, which keeps no rotation. group: "E" with reflections, "SE"
    without; plane: only turns about z count (slabs). hidden, filters: widths of atoms and edges; n_gaussian: of the
    distance; period_group: channels for the place in the periodic table; message, second_layer, complex_message,
    graph_norm, energy_head, skip: the variants of the paper. envelope: messages end smoothly at the cutoff, which the
    published network's do not; force_head: forces of a perceptron, for `Potential(forces="direct")`.
    Features of catalysts (tags) and of elements (radii ..) are left out. Frames choose at run time: compile with None.
    Raises ValueError for sizes below 1 and names that do not exist.
    """

    sees_graphs = True

    def __init__(
        self,
        species: Sequence[str],
        *,
        cutoff: float = 6.0,
        frames: Literal["stochastic", "all", "det"] | None = "stochastic",
        group: Literal["E", "SE"] = "E",
        plane: bool = False,
        hidden: int = 384,
        filters: int = 480,
        layers: int = 5,
        n_gaussian: int = 104,
        period_group: int = 64,
        message: str = "base",
        second_layer: bool = False,
        complex_message: bool = True,
        graph_norm: bool = True,
        energy_head: str | None = "final",
        skip: str | None = "concat",
        envelope: bool = True,
        force_head: bool = False,
        avg_num_neighbors: float = 1.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        for name, value, known in (
            ("message", message, MESSAGES), ("energy_head", energy_head, HEADS), ("skip", skip, SKIPS)
        ):  # fmt: skip
            if value not in known:
                raise ValueError(f"FAENet: {name} must be one of {', '.join(map(str, known))}, got {value!r}")
        if message == "simple" and filters != hidden:
            raise ValueError(
                f"FAENet: message 'simple' multiplies edges and atoms, but {filters=} and {hidden=} differ"
            )
        if min(filters, layers) < 1 or n_gaussian < 2 or hidden <= 2 * period_group or period_group < 0 or not species:
            raise ValueError(
                f"FAENet: sizes must be at least 1, and hidden above twice period_group, got {hidden=} {filters=} "
                f"{layers=} {n_gaussian=} {period_group=} and {len(species)} species"
            )
        self.cutoff, self.smooth, self.direct_forces = float(cutoff), envelope, force_head
        self.config: dict[str, Any] = {
            **{"frames": frames, "group": group, "plane": plane, "hidden": hidden, "filters": filters},
            **{"layers": layers, "n_gaussian": n_gaussian, "period_group": period_group, "message": message},
            **{"second_layer": second_layer, "complex_message": complex_message, "graph_norm": graph_norm},
            **{"energy_head": energy_head, "skip": skip, "envelope": envelope, "force_head": force_head},
            "avg_num_neighbors": float(avg_num_neighbors),
        }
        self.frames = None if frames is None else EdgeFrames(cutoff, frames, group=group, plane=plane)
        self.symmetry = "none" if frames is None or plane else "O(3)" if group == "E" else "SO(3)"
        self.basis, self.envelope = Gaussian(cutoff, n_gaussian), PolynomialEnvelope(cutoff) if envelope else None

        def linear(n_in: int, n_out: int, bias: bool = True) -> nn.Linear:
            layer = affine(n_in, n_out, bias=bias, generator=generator)
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            return layer

        def table(rows: int, width: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, width, generator=generator))

        self.places = Constants([np.array([place(atomic_numbers([name])[0]) for name in species]).T])
        self.embedding = table(len(species), hidden - 2 * period_group)
        self.period, self.group = (table(n, period_group) if period_group else None for n in (7, 18))
        self.atoms = nn.ModuleList(linear(hidden, hidden) for _ in range(1 + second_layer))
        self.direction, self.distance = linear(3, filters // 2), linear(n_gaussian, filters - filters // 2)
        self.edges = linear(filters, filters) if second_layer else None
        scale = float(avg_num_neighbors) ** -0.5
        options = {"complex_message": complex_message, "graph_norm": graph_norm, "scale": scale, "linear": linear}
        self.layers = nn.ModuleList(Interaction(hidden, filters, message, **options) for _ in range(layers))
        self.output = nn.ModuleList([linear(hidden, max(hidden // 2, 1)), linear(max(hidden // 2, 1), 1)])
        self.head = None if energy_head is None else linear(hidden, 1)
        self.skip = None
        if skip in ("concat", "concat_atom"):
            width = hidden if skip == "concat_atom" else 1
            self.skip = linear((layers + 1) * width, width)
        self.forces = None
        if force_head:
            self.forces = nn.Sequential(linear(hidden, 256), nn.LayerNorm(256), nn.SiLU(), linear(256, 3))

    def forward(
        self,
        species: Int[Tensor, " atoms"],
        vectors: Float[Tensor, "edges 3"],
        edge_index: Int[Tensor, "2 edges"],
        graph: Int[Tensor, " atoms"],
    ) -> Float[Tensor, " atoms"] | tuple[Float[Tensor, " atoms"], Float[Tensor, "atoms 3"]]:
        """Unscaled atom energies, with a force head also vectors; `vectors` point from target to source, Å."""
        if self.frames is None:
            return self.bare(species, vectors, edge_index, graph)
        return self.frames(self.bare, species, vectors, edge_index, graph)

    def bare(self, species: Tensor, vectors: Tensor, edge_index: Tensor, graph: Tensor) -> Any:
        """The network without frames: not equivariant."""
        source, target = edge_index
        r = torch.linalg.vector_norm(vectors, dim=1)
        e = silu(torch.cat([self.direction(vectors), self.distance(self.basis(r))], 1))
        if self.edges is not None:
            e = silu(self.edges(e))
        h = self.embedding[species]
        if self.period is not None:
            period, group = self.places.tensors()[0][:, species]
            h = torch.cat([h, self.period[period], self.group[group]], 1)
        for linear in self.atoms:
            h = silu(linear(h))
        u = None if self.envelope is None else self.envelope(r)[:, None]
        states = [h]
        for layer in self.layers:
            states.append(states[-1] + layer(states[-1], e, u, source, target, graph))
        energies, last = self._energies(states), states[-1]
        return energies if self.forces is None else (energies, self.forces(last))

    def _energies(self, states: list[Tensor]) -> Float[Tensor, " atoms"]:
        kind = self.config["skip"]
        if kind == "concat_atom":
            states = [states[0], silu(self.skip(torch.cat(states, 1)))]
        used = states if kind in ("concat", "add") else states[-1:]
        first, last = self.output
        found = [last(silu(first(h))) for h in used]
        if self.head is not None:
            initial = self.config["energy_head"] == "initial"
            found = [value * self.head(states[0] if initial else h) for value, h in zip(found, used)]
        total = self.skip(torch.cat(found, 1)) if kind == "concat" else sum(found)
        return total.squeeze(1)


class Interaction(nn.Module):
    """The change of atoms h by their neighbours, Σ_j h_j ⊙ f_ij: `message` says what f is and what widths meet."""

    def __init__(self, hidden: int, filters: int, message: str, *, complex_message, graph_norm, scale, linear):
        super().__init__()
        self.message, self.scale = message, scale
        narrow = message.startswith("updown")
        width = filters if narrow else hidden
        self.down = linear(hidden, filters) if narrow else None
        self.edges = None if message == "simple" else linear(filters, width)
        both = message in ("base", "updownscale_base")
        self.ends = linear(hidden, 2 * width, bias=False) if both else None
        self.norm = InstanceNorm(Irreps(f"{width}x0")) if graph_norm else None
        self.up = linear(2 * width if message == "updown_local_env" else width, hidden)
        self.last = linear(hidden, hidden) if complex_message else None

    def forward(
        self, h: Tensor, e: Tensor, u: Tensor | None, source: Tensor, target: Tensor, graph: Tensor
    ) -> Float[Tensor, "atoms hidden"]:
        """u: what ends edges at the cutoff, [edges, 1]."""
        n = h.shape[0]
        x = h if self.down is None else silu(self.down(h))
        f = e if self.edges is None else self.edges(e)
        if self.ends is not None:
            mine, theirs = self.ends(h).chunk(2, 1)
            f = f + mine.index_select(0, target) + theirs.index_select(0, source)
        if self.message not in ("simple", "updown_local_env"):
            f = silu(f)
        if u is not None:
            f = f * u
        new = segment_sum(x.index_select(0, source) * f, target, n) * self.scale
        if self.norm is not None:
            new = silu(self.norm(new, graph, n))  # there are not more structures than atoms
        if self.message == "updown_local_env":
            around = segment_sum(e if u is None else e * u, target, n) * self.scale
            new = self.up(torch.cat([new, around], 1))
        else:
            new = silu(self.up(new))
        return new if self.last is None else silu(self.last(new))


def place(number: int) -> tuple[int, int]:
    """Period and group of an element, from 0; lanthanides and actinides stand in the third group."""
    ends = list(accumulate((2, 8, 8, 18, 18, 32, 32)))
    period = next(k for k, end in enumerate(ends) if number <= end)
    step, left = number - ([0, *ends][period]), ends[period] - number
    if number == 2 or (period > 0 and left < 6):
        return period, 17 - left
    return period, step - 1 if step <= 2 else max(2, 11 - (left - 6))
