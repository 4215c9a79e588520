"""The loop wakes for SIP's sockets and for RTP's, and for none that has been taken out."""

import asyncio
import socket

from callerside.agent.telephony.pjsua.readers import Readers


def udp() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("127.0.0.1", 0))
    return opened


def send_to(one: socket.socket) -> None:
    with udp() as other:
        other.sendto(b"hello", one.getsockname())


async def test_each_kind_has_its_callback_and_what_is_removed_has_none() -> None:
    readers, woken = Readers(), list[str]()
    with udp() as sip, udp() as rtp:
        readers.add_bound(sip.getsockname()[1], socket.SOCK_DGRAM)

        def on_sip() -> None:
            woken.append("sip")
            sip.recv(100)

        def on_media() -> None:
            woken.append("media")
            rtp.recv(100)

        readers.open(asyncio.get_running_loop(), on_sip)
        readers.add_media(rtp.fileno(), on_media)
        send_to(sip)
        await asyncio.sleep(0.05)
        send_to(rtp)
        await asyncio.sleep(0.05)
        assert woken == ["sip", "media"]
        readers.remove_media(rtp.fileno())
        readers.remove_bound(sip.getsockname()[1])
        send_to(sip)
        send_to(rtp)
        await asyncio.sleep(0.05)
        assert woken == ["sip", "media"]
        readers.forget()
        readers.forget()


async def test_a_port_that_is_tried_and_given_up_leaves_the_others_to_come() -> None:
    """Of UDP and TCP the second may find its port taken: both are tried again elsewhere."""
    readers, woken = Readers(), list[str]()
    with udp() as tried, udp() as rtp:
        readers.add_bound(tried.getsockname()[1], socket.SOCK_DGRAM)
        readers.forget()

        def on_media() -> None:
            woken.append("media")
            rtp.recv(100)

        readers.open(asyncio.get_running_loop(), lambda: woken.append("sip"))
        readers.add_media(rtp.fileno(), on_media)
        send_to(tried)
        send_to(rtp)
        await asyncio.sleep(0.05)
        assert woken == ["media"]
        readers.remove_media(rtp.fileno())
