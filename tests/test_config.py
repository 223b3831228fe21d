"""Settings: read once; an invalid one is refused with a sentence that names the variable."""

from pathlib import Path

import pytest

from portal.config import WrongSetting, embedded_file, from_environment


def test_the_defaults_describe_a_single_machine(tmp_path: Path) -> None:
    settings = from_environment({"DATA_DIR": str(tmp_path)})
    assert (settings.host, settings.port, settings.public_url) == ("127.0.0.1", 8000, "http://localhost:8000")
    assert settings.database_url == f"sqlite:///{tmp_path / 'frontage.db'}"
    assert settings.cdn_url == "http://localhost:8000/cdn"
    assert settings.page_origins == ["http://localhost:8000", "http://127.0.0.1:8000"]
    assert (settings.redis_url, settings.s3_endpoint_url) == (None, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "eighty"),
        ("PUBLIC_URL", "photos.example.com"),
        ("PUBLIC_URL", "https://photos.example.com/?x=1"),
        ("SECRET_KEY", "short"),
        ("DATABASE_URL", "mysql://db"),
        ("REDIS_URL", "http://redis"),
        ("S3_ENDPOINT_URL", "s3.example.com"),
        ("S3_UPLOADS_BUCKET", "No Bucket"),
        ("CDN_URL", "ftp://cdn"),
        ("TRUSTED_PROXIES", "-1"),
        ("ALLOWED_PRIVATE_NETS", "10.0.0.0/99"),
        ("PIXEL_WORKERS", "0"),
        ("CACHE_MB", "-1"),
        ("CACHE_MB", "1000001"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(WrongSetting, match=name):
        from_environment({"DATA_DIR": str(tmp_path), name: value})


def test_a_data_dir_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WrongSetting, match="DATA_DIR"):
        from_environment({"DATA_DIR": str(tmp_path / "file" / "data")})


def test_a_secret_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    first, second = (from_environment({"DATA_DIR": str(tmp_path)}).secret_key for _ in range(2))
    assert first == second
    assert len(first) >= 32
    assert (tmp_path / "secret_key").stat().st_mode & 0o777 == 0o600


def test_the_command_line_finds_the_running_embedded_servers(tmp_path: Path) -> None:
    embedded_file(tmp_path).write_text('{"redis_url": "unix:///x.sock", "s3_endpoint_url": "http://127.0.0.1:1"}')
    assert from_environment({"DATA_DIR": str(tmp_path)}).redis_url == "unix:///x.sock"
    named = from_environment({"DATA_DIR": str(tmp_path), "REDIS_URL": "redis://other"})
    assert named.redis_url == "redis://other", "settings from the environment take precedence"


def test_the_short_spelling_of_postgresql_is_understood(tmp_path: Path) -> None:
    settings = from_environment(
        {"DATA_DIR": str(tmp_path), "DATABASE_URL": "postgres://u:p@db/x", "SECRET_KEY": "x" * 32}
    )
    assert settings.database_url == "postgresql://u:p@db/x"
