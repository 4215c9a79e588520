"""Refuses the call for which the stack has no place: promptly, with `Retry-After`, and counted.

PJSUA knows four calls a process, and answers the fifth with a bare 486 before it tells anybody.
PJSIP below it passes each message through modules, tables of C functions in order of priority. The
gate is such a module, just before PJSUA's own. It uses PJSIP's exported functions and reads none of
its structures but lists and strings; where they are not exported, the bare 486 remains.
"""

import ctypes
from collections.abc import Callable

import pjsua2
import structlog

from agent.sip.call import reported
from agent.sip.options import CALLS_PER_PROCESS

_log = structlog.get_logger(__name__)

_PRIORITY = 63
"""Behind transactions (16) and dialogs (32), which keep what is theirs; PJSUA's is 64."""
_POOL_BYTES = 512
_INVITE = b"Request msg INVITE/"
"""How `pjsip_rx_data_get_info` begins to describe one."""

_Pointer, _Text = ctypes.c_void_p, ctypes.c_char_p
_OnRequest = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer)


class _Str(ctypes.Structure):
    """`pj_str_t`."""

    _fields_ = (("ptr", _Text), ("slen", ctypes.c_ssize_t))


class _Link(ctypes.Structure):
    """The two members that every PJLIB list element begins with."""

    _fields_ = (("prev", _Pointer), ("next", _Pointer))


class _Module(ctypes.Structure):
    """`pjsip_module`."""

    _fields_ = (
        ("link", _Link),
        ("name", _Str),
        ("id", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("load", _Pointer),
        ("start", _Pointer),
        ("stop", _Pointer),
        ("unload", _Pointer),
        ("on_rx_request", _OnRequest),
        ("on_rx_response", _Pointer),
        ("on_tx_request", _Pointer),
        ("on_tx_response", _Pointer),
        ("on_tsx_state", _Pointer),
    )


class Gate:
    """Before PJSUA; keep a reference until the stack is destroyed. One in a process, as PJSUA is.

    `status` is asked for the status to refuse with; `on_refused` is told of each refusal: its
    status, and what was refused, in PJSIP's words.
    """

    def __init__(
        self, retry_after_s: int, status: Callable[[], int], on_refused: Callable[[int, str], None]
    ) -> None:
        self._retry_after_s = retry_after_s
        self._status = status
        self._on_refused = on_refused

    def open(self) -> None:
        """Stand in the way of INVITEs from now on; after the stack's start."""
        library = ctypes.CDLL(pjsua2._pjsua2.__file__)  # noqa: SLF001 - loaded already: the bindings
        try:
            self._bind(library)
        except AttributeError as error:
            _log.warning("sip_gate_missing", reason=str(error))
            return
        name = b"earshot-gate"
        self._module = _Module(
            name=_Str(name, len(name)),
            id=-1,
            priority=_PRIORITY,
            on_rx_request=_OnRequest(self._on_request),
        )
        status = library.pjsip_endpt_register_module(self._endpoint, ctypes.byref(self._module))
        if status:
            _log.warning("sip_gate_missing", reason=f"PJSIP status {status}")

    def _bind(self, library: ctypes.CDLL) -> None:
        """Look up all that is needed, and make the list with the one header."""
        for function, result, arguments in (
            ("pjsua_get_pjsip_endpt", _Pointer, ()),
            ("pjsua_call_get_count", ctypes.c_uint, ()),
            ("pjsua_pool_create", _Pointer, (_Text, ctypes.c_size_t, ctypes.c_size_t)),
            ("pjsip_endpt_register_module", ctypes.c_int, (_Pointer, _Pointer)),
            ("pjsip_generic_string_hdr_create", _Pointer, (_Pointer, _Pointer, _Pointer)),
            ("pjsip_rx_data_get_info", _Text, (_Pointer,)),
            (
                "pjsip_endpt_respond_stateless",
                ctypes.c_int,
                (_Pointer, _Pointer, ctypes.c_int, _Pointer, _Pointer, _Pointer),
            ),
        ):
            symbol = getattr(library, function)
            symbol.restype, symbol.argtypes = result, arguments
        self._library = library
        self._endpoint = library.pjsua_get_pjsip_endpt()
        pool = library.pjsua_pool_create(b"earshot", _POOL_BYTES, _POOL_BYTES)
        name, value = b"Retry-After", str(self._retry_after_s).encode()
        header = library.pjsip_generic_string_hdr_create(
            pool, ctypes.byref(_Str(name, len(name))), ctypes.byref(_Str(value, len(value)))
        )
        self._headers = _Link(header, header)  # a ring of two: the list's head, and the header
        head = ctypes.addressof(self._headers)
        ring = _Link.from_address(header)
        ring.prev = ring.next = head

    def _on_request(self, message: int) -> int:
        """A request of no call and no transaction; answers whether it has been dealt with."""
        refused = False
        with reported("gate"):
            if self._library.pjsua_call_get_count() >= CALLS_PER_PROCESS:
                what: bytes = self._library.pjsip_rx_data_get_info(message)
                refused = what.startswith(_INVITE)
                if refused:
                    self._refuse(message, what.decode(errors="replace"))
        return refused

    def _refuse(self, message: int, what: str) -> None:
        status = self._status()
        headers = ctypes.byref(self._headers) if self._retry_after_s else None
        self._library.pjsip_endpt_respond_stateless(
            self._endpoint, message, status, None, headers, None
        )
        self._on_refused(status, what)
