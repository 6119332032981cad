"""Byte ports for Link that are not serial ports: sockets to an emulator or a process."""

from __future__ import annotations

import select
import socket


class SocketPort:
    """A stream socket as a byte port.

    pyserial's own `socket://` waits for exactly as many bytes as asked for and reports at most one as
    waiting, which costs a system call per byte.

    Args:
        sock: a connected socket; owned from here on.
        wait_s: how long read() waits for the first byte.
    """

    def __init__(self, sock: socket.socket, wait_s: float = 0.02) -> None:
        self._socket = sock
        self._wait_s = wait_s
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def in_waiting(self) -> int:
        """A size that read() never fills: it returns what is there."""
        return 4096

    def read(self, size: int = 1, /) -> bytes:
        """Return up to `size` bytes, b"" after `wait_s` without any.

        Raises:
            ConnectionError: the other end has closed.
        """
        if not select.select([self._socket], [], [], self._wait_s)[0]:
            return b""
        data = self._socket.recv(size)
        if not data:
            raise ConnectionResetError("the other end has closed the connection")
        return data

    def write(self, data: bytes, /) -> int:
        """Send all bytes."""
        self._socket.sendall(data)
        return len(data)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
