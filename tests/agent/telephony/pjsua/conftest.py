"""Tests of what is written for PJSUA2, which has no wheel above Python 3.12."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("pjsua2") else ["*"]
