"""Files that broke other software: each is rendered or rejected with a type, soon."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from portal.pixels.inspect import RejectedFile, inspect
from portal.pixels.render import Rendered, render
from portal.pixels.sandbox import run
from tests.pixels.files import CORPUS, LIMITS, corpus, photo

REASONS = {
    "empty",
    "not_an_image",
    "unsupported_type",
    "damaged",
    "truncated",
    "too_many_pixels",
    "too_many_scans",
    "too_many_parts",
    "icc_too_large",
    "too_large_to_open",
}


def outcome(data: bytes) -> str:
    """Inspect and render as a caller would; return "rendered" or the reason. Anything else is raised.

    Nothing takes more than the ten seconds of CPU that LIMITS allow."""
    try:
        result = run(render, data, inspect(data), **LIMITS | {"timeout_s": 100})
        said = "rendered" if isinstance(result, Rendered) else "something else"
    except RejectedFile as rejected:
        said = rejected.code
    assert said in {"rendered", *REASONS}
    return said


@pytest.mark.parametrize("path", corpus("pillow-malformed/*", by_default=8))
def test_files_that_broke_pillow_are_rendered_or_refused(path: Path) -> None:
    outcome(path.read_bytes())


@pytest.mark.parametrize("path", corpus("pngsuite/png_PngSuite_x*.png"))
def test_corrupt_pngs_are_refused(path: Path) -> None:
    rejected = {"not_an_image", "damaged", "truncated"}
    # In xcsn only a checksum is wrong, and the pixels are right: decoders show it.
    assert outcome(path.read_bytes()) in ({"rendered"} if "xcsn" in path.name else rejected)


@pytest.mark.parametrize(
    "name",
    [
        "w1_real_1mp_lossless.webp",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("h2_iphone_12mp_gps.heic", "j13_s90_10mp.jpg")),
    ],
)
def test_flipped_bytes_are_rendered_or_refused(name: str) -> None:
    original = photo(name)
    for seed in range(6):
        data = bytearray(original)
        span = 400 if seed % 2 else len(data)  # every second change is in the headers
        for step in range(5):
            data[(seed * 7919 + step * 104_729) % span] ^= 0xA5
        outcome(bytes(data))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_bomb_of_the_corpus_is_rendered_or_refused(tmp_path: Path) -> None:
    """Making them takes a minute, or six beside other tests."""
    if not (CORPUS / "bombs").is_dir():
        pytest.skip(f"no bombs at {CORPUS}")
    folder = tmp_path / "bombs-out"
    folder.mkdir()
    for script in ("bombs.py", "scans.py"):
        command = [sys.executable, str(CORPUS / "bombs" / script)]
        subprocess.run(command, cwd=tmp_path, env=os.environ | {"OUT": str(folder)}, check=True, timeout=600)
    said = {path.name: outcome(path.read_bytes()) for path in folder.iterdir()}
    assert said["jpeg-7000-progressive-8000scans.jpg"] == "too_many_scans"
    assert said["png-50000x50000-1bit.png"] == said["webp-16383.webp"] == "too_many_pixels"
    assert said["png-7071x7071-rgba16.png"] == said["apng-2000-frames.png"] == "rendered"
    assert said["html-as.jpg"] == said["svg-as.png"] == "not_an_image"


PEAK = """
import sys
from pathlib import Path
from portal.pixels.inspect import inspect
from portal.pixels.render import render
data = open(sys.argv[1], "rb").read()
result = render(data, inspect(data))
# VmHWM (proc(5)) restarts at exec; ru_maxrss keeps the size of the process that forked us
print(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


# Pillow reads WebP into two canvases and a copy besides the picture
@pytest.mark.parametrize(
    ("format_", "peak_mb"),
    [("JPEG", 600), *(pytest.param(*case, marks=pytest.mark.slow) for case in (("PNG", 600), ("WEBP", 1024)))],
)
def test_fifty_megapixels_fit_into_memory(format_: str, peak_mb: int, tmp_path: Path) -> None:
    file = tmp_path / "large"
    options = {
        "JPEG": {},
        "PNG": {"compress_level": 1},
        "WEBP": {"lossless": True, "method": 0, "quality": 0},
    }
    Image.new("RGB", (10_000, 5_000), (90, 120, 40)).save(file, format_, **options[format_])
    command = [sys.executable, "-c", PEAK, str(file)]
    root = Path(__file__).parents[2]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60)
    assert int(said.stdout) < peak_mb * 1024


AUDITED = """
import io, sys
from portal.pixels.inspect import inspect, RejectedFile
from portal.pixels.render import render
events = []
sys.addaudithook(lambda name, _: events.append(name))
for path in sys.argv[1:]:
    data = open(path, "rb").read()
    try:
        render(data, inspect(data))
    except RejectedFile:
        pass
calls = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect"}
print(calls & set(events))
"""


def test_no_process_is_started_and_no_connection_opened(tmp_path: Path) -> None:
    payloads = {
        "mvg.jpg": b"push graphic-context\nviewbox 0 0 640 480\nfill 'url(https://127.0.0.1/|ls)'\npop",
        "eps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(%pipe%id) (r) file\n",
        "djvu.jpg": b'AT&TFORM\0\0\0\xafDJVM (metadata (Copyright "\\" . qx{id} . \\" b "))',
        "msl.jpg": b'<?xml version="1.0"?><image><read filename="https://127.0.0.1/x"/></image>',
    }
    photo_ = io.BytesIO()
    Image.new("RGB", (3000, 20)).save(photo_, "JPEG", comment=payloads["eps.jpg"])
    for name, data in {**payloads, "photo.jpg": photo_.getvalue()}.items():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", AUDITED, *map(str, tmp_path.iterdir())]
    root = Path(__file__).parents[2]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == "set()"
