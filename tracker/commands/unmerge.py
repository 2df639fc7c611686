"""`tracker unmerge ANONYMOUS CUSTOMER`: takes a wrong link apart."""

from __future__ import annotations

import click

from tracker.commands.options import with_settings
from tracker.commands.output import printable
from tracker.settings import Settings
from tracker.wire.identities import Identities


@click.command
@click.argument("anonymous")
@click.argument("customer")
@click.option("--accept-loss", is_flag=True, help="Go on where the log no longer holds all that the two did.")
@with_settings("brokers", "redis_url", "namespace")
def unmerge(settings: Settings, anonymous: str, customer: str, accept_loss: bool) -> None:
    """Take the visitor ANONYMOUS and CUSTOMER apart: both are folded again from the log as if they had never been one,
    and are never linked again. Workers must be running.
    """
    from tracker.wiring import run_unmerge

    visitor = f"a:{anonymous.removeprefix('a:')}"
    known_as = f"c:{Identities(settings.customer_ids).customer(customer.removeprefix('c:'))}"
    run_unmerge(settings, visitor, known_as, accept_loss=accept_loss)
    click.echo(printable(f"{visitor} and {known_as} are two people from here on."))
