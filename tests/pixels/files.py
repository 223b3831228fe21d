"""Files for the tests of the pixels: made here, or from the corpus outside the checkout."""

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat

CORPUS = Path(os.environ.get("FRONTAGE_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")
LIMITS: dict[str, Any] = {"cpu_s": 10, "memory_bytes": 1024**3, "timeout_s": 20}


def corpus(*patterns: str, by_default: int | set[str] = 1) -> list[Any]:
    """One test case per file, or one that skips if there are none.

    The default tier takes every nth of them, or those with these names; the slow one takes the others."""
    files = sorted(path for pattern in patterns for path in CORPUS.glob(pattern) if path.suffix != ".tsv")
    if not files:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no foreign images at {CORPUS}"))]
    taken = {path.name for path in files[::by_default]} if isinstance(by_default, int) else by_default
    assert taken <= {path.name for path in files}
    slow = pytest.mark.slow
    return [pytest.param(path, id=path.name, marks=[] if path.name in taken else slow) for path in files]


def photo(name: str) -> bytes:
    path = CORPUS / "photos" / name
    if not path.exists():
        pytest.skip(f"no foreign image at {path}")
    return path.read_bytes()


def drawn(format_: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """A small picture, red on the left and blue on the right by default."""
    file = io.BytesIO()
    (image or halves()).save(file, format_, **options)
    return file.getvalue()


def halves(width: int = 64, height: int = 32) -> Image.Image:
    image = Image.new("RGB", (width, height), (220, 30, 30))
    image.paste((30, 30, 220), (width // 2, 0, width, height))
    return image


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference of two pictures of one size, 0-255."""
    assert one.size == other.size
    return sum(ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean) / 3


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, *extra: bytes, bits: int = 8, kind: int = 2) -> bytes:
    """A black PNG of any size, in few bytes; `extra` are chunks before its pixels."""
    channels = {0: 1, 2: 3, 6: 4}[kind]
    row = b"\0" * (1 + (width * bits * channels + 7) // 8)
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return png_around(width, height, *extra, chunk(b"IDAT", rows), bits=bits, kind=kind)


def png_around(width: int, height: int, *chunks: bytes, bits: int = 8, kind: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def zeros_packed(size_bytes: int) -> bytes:
    packer, block = zlib.compressobj(9), b"\0" * 1024 * 1024
    return b"".join(packer.compress(block) for _ in range(size_bytes >> 20)) + packer.flush()


def jpeg_with(segments: bytes) -> bytes:
    """A small JPEG with raw segments right after its start."""
    jpeg = drawn("JPEG")
    return jpeg[:2] + segments + jpeg[2:]


def jpeg_with_scans(count: int) -> bytes:
    """A progressive JPEG that repeats its first scan `count` times: valid, and slow to decode."""
    jpeg = drawn("JPEG", Image.new("RGB", (64, 64), (200, 30, 30)), progressive=True)
    start = jpeg.index(b"\xff\xda")
    end = jpeg.index(b"\xff", start + 2)
    while jpeg[end + 1] == 0:
        end = jpeg.index(b"\xff", end + 2)
    return jpeg[:end] + jpeg[start:end] * count + jpeg[end:]
