"""The cache on local disk: bounded, shared by processes, and never a reason for an error."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from portal.infra.disk_cache import DiskCache
from tests.processes import ROOT

KB = 1024


def named(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(cache: DiskCache, data: bytes) -> str:
    cache.put(named(data), data)
    return named(data)


def block(number: int, size_bytes: int = 10 * KB) -> bytes:
    return number.to_bytes(4, "big") * (size_bytes // 4)


def total_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def age(folder: Path, name: str, seconds: float) -> Path:
    """Have a file be used for the last time this long ago."""
    (path,) = folder.rglob(name)
    os.utime(path, (time.time() - seconds,) * 2)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_what_is_put_is_found_by_its_hash(folder: Path) -> None:
    cache = DiskCache(folder, 100 * KB)
    name = put(cache, b"a photo")
    assert cache.get(name, 7) == b"a photo"
    assert DiskCache(folder, 100 * KB).get(name, 7) == b"a photo", "another process"
    assert cache.get(named(b"another"), 7) is None


@pytest.mark.parametrize("found", [b"", b"a ph", b"a photo and more"])
def test_a_file_of_another_length_is_removed(folder: Path, found: bytes) -> None:
    cache = DiskCache(folder, 100 * KB)
    name = put(cache, b"a photo")
    (path,) = folder.rglob(name)
    path.write_bytes(found)
    assert cache.get(name, 7) is None
    assert not path.exists()
    assert cache.get(put(cache, b"a photo"), 7) == b"a photo"


def test_a_file_with_other_bytes_of_the_same_length_is_removed(folder: Path) -> None:
    cache = DiskCache(folder, 100 * KB)
    name = put(cache, b"a photo")
    assert cache.get(name, 7) == b"a photo"
    (path,) = folder.rglob(name)
    path.write_bytes(bytes(7))
    assert cache.get(name, 7) is None, "changed since it was hashed"
    assert not path.exists()
    path.write_bytes(b"rotten!")
    assert DiskCache(folder, 100 * KB).get(name, 7) is None, "of another process"


def test_a_file_that_has_not_changed_is_hashed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = DiskCache(folder, 100 * KB)
    name = put(cache, b"a photo")
    assert cache.get(name, 7) == b"a photo"
    monkeypatch.setattr(hashlib, "sha256", lambda _: pytest.fail("it was hashed again"))
    assert cache.get(name, 7) == b"a photo"


def test_with_a_size_of_0_nothing_is_cached(folder: Path) -> None:
    cache = DiskCache(folder, 0)
    assert cache.get(put(cache, b"a photo"), 7) is None
    assert not folder.exists()


def test_what_is_larger_than_the_cache_is_not_kept(folder: Path) -> None:
    cache = DiskCache(folder, 100 * KB)
    small = put(cache, b"a photo")
    put(cache, block(0, 101 * KB))
    assert cache.get(small, 7)
    assert total_bytes(folder) == 7


def test_the_least_recently_used_files_are_evicted(folder: Path) -> None:
    cache = DiskCache(folder, 100 * KB)
    names = [put(cache, block(number)) for number in range(10)]
    for number, name in enumerate(names):
        age(folder, name, 10_000 - number)
    assert cache.get(names[0], 10 * KB), "now it is the most recently used one"
    put(cache, block(10))
    left = [number for number, name in enumerate(names) if cache.get(name, 10 * KB)]
    assert left == [0, 3, 4, 5, 6, 7, 8, 9]
    assert total_bytes(folder) <= 90 * KB


def test_a_hit_renews_the_time_of_use_once_an_hour(folder: Path) -> None:
    cache = DiskCache(folder, 100 * KB)
    path = age(folder, put(cache, b"a photo"), 1800)
    before = path.stat().st_mtime_ns
    cache.get(path.name, 7)
    assert path.stat().st_mtime_ns == before
    age(folder, path.name, 3700)
    cache.get(path.name, 7)
    assert time.time() - path.stat().st_mtime < 60


def test_a_smaller_setting_holds_from_the_first_put_on(folder: Path) -> None:
    for number in range(10):
        put(DiskCache(folder, 100 * KB), block(number))
    put(DiskCache(folder, 50 * KB), b"a photo")
    assert total_bytes(folder) <= 45 * KB


def test_the_folder_is_walked_only_after_enough_writes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walks, real = [], DiskCache._evict
    monkeypatch.setattr(DiskCache, "_evict", lambda cache: (walks.append(1), real(cache)))
    cache = DiskCache(folder, 1000 * KB)
    for number in range(41):
        put(cache, block(number, 2 * KB))
    assert len(walks) == 2, "at the first put, and after more than 5 %"


def test_a_killed_writer_leaves_nothing_for_good(folder: Path) -> None:
    cache = DiskCache(folder, 100 * KB)
    left = age(folder, put(cache, block(0)), 10_000)
    left = left.rename(left.with_name(f"{left.name}.1.2"))
    for number in range(1, 11):
        put(cache, block(number))
    assert not left.exists()


def test_a_folder_removed_while_running_is_made_again(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = DiskCache(folder, 100 * KB)
    name = put(cache, b"a photo")
    shutil.rmtree(folder)
    assert cache.get(name, 7) is None
    assert cache.get(put(cache, b"a photo"), 7) == b"a photo"
    assert not caplog.records


def test_a_folder_that_cannot_be_written_is_logged_once_and_tried_again_after_a_minute(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("in the way")
    cache = DiskCache(in_the_way / "cache", 100 * KB)
    for number in range(3):
        name = put(cache, block(number))
        assert cache.get(name, 10 * KB) is None
    assert [record.getMessage() for record in caplog.records] == [
        f"cache write failed: folder={in_the_way}/cache reason=Not a directory pause_s=60"
    ]
    in_the_way.unlink()
    assert cache.get(put(cache, b"a photo"), 7) is None, "still within the minute"
    monkeypatch.setattr(cache, "_paused_until", 0.0)
    assert cache.get(put(cache, b"a photo"), 7) == b"a photo"


FULL = """
import resource, sys
from pathlib import Path
from tests.test_disk_cache import KB, DiskCache, block, named
cache = DiskCache(Path(sys.argv[1]), 100 * KB)
resource.setrlimit(resource.RLIMIT_FSIZE, (4 * KB, 4 * KB))
for number in range(3):
    cache.put(named(block(number)), block(number))
    assert cache.get(named(block(number)), 10 * KB) is None
"""


def test_a_full_disk_leaves_no_partial_file_and_one_line(folder: Path) -> None:
    """A limit on the size of files stands in for the full disk: the write fails midway, too."""
    run = subprocess.run([sys.executable, "-c", FULL, str(folder)], cwd=ROOT, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, ""), run.stderr
    assert run.stderr.splitlines() == [f"cache write failed: folder={folder} reason=File too large pause_s=60"]
    assert total_bytes(folder) == 0
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY, "only the child was limited"


WRITER = """
import sys
from pathlib import Path
from tests.test_disk_cache import KB, DiskCache, block, named
cache = DiskCache(Path(sys.argv[1]), 200 * KB)
for number in range(400):
    data = block(number % 50)
    found = cache.get(named(data), len(data))
    assert found is None or found == data
    cache.put(named(data), data)
"""


def test_two_processes_share_the_folder(folder: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(folder)]
    running = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert said == ["", ""]
    assert 100 * KB <= total_bytes(folder) <= 225 * KB
    assert all(len(path.name) == 64 for path in folder.rglob("*") if path.is_file()), "no partial file is left"
