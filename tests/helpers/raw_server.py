"""A server that writes bytes to its sockets as a test says: for answers that no HTTP library would
write.
"""

import contextlib
import socket
import threading


class RawServer:
    """Calls `talk(connection, number)` for each request that comes, `number` counting from 1;
    closes the connection where it returns.

    `request` of the last one is kept. `stopping` is set when the server ends: what talks without
    end must look at it.
    """

    def __init__(self, talk):
        self.talk, self.requests, self.stopping = talk, [], threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.lock, self.threads = threading.Lock(), []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    @classmethod
    @contextlib.contextmanager
    def running(cls, talk):
        server = cls(talk)
        accepting = threading.Thread(target=server.accept, daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            server.stopping.set()
            with contextlib.suppress(OSError):
                server.listening.shutdown(socket.SHUT_RDWR)
            server.listening.close()
            for thread in (accepting, *server.threads):
                thread.join(5)

    def accept(self):
        while not self.stopping.is_set():
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            thread = threading.Thread(target=self.serve, args=(connection,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def serve(self, connection):
        with connection, contextlib.suppress(OSError):
            while not self.stopping.is_set():
                request = b""
                while b"\r\n\r\n" not in request:
                    part = connection.recv(65_536)
                    if not part:
                        return
                    request += part
                with self.lock:
                    self.requests.append(request)
                    number = len(self.requests)
                if not self.talk(connection, number):
                    return


def answer(rows, cursor=None, headers=b""):
    """Bytes of a good answer."""
    import json

    body = json.dumps(
        {"success": True, "data": rows, "additional_data": {"next_cursor": cursor}}
    ).encode()
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s"
        % (headers, len(body), body)
    )
