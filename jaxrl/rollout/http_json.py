"""JSON over HTTP: one exchange by a deadline, and patience with a busy server."""

import contextlib
import http.client
import json
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

CHUNK = 2**16
"""Bytes read at once, between two looks at the clock."""
TOO_MANY_REQUESTS = 429


class StatusError(Exception):
    """An answer whose status is not 200.

    Attributes:
      status: HTTP status.
    """

    def __init__(self, status: int, explanation: str):
        """Keep the status and what the server says about it."""
        super().__init__(f"HTTP {status}: {explanation}")
        self.status = status

    @property
    def passing(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status == TOO_MANY_REQUESTS or self.status >= 500


def exchange(
    url: str, *, body: Any = None, headers: Mapping[str, str], expires: float
) -> Any:
    """Send a request and parse the answer.

    Goes straight to the host: no proxy, no redirect.

    Args:
      url: http or https.
      body: JSON to POST; None sends a GET.
      headers: Of the request.
      expires: Value of `time.monotonic` at which to give up.

    Returns:
      The answer's JSON.

    Raises:
      StatusError: If the status is not 200.
      TimeoutError: If there is no whole answer in time.
      OSError: If there is no connection, or it ends early.
      http.client.HTTPException: If the answer is no HTTP.
      ValueError: If the answer is no JSON.
    """
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_left(expires))
    sent = None if body is None else json.dumps(body).encode()
    kinds = {"Content-Type": "application/json", "Accept": "application/json"}
    with contextlib.closing(connection):
        connection.request(
            "GET" if sent is None else "POST", parts.path, sent, {**kinds, **headers}
        )
        # `getresponse` drops its own reference where the server closes.
        socket = connection.sock
        socket.settimeout(_left(expires))
        received = bytearray()
        with connection.getresponse() as response:
            while chunk := response.read1(CHUNK):
                received += chunk
                socket.settimeout(_left(expires))
            missing = response.length
    if missing:
        raise ConnectionError(f"the answer ends {missing} bytes early")
    if response.status != http.client.OK:
        raise StatusError(response.status, received.decode(errors="replace"))
    return json.loads(received)


def persistently(
    call: Callable[[], Any], *, attempts: int, wait: float, expires: float
) -> Any:
    """Call again after what may pass: 429, 5xx, no connection.

    Args:
      call: One exchange.
      attempts: Calls at most.
      wait: Seconds before the second call; doubled before each further one.
      expires: Value of `time.monotonic` after which there is no further call.

    Returns:
      What the call returned; raises what its last attempt raised.
    """
    for attempt in range(attempts):
        try:
            return call()
        except (StatusError, OSError, http.client.HTTPException) as error:
            lasting = isinstance(error, StatusError) and not error.passing
            pause = wait * 2**attempt
            late = time.monotonic() + pause >= expires
            if lasting or late or attempt + 1 == attempts:
                raise
            time.sleep(pause)
    raise ValueError(f"attempts is {attempts}; give at least 1")


def _left(expires: float) -> float:
    """Seconds until then; an error if there are none."""
    left = expires - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline has passed")
    return left
