"""/api/docs: Swagger UI for the OpenAPI document, with local assets only and a strict Content-Security-Policy."""

from flask import Flask, Response, make_response, render_template

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)  # Swagger UI's stylesheet embeds its arrows as data: URLs


def init_app(app: Flask) -> None:
    app.add_url_rule("/api/docs", "api_docs", show)


def show() -> Response:
    response = make_response(render_template("api/docs.html"))
    response.headers["Content-Security-Policy"] = CSP
    response.headers["X-Frame-Options"] = "DENY"
    return response
