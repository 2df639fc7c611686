"""The settings as command line options: every setting is a flag of every command that uses settings."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import click

from tracker.settings import FILE_VARIABLE, Settings, catalogue, flag, load, names

Command = Callable[..., Any]


def with_settings(*shown: str, logs: bool = False) -> Callable[[Command], Command]:
    """Give a command a first argument `settings`, and the flags to set them. `shown` (fields) are in its help;
    the others work too. `logs`: the command runs for long and logs to stderr, by TRACKER_LOG_LEVEL."""
    meanings = dict(zip(names(), (described.meaning for described in catalogue()), strict=True))

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def call(*args: Any, settings_file: str | None, **options: Any) -> Any:
            flags = {name: options.pop(name) for name in names()}
            settings = load(flags, settings_file, warn=lambda text: click.echo(f"Warning: {text}", err=True))
            start_logging(settings, logs)
            return command(settings, *args, **options)

        wrapped: Command = call
        for name in reversed(names()):
            wrapped = click.option(flag(name), name, metavar="VALUE", help=meanings[name], hidden=name not in shown)(
                wrapped
            )
        return click.option(
            "--settings",
            "settings_file",
            metavar="FILE",
            help=f"TOML file with settings ({FILE_VARIABLE}). Every setting is a flag too: see tracker settings.",
        )(wrapped)

    return decorate


def start_logging(settings: Settings, logs: bool) -> None:
    """Log to stderr by level; a command that only asks something stays quiet, since its error says it all."""
    level = settings.log_level.upper() if logs else "CRITICAL"
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=level, force=True)
    if logs and settings.log_level == "info":
        logging.getLogger("aiokafka").setLevel(logging.WARNING)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
