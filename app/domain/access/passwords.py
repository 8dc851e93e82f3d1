"""Passwords: what is accepted, how they are hashed and verified. Hashing runs off the event loop."""

import asyncio
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from app.core.errors import FieldProblem, ValidationFailed

# OWASP's second recommendation for argon2id: 19 MiB, two passes, one lane.
HASHER = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))

PERSON_LENGTH = 12
DEMO_LENGTH = 8
LONGEST = 256  # a longer text only costs us time
DISTINCT_CHARACTERS = 5

# Words that the most used passwords of this length are made of. What is left after they and all digits and signs are
# taken out of a password must not be nothing.
COMMON_PARTS = (
    "password", "passwort", "passw0rd", "p@ssw0rd", "qwertyuiop", "qwertzuiop", "qwerty", "qwertz", "asdfghjkl",
    "asdfgh", "zxcvbnm", "yxcvbnm", "abcdefghijkl", "abcdef", "abc", "letmein", "welcome", "willkommen", "iloveyou",
    "administrator", "admin", "changeme", "change", "secret", "geheim", "summer", "winter", "spring", "autumn",
    "sommer", "herbst", "monkey", "dragon", "football", "baseball", "sunshine", "princess", "superman", "batman",
    "master", "login", "steps", "test", "user", "hello", "hallo", "default", "trustno", "1q2w3e4r", "1qaz2wsx", "me",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the password fits; `rehashed` is its new hash where the stored one has outdated parameters."""

    fits: bool
    rehashed: str | None = None


async def hash_password(password: str) -> str:
    """Return the argon2id hash, salt and parameters included."""
    return await asyncio.to_thread(HASHER.hash, _bytes(password))


async def verify_password(password: str, stored: str | None) -> Verdict:
    """Tell whether the password fits the stored hash. Without one the same work is done, and the answer is no."""
    if len(password) > LONGEST:
        password, stored = "", None
    return await asyncio.to_thread(_verify, _bytes(password), stored)


def password_problems(
    password: str, *, email: str = "", name: str = "", shortest: int = PERSON_LENGTH, path: str = "password"
) -> Sequence[FieldProblem]:
    """Say what keeps the password from being accepted; empty where nothing does."""
    if len(password) < shortest:
        return [FieldProblem(path, f"is {len(password)} characters long; use at least {shortest}", "too_short")]
    if len(password) > LONGEST:
        return [FieldProblem(path, f"is {len(password)} characters long; use at most {LONGEST}", "too_long")]
    if shortest < PERSON_LENGTH:
        return []
    plain = unicodedata.normalize("NFKC", password).casefold()
    local = email.casefold().partition("@")[0]
    if any(own and own in plain for own in (email.casefold(), local if len(local) > 3 else "")):
        return [FieldProblem(path, "contains your e-mail address; choose another", "too_easy")]
    if name and name.casefold().replace(" ", "") in plain.replace(" ", ""):
        return [FieldProblem(path, "contains your name; choose another", "too_easy")]
    if _is_common(plain):
        return [FieldProblem(path, "is among the first that an attacker tries; choose another", "too_easy")]
    return []


def check_password(
    password: str, *, email: str = "", name: str = "", shortest: int = PERSON_LENGTH, path: str = "password"
) -> None:
    """Refuse a password that the policy does not accept.

    Raises:
        ValidationFailed: it is too short, too long, too easy, or contains the e-mail address or name.
    """
    problems = password_problems(password, email=email, name=name, shortest=shortest, path=path)
    if problems:
        raise ValidationFailed(problems)


def random_password() -> str:
    """Return a password of 128 random bits for someone who will choose their own."""
    return secrets.token_urlsafe(16)


def _verify(password: bytes, stored: str | None) -> Verdict:
    if stored is None:
        HASHER.verify(password, _decoy())
        return Verdict(False)
    try:
        return Verdict(*HASHER.verify_and_update(password, stored))
    except UnknownHashError:
        HASHER.verify(password, _decoy())
        return Verdict(False)


_DECOYS: list[str] = []


def _decoy() -> str:
    """A hash of an unknown password with today's parameters, so that verifying it takes as long as a real one."""
    if not _DECOYS:
        _DECOYS.append(HASHER.hash(secrets.token_bytes(32)))
    return _DECOYS[0]


def _bytes(password: str) -> bytes:
    # One text, one hash, whichever keyboard composed its accents. Lone surrogates must not end in an error.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _is_common(plain: str) -> bool:
    if len(set(plain)) < DISTINCT_CHARACTERS:
        return True
    rest = plain
    for part in sorted(COMMON_PARTS, key=len, reverse=True):
        rest = rest.replace(part, "")
    return not any(character.isalpha() for character in rest)
