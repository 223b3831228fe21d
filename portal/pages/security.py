"""What every page tells browsers, and which of their requests we take for our own."""

from urllib.parse import urlsplit

from flask import Flask, Response, abort, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import RequestRedirect

from portal import config
from portal.errors import Forbidden
from portal.infra import storage

OTHERS = ("/api/", "/images/", "/cdn/", "/healthz", "/readyz", "/static/")  # paths that are no pages of ours
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
YEAR_S = 365 * 24 * 3600


def init_app(app: Flask) -> None:
    hops = config.settings().trusted_proxies
    if hops:  # E11: nobody else's X-Forwarded-* counts; the host is never taken from a request at all
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    app.before_request(refuse_other_sites)
    app.before_request(_refuse_nul)
    app.after_request(add_headers)
    app.after_request(_keep_host_out)


def is_page() -> bool:
    """Whether the request is for a page or a fragment, and not for an API, a photo or a static file."""
    return not request.path.startswith(OTHERS)


def refuse_other_sites() -> None:
    """Refuse a change that another site's page asks for (reliability.md, decision 17).

    The rule of Go's http.CrossOriginProtection: Sec-Fetch-Site decides where there is one; else Origin
    must be ours; where there is neither, no browser sent it (each has sent Origin with a POST since 2020),
    so there is no session of a stranger to ride on, and SameSite=Lax holds besides.
    """
    if request.method in SAFE_METHODS or not is_page():
        return
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        if fetch_site not in ("same-origin", "none"):
            raise Forbidden("This form came from another site, so nothing was changed.", code="other_site")
        return
    origin = request.headers.get("Origin")
    if origin is not None and origin not in config.settings().page_origins:
        address = config.settings().public_url
        raise Forbidden(
            f"This form came from another address than {address}, so nothing was changed.", code="other_site"
        )


def _refuse_nul() -> None:
    """Nobody types a NUL, and PostgreSQL takes none: a text with one is a 400, not a 500.

    The form with files has no texts, and is read to disk by its own page.
    """
    is_read_later = request.endpoint == "upload_form.upload"
    if is_page() and not is_read_later and any("\0" in value for value in request.values.values()):
        abort(400)


def add_headers(response: Response) -> Response:
    """Give every page its headers; what has a session is kept by nobody but its reader (D17, E8, E9)."""
    headers = response.headers
    headers.setdefault("X-Content-Type-Options", "nosniff")
    if not is_page():
        return response
    headers["Content-Security-Policy"] = _dashboard_csp() if _is_dashboard() else _csp()
    if not response.cache_control.immutable:
        headers["Cache-Control"] = "private, no-store"
    headers["X-Frame-Options"] = "DENY"
    headers["Referrer-Policy"] = "same-origin"  # neither presigned URLs nor sign-in links are anybody's business
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    if config.settings().https:
        headers["Strict-Transport-Security"] = f"max-age={YEAR_S}"
    return response


def _keep_host_out(response: Response) -> Response:
    """Send to the tidier path alone: the router would name the host that the request says it came to (E11)."""
    redirect = request.routing_exception
    if isinstance(redirect, RequestRedirect) and response.location == redirect.new_url:
        response.location = urlsplit(redirect.new_url)._replace(scheme="", netloc="").geturl()
    return response


def _csp() -> str:
    """Nothing inline, nothing evaluated; `style-src-attr` is for `--lqip` and `--v` only (ux/README, section 2)."""
    settings = config.settings()
    photos = " ".join(sorted({_origin(settings.images_url), _origin(settings.cdn_url)}))
    return (
        "default-src 'self'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
        f"img-src 'self' blob: data: {photos}; connect-src 'self' {storage.uploads.public_origin}; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    )


def _dashboard_csp() -> str:
    """rq-dashboard has inline scripts and templates that are evaluated; it is for admins alone."""
    return (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    )


def _is_dashboard() -> bool:
    return request.path == "/rq" or request.path.startswith("/rq/")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
