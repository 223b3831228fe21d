"""Commands for operators: `flask --app app …`."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click
from flask import Flask

from portal import config, installation
from portal.accounts import access
from portal.accounts.models import Workspace
from portal.accounts.plans import PLANS
from portal.audit.command import audit
from portal.demo import first_run
from portal.demo.pms.hostaway import FakeHostaway
from portal.errors import Problem
from portal.infra import storage
from portal.infra.processes import on_stop
from portal.listings.providers.hostaway import Hostaway


def init_app(app: Flask) -> None:
    for command in (
        create_workspace,
        create_user,
        create_api_key,
        prepare_buckets,
        claim_buckets,
        adopt_secret_key,
        add_demo_photos,
        fake_pms,
        audit,
    ):
        app.cli.add_command(command)


@click.command("create-workspace")
@click.argument("name")
@click.option("--plan", type=click.Choice(list(PLANS)), default="free", show_default=True)
def create_workspace(name: str, plan: str) -> None:
    """Create a workspace, that is, a customer, and print its id."""
    with _problems_as_messages():
        click.echo(access.create_workspace(name, plan).uuid)


@click.command("create-user")
@click.argument("email")
@click.option("--workspace", required=True, metavar="NAME")
@click.option("--admin", is_flag=True, help="May manage keys and people, and use the RQ dashboard.")
def create_user(email: str, workspace: str, admin: bool) -> None:
    """Add a person and print a link that signs them in once."""
    with _problems_as_messages():
        user = access.create_user(_workspace(workspace), email, admin=admin)
        token = access.create_sign_in_link(user)
        click.echo(f"{config.settings().public_url}/sign-in/link?token={token}")


@click.command("create-api-key")
@click.option("--workspace", required=True, metavar="NAME")
@click.option("--name", default="Command line", show_default=True)
@click.option("--admin", is_flag=True, help="May also do what requires an admin.")
def create_api_key(workspace: str, name: str, admin: bool) -> None:
    """Create an API key and print it, and nothing else."""
    with _problems_as_messages():
        click.echo(access.create_api_key(_workspace(workspace), name, admin=admin, made_by="command line").secret)


@click.command("prepare-buckets")
def prepare_buckets() -> None:
    """Create missing buckets, and allow browsers to PUT from PUBLIC_URL (CORS)."""
    with _problems_as_messages():
        storage.uploads.prepare(config.settings().page_origins)
        storage.cdn.prepare()
        if installation.check() is False:
            click.echo(installation.NOT_OURS)
        click.echo("Both buckets are ready.")


@click.command("claim-buckets")
def claim_buckets() -> None:
    """Make this installation the owner of both buckets, after a move or a restore.

    The previous owner stops deleting objects from them.
    """
    with _problems_as_messages():
        installation.claim_buckets()
        click.echo("Both buckets belong to this installation.")


@click.command("adopt-secret-key")
def adopt_secret_key() -> None:
    """Accept the current SECRET_KEY, after the previous one was lost or stolen.

    What the previous one has encrypted can't be read: PMS credentials and the secrets of webhooks.
    """
    installation.adopt_secret_key()
    click.echo("This SECRET_KEY is the installation's. Enter PMS credentials again, and rotate the webhooks' secrets.")


@click.command("add-demo-photos")
def add_demo_photos() -> None:
    """Upload the missing photos of the demo property."""
    with _problems_as_messages():
        click.echo(f"{first_run.add_photos()} photos added.")


@click.command("fake-pms")
@click.argument("system", type=click.Choice(["hostaway"]))
@click.option("--listings", type=click.IntRange(0, 100_000), default=12, show_default=True)
@click.option("--pictures", type=click.IntRange(0, 500), default=8, show_default=True, help="Of each listing.")
@click.option("--port", type=click.IntRange(1, 65535), default=8010, show_default=True)
def fake_pms(system: str, listings: int, pictures: int, port: int) -> None:
    """Serve a fake PMS for trying things out, until Ctrl-C."""
    try:
        pms = FakeHostaway(listings=listings, pictures=pictures, port=port)
    except OSError as error:
        raise click.ClickException(f"Port {port} can't be used: {error.strerror}.") from None
    with pms:
        click.echo(f"A fake {system} with {listings} listings of {pictures} pictures each.")
        click.echo("Connect an account with these fields (label on the page, name in the API, value):")
        for field in Hostaway.fields:
            click.echo(f"  {field.label:12}{field.name:14}{pms.credentials[field.name]}")
        on_stop(signal.default_int_handler)
        click.echo("Start the portal with ALLOWED_PRIVATE_NETS=127.0.0.0/8. Press Ctrl-C to stop.")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


def _workspace(name: str) -> Workspace:
    workspace = access.find_workspace(name)
    if workspace is None:
        raise click.ClickException(f"There is no workspace called {name!r}.")
    return workspace


@contextmanager
def _problems_as_messages() -> Iterator[None]:
    try:
        yield
    except Problem as problem:
        raise click.ClickException(problem.message) from problem
