"""Structured logs: one JSON object a line, with the request id, never a customer id or an input value."""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

import orjson

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
# What every record carries anyway; the rest came in through `extra` and is ours to write.
STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
BENTOML_REQUEST_LOGGER = "bentoml._internal.server.http_app"


class JsonFormatter(logging.Formatter):
    """Formats a record, its `extra` fields and its request id as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            entry["request_id"] = request_id
        entry |= {name: value for name, value in vars(record).items() if name not in STANDARD_FIELDS}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str).decode()


def hide_rejected_input(record: logging.LogRecord) -> bool:
    """Logging filter: BentoML logs a refused request with a traceback that quotes the input; keep a line."""
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and type(error).__name__ == "ValidationError":
        record.exc_info = None
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.msg, record.args = "a native request was refused: its input does not fit the schema", ()
    return True


def configure_logs(level: str) -> None:
    """Send the logs of `serving` to standard error as JSON lines from this level on; safe to call again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("serving")
    logger.handlers = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
    bentoml = logging.getLogger(BENTOML_REQUEST_LOGGER)
    if hide_rejected_input not in bentoml.filters:
        bentoml.addFilter(hide_rejected_input)
