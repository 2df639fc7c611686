"""The command line: `tracker COMMAND`. Each command is a file in `tracker/commands`; this one only gathers them.

Exit codes: 0 done, 1 failed (a dependency is away, a record is bad), 2 wrong usage, setting or model.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import click

from tracker.commands.dead_letters import dead_letters
from tracker.commands.demo import demo
from tracker.commands.dialects import dialects
from tracker.commands.erase import erase
from tracker.commands.journey import journey
from tracker.commands.models import models
from tracker.commands.recover import recover
from tracker.commands.replay import replay
from tracker.commands.schemas import schemas
from tracker.commands.settings import settings
from tracker.commands.topics import topics
from tracker.commands.unmerge import unmerge
from tracker.commands.worker import worker
from tracker.errors import SettingError, TrackerError


def _version() -> str:
    try:
        return version("journey-tracker")
    except PackageNotFoundError:
        return "from a checkout that is not installed"


class Failure(click.ClickException):
    """An error as one line and an exit code."""

    def __init__(self, error: TrackerError) -> None:
        super().__init__(str(error))
        self.exit_code = 2 if isinstance(error, SettingError) else 1


class Commands(click.Group):
    """Shows the tracker's own errors without a traceback; any other error is a bug and keeps its own."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TrackerError as error:
            raise Failure(error) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(_version(), prog_name="tracker")
def main() -> None:
    """Where every customer of a webshop is on their journey, in real time: Kafka in, Redis state, Kafka out.

    Begin with `tracker demo`. Every setting is an environment variable, a key of a TOML file and a flag of the
    commands that use it: `tracker settings` lists them.
    """


for command in (
    demo, topics, worker, replay, journey, erase, models, dialects, dead_letters, recover, schemas, unmerge,
    settings,
):  # fmt: skip
    main.add_command(command)

if __name__ == "__main__":
    main()
