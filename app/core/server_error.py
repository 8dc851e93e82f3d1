"""Errors of the servers that the platform stands on; each message is one line for the person who started it."""


class ServerError(Exception):
    """A server that is needed cannot be started or reached."""


class EmbeddedServerError(ServerError):
    """An embedded server cannot be started."""


class DatabaseUnreachableError(ServerError):
    """The database does not let us in, or does not answer."""
