"""Log lines of the web process: JSON for a collector, coloured text for a person at a terminal."""

import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import Processor

from app.core.settings import LogFormat

# What these say at each start or request is of use to their own developers only.
_QUIET = ("uvicorn", "asyncio", "httpx", "casbin", "alembic")


def configure_logging(shape: LogFormat) -> None:
    """Send our own lines and those of the libraries through one renderer to standard error."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    if shape is LogFormat.JSON:
        ending: list[Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dumps),
        ]
    else:
        ending = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                timestamp_key="at",
                pad_event_to=0,
                # The rich ones show local variables: records and secrets have no place in a log.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    structlog.configure(
        processors=[*shared, structlog.processors.StackInfoRenderer(), *ending],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _dumps(value: Any, **_options: Any) -> str:
    return orjson.dumps(value, default=str).decode()
