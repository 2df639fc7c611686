"""`tracker settings`: every setting with its value, its default and what is allowed."""

from __future__ import annotations

import click

from tracker.commands.options import json_option, with_settings
from tracker.commands.output import print_json, print_table
from tracker.settings import Settings, catalogue


@click.command
@click.option("--markdown", is_flag=True, help="Print the table of docs/settings.md.")
@json_option
@with_settings()
def settings(settings: Settings, markdown: bool, as_json: bool) -> None:
    """List every setting: value, default, meaning, what is allowed. Passwords are masked."""
    listed = catalogue(settings)
    if as_json:
        print_json([described._asdict() for described in listed])
    elif markdown:
        click.echo("| setting | default | meaning | allowed |\n|---|---|---|---|")
        for name, _, default, meaning, allowed in listed:
            click.echo(f"| `{name}` | {f'`{default}`' if default else 'none'} | {meaning} | {allowed} |")
    else:
        print_table(
            ("setting", "value", "default", "meaning", "allowed"),
            [
                (name, value, "" if value == default else default, meaning, allowed)
                for name, value, default, meaning, allowed in listed
            ],
        )
