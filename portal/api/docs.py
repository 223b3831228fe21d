"""/api/docs: the OpenAPI file as a page, from files of our own, under a policy that allows nothing else."""

from flask import Flask, Response, make_response, render_template

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)  # data: is for the arrows in Swagger UI's stylesheet


def init_app(app: Flask) -> None:
    app.add_url_rule("/api/docs", "api_docs", show)


def show() -> Response:
    response = make_response(render_template("api/docs.html"))
    response.headers["Content-Security-Policy"] = CSP
    response.headers["X-Frame-Options"] = "DENY"
    return response
