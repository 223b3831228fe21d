"""What an operator does on the command line: `flask --app app …`."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import Flask

from portal import config, storage
from portal.accounts import access
from portal.accounts.models import Workspace
from portal.accounts.plans import PLANS
from portal.demo import first_run
from portal.errors import Problem


def init_app(app: Flask) -> None:
    for command in (create_workspace, create_user, create_api_key, prepare_buckets, add_demo_photos):
        app.cli.add_command(command)


@click.command("create-workspace")
@click.argument("name")
@click.option("--plan", type=click.Choice(list(PLANS)), default="free", show_default=True)
def create_workspace(name: str, plan: str) -> None:
    """Make a workspace: a customer, who owns all else."""
    with _said_plainly():
        click.echo(access.create_workspace(name, plan).uuid)


@click.command("create-user")
@click.argument("email")
@click.option("--workspace", required=True, metavar="NAME")
@click.option("--admin", is_flag=True, help="May manage keys, people and the RQ dashboard.")
def create_user(email: str, workspace: str, admin: bool) -> None:
    """Add a person; prints a link that signs them in once."""
    with _said_plainly():
        user = access.create_user(_workspace(workspace), email, admin=admin)
        token = access.create_sign_in_link(user)
        click.echo(f"{config.settings().public_url}/sign-in/link?token={token}")


@click.command("create-api-key")
@click.option("--workspace", required=True, metavar="NAME")
@click.option("--name", default="Command line", show_default=True)
@click.option("--admin", is_flag=True, help="May also do what only admins may.")
def create_api_key(workspace: str, name: str, admin: bool) -> None:
    """Make an API key; prints the key alone."""
    with _said_plainly():
        click.echo(access.create_api_key(_workspace(workspace), name, admin=admin, made_by="command line").secret)


@click.command("prepare-buckets")
def prepare_buckets() -> None:
    """Make both buckets where they are missing, and let browsers PUT from PUBLIC_URL (CORS)."""
    with _said_plainly():
        storage.uploads.prepare(config.settings().page_origins)
        storage.cdn.prepare()
        click.echo("Both buckets are ready.")


@click.command("add-demo-photos")
def add_demo_photos() -> None:
    """Add the demo property's photos that are missing."""
    with _said_plainly():
        click.echo(f"{first_run.add_photos()} photos added.")


def _workspace(name: str) -> Workspace:
    workspace = access.find_workspace(name)
    if workspace is None:
        raise click.ClickException(f"There is no workspace called {name!r}.")
    return workspace


@contextmanager
def _said_plainly() -> Iterator[None]:
    try:
        yield
    except Problem as problem:
        raise click.ClickException(problem.message) from problem
