"""`tracker models`: the journey models that ship with the tracker, and help with one's own."""

from __future__ import annotations

import sys
from importlib import resources
from itertools import groupby
from pathlib import Path

import click
import msgspec

from tracker.commands.options import json_option
from tracker.commands.output import print_json, print_table
from tracker.errors import SettingError


def _warn(text: str) -> None:
    click.echo(f"Warning: {text}", err=True)


@click.group
def models() -> None:
    """Journey models: what ships with the tracker, and help with one's own. MODEL is the id of a built-in one or the
    path of a file."""


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the built-in models."""
    from tracker.journeys.loader import builtin, load

    loaded = [load(model) for model in builtin()]
    if as_json:
        print_json(
            [
                {
                    "id": model.id,
                    "version": model.version,
                    "language": model.language,
                    "name": model.name,
                    "phases": [phase.id for phase in model.phases],
                }
                for model in loaded
            ]
        )
    else:
        print_table(
            ("model", "version", "language", "name", "phases"),
            [(m.id, str(m.version), m.language, m.name, " → ".join(phase.name for phase in m.phases)) for m in loaded],
        )


@models.command
@click.argument("model")
@json_option
def show(model: str, as_json: bool) -> None:
    """Print a model's YAML, to begin one's own with; --json prints it as the tracker understands it."""
    from tracker.journeys.loader import builtin, load

    loaded = load(model, _warn)
    if as_json:
        print_json(msgspec.to_builtins(loaded))
    elif model in builtin():
        file = resources.files("tracker.journeys").joinpath(f"{model}.yaml")
        click.echo(file.read_text(encoding="utf-8"), nl=False)
    else:
        click.echo(Path(model).read_text(encoding="utf-8"), nl=False)


@models.command
@click.argument("models", nargs=-1, required=True, metavar="MODEL…")
def validate(models: tuple[str, ...]) -> None:
    """Check models; the first error is named with file, line, key and what is allowed (exit code 2)."""
    from tracker.journeys.loader import load_all
    from tracker.settings import load as load_settings

    for model in load_all(models, load_settings(warn=_warn).state_ttl, _warn):
        phases = " → ".join(phase.name for phase in model.phases)
        rules = ", ".join(rule.id for rule in model.rules) or "no drop-off rules"
        click.echo(f"{model.id} version {model.version} is valid: {phases}; {rules}.")


@models.command
@click.argument("model")
@click.option("--svg", "svg_file", type=click.Path(dir_okay=False, path_type=Path), help="Write an SVG file.")
def draw(model: str, svg_file: Path | None) -> None:
    """Draw a model as a state diagram, from the table that the engine runs on."""
    from tracker.journeys.draw import diagram, svg, text
    from tracker.journeys.loader import load

    drawn = diagram(load(model, _warn))
    if svg_file is None:
        click.echo(text(drawn))
        return
    try:
        svg_file.write_text(svg(drawn), encoding="utf-8")
    except OSError as error:
        raise SettingError(f"--svg {svg_file}: cannot be written: {error.strerror}") from None
    click.echo(f"{svg_file} written.")


@models.command
@click.argument("model")
@click.option("--language", metavar="LANGUAGE", help="`en` puts the English glosses first. [default: the model's own]")
def describe(model: str, language: str | None) -> None:
    """Describe a whole model as Markdown."""
    from tracker.journeys.describe import markdown
    from tracker.journeys.loader import load

    loaded = load(model, _warn)
    if language not in (None, "en", loaded.language):
        raise SettingError(f"--language is {language!r}; allowed: {loaded.language} (the model's own), en")
    click.echo(markdown(loaded, english=language == "en"), nl=False)


@models.command
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@json_option
def diff(old: str, new: str, as_json: bool) -> None:
    """Say what changed between two models; exit code 0 if they are the same, 1 if they differ."""
    from tracker.journeys.diff import changes, sentence
    from tracker.journeys.loader import load

    found = changes(load(old, _warn), load(new, _warn))
    if as_json:
        print_json(msgspec.to_builtins(found))
    else:
        for where, group in groupby(found, key=lambda change: change.where):
            lines = [sentence(change) for change in group]
            click.echo("\n".join([where, *(f"  {line}" for line in lines)]))
    if found:
        sys.exit(1)
