# SPDX-License-Identifier: Apache-2.0
"""JSON lines on standard output: one per decision, without tokens, keys or contents."""

from __future__ import annotations

import json
import logging
import sys
from typing import Final

_LOGGER: Final = logging.getLogger("evidencerun")


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **fields,
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure() -> None:
    """Send all logging of this process to standard output as JSON lines, in UTC."""
    import time

    handler = logging.StreamHandler(sys.stdout)
    formatter = _JsonLines()
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    _LOGGER.setLevel(logging.INFO)


def note(event: str, **fields: object) -> None:
    """Log a decision."""
    _LOGGER.info(event, extra={"fields": fields})


def warn(event: str, **fields: object) -> None:
    """Log something that an administrator should look at."""
    _LOGGER.warning(event, extra={"fields": fields})


def failed(event: str, fault: BaseException, **fields: object) -> None:
    """Log an error that nobody foresaw, with its trace."""
    _LOGGER.error(event, extra={"fields": fields}, exc_info=fault)
