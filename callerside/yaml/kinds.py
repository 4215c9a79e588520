"""Which kind of file one is, by its keys: for whoever gave a command a file of another one's."""

from collections.abc import Mapping

from callerside.yaml.source import Source, YamlError
from callerside.yaml.versions import Kind

OWN_KEYS: Mapping[Kind, frozenset[str]] = {
    "scenario": frozenset({
        "about", "after", "agent", "agent_ends", "budget", "caller", "callers", "judged_by",
        "known_failure", "lanes", "meanwhile", "network", "never", "repeat", "steps", "tags",
        "target", "time_limit",
    }),
    "settings": frozenset({
        "answers", "beep", "drain", "dtmf", "failure", "http", "instructions", "limits", "logs",
        "playout", "privacy", "recordings", "records", "retention", "routes", "sip", "timeline",
        "tools", "turns", "voice", "workers",
    }),
    "script": frozenset({
        "chaos", "commits", "context_tokens", "default_reply", "dialect", "faults", "mcp", "path",
        "prompts", "replies", "seed", "timing", "vad",
    }),
    "account": frozenset({
        "auth_user", "caller_id", "display_name", "domain", "expires_s", "headers",
        "outbound_proxy", "realm", "registrar", "srtp", "tls", "transport", "user",
    }),
}  # fmt: skip
"""On the first level of a file of one kind, and of no other."""

_IS_READ_BY: Mapping[Kind, str] = {
    "scenario": "a scenario: callerside run {path} plays it",
    "settings": "settings of callerside-agent's: callerside-agent serve --config {path} reads them",
    "script": "a script of fake-realtime's: fake-realtime serve --script {path} reads it",
    "account": "an account of the caller's: callerside run ... --agent sip:... --account {path} "
    "reads it",
}

_NAMES: Mapping[Kind, str] = {
    "scenario": "scenario",
    "settings": "file of the agent's settings",
    "script": "script",
    "account": "account",
}


def see_that_it_is(source: Source, kind: Kind) -> None:
    """See that a file is of the kind that is expected, as far as its keys tell.

    Raises:
        YamlError: it has keys that only another kind has, and none that only this one has.
    """
    keys = set(map(str, source.data)) if isinstance(source.data, Mapping) else set()
    told = [one for one, own in OWN_KEYS.items() if own & keys]
    if len(told) == 1 and told[0] != kind:
        what = _IS_READ_BY[told[0]].format(path=source.path)
        raise YamlError(f"{source.path}:1:1: this is no {_NAMES[kind]}, but {what}")
