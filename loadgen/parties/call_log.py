"""Log the lines of one call, each with its number in the plan and its Call-ID. Secrets are masked."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

from trunkproof.loadgen.sip.mask import mask, mask_call_id


class CallLog(logging.LoggerAdapter[logging.Logger]):
    """Writes lines such as `call 17, attempt 1, 5e0c@127.0.0.43: ringing`.

    The arguments of a line and the Call-ID may be the peer's, so numbers, keys and credentials in them are masked.
    The call number is the plan's, and not a telephone number.
    """

    def __init__(self, logger: logging.Logger, call_id: str, *, call: int | None = None, attempt: int = 0) -> None:
        """Make a log. `call` and `attempt` are the plan's. An incoming call gets them later, from `of`."""
        super().__init__(logger, {})
        self._call_id, self._call, self._attempt = call_id, call, attempt

    def of(self, call: int, attempt: int) -> CallLog:
        """Return the log of the same call, now that the plan's row for it is known."""
        return CallLog(self.logger, self._call_id, call=call, attempt=attempt)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Put the call's identity before the line. It is called only for lines that are written."""
        number = "" if self._call is None else f"call {self._call}, attempt {self._attempt}, "
        return f"{number}{mask_call_id(self._call_id)}: {msg}", kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Write a line with masked arguments."""
        # Masking costs more than the line. Most lines are DEBUG, and nobody asks for them.
        if self.isEnabledFor(level):
            super().log(level, msg, *(mask(str(value)) for value in args), **kwargs)
