"""A small picture of one input, whatever it is: an image, points in the plane or in space, or a few numbers."""

import base64
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from .svg import number, tag, text
from .tree import named_tensors

MAX_POINTS = 200
SYMBOLS = {1: "H", 6: "C", 7: "N", 8: "O", 9: "F", 11: "Na", 14: "Si", 15: "P", 16: "S", 17: "Cl", 26: "Fe", 29: "Cu"}
RADIUS = {1: 0.31, 6: 0.76, 7: 0.71, 8: 0.66, 9: 0.57, 15: 1.07, 16: 1.05, 17: 1.02}  # covalent, Å, to draw bonds only


def png(pixels: Float[Tensor, "channels height width"]) -> bytes:
    """A PNG of one (grey) or three (RGB) channels; values are spread over black to white."""
    low, high = pixels.min(), pixels.max()
    levels = ((pixels - low) / (high - low).clamp_min(1e-12) * 255).round().to(torch.uint8)
    channels, height, width = levels.shape
    rows = levels.permute(1, 2, 0).reshape(height, width * channels)
    raw = b"".join(b"\0" + bytes(row.tolist()) for row in rows)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """Bytes as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def view(sample: Any) -> dict[str, Any]:
    """What the page needs to draw a sample: {"kind": "image" | "points" | "numbers", ...}."""
    fields = named_tensors(sample)
    pos = fields.get("pos")
    if pos is not None and _is_cloud(pos):
        return _points(pos, fields.get("z"))
    if len(fields) == 1:
        t = next(iter(fields.values()))
        if t.ndim == 3 and t.shape[0] in (1, 3) and min(t.shape[1:]) >= 4:
            return _image(t)
        if t.ndim == 2 and min(t.shape) >= 8:
            return _image(t[None])
        if _is_cloud(t):
            return _points(t, None)
        if t.ndim == 1 and len(t) in (2, 3) and t.is_floating_point():
            return _points(t[None], None)
    shapes = ", ".join(f"{name} {list(t.shape)}".strip() for name, t in fields.items())
    return {"kind": "numbers", "text": shapes[:40]}


def _image(t: Tensor) -> dict[str, Any]:
    """half: half the height, in the units of the drawing."""
    src = data_uri(png(t.detach().cpu().double().nan_to_num()))
    return {"kind": "image", "src": src, "half": round(68 * min(1.0, t.shape[1] / t.shape[2]), 2)}


def _is_cloud(t: Tensor) -> bool:
    return t.ndim == 2 and t.shape[1] in (2, 3) and 1 <= len(t) <= MAX_POINTS and t.is_floating_point()


def _points(pos: Tensor, z: Tensor | None) -> dict[str, Any]:
    p = pos.detach().cpu().double().nan_to_num()
    centre = p.mean(0) if len(p) > 1 else torch.zeros(p.shape[1], dtype=p.dtype)
    size = (p - centre).norm(dim=1).max().item() or 1.0
    out: dict[str, Any] = {
        "kind": "points",
        "pos": [[round(v, 4) for v in row] for row in p.tolist()],
        "centre": [round(v, 4) for v in centre.tolist()],
        "size": round(size, 4) or 1.0,
    }
    if z is not None and z.shape == (len(p),):
        numbers = [int(v) for v in z]
        out["names"] = [SYMBOLS.get(n, str(n)) for n in numbers]
        out["bonds"] = [
            [i, j]
            for i in range(len(p))
            for j in range(i)
            if (p[i] - p[j]).norm() < 1.25 * (RADIUS.get(numbers[i], 1.1) + RADIUS.get(numbers[j], 1.1))
        ]
    return out


def draw(shown: Mapping[str, Any], label: str, move: Callable[[Tensor], Tensor] | None = None) -> str:
    """The picture as SVG; the script of the page draws the same. `move` turns points (of a molecule, say)."""
    attributes = {"viewBox": "0 0 160 160", "role": "img", "aria-label": label}
    if shown["kind"] == "image":
        picture = {
            "href": shown["src"],
            "x": 12,
            "y": 12,
            "width": 136,
            "height": 136,
            "style": "image-rendering:pixelated",
        }
        return tag("svg", attributes, tag("image", picture))
    if shown["kind"] == "numbers":
        words = {"x": 80, "y": 84, "text-anchor": "middle", "style": "fill:var(--ink)"}
        return tag("svg", attributes, tag("text", words, text(shown["text"])))
    p = torch.tensor(shown["pos"], dtype=torch.float64)
    q = ((move(p) if move else p) - torch.tensor(shown["centre"], dtype=torch.float64)) / shown["size"]
    lone = len(q) == 1  # a single vector is drawn from the origin
    if not lone and q.mean(0).norm() > 0.9:
        q = q - q.mean(0)
    body = ""
    at = [(80 + 62 * r[0], 80 - 62 * r[1]) for r in q.tolist()]
    if lone:
        body += tag("line", {"class": "bond", "x1": 80, "y1": 80, "x2": at[0][0], "y2": at[0][1]})
    for a, b in shown.get("bonds", []):
        body += tag("line", {"class": "bond", "x1": at[a][0], "y1": at[a][1], "x2": at[b][0], "y2": at[b][1]})
    depth = q[:, 2].tolist() if q.shape[1] == 3 else [0.0] * len(q)
    names = shown.get("names", [""] * len(q))
    for n in sorted(range(len(q)), key=lambda n: depth[n]):
        small = names[n] == "H"
        r = ((5 if small else 8.5) if "names" in shown else 4) * (1 + 0.18 * depth[n])
        body += tag("circle", {"class": f"atom {'h' if small else 'x'}", "cx": at[n][0], "cy": at[n][1], "r": r})
        if names[n] and not small:
            body += tag("text", {"x": at[n][0], "y": at[n][1] + 3.6, "text-anchor": "middle"}, text(names[n]))
    return tag("svg", attributes, body)


def numbers(values: Tensor) -> str:
    """A few numbers of an output as text."""
    return ", ".join(number(v) for v in values.tolist())
