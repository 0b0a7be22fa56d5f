"""Tensor networks for readers: index notation, plain and in LaTeX, and a list of who is tied to whom."""

from collections import Counter
from typing import TYPE_CHECKING

from .tensor_types import DELTA, EPSILON

if TYPE_CHECKING:
    from .tensor_network import TensorNetwork

OPEN, SUMMED = "ijklmnpqrstuv", "abcdefghopqrstuvwxyz"


def indexed(network: "TensorNetwork") -> list[tuple[str, str]]:
    """(name, indices) of every node: open legs are i, j, ..., summed pairs a, b, ..."""
    letters = {leg: _letter(OPEN, k) for k, leg in enumerate(network.open_legs)}
    free = [letter for letter in SUMMED if letter not in set(letters.values())]
    for k, pair in enumerate(sorted(tuple(sorted(edge)) for edge in network.edges)):
        letters.update(dict.fromkeys(pair, _letter(free, k)))
    held: dict[int, list[str]] = {}
    for (node, _), letter in sorted(letters.items()):
        held.setdefault(node, []).append(letter)
    return [(name, "".join(held.get(node, []))) for node, name in enumerate(network.nodes)]


def _letter(alphabet, k: int) -> str:
    if k < len(alphabet):
        return alphabet[k]
    return f"{alphabet[k % len(alphabet)]}{k // len(alphabet)}"


def latex(network: "TensorNetwork") -> str:
    """C_{ia} C_{aj}; the number 1 for no node at all."""
    names = {DELTA: r"\delta", EPSILON: r"\epsilon"}
    words = []
    for name, indices in indexed(network):
        symbol = names.get(name, name if len(name) == 1 else rf"\mathrm{{{name}}}")
        words.append(f"{symbol}_{{{indices}}}" if indices else symbol)
    return " ".join(words) or "1"


def plain(network: "TensorNetwork") -> str:
    """C[ia] C[aj]"""
    return " ".join(f"{name}[{indices}]" if indices else name for name, indices in indexed(network)) or "1"


def ascii_lines(network: "TensorNetwork") -> str:
    """One line for each tied pair of nodes: `C.1 --2-- C.2` where two pairs of legs are summed; open legs as arrows."""
    total, seen, names = Counter(network.nodes), Counter(), []
    ascii_names = {DELTA: "delta", EPSILON: "eps"}
    for name in network.nodes:
        seen[name] += 1
        shown = ascii_names.get(name, name)
        names.append(shown if total[name] == 1 else f"{shown}.{seen[name]}")
    ties = Counter(tuple(sorted((a[0], b[0]))) for a, b in network.edges)
    lines = [f"{names[a]} --{'-' if count == 1 else count}-- {names[b]}" for (a, b), count in sorted(ties.items())]
    lines += [f"{names[leg[0]]} -----> {_letter(OPEN, k)}" for k, leg in enumerate(network.open_legs)]
    tied = {node for pair in ties for node in pair} | {leg[0] for leg in network.open_legs}
    lines += [names[node] for node in range(len(names)) if node not in tied]
    return "\n".join(lines) or "1"
