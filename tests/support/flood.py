"""A hostile client: as many of the tiniest appends as it is told, as fast as they are taken.

    python flood.py PORT COUNT

It speaks raw bytes, so that it takes the server's time and hardly any of its own, asks at the end
for an answer, and tells how many seconds it took to come.
"""

import base64
import socket
import sys
import threading
import time

AT_ONCE = 1000


def frame(payload: bytes, first: int = 0x81) -> bytes:
    """A text frame, masked with nothing."""
    return bytes([first, 0x80 | len(payload)]) + bytes(4) + payload


def answer_pings(server: socket.socket, sending: threading.Lock, answered: threading.Event) -> None:
    """Read until the last request is answered; who answers no ping is hung up on."""
    while frames := server.recv(2**16):
        at = frames.find(b"\x89\x04")
        if at >= 0:
            with sending:
                server.sendall(frame(frames[at + 2 : at + 6], 0x8A))
        if b"input_audio_buffer.cleared" in frames:
            answered.set()
            return


def main(port: int, count: int) -> None:
    """Flood the server at this port."""
    key = base64.b64encode(bytes(16))
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.sendall(
            b"GET /v1/realtime HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: " + key + b"\r\n\r\n"
        )
        begun_s = time.monotonic()
        sending, answered = threading.Lock(), threading.Event()
        reader = threading.Thread(target=answer_pings, args=(server, sending, answered))
        reader.start()
        block = frame(b'{"type":"input_audio_buffer.append","audio":"AAAA"}') * AT_ONCE
        for _ in range(count // AT_ONCE):
            with sending:
                server.sendall(block)
        with sending:
            server.sendall(frame(b'{"type":"input_audio_buffer.clear"}'))
        reader.join()
        if not answered.is_set():
            sys.exit("the server hung up")
        sys.stdout.write(f"{time.monotonic() - begun_s:.1f}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
