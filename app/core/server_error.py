"""The error of a server of ours that does not start or answer."""


class EmbeddedServerError(Exception):
    """An embedded server cannot be started or reached; the message is one line for the person who started it."""
