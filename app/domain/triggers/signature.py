"""Signatures of calls from outside, by the Standard Webhooks scheme: HMAC-SHA256 over id, time and body. Pure.

webhook-id: msg_2f8...          the delivery; the same one counts once
webhook-timestamp: 1792000000   seconds since 1970; at most five minutes off
webhook-signature: v1,BASE64    of "id.timestamp.body"; several with a space between, while a secret is changed
"""

import base64
import binascii
import hashlib
import hmac
import re
from datetime import datetime, timedelta

TOLERANCE = timedelta(minutes=5)
PREFIX = "whsec_"
SHORTEST_SECRET = 24
_DELIVERY = re.compile(r"[\x21-\x7e]{1,150}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)


class BadSignature(Exception):
    """The call is not by who has the secret, or not of now; the text says which."""


def key_of(secret: str) -> bytes:
    """The key of a secret; `whsec_` is followed by base64. Raises ValueError."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("after whsec_ stands base64") from None


def sign(secret: str, *, delivery: str, timestamp: int, body: bytes) -> str:
    """What a sender writes into `webhook-signature`."""
    digest = hmac.new(key_of(secret), f"{delivery}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def require_signed(secret: str, *, delivery: str, timestamp: str, signatures: str, body: bytes, now: datetime) -> None:
    """Refuse a call that the holder of the secret has not just sent. `now` is the real time.

    Raises:
        BadSignature: with what is wrong.
    """
    if not _DELIVERY.fullmatch(delivery):
        raise BadSignature("the header webhook-id is missing: 1 to 150 visible characters that name the delivery")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise BadSignature("the header webhook-timestamp is missing: seconds since 1970")
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE.total_seconds():
        raise BadSignature("the header webhook-timestamp is more than five minutes away from now")
    wanted = sign(secret, delivery=delivery, timestamp=int(timestamp), body=body)
    # Each is compared in full, so that the time it takes says nothing.
    fits = [hmac.compare_digest(given.encode(), wanted.encode()) for given in signatures.split()[:10]]
    if not any(fits):
        raise BadSignature(
            "the header webhook-signature does not fit: v1, and the base64 of HMAC-SHA256 over id.timestamp.body"
        )
