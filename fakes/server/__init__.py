"""The fake on a socket: sessions over WebSocket, the recording proxy, the files they leave."""

__all__ = ["addresses", "control", "journal", "proxy", "server"]
