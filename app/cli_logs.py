"""The commands for event logs: replay one through a lifecycle, write one from what happened."""

import asyncio
from collections.abc import Coroutine
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
import typer
from rich.console import Console

from app.core.embedded import start_or_join
from app.core.errors import StepsError
from app.core.progress import Progress
from app.core.settings import Settings, load_settings
from app.progress_bars import ProgressBars

T = TypeVar("T")
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


class LogFormat(StrEnum):
    XES = "xes"
    OCEL = "ocel"


def replay(
    log: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Event log in XES, plain or .gz.")],
    definition: Annotated[
        Path, typer.Option("--definition", exists=True, dir_okay=False, help="YAML of an entity with its lifecycle.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON and nothing else.")] = False,
) -> None:
    """Put an event log through the steps of an entity's lifecycle; goes on where it was broken off."""
    settings = load_settings()
    with start_or_join(settings, redis=False) as servers, ProgressBars(err, quiet=as_json) as bars:
        settings = settings.model_copy(update={"database_url": servers.database_url})
        counts = _reported(_replay(settings, log, definition, bars))
    if as_json:
        typer.echo(orjson.dumps(counts, option=orjson.OPT_INDENT_2).decode())
        return
    refused: dict[str, int] = counts.pop("refused_by")
    for name, value in counts.items():
        out.print(f"{name.replace('_', ' '):<12}{value:>10,}")
    for what, count in sorted(refused.items(), key=lambda item: -item[1]):
        out.print(f"{count:>10,}  {what}", markup=False)


async def _replay(settings: Settings, log: Path, definition: Path, progress: Progress) -> dict[str, Any]:
    from app.bootstrap import build
    from app.core.db import create_engine
    from app.core.errors import InvalidRequest
    from app.core.migrations import upgrade_async
    from app.core.site_entities import install
    from app.domain.mining.replay import replay as put_through
    from models.loader import DefinitionError, load_entity

    try:
        entity = load_entity(await asyncio.to_thread(definition.read_text, "utf-8"), source=definition.name)
    except (DefinitionError, UnicodeDecodeError) as error:
        raise InvalidRequest(str(error)) from error
    if not entity.lifecycles:
        raise InvalidRequest(f"{definition.name} has no `lifecycle:`, so there is nothing to replay a log on.")
    url = settings.database_url or ""
    await upgrade_async(url)
    engine = create_engine(url)
    try:
        await install(engine, [entity])
    finally:
        await engine.dispose()
    runtime = await build(settings)
    try:
        return (await put_through(runtime, log=log, entity=entity.name, progress=progress)).plain()
    finally:
        await runtime.aclose()


def export_xes(
    target: Annotated[Path, typer.Argument(help="File to write; with .gz at the end it is compressed.")],
    entity: Annotated[str | None, typer.Option("--entity", help="Name of an entity: one case for each record.")] = None,
    workflow: Annotated[str | None, typer.Option("--workflow", help="Code of a workflow: a case for each run.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="First date of the events, such as 2026-01-31.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Last date of the events.")] = None,
    *,
    format_: Annotated[LogFormat, typer.Option("--format", help="XES (IEEE 1849) or OCEL 2.0 (JSON).")] = LogFormat.XES,
) -> None:
    """Write the history of an entity's records or of a workflow's runs, for tools that read event logs."""
    if (entity is None) == (workflow is None):
        raise typer.BadParameter("name either --entity or --workflow")
    period = (_day(since, "--since"), _day(until, "--until"))
    settings = load_settings()
    with start_or_join(settings, redis=False) as servers:
        settings = settings.model_copy(update={"database_url": servers.database_url})
        cases, events = _reported(_export(settings, target, (entity, workflow), period, format_))
    out.print(f"{target}: {cases:,} cases, {events:,} events", markup=False)


async def _export(
    settings: Settings,
    target: Path,
    of: tuple[str | None, str | None],
    period: tuple[date | None, date | None],
    format_: LogFormat,
) -> tuple[int, int]:
    from app.bootstrap import build
    from app.core.actor import system_actor
    from app.domain.mining.export import export_log

    runtime = await build(settings)
    try:
        async with runtime.uow(system_actor("Command line")) as uow:
            return await export_log(
                uow, target=target, entity=of[0], workflow=of[1], period=period, ocel=format_ is LogFormat.OCEL
            )
    finally:
        await runtime.aclose()


def _day(text: str | None, option: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise typer.BadParameter(f"{option} is a date such as 2026-01-31, not {text!r}") from None


def _reported(work: Coroutine[Any, Any, T]) -> T:
    """Run it; an error that a person can mend ends the command with one line."""
    try:
        return asyncio.run(work)
    except StepsError as error:
        err.print(f"steps: {error.detail}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
