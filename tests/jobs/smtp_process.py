"""An SMTP server as a process of its own, so that it can be killed: each mail it takes is one line of a file.

Run as `python -m tests.jobs.smtp_process PORT FILE`.
"""

import asyncio
import os
import sys
from email import message_from_bytes, policy
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class Taker:
    """Writes `recipient message-id` before it says that it has taken a mail."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        message = message_from_bytes(content, policy=policy.default)
        os.write(self._file, f"{envelope.rcpt_tos[0]} {message['Message-ID']}\n".encode())
        return "250 OK"


async def main(port: int, file: Path) -> None:
    taker = Taker(file)
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(taker), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2])))
