"""CPU and memory per photo compared with other tools: python -m tests.benchmarks.pixels [photo.jpg …]

Every tool makes a large that fits 2048 px and a thumb that fits 480 px, WebP, upright, without metadata. CPU (user +
system, all threads) is the best of `ROUNDS`, tools interleaved photo by photo in long-lived processes; peak memory
is that of a fresh process for each photo. Ratios are geometric means."""

import io
import json
import math
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CORPUS = Path(os.environ.get("FRONTAGE_CORPUS") or Path(__file__).parents[3] / "shared" / "corpus")
ROUNDS = 3

SHARP = """
const sharp = require('sharp'), fs = require('fs'), tuned = process.argv[2] === 'tuned';
async function make(path) {
  const data = fs.readFileSync(path);
  const fit = px => ({width: px, height: px, fit: 'inside', withoutEnlargement: true});
  const webp = quality => tuned ? {quality, effort: 2} : {quality};
  const large = await sharp(data).rotate().resize(fit(2048)).webp(webp(81)).toBuffer();
  const thumb = await sharp(data).rotate().resize(fit(480)).webp({quality: 80}).toBuffer();
  return large.length;
}
require('readline').createInterface({input: process.stdin}).on('line', async path => {
  const before = process.cpuUsage();
  const size = await make(path), used = process.cpuUsage(before);
  console.log(JSON.stringify([(used.user + used.system) / 1e6, process.resourceUsage().maxRSS, size]));
});
"""


def ours(path: str) -> int:
    from portal.pixels.inspect import inspect
    from portal.pixels.render import render

    data = Path(path).read_bytes()
    return len(render(data, inspect(data)).large.data)


def naive(path: str) -> int:
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(Image.open(path))
    sizes = []
    for longest_px, quality in ((2048, 81), (480, 80)):
        copy, file = image.copy(), io.BytesIO()
        copy.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
        copy.convert("RGB").save(file, "WEBP", quality=quality)
        sizes.append(len(file.getvalue()))
    return sizes[0]


def pyvips(path: str) -> int:
    """Tuned: one decode, shrunk on load, effort 2, the thumb made from the large."""
    import pyvips as vips

    large = vips.Image.thumbnail(path, 2048, height=2048, size="down")
    if "icc-profile-data" in large.get_fields():
        large = large.icc_transform("srgb", embedded=True)
    large = large.copy_memory()
    thumb = large.thumbnail_image(480, height=480, size="down")
    thumb.webpsave_buffer(Q=80, effort=4, keep="none")
    return len(large.webpsave_buffer(Q=81, effort=2, keep="none"))


IN_PYTHON: dict[str, Callable[[str], int]] = {"ours": ours, "naive Pillow": naive, "pyvips tuned": pyvips}
ALL = [*IN_PYTHON, "sharp", "sharp tuned"]


class Tool:
    """A process that renders each path it is sent, and reports what it used."""

    def __init__(self, name: str) -> None:
        if name.startswith("sharp"):
            command = ["node", "-e", SHARP, "sharp", name.removeprefix("sharp ")]
        else:
            command = [sys.executable, "-m", "tests.benchmarks.pixels", "--serve", name]
        one_thread = os.environ | {"VIPS_CONCURRENCY": "1"}  # fairest to vips: waiting threads cost CPU
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=one_thread
        )

    def make(self, path: str) -> tuple[float, int, int]:
        """Return CPU seconds, the process's peak memory in kB, and the large's size in bytes."""
        assert self.process.stdin
        assert self.process.stdout
        print(path, file=self.process.stdin, flush=True)
        cpu_s, peak_kb, size_bytes = json.loads(self.process.stdout.readline())
        return cpu_s, peak_kb, size_bytes

    def close(self) -> None:
        self.process.communicate()


def serve(name: str) -> None:
    for line in sys.stdin:
        before = resource.getrusage(resource.RUSAGE_SELF)
        size_bytes = IN_PYTHON[name](line.strip())
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(json.dumps([cpu_s, after.ru_maxrss, size_bytes]), flush=True)


def is_there(name: str) -> bool:
    if name == "pyvips tuned":
        command = [sys.executable, "-c", "import pyvips"]
    elif name.startswith("sharp"):
        command = [shutil.which("node") or "false", "-e", "require('sharp')"]
    else:
        return True
    found = subprocess.run(command, capture_output=True).returncode == 0
    if not found:
        print(f"{name}: not installed, skipped")
    return found


def mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def measure(tools: list[str], photos: list[str]) -> dict[str, list[tuple[float, int, int]]]:
    """Return for each tool, photo by photo, CPU seconds, peak kB, bytes of the large."""
    measured: dict[str, list[tuple[float, int, int]]] = {name: [] for name in tools}
    staying = {name: Tool(name) for name in tools}
    for photo in photos:
        cpu_s: dict[str, list[float]] = {name: [] for name in tools}
        for _ in range(ROUNDS):
            for name, tool in staying.items():
                cpu_s[name].append(tool.make(photo)[0])
        for name in tools:
            fresh = Tool(name)
            _, peak_kb, size_bytes = fresh.make(photo)
            fresh.close()
            measured[name].append((min(cpu_s[name]), peak_kb, size_bytes))
    for tool in staying.values():
        tool.close()
    return measured


def main(paths: list[str]) -> None:
    photos = sorted(map(str, CORPUS.glob("photos/j*.jpg"))) + paths  # 8-16 megapixels, as cameras make them
    if not photos:
        sys.exit("No photos: give some as arguments, or set FRONTAGE_CORPUS.")
    measured = measure([name for name in ALL if is_there(name)], photos)
    print(f"{len(photos)} photos, best of {ROUNDS}\n{'tool':14} CPU ms  ours/tool  peak MB  ours/tool  kB large")
    for name, rows in measured.items():
        cpu = mean([one[0] / other[0] for one, other in zip(measured["ours"], rows, strict=True)])
        memory = mean([one[1] / other[1] for one, other in zip(measured["ours"], rows, strict=True)])
        cpu_ms, peak_mb = mean([row[0] for row in rows]) * 1000, mean([row[1] for row in rows]) / 1024
        kilobytes = mean([row[2] for row in rows]) / 1024
        print(f"{name:14} {cpu_ms:6.0f} {cpu:10.2f} {peak_mb:8.0f} {memory:10.2f} {kilobytes:9.0f}")


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1:2] == ["--serve"] else main(sys.argv[1:])
