"""A hostile client: as many of the tiniest appends as it is told, as fast as they are taken.

    python flood.py PORT COUNT

It speaks raw bytes, so that it takes the server's time and hardly any of its own, asks at the end
for an answer, and tells how many seconds it took to come.
"""

import base64
import socket
import sys
import time

AT_ONCE = 1000


def frame(text: bytes) -> bytes:
    """A text frame, masked with nothing."""
    return b"\x81" + bytes([0x80 | len(text)]) + bytes(4) + text


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
        block = frame(b'{"type":"input_audio_buffer.append","audio":"AAAA"}') * AT_ONCE
        for _ in range(count // AT_ONCE):
            server.sendall(block)
        server.sendall(frame(b'{"type":"input_audio_buffer.clear"}'))
        answer = b""
        while b"input_audio_buffer.cleared" not in answer:
            more = server.recv(2**16)
            if not more:
                sys.exit("the server hung up")
            answer += more
        sys.stdout.write(f"{time.monotonic() - begun_s:.1f}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
