"""What SIP over TLS is given: certificates, looked at before a stack gets them.

Both engines carry an OpenSSL that nobody mends any more. So it is for a trunk that is known: who
may not call does not get as far as TLS (`peers_filter`), and what is public ends in a proxy.
"""

import ssl
from pathlib import Path

from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.options import SipAccount, SipOptions, TlsOptions

_SYSTEM_CAS = Path("/etc/ssl/certs/ca-certificates.crt")
"""Where OpenSSL is built without a default."""

_OUTGOING = TlsOptions(verify="servers")
"""Of whoever connects by TLS and was told nothing of it."""


def tls_of(options: SipOptions) -> TlsOptions:
    """What a stack is to use: its own, or its account's."""
    return options.tls or tls_of_account(options.account)


def tls_of_account(account: SipAccount | None) -> TlsOptions:
    """How whoever places calls connects."""
    return (account.tls if account is not None else None) or _OUTGOING


def needs_tls(options: SipOptions) -> bool:
    """Whether a stack listens with TLS, or is told how to connect by it."""
    account = options.account
    told = options.tls is not None or (account is not None and account.tls is not None)
    over = {*options.transports, *([account.transport] if account is not None else [])}
    return told or "tls" in over


def ways_out(options: SipOptions) -> frozenset[str]:
    """The transports by which a stack can send, of "udp", "tcp", "tls"."""
    return frozenset((*options.transports, *(["tls"] if needs_tls(options) else [])))


def ca_file(tls: TlsOptions) -> Path:
    """Who is trusted."""
    found = ssl.get_default_verify_paths().cafile
    return tls.ca or (Path(found) if found else _SYSTEM_CAS)


def check_files(tls: TlsOptions) -> None:
    """See that certificates can be used; a stack would say so much later, or not at all.

    Raises:
        SipError: one cannot be; says which, and why.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.certificate is not None:
        names = str(tls.certificate) + (f" and {tls.key}" if tls.key else "")
        try:
            context.load_cert_chain(tls.certificate, tls.key, password=_no_password)
        except (OSError, ValueError) as error:
            raise SipError(
                f"sip.tls.certificate: {names}: {_why(error)}; expected a certificate in PEM and "
                "its own key, without a password"
            ) from None
    elif tls.key is not None:
        raise SipError("sip.tls.key: there is no sip.tls.certificate that it belongs to")
    if tls.verify != "nobody":
        path = ca_file(tls)
        try:
            context.load_verify_locations(path)
        except (OSError, ValueError) as error:
            raise SipError(
                f"sip.tls.ca: {path}: {_why(error)}; expected the certificates, in PEM, that those "
                "of the other side are signed with"
            ) from None


def client_context(tls: TlsOptions) -> ssl.SSLContext:
    """The same for Python's own sockets.

    Raises:
        SipError: see `check_files`.
    """
    check_files(tls)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if tls.verify == "nobody":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.load_verify_locations(ca_file(tls))
    if tls.certificate is not None:
        context.load_cert_chain(tls.certificate, tls.key)
    return context


def pem_of(tls: TlsOptions) -> bytes:
    """Our certificate, and behind it its key.

    Raises:
        OSError: it cannot be read.
    """
    assert tls.certificate is not None  # noqa: S101 - see `SipOptions`
    whole = tls.certificate.read_bytes()
    return whole if tls.key is None else whole.rstrip() + b"\n" + tls.key.read_bytes()


def _no_password() -> str:
    raise ValueError("the key has a password")


def _why(error: Exception) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)
