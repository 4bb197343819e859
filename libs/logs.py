"""Structured logs: one JSON object a line, with whatever is bound where the line is written (request id, job id)."""

import logging
import sys

import structlog

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def configure_logs(service: str, others: int = logging.INFO) -> None:
    """Write our lines and those of the standard library's loggers to stdout, as JSON of the same form.

    Ours do not go through the standard library: there is one for every request.

    Args:
        service: what every line says it comes from, unless it says so itself.
        others: the least level of lines that are not ours.
    """
    rendered: list[structlog.typing.Processor] = [_named(service), structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*_SHARED, *rendered],
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(level=others, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # RequestContext writes the access log
    for name in ("httpx2", "httpcore2", "botocore", "aiobotocore"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _named(service: str) -> structlog.typing.Processor:
    def add(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.setdefault("service", service)
        return event

    return add
