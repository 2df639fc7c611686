"""`tracker erase PERSON`: everything that is kept of somebody goes."""

from __future__ import annotations

import click

from tracker.commands.options import json_option, with_settings
from tracker.commands.output import print_json, printable
from tracker.errors import SettingError
from tracker.settings import Settings
from tracker.wire.identities import Identities

_NOT_A_PERSON = ("b:", "order:", "cart:", "checkout:")


@click.command
@click.argument("person")
@click.option(
    "--wait", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds until the tracker did it."
)
@json_option
@with_settings("brokers", "redis_url", "namespace", "clock", "customer_ids")
def erase(settings: Settings, person: str, wait: float, as_json: bool) -> None:
    """Forget PERSON: a person id (c:… or a:…), or a customer's or a visitor's id alone.

    Everything up to now goes, of every id that is linked to theirs, and nothing older is taken in again. It is a record
    in the log: a worker must run. Sent twice it does nothing more. Topics keep what was written until their retention:
    docs/privacy.md says how a shop erases there.
    """
    from tracker.wiring import run_erase

    erased = run_erase(settings, _asked(person, Identities(settings.customer_ids)), wait)
    if as_json:
        print_json([one._asdict() for one in erased])
        return
    for one in erased:
        content = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in one.removed.items())
        click.echo(printable(f"{one.person_id} is erased: {content or 'nothing was kept'}."))


def _asked(person: str, identities: Identities) -> list[str]:
    """The person ids that are meant: a customer's as the tracker writes it, and as it is given, which may be older than
    the setting. Raises `SettingError` for what is no person."""
    if person.startswith(_NOT_A_PERSON):
        raise SettingError(
            f"PERSON is {person}; allowed: c: and a customer's id, a: and a visitor's, or such an id alone; "
            f"`tracker journey {person}` may say whose it is"
        )
    if person.startswith("a:"):
        return [person]
    customer = person.removeprefix("c:")
    asked = dict.fromkeys([f"c:{identities.customer(customer)}", f"c:{customer}"])
    return [*asked] if person.startswith("c:") else [*asked, f"a:{person}"]
