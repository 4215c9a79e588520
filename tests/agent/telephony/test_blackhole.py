"""A port in the black hole sends nothing, hears nothing, and stays taken."""

import socket

import pytest

from callerside.agent.telephony.blackhole import SocketBlackhole


def udp() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.bind(("127.0.0.1", 0))
    opened.settimeout(0.05)
    return opened


def test_nothing_passes_in_either_direction_and_others_are_left_alone() -> None:
    hole = SocketBlackhole()
    with udp() as cut, udp() as other, udp() as peer:
        address = cut.getsockname()
        hole.cut("udp", [address[1]])
        with pytest.raises(OSError, match="Invalid argument"):
            cut.sendto(b"out", peer.getsockname())
        peer.sendto(b"in", address)
        with pytest.raises(TimeoutError):
            peer.recv(10)  # not even an ICMP error
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as late,
            pytest.raises(OSError, match="in use"),
        ):
            late.bind(address)
        other.sendto(b"passes", peer.getsockname())
        assert peer.recv(10) == b"passes"
    hole.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(address)


def test_a_connection_that_was_cut_is_not_even_closed_for_the_other_side() -> None:
    hole = SocketBlackhole()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as cut,
        server.accept()[0] as peer,
    ):
        peer.settimeout(0.1)
        hole.cut("tcp", [cut.getsockname()[1]])
        with pytest.raises(OSError, match="Broken pipe"):
            cut.send(b"out")
        assert cut.recv(10) == b"", "the stack sees an end"
        peer.send(b"in")
        cut.close()
        with pytest.raises(TimeoutError):
            peer.recv(10)  # neither data nor an end
        hole.close()
        assert peer.recv(10) == b""
