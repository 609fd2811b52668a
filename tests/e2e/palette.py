"""Packs a picture of a page into a PNG of 256 colours, which pages rarely need more than."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOURS = 256
# Of a PNG's kinds of pixel, those a browser writes: bytes a pixel.
DEPTHS = {2: 3, 6: 4}


def with_palette(png: bytes) -> bytes:
    """The rarest colours become the most similar of the others; transparency is left out."""
    chunks = dict[bytes, bytes]()
    for kind, data in read_chunks(png):
        chunks[kind] = chunks.get(kind, b"") + data
    width, height, _, kind_of_pixel = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    size = DEPTHS[kind_of_pixel]
    rows = list(unfiltered(zlib.decompress(chunks[b"IDAT"]), width * size, size))
    picture = [[bytes(row[at : at + 3]) for at in range(0, len(row), size)] for row in rows]
    counts = Counter(pixel for row in picture for pixel in row)
    common = chosen(counts)
    numbers = {pixel: nearest(common, pixel) for pixel in counts}
    packed = b"".join(b"\0" + bytes(numbers[pixel] for pixel in row) for row in picture)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = [(b"IHDR", header), (b"PLTE", b"".join(common)), (b"IDAT", zlib.compress(packed, 9)), (b"IEND", b"")]
    return SIGNATURE + b"".join(chunk(kind, data) for kind, data in parts)


def chosen(counts: Counter[bytes]) -> list[bytes]:
    """One colour of every region of the colour space before a second one of any: a small red star stays red."""
    regions: dict[tuple[int, ...], bytes] = {}
    for colour, _ in counts.most_common():
        regions.setdefault(tuple(part >> 4 for part in colour), colour)
    return list(dict.fromkeys([*regions.values(), *(colour for colour, _ in counts.most_common(COLOURS))]))[:COLOURS]


def nearest(colours: list[bytes], pixel: bytes) -> int:
    return min(range(len(colours)), key=lambda at: sum((a - b) ** 2 for a, b in zip(colours[at], pixel, strict=True)))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def read_chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(SIGNATURE)
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        yield kind, png[at + 8 : at + 8 + length]
        at += length + 12


def unfiltered(stream: bytes, width: int, size: int) -> Iterator[bytearray]:
    """The rows as they are: each says how it was written as differences (PNG specification, filter types 0 to 4)."""
    above = bytearray(width)
    for start in range(0, len(stream), width + 1):
        kind, row = stream[start], bytearray(stream[start + 1 : start + 1 + width])
        for at in range(width) if kind else ():
            left = row[at - size] if at >= size else 0
            corner = above[at - size] if at >= size else 0
            guesses = (0, left, above[at], (left + above[at]) // 2, paeth(left, above[at], corner))
            row[at] = (row[at] + guesses[kind]) & 255
        above = row
        yield row


def paeth(left: int, above: int, corner: int) -> int:
    guess = left + above - corner
    return min((left, above, corner), key=lambda each: abs(guess - each))
