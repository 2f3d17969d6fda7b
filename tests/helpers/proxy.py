"""A TCP proxy on this machine whose connections fail on demand."""

import contextlib
import socket
import threading
import time


class Proxy:
    """Forwards connections to `port` to `target` of this machine.

    Attributes:
        target: port that new connections are forwarded to; may change.
        delay: seconds that every piece of data is late.
    """

    def __init__(self, target: int):
        self.target, self.delay = target, 0.0
        self._there, self._back = threading.Event(), threading.Event()  # set while data flows to the target, and from it
        self._refuse = self._closed = False
        self.resume()
        self._connections: list[_Connection] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stall(self) -> None:
        """Data and new connections are kept until `resume`: nothing is lost, nothing arrives."""
        self._there.clear()
        self._back.clear()

    def hold_answers(self) -> None:
        """What the target sends is kept until `resume`."""
        self._back.clear()

    def cut(self) -> None:
        """Resets every connection, and each new one until `resume`."""
        self._refuse = True
        for connection in self._connections:
            connection.reset()

    def abandon(self) -> None:
        """Half-opens every connection: the target sees them closed; the other side sees them open, and nothing ever comes of them.
        It is what a machine leaves behind that lost its power. New connections work."""
        for connection in self._connections:
            connection.abandon()

    def resume(self) -> None:
        """Ends `stall`, `hold_answers` and `cut`."""
        self._refuse = False
        self._there.set()
        self._back.set()

    def close(self) -> None:
        """Ends everything."""
        self._closed = True
        self.resume()
        self._listener.close()
        for connection in self._connections:
            connection.reset()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closed:
                near, _ = self._listener.accept()
                self._connections = [connection for connection in self._connections if not connection.over]
                if self._refuse:
                    _reset(near)
                else:
                    self._connections.append(_Connection(near, self))

    def admit(self) -> int:
        """The port to connect to, once connections get through."""
        self._there.wait()
        return self.target

    def pass_on(self, source: socket.socket, sink: socket.socket, back: bool) -> bool:
        """Forwards what comes next; whether more can come."""
        data = source.recv(1 << 16)
        if self.delay:
            time.sleep(self.delay)
        (self._back if back else self._there).wait()
        if data:
            sink.sendall(data)
        return bool(data)


class _Connection:
    def __init__(self, near: socket.socket, proxy: Proxy):
        self.over, self._abandoned, self._near, self._proxy, self._far = False, False, near, proxy, socket.socket()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._far.connect(("127.0.0.1", self._proxy.admit()))
            for end in (self._near, self._far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            self.reset()
            return
        threading.Thread(target=self._forward, args=(self._far, self._near), daemon=True).start()
        self._forward(self._near, self._far)

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while self._proxy.pass_on(source, sink, back=source is self._far):
                pass
        except OSError:
            pass
        if self._abandoned:
            with contextlib.suppress(OSError):
                while source is self._near and source.recv(1 << 16):
                    pass
        else:
            self.reset()

    def reset(self) -> None:
        self.over = True
        _reset(self._near)
        _reset(self._far)

    def abandon(self) -> None:
        self._abandoned = True
        _reset(self._far)


def _reset(end: socket.socket) -> None:
    """Closes a socket at once; a thread that waits on it wakes up."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError):
        end.close()
