import struct
import zlib

import torch

from intertwine.audit.views import draw, png, view


def decode(content):
    """Width, height, channels and pixels of a PNG written without row filters."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(content):
        size = struct.unpack(">I", content[at : at + 4])[0]
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        assert struct.unpack(">I", content[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    channels = {0: 1, 2: 3}[colour]
    raw = zlib.decompress(chunks[b"IDAT"])
    rows = [raw[y * (1 + width * channels) : (y + 1) * (1 + width * channels)] for y in range(height)]
    assert depth == 8
    assert all(row[0] == 0 for row in rows)
    return torch.tensor([list(row[1:]) for row in rows]).reshape(height, width, channels)


def test_png_holds_the_pixels():
    for channels in (1, 3):
        pixels = torch.arange(channels * 12.0).reshape(channels, 3, 4)
        expected = (pixels / pixels.max() * 255).round().permute(1, 2, 0).long()
        assert torch.equal(decode(png(pixels)), expected)
    assert decode(png(torch.zeros(1, 2, 2))).max() == 0


def test_what_is_drawn_of_a_sample():
    assert view(torch.rand(3, 8, 8))["kind"] == "image"
    assert view(torch.rand(9, 9))["kind"] == "image"
    assert view(torch.rand(5, 3))["kind"] == "points"
    assert view(torch.rand(3))["kind"] == "points"
    assert view(torch.rand(7)) == {"kind": "numbers", "text": "[7]"}
    assert view({"a": torch.rand(2), "b": torch.rand(3)})["kind"] == "numbers"
    water = {"pos": torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), "z": torch.tensor([8, 1, 1])}
    shown = view(water)
    assert shown["names"] == ["O", "H", "H"]
    assert sorted(map(sorted, shown["bonds"])) == [[0, 1], [0, 2]]


def test_pictures_of_every_kind_are_drawn_and_points_can_be_moved():
    shown = view({"pos": torch.tensor([[0.0, 0, 0], [1.0, 0, 0]]), "z": torch.tensor([6, 8])})
    still = draw(shown, "input")
    moved = draw(shown, "moved", lambda p: p @ torch.diag(torch.tensor([-1.0, -1, 1], dtype=p.dtype)))
    assert still.count("<circle") == moved.count("<circle") == 2
    assert 'aria-label="moved"' in moved
    assert still.split("aria-label")[1] != moved.split("aria-label")[1]
    assert "<image" in draw(view(torch.rand(1, 8, 8)), "input")
    assert "[7]" in draw(view(torch.rand(7)), "input")
    assert 'class="bond"' in draw(view(torch.rand(2)), "a vector from the origin")
    assert view({"pos": torch.tensor([[torch.nan, 0, 0]])})["pos"] == [[0, 0, 0]]
