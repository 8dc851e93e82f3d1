"""Encryption of secret fields at rest, with keys that can be rotated."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class SecretBox:
    """Encrypts with the first key and decrypts with any: put a new key in front to rotate."""

    def __init__(self, *keys: str) -> None:
        self._box = MultiFernet([Fernet(_derive(key)) for key in keys])

    def encrypt(self, text: str) -> bytes:
        return self._box.encrypt(text.encode())

    def decrypt(self, token: bytes) -> str:
        """Raises ValueError when no key fits."""
        try:
            return self._box.decrypt(token).decode()
        except InvalidToken:
            raise ValueError("the secret was encrypted with a key that is not configured any more") from None


def _derive(key: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(b"steps secret fields:" + key.encode()).digest())
