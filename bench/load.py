"""A load generator of few parts: keep-alive connections that send the next request when the last answer is there."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial


@dataclass
class Answer:
    status: int
    headers: bytes
    body: bytes


# Makes the next request of a connection, given its number and the answer to its last one.
Script = Callable[[int, Answer | None], bytes]


def request(method: str, path: str, *, body: bytes = b"", headers: str = "") -> bytes:
    """The bytes of one HTTP/1.1 request."""
    length = f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nhost: bench\r\n{headers}{length}\r\n".encode() + body


@dataclass
class _Connection(asyncio.Protocol):
    number: int
    script: Script
    ends: float
    accepted: int
    done: asyncio.Future[None]
    answered: int = 0
    _buffer: bytes = b""
    _transport: asyncio.Transport | None = None
    seconds: list[float] = field(default_factory=list)
    _sent: float = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send(None)

    def _send(self, last: Answer | None) -> None:
        assert self._transport is not None
        self._sent = time.perf_counter()
        self._transport.write(self.script(self.number, last))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        lower = head.lower()
        at = lower.find(b"content-length:")
        length = int(lower[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self._buffer = b""
        answer = Answer(int(head[9:12]), lower, rest)
        if answer.status != self.accepted:
            self._end(RuntimeError(f"{answer.status} instead of {self.accepted}: {rest[:500]!r}"))
            return
        now = time.perf_counter()
        self.answered += 1
        self.seconds.append(now - self._sent)
        if now >= self.ends:
            self.script(self.number, answer)  # it is told of every answer; what it would send next is not sent
            self._end(None)
        else:
            self._send(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(RuntimeError(f"the server closed the connection: {exc}"))

    def _end(self, error: Exception | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)
        if self._transport is not None:
            self._transport.close()


async def rate(
    port: int, script: Script, *, connections: int, seconds: float, accepted: int = 200
) -> tuple[float, float]:
    """Requests answered a second, and the median time of one in milliseconds.

    Raises:
        RuntimeError: an answer had another status than `accepted`.
    """
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    open_: list[_Connection] = []
    for number in range(connections):
        made = partial(_Connection, number, script, began + seconds, accepted, loop.create_future())
        _, connection = await loop.create_connection(made, "127.0.0.1", port)
        open_.append(connection)
    await asyncio.gather(*(connection.done for connection in open_))
    took = time.perf_counter() - began
    times = sorted(second for connection in open_ for second in connection.seconds)
    return sum(connection.answered for connection in open_) / took, times[len(times) // 2] * 1_000
