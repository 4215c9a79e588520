"""Numbers and pages: from marks and a recording to metrics, verdicts and HTML."""

__all__ = ["cli", "evidence", "formats", "hearing", "metrics", "pages", "sound", "verdict"]

if __name__ != "callerside.reports":
    # In a checkout the folder reports/ can be reached under that name, too; a module that is loaded
    # under two names has two of each of its classes.
    raise ImportError("this package is callerside.reports", name=__name__)
