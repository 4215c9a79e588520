"""A fake Realtime server that hears: a product of its own, for any client of the API."""

__all__ = ["cli", "pytest_plugin", "recording", "script", "server", "session"]

if __name__ != "callerside.fakes":
    # In a checkout the folder fakes/ can be reached under that name, too; a module that is loaded
    # under two names has two of each of its classes.
    raise ImportError("this package is callerside.fakes", name=__name__)
