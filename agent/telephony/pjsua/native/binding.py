"""Modules of our own in PJSIP: C functions that see each message before PJSUA does.

PJSIP passes each message through its modules, tables of C functions in order of priority. Only
exported functions are used, and none of PJSIP's structures are read but lists and strings.
"""

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any

import pjsua2
import structlog

from callerside.agent.telephony.errors import SipError
from callerside.agent.telephony.in_dialog import Answer
from callerside.agent.telephony.pjsua.call import reported

_log = structlog.get_logger(__name__)

Pointer, Text = ctypes.c_void_p, ctypes.c_char_p
_OnMessage = ctypes.CFUNCTYPE(ctypes.c_int, Pointer)

Signature = tuple[str, Any, Sequence[Any]]
"""A function's name, what it returns, and what it takes."""


class Str(ctypes.Structure):
    """`pj_str_t`."""

    _fields_ = (("ptr", Text), ("slen", ctypes.c_ssize_t))


class ListNode(ctypes.Structure):
    """The two members that every PJLIB list element begins with."""

    _fields_ = (("prev", Pointer), ("next", Pointer))


class _Module(ctypes.Structure):
    """`pjsip_module`."""

    _fields_ = (
        ("link", ListNode),
        ("name", Str),
        ("id", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("load", Pointer),
        ("start", Pointer),
        ("stop", Pointer),
        ("unload", Pointer),
        ("on_rx_request", _OnMessage),
        ("on_rx_response", _OnMessage),
        ("on_tx_request", Pointer),
        ("on_tx_response", _OnMessage),
        ("on_tsx_state", Pointer),
    )


_READ = "_ZN2pj9SipRxData6fromPjER13pjsip_rx_data"
READ: Signature = (_READ, None, (Pointer, Pointer))
"""`pj::SipRxData::fromPj(pjsip_rx_data &)`, of PJSUA2: what `StackModule.read` needs."""

_HEADER_BYTES = 512

POOL: Signature = ("pjsua_pool_create", Pointer, (Text, ctypes.c_size_t, ctypes.c_size_t))
"""What `StackModule.new_pool` needs."""
RELEASE: Signature = ("pj_pool_release", None, (Pointer,))
HEADER: Signature = ("pjsip_generic_string_hdr_create", Pointer, (Pointer, Pointer, Pointer))
"""What `StackModule.headers` needs, besides `POOL`."""

_COMMON: Sequence[Signature] = (
    ("pjsua_get_pjsip_endpt", Pointer, ()),
    ("pjsip_endpt_register_module", ctypes.c_int, (Pointer, Pointer)),
    ("pjsip_rx_data_get_info", Text, (Pointer,)),
    ("pjsip_tx_data_get_info", Text, (Pointer,)),
    (
        "pjsip_endpt_respond_stateless",
        ctypes.c_int,
        (Pointer, Pointer, ctypes.c_int, Pointer, Pointer, Pointer),
    ),
)


class StackModule:
    """One module; keep a reference until the stack is destroyed. One of a kind in a process."""

    name: bytes
    priority: int
    needs: Sequence[Signature] = ()
    """Functions beyond the common ones."""
    sees_responses = False
    """Whether it is to see responses, too."""
    sees_answers = False
    """Whether it is to see those that leave."""
    is_needed = False
    """Whether there is nothing to be done without it."""

    def open(self) -> None:
        """See each message from now on; after the stack's start.

        Where PJSIP's functions are not exported, nothing is seen, and that is said.

        Raises:
            SipError: so it is with a module that is needed.
        """
        try:
            library = bound((*_COMMON, *self.needs))
        except AttributeError as error:
            self._is_missing(str(error))
            return
        self.library = library
        self.endpoint = library.pjsua_get_pjsip_endpt()
        self.prepare()
        callback = _OnMessage(self._on_message)
        self._module = _Module(
            name=Str(self.name, len(self.name)),
            id=-1,
            priority=self.priority,
            on_rx_request=callback,
        )
        if self.sees_responses:
            self._module.on_rx_response = callback
        if self.sees_answers:
            self._module.on_tx_response = self._on_leaving = _OnMessage(self._on_answer)
        status = library.pjsip_endpt_register_module(self.endpoint, ctypes.byref(self._module))
        if status:
            self._is_missing(f"PJSIP status {status}")

    def prepare(self) -> None:
        """Make what `deal_with` needs; the library is there."""

    def deal_with(self, message: int) -> bool:
        """A message (`pjsip_rx_data *`); returns whether nothing else is to be done about it."""
        raise NotImplementedError

    def on_answer(self, described: bytes) -> None:
        """A response leaves; in PJSIP's words, `Response msg 200/INVITE/cseq=1 (...)`."""

    def describe(self, message: int) -> bytes:
        """A message in PJSIP's words: `Request msg INVITE/cseq=1 (rdata...)`."""
        info: bytes = self.library.pjsip_rx_data_get_info(message)
        return info

    def read(self, message: int) -> Any:
        """A message as PJSUA2 has it, a `pjsua2.SipRxData`; for those that need `READ`."""
        data: Any = pjsua2.SipRxData()
        getattr(self.library, _READ)(ctypes.c_void_p(int(data.this)), message)
        return data

    def respond(self, message: int, status: int, headers: ListNode | None = None) -> None:
        """Answer a request, with a list of headers if there is one, and forget it."""
        listed = None if headers is None else ctypes.byref(headers)
        self.library.pjsip_endpt_respond_stateless(
            self.endpoint, message, status, None, listed, None
        )

    def answer(self, message: int, answer: Answer) -> None:
        """The same, with headers of its own; for those that need `POOL`, `HEADER` and `RELEASE`."""
        if not answer.headers:
            self.respond(message, answer.status)
            return
        pool = self.new_pool(_HEADER_BYTES)
        made = (self._header(name.encode(), value.encode(), pool) for name, value in answer.headers)
        self.respond(message, answer.status, ring_of(*made))
        self.library.pj_pool_release(pool)

    def new_pool(self, size_bytes: int) -> int:
        """Memory of PJSIP's, for as long as the stack lives; for those that need `POOL`."""
        pool: int = self.library.pjsua_pool_create(b"callerside", size_bytes, size_bytes)
        return pool

    def headers(self, named: Iterable[tuple[str, str]]) -> ListNode:
        """A list of headers, by name and value, for `respond`; for as long as the stack lives."""
        pool = self.new_pool(_HEADER_BYTES)
        return ring_of(
            *(self._header(name.encode(), value.encode(), pool) for name, value in named)
        )

    def _header(self, name: bytes, value: bytes, pool: int) -> int:
        made: int = self.library.pjsip_generic_string_hdr_create(
            pool,
            ctypes.byref(Str(name, len(name))),
            ctypes.byref(Str(value, len(value))),
        )
        return made

    def _is_missing(self, reason: str) -> None:
        if self.is_needed:
            raise SipError(
                f"{self.name.decode()} cannot stand before PJSUA ({reason}): without it calls "
                f"could not be refused safely. Install pjsua2-python as packaged on PyPI"
            )
        _log.warning("sip_module_missing", module=self.name.decode(), reason=reason)

    def _on_message(self, message: int) -> int:
        dealt_with = False
        with reported(self.name.decode()):
            dealt_with = self.deal_with(message)
        return dealt_with  # noqa: RET504 - false where it failed: then it is PJSUA's business

    def _on_answer(self, answer: int) -> int:
        with reported(self.name.decode()):
            self.on_answer(self.library.pjsip_tx_data_get_info(answer))
        return 0


def bound(functions: Iterable[Signature]) -> Any:
    """The library of the bindings, with these functions as they are called.

    Raises:
        AttributeError: one of them is not exported.
    """
    library = ctypes.CDLL(pjsua2._pjsua2.__file__)  # noqa: SLF001 - loaded already: the bindings
    for function, result, arguments in functions:
        symbol = getattr(library, function)
        symbol.restype, symbol.argtypes = result, arguments
    return library


def is_method(described: bytes, method: bytes) -> bool:
    """Whether a request, as `StackModule.describe` has it, is of this method."""
    return described.startswith(b"Request msg " + method + b"/")


def ring_of(*headers: int) -> ListNode:
    """A PJLIB list of headers, of which each may stand in one list only; keep what is returned."""
    head = ListNode()
    ring = [ctypes.addressof(head), *headers]
    for before, here, behind in zip(ring[-1:] + ring[:-1], ring, ring[1:] + ring[:1], strict=True):
        link = ListNode.from_address(here)
        link.prev, link.next = before, behind
    return head
