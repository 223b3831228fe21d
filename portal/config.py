"""Settings from the environment, each with its unit and default; an invalid one raises WrongSetting."""

import ipaddress
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

from flask import current_app
from flask.globals import app_ctx

P = ParamSpec("P")
R = TypeVar("R")
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class WrongSetting(ValueError):
    """An invalid setting; the message is for the operator."""


@dataclass(frozen=True)
class Settings:
    """Everything that may differ between two installations.

    `redis_url` and `s3_endpoint_url` are None only if the environment doesn't set them and the embedded servers have
    never run: `python app.py` starts those and fills in both (`portal/embedded/`).
    """

    host: str = "127.0.0.1"  # the address the web server listens on
    port: int = 8000
    public_url: str = "http://localhost:8000"  # where browsers reach the pages; determines cookies and CORS
    data_dir: Path = Path("data")  # SQLite, Valkey's and S3's data, the cache, and forms while they are read
    secret_key: str = field(default="", repr=False)  # signs and encrypts; if not set, generated once into DATA_DIR
    database_url: str = field(default="sqlite://", repr=False)  # may contain a password, like `redis_url`
    redis_url: str | None = field(default=None, repr=False)
    s3_endpoint_url: str | None = None  # where this server reaches the buckets
    s3_public_endpoint_url: str | None = None  # where browsers reach them: presigned URLs have this host
    s3_access_key: str | None = None  # of the embedded S3; None: boto3 looks for credentials itself
    s3_secret_key: str | None = field(default=None, repr=False)
    s3_region: str = "us-east-1"
    s3_uploads_bucket: str = "frontage-uploads"
    s3_cdn_bucket: str = "frontage-cdn"
    cdn_url: str = "http://localhost:8000/cdn"  # the public prefix of keys in the CDN bucket
    images_url: str = "http://localhost:8000"  # the public prefix of /images/
    trusted_proxies: int = 0  # number of proxies in front of this server that set X-Forwarded-*
    allowed_private_nets: tuple[IpNetwork, ...] = ()  # private addresses that may be fetched
    access_log: bool = False  # write a line for each request
    web_threads: int = 16
    cache_mb: int = 512  # MiB of delivered photos that are kept in DATA_DIR; 0: none
    max_file_mb: int = 20  # MiB, of each file in a multipart request
    pixel_workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    network_workers: int = 2
    sync_every_min: int = 15  # minutes between two syncs of an account
    audit_days: int = 30  # within how many days the nightly audit reads every stored object; 0: there is none
    unknown_objects_kept_days: int = 7  # how long objects stay in a bucket that no row refers to

    @property
    def max_file_bytes(self) -> int:
        return self.max_file_mb * 1024 * 1024

    @property
    def delivery_threads(self) -> int:
        """Threads of each web process for /images/ and /cdn/, besides `web_threads`."""
        return max(2, self.web_threads // 2)

    @property
    def has_embedded_s3(self) -> bool:
        """Whether the buckets are on this machine's disk, in DATA_DIR: no other S3 has its key in the settings."""
        return self.s3_access_key is not None

    @property
    def https(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def page_origins(self) -> list[str]:
        """The origins of our pages, for the bucket's CORS rule: PUBLIC_URL's, and its twin if it is a loopback host."""
        url = urlsplit(self.public_url)
        origin = f"{url.scheme}://{url.netloc}"
        twins = {"localhost": "127.0.0.1", "127.0.0.1": "localhost"}
        twin = twins.get(url.hostname or "")
        return [origin] + ([origin.replace(url.hostname or "", twin)] if twin else [])


def from_environment(env: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings. Raises WrongSetting with a message that names the variable.

    If the environment names no database, Redis or S3, the embedded ones in DATA_DIR are used. A file there has their
    addresses, so that the command line finds the servers that `python app.py` started.
    """
    data_dir = Path(env.get("DATA_DIR") or "data").expanduser().resolve()
    embedded = _embedded(data_dir)
    port = _integer(env, "PORT", 8000, 1, 65535)
    public_url = _url(env, "PUBLIC_URL") or f"http://localhost:{port}"
    return Settings(
        host=env.get("HOST") or "127.0.0.1",
        port=port,
        public_url=public_url,
        data_dir=data_dir,
        secret_key=_secret_key(env, data_dir),
        database_url=_database_url(env) or f"sqlite:///{data_dir / 'frontage.db'}",
        redis_url=_redis_url(env) or embedded.get("redis_url"),
        s3_endpoint_url=_s3_endpoint_url(env) or embedded.get("s3_endpoint_url"),
        s3_public_endpoint_url=_url(env, "S3_PUBLIC_ENDPOINT_URL"),
        s3_access_key=None if env.get("S3_ENDPOINT_URL") else embedded.get("s3_access_key"),
        s3_secret_key=None if env.get("S3_ENDPOINT_URL") else embedded.get("s3_secret_key"),
        s3_region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or "us-east-1",
        s3_uploads_bucket=_bucket(env, "S3_UPLOADS_BUCKET", "frontage-uploads"),
        s3_cdn_bucket=_bucket(env, "S3_CDN_BUCKET", "frontage-cdn"),
        cdn_url=_url(env, "CDN_URL") or f"{public_url}/cdn",
        images_url=_url(env, "IMAGES_URL") or public_url,
        trusted_proxies=_integer(env, "TRUSTED_PROXIES", 0, 0, 10),
        allowed_private_nets=_networks(env, "ALLOWED_PRIVATE_NETS"),
        access_log=bool(_integer(env, "ACCESS_LOG", 0, 0, 1)),
        web_threads=_integer(env, "WEB_THREADS", 16, 1, 256),
        cache_mb=_integer(env, "CACHE_MB", 512, 0, 1_000_000),
        max_file_mb=_integer(env, "MAX_FILE_MB", 20, 1, 200),
        pixel_workers=_integer(env, "PIXEL_WORKERS", os.cpu_count() or 1, 1, 64),
        network_workers=_integer(env, "NETWORK_WORKERS", 2, 1, 64),
        sync_every_min=_integer(env, "SYNC_EVERY_MIN", 15, 1, 7 * 24 * 60),
        audit_days=_integer(env, "AUDIT_DAYS", 30, 0, 365),
        unknown_objects_kept_days=_integer(env, "UNKNOWN_OBJECTS_KEPT_DAYS", 7, 1, 3650),
    )


def parts() -> dict[str, Any]:
    """Return the current app's own objects: settings, buckets, Redis. Two apps in one process share none of them."""
    return cast(dict[str, Any], current_app.extensions.setdefault("frontage", {}))


def in_this_app(function: Callable[P, R]) -> Callable[P, R]:
    """Wrap a function so that, in another thread, it runs in the context of the app that is current here."""
    app = app_ctx.app

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with app.app_context():
            return function(*args, **kwargs)

    return run


def use(settings: Settings) -> None:
    """Make these the settings of the current app. Called once, by create_app."""
    parts()["settings"] = settings


def settings() -> Settings:
    """Return the settings of the current app."""
    return cast(Settings, parts()["settings"])


def embedded_file(data_dir: Path) -> Path:
    """Return the path of the file with the embedded servers' addresses: a JSON object of settings by name."""
    return data_dir / "embedded.json"


def _embedded(data_dir: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads(embedded_file(data_dir).read_text())
        return found
    except (OSError, ValueError):
        return {}


def _integer(env: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = env.get(name) or str(default)
    if not text.strip().isdecimal() or not least <= int(text) <= most:
        raise WrongSetting(f"{name} must be a whole number from {least} to {most}, not {text!r}.")
    return int(text)


def _url(env: Mapping[str, str], name: str) -> str | None:
    text = (env.get(name) or "").strip().rstrip("/")
    if not text:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise WrongSetting(f"{name} must be an address like https://photos.example.com, not {text!r}.")
    return text


def _s3_endpoint_url(env: Mapping[str, str]) -> str | None:
    """Return the endpoint; "aws" means AWS S3 itself, for which boto3 needs no endpoint."""
    if (env.get("S3_ENDPOINT_URL") or "").strip() == "aws":
        return "aws"
    return _url(env, "S3_ENDPOINT_URL")


def _database_url(env: Mapping[str, str]) -> str | None:
    text = (env.get("DATABASE_URL") or "").strip()
    if not text:
        return None
    if text.startswith("postgres://"):  # as some hosting providers spell it
        text = "postgresql://" + text.removeprefix("postgres://")
    if not text.startswith(("postgresql://", "postgresql+psycopg://", "sqlite:///")):
        raise WrongSetting("DATABASE_URL must begin with postgresql:// or sqlite:///.")
    return text


def _redis_url(env: Mapping[str, str]) -> str | None:
    text = (env.get("REDIS_URL") or "").strip()
    if text and not text.startswith(("redis://", "rediss://", "unix://")):
        raise WrongSetting("REDIS_URL must begin with redis://, rediss:// or unix://.")
    return text or None


def _bucket(env: Mapping[str, str], name: str, default: str) -> str:
    text = env.get(name) or default
    if not (3 <= len(text) <= 63 and text.replace("-", "").replace(".", "").isalnum() and text == text.lower()):
        raise WrongSetting(f"{name} must be a bucket name: 3 to 63 lowercase letters, digits, dots and hyphens.")
    return text


def _networks(env: Mapping[str, str], name: str) -> tuple[IpNetwork, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in (env.get(name) or "").split(",") if part.strip())
    except ValueError as error:
        raise WrongSetting(f"{name} must be a comma-separated list of networks like 10.1.0.0/16: {error}.") from None


def _secret_key(env: Mapping[str, str], data_dir: Path) -> str:
    """Return the environment's key, or the one that was generated at the first start and is kept in DATA_DIR."""
    text = env.get("SECRET_KEY") or ""
    if text and len(text) < 32:
        raise WrongSetting("SECRET_KEY must have at least 32 characters.")
    if text:
        return text
    path = data_dir / "secret_key"
    if (_database_url(env) or "").startswith("postgresql"):  # other machines share it, and need the same key
        kept = f" The key that was used so far is in {path}." if path.exists() else ""
        raise WrongSetting(f"SECRET_KEY must be set, to the same text on each machine, if DATABASE_URL is.{kept}")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make_secret_key(path)
    except OSError as error:
        raise WrongSetting(f"DATA_DIR must be a writable folder: {error}.") from None
    return path.read_text()


def _make_secret_key(path: Path) -> None:
    """Write the key to a temporary file, then link it, unless another process was first: no reader sees half a key."""
    aside = path.with_name(f"secret_key.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(48))
    with suppress(FileExistsError):
        os.link(aside, path)
    aside.unlink()
