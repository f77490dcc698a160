"""Logs: one JSON object a line, events by name, never a secret, a card or a body.

Money gateways, tokens and databases all have secrets in their URLs and headers, so only named fields are logged.
"""

import logging
import sys

import structlog

__all__ = ["configure"]


def configure(*, pretty: bool) -> None:
    """Logs go to standard error: readable for a person at a terminal, JSON for everything else."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if pretty else structlog.processors.JSONRenderer()
    )
    about: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*about, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, handlers=[_of_the_standard_library(about, renderer)])


def _of_the_standard_library(
    about: list[structlog.typing.Processor], renderer: structlog.typing.Processor
) -> logging.Handler:
    """The core and the libraries write with `logging`; their lines look like all others."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*about, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    return handler
