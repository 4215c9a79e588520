"""The scripted caller, the lanes in which a scenario is played, and the runner of many."""

__all__ = ["cli", "pytest"]

if __name__ != "callerside.simulator":
    # In a checkout the folder simulator/ can be reached under that name, too; a module that is
    # loaded under two names has two of each of its classes.
    raise ImportError("this package is callerside.simulator", name=__name__)
