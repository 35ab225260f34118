"""Bodies that are larger than any memory, and bodies that come a little at a time, through the gateway."""

import socket
import threading

from recording import Reader, fields_of, value_of

CONFIGURATION = """
events {}
http {
  server {
    listen @LISTEN@;
    location / {
      proxy_pass http://@BACKEND@;
      client_max_body_size 0;
    }
  }
}
"""
BLOCK = bytes(range(256)) * 1024  # 256 KiB
# What a process may grow by while a body passes through it: more than its buffers, much less than the body.
MOST_GROWTH = 2 << 20


class Backend:
    """Serves one connection with a function of the test's."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.error, self.serve = None, serve
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            with self.listener:
                connection, _ = self.listener.accept()
            with connection:
                self.serve(connection, Reader(connection, 60))
        except Exception as error:
            self.error = error

    def finish(self):
        self.thread.join(60)
        if self.error:
            raise self.error


class Through:
    """The gateway, a backend behind it, and a client's connection to it."""

    def __init__(self, world, serve):
        self.backend = Backend(serve)
        self.address = ("127.0.0.1", world.reserve_port())
        text = CONFIGURATION.replace("@LISTEN@", "%s:%d" % self.address)
        text = text.replace("@BACKEND@", f"127.0.0.1:{self.backend.port}")
        self.gateway = world.start_gateway_with(text, self.address)
        self.client = socket.create_connection(self.address, timeout=60)
        self.reader = Reader(self.client, 60)
        self.before = self.peak()

    def __enter__(self):
        return self

    def __exit__(self, *failed):
        self.client.close()
        if not failed[0]:
            self.backend.finish()
        self.gateway.stop()

    def peak(self):
        """The most memory that the gateway has had, in bytes."""
        with open(f"/proc/{self.gateway.process.pid}/status", encoding="ascii") as status:
            line = next(line for line in status if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10

    def check_memory(self):
        growth = self.peak() - self.before
        if growth > MOST_GROWTH:
            raise AssertionError(f"the gateway grew by {growth >> 10} KiB")


def expect(seen, expected):
    if seen != expected:
        raise AssertionError(f"{seen!r:.400}, not {expected!r:.400}")


# ---- Large bodies


def write_body(connection, blocks, chunked):
    piece = b"%x\r\n" % len(BLOCK) + BLOCK + b"\r\n" if chunked else BLOCK
    for _ in range(blocks):
        connection.sendall(piece)
    if chunked:
        connection.sendall(b"0\r\n\r\n")


def framing(blocks, chunked):
    return b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (blocks * len(BLOCK))


class Checker:
    """Bytes that must be BLOCK over and over."""

    def __init__(self):
        self.size = 0

    def take(self, data):
        at = self.size % len(BLOCK)
        expected = (BLOCK[at:] + BLOCK * (len(data) // len(BLOCK) + 1))[: len(data)]
        if data != expected:
            raise AssertionError(f"other bytes behind {self.size}")
        self.size += len(data)


def read_body(reader, fields, blocks, chunked):
    """The body, in pieces that are not kept."""
    expect((value_of(fields, b"transfer-encoding") == b"chunked"), chunked)
    checker = Checker()
    while True:
        left = int(reader.until(b"\r\n"), 16) if chunked else blocks * len(BLOCK)
        last = chunked and left == 0 or not chunked
        while left:
            if not reader.data and not reader.more():
                raise AssertionError(f"the body ended behind {checker.size} bytes")
            data, reader.data = reader.data[:left], reader.data[left:]
            left -= len(data)
            checker.take(data)
        if chunked:
            expect(reader.exactly(2), b"\r\n")
        if last:
            break
    expect(checker.size, blocks * len(BLOCK))


def upload(world, blocks, chunked):
    def serve(connection, reader):
        fields = fields_of(reader.until(b"\r\n\r\n"))
        read_body(reader, fields, blocks, chunked)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")

    with Through(world, serve) as through:
        head = b"PUT /large HTTP/1.1\r\nHost: a.test\r\n" + framing(blocks, chunked) + b"\r\n\r\n"
        through.client.sendall(head)
        write_body(through.client, blocks, chunked)
        expect(through.reader.until(b"\r\n\r\n")[:12], b"HTTP/1.1 200")
        expect(through.reader.exactly(4), b"done")
        through.check_memory()


def download(world, blocks, chunked):
    def serve(connection, reader):
        reader.until(b"\r\n\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + framing(blocks, chunked) + b"\r\n\r\n")
        write_body(connection, blocks, chunked)

    with Through(world, serve) as through:
        through.client.sendall(b"GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n")
        fields = fields_of(through.reader.until(b"\r\n\r\n"))
        read_body(through.reader, fields, blocks, chunked)
        through.check_memory()


# ---- A little at a time: each piece is sent only when the one before it has arrived.


def events(world, chunked):
    arrived = threading.Semaphore(0)

    def serve(connection, reader):
        reader.until(b"\r\n\r\n")
        coding = b"Transfer-Encoding: chunked\r\n" if chunked else b""
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n" + coding + b"\r\n")
        for number in range(20):
            if not arrived.acquire(timeout=30):
                raise AssertionError(f"what was sent before event {number} did not arrive")
            event = b"data: %d\n\n" % number
            connection.sendall(b"%x\r\n%s\r\n" % (len(event), event) if chunked else event)
        if chunked:
            connection.sendall(b"0\r\n\r\n")

    with Through(world, serve) as through:
        through.client.sendall(b"GET /events HTTP/1.1\r\nHost: a.test\r\n\r\n")
        head = through.reader.until(b"\r\n\r\n")
        expect(value_of(fields_of(head), b"content-type"), b"text/event-stream")
        arrived.release()
        for number in range(20):
            expect(through.reader.until(b"\n\n").split(b"data: ")[-1], b"%d\n\n" % number)
            arrived.release()
        expect(through.reader.until(b"0\r\n\r\n"), b"\r\n0\r\n\r\n")


def pieces_up(world):
    arrived = threading.Semaphore(0)

    def serve(connection, reader):
        reader.until(b"\r\n\r\n")
        arrived.release()
        for number in range(20):
            size = int(reader.until(b"\r\n"), 16)
            expect(reader.exactly(size + 2), b"piece %d\r\n" % number)
            arrived.release()
        expect(reader.until(b"0\r\n\r\n"), b"0\r\n\r\n")
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with Through(world, serve) as through:
        through.client.sendall(b"POST /pieces HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(20):
            if not arrived.acquire(timeout=30):
                raise AssertionError(f"what was sent before piece {number} did not arrive")
            piece = b"piece %d" % number
            through.client.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        through.client.sendall(b"0\r\n\r\n")
        expect(through.reader.until(b"\r\n\r\n")[:12], b"HTTP/1.1 204")


def jobs(report, world):
    blocks = max(1, 4096 // world.scale)
    size = f"{blocks // 4} MiB" if blocks < 4096 else "1 GiB"
    for name, test, chunked in (
        (f"streams: an upload of {size} with its length", upload, False),
        (f"streams: an upload of {size} in chunks", upload, True),
        (f"streams: a download of {size} with its length", download, False),
        (f"streams: a download of {size} in chunks", download, True),
    ):
        yield lambda name=name, test=test, chunked=chunked: report.check(name, test, world, blocks, chunked)
    yield lambda: report.check("streams: events arrive as they are sent, in chunks", events, world, True)
    yield lambda: report.check("streams: events arrive as they are sent, until the end", events, world, False)
    yield lambda: report.check("streams: pieces of an upload arrive as they are sent", pieces_up, world)
