"""Security headers of all pages, and protection against cross-site requests."""

from urllib.parse import urlsplit

from flask import Flask, Response, abort, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import RequestRedirect

from portal import config
from portal.errors import Forbidden
from portal.infra import storage

NON_PAGE_PREFIXES = ("/api/", "/images/", "/cdn/", "/healthz", "/readyz", "/static/")  # paths that are not pages
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
YEAR_S = 365 * 24 * 3600


def init_app(app: Flask) -> None:
    hops = config.settings().trusted_proxies
    if hops:  # ignore other X-Forwarded-* headers, and never trust the request for the host
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    app.before_request(refuse_other_sites)
    app.before_request(_refuse_nul)
    app.after_request(add_headers)
    app.after_request(_make_redirects_relative)


def is_page() -> bool:
    """Return whether the request is for a page or fragment, not for an API, a photo or a static file."""
    return not request.path.startswith(NON_PAGE_PREFIXES)


def refuse_other_sites() -> None:
    """Reject changes requested by other sites. Raises Forbidden.

    As in Go's http.CrossOriginProtection, Sec-Fetch-Site decides if it is present; otherwise Origin, if
    present, must be one of ours. A request with neither doesn't come from a browser (all have sent Origin with
    POST since 2020), so it can't abuse somebody's session. SameSite=Lax protects the cookie in addition.
    """
    if request.method in SAFE_METHODS or not is_page():
        return
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        if fetch_site not in ("same-origin", "none"):
            raise Forbidden("This form was sent from another site, so nothing was changed.", code="other_site")
        return
    origin = request.headers.get("Origin")
    if origin is not None and origin not in config.settings().page_origins:
        address = config.settings().public_url
        raise Forbidden(f"This form was not sent from {address}, so nothing was changed.", code="other_site")


def _refuse_nul() -> None:
    """Answer 400 for text with a NUL character, which PostgreSQL can't store and nobody types.

    The upload form is excluded: it has no text fields, and its view streams it to disk.
    """
    is_read_later = request.endpoint == "upload_form.upload"
    if is_page() and not is_read_later and any("\0" in value for value in request.values.values()):
        abort(400)


def add_headers(response: Response) -> Response:
    """Set security headers on every page. Pages depend on a session, so shared caches must not store them."""
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    if not is_page():
        return response
    headers["Content-Security-Policy"] = _dashboard_csp() if _is_dashboard() else _csp()
    if not response.cache_control.immutable:
        headers["Cache-Control"] = "private, no-store"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "same-origin"  # keep presigned URLs and sign-in links from other sites
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if config.settings().https:
        headers["Strict-Transport-Security"] = f"max-age={YEAR_S}"
    return response


def _make_redirects_relative(response: Response) -> Response:
    """Strip the host from the router's redirects, since the router takes it from the request."""
    redirect = request.routing_exception
    if isinstance(redirect, RequestRedirect) and response.location == redirect.new_url:
        response.location = urlsplit(redirect.new_url)._replace(scheme="", netloc="").geturl()
    return response


def _csp() -> str:
    """Return the policy of pages: no inline scripts, no eval. `style-src-attr` allows CSS variables in `style`."""
    settings = config.settings()
    photos = " ".join(sorted({_origin(settings.images_url), _origin(settings.cdn_url)}))
    return (
        "default-src 'self'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
        f"img-src 'self' blob: data: {photos}; connect-src 'self' {storage.uploads.public_origin}; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    )


def _dashboard_csp() -> str:
    """Return the policy of rq-dashboard, which needs inline scripts and eval, and is open to operators only."""
    return (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    )


def _is_dashboard() -> bool:
    return request.path == "/rq" or request.path.startswith("/rq/")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
