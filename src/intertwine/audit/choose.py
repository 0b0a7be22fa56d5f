"""Which pairs (sample, element) an audit evaluates: every element of a small group, or fresh draws for each sample."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..groups import Group
from ..groups.group import Element
from .elements import count, special_elements


@dataclass(frozen=True)
class Choice:
    """Elements of an audit. `shared` [K] serve every sample; else `own` [samples · K] holds K draws for each."""

    group: Group
    n_elements: int
    shared: Element | None
    own: Element | None
    special: Element
    special_labels: list[str]
    how: str

    def element(self, i: int, j: int) -> Element:
        """Element j of sample i."""
        if self.shared is not None:
            return self.group.take(self.shared, j)
        return self.group.take(self.own, i * self.n_elements + j)

    def special_element(self, j: int) -> Element:
        """Special element j."""
        return self.group.take(self.special, j)

    def draws(self, n: int) -> tuple[list[int], Element]:
        """Sample index and element of every averaged pair, sample by sample."""
        which = [i for i in range(n) for _ in range(self.n_elements)]
        if self.shared is None:
            return which, self.own
        return which, self.group.take(self.shared, torch.arange(self.n_elements).repeat(n))

    def specials(self, n: int) -> tuple[list[int], Element]:
        """Sample index and element of every special pair, sample by sample."""
        k = len(self.special_labels)
        return [i for i in range(n) for _ in range(k)], self.group.take(self.special, torch.arange(k).repeat(n))


def choose(
    group: Group,
    elements: Element | Callable[..., Element] | None,
    n_samples: int,
    n_elements: int,
    special: bool,
    generator: torch.Generator,
) -> Choice:
    """Pick the elements by contract C2. Raises ValueError for a non-compact group without a sampler."""
    if n_elements < 1:
        raise ValueError(f"measure: n_elements must be at least 1, got {n_elements}")
    shared = own = None
    if elements is None and group.is_finite and group.order <= n_elements:
        shared, k = group.elements(), group.order
        how = f"exhaustive over {group} ({k} elements): no sampling of elements"
    elif elements is None:
        if not group.is_compact:
            raise ValueError(
                f"measure: {group} is not compact, so it has no uniform distribution; give a sampler with a stated "
                f"scale, elements=audit.Sampler({group}, scale=1.0)"
            )
        own, k = group.sample(n_samples * n_elements, generator=generator), n_elements
        how = f"{k} {'uniform' if group.is_finite else 'Haar'} elements of {group} per input"
    elif callable(elements):
        own, k = elements(n_samples * n_elements, generator=generator), n_elements
        how = f"{k} elements per input from {elements}"
    else:
        shared, k = elements, count(group, elements)
        how = f"{k} given elements of {group}"
        if not group.contains(elements):
            raise ValueError(f"measure: the given elements are not all in {group}")
    if k == 0:
        raise ValueError("measure: elements is empty")
    extra, labels = special_elements(group) if special else (group.take(group.identity(1), slice(0, 0)), [])
    return Choice(group, k, shared, own, extra, labels, how)
