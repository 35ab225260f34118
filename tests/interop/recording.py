"""Both ends of the comparison with nginx: a backend that keeps the exact bytes it receives, and a client that
sends exact bytes and takes responses apart."""

import base64
import hashlib
import select
import socket
import threading
import time

# Frames of a tunnel: "hi" and Close 1000 from the client, masked; "hello" and Close 1000 from the backend.
CLIENT_HELLO = bytes.fromhex("8182a1b2c3d4c9db")
CLIENT_CLOSE = bytes.fromhex("8882a1b2c3d4a25a")
SERVER_HELLO = b"\x81\x05hello"
SERVER_CLOSE = b"\x88\x02\x03\xe8"


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


class Reader:
    """What comes from a socket, in the pieces that HTTP/1.1 is made of. Any of them is None or short at the end
    of the stream or when nothing comes for too long; `ended` tells why."""

    def __init__(self, connection, timeout=10):
        self.connection, self.data, self.ended = connection, b"", None
        connection.settimeout(timeout)

    def more(self):
        if self.ended:
            return False
        try:
            received = self.connection.recv(65536)
        except ConnectionError:
            self.ended = "reset"
        except socket.timeout:
            self.ended = "silence"
        else:
            self.data += received
            self.ended = None if received else "end"
        return not self.ended

    def until(self, mark):
        while mark not in self.data:
            if not self.more():
                return None
        found, _, self.data = self.data.partition(mark)
        return found + mark

    def exactly(self, size):
        while len(self.data) < size and self.more():
            pass
        found, self.data = self.data[:size], self.data[size:]
        return found

    def rest(self):
        while self.more():
            pass
        found, self.data = self.data, b""
        return found

    def chunked(self):
        """The decoded body, and whether it was whole."""
        body = b""
        while (line := self.until(b"\r\n")) is not None:
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while (line := self.until(b"\r\n")) not in (b"\r\n", None):
                    pass
                return body, line is not None
            chunk = self.exactly(size)
            body += chunk
            if len(chunk) < size or self.until(b"\r\n") is None:
                break
        return body, False


def fields_of(head):
    """Names and values as they stand there."""
    lines = head.split(b"\r\n")[1:]
    return [tuple(part.strip(b" \t") for part in line.partition(b":")[::2]) for line in lines if line]


def value_of(fields, name):
    """Of the first such field, in lower case; empty if there is none."""
    return next((value.lower() for each, value in fields if each.lower() == name), b"")


# ---- The backend


def answer(status, *fields, body=b"", close=False):
    """`close`: the connection is closed after it. %NAME% becomes the backend's name."""
    lines = [b"HTTP/1.1 " + status, b"X-Backend: %NAME%", *fields, b"", body]
    return b"\r\n".join(lines), close


def with_length(status, *fields, body=b"from %NAME%"):
    return answer(
        status,
        *fields,
        b"Content-Type: text/plain",
        b"Content-Length: %d" % len(body.replace(b"%NAME%", b"a")),
        body=body,
    )


CHUNKS = b"5\r\nfirst\r\n8;ext=1\r\n, second\r\n0\r\n\r\n"
ANSWERS = {
    b"": with_length(b"200 OK"),
    b"chunked": answer(b"200 OK", b"Transfer-Encoding: chunked", b"Content-Type: text/plain", body=CHUNKS),
    b"until-close": answer(b"200 OK", b"Content-Type: text/plain", body=b"until the end", close=True),
    b"http-1.0": (b"HTTP/1.0 200 OK\r\nX-Backend: %NAME%\r\nContent-Type: text/plain\r\n\r\nold", True),
    b"empty": answer(b"200 OK", b"Content-Length: 0"),
    b"204": answer(b"204 No Content"),
    b"304": answer(b"304 Not Modified", b'ETag: "x"', b"Content-Length: 20"),
    b"201": with_length(b"201 Created", b"Location: /made"),
    b"302": with_length(b"302 Found", b"Location: http://elsewhere.test/path"),
    b"401": with_length(b"401 Unauthorized", b'WWW-Authenticate: Basic realm="x"'),
    b"403": with_length(b"403 Forbidden"),
    b"404": with_length(b"404 Not Found"),
    b"404-chunked": answer(b"404 Not Found", b"Transfer-Encoding: chunked", body=CHUNKS),
    b"404-until-close": answer(b"404 Not Found", body=b"until the end", close=True),
    b"500": with_length(b"500 Internal Server Error"),
    b"503": with_length(b"503 Service Unavailable", b"Retry-After: 7"),
    b"299": with_length(b"299 Something Rare"),
    b"no-reason": with_length(b"200 "),
    b"fields": with_length(
        b"200 OK",
        b"Set-Cookie: a=1",
        b"set-cookie: b=2; Path=/",
        b"X-oDD-cAsE: kept",
        b"X_Under_Score: 1",
        b"X-Empty:",
        b"Cache-Control: no-cache",
        b"Cache-Control: private",
        b"Vary: Accept",
        b'ETag: W/"1"',
        b"Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT",
        b"X-Spaces:   in   between   ",
        b"X-Latin: caf\xe9",
        b"Access-Control-Allow-Origin: http://own.test",
        b"Via: 1.1 cache",
        b"Warning: 199 - x",
        b"Age: 1",
    ),
    b"hidden": with_length(
        b"200 OK",
        b"Server: backend/1",
        b"Date: Sat, 01 Jan 2022 00:00:00 GMT",
        b"X-Pad: pad",
        b"X-Accel-Charset: x",
        b"X-Accel-Buffering: no",
    ),
    b"hop": with_length(
        b"200 OK",
        b"Connection: X-Private, close",
        b"X-Private: 1",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Trailer: X-T",
    ),
    b"refresh": with_length(b"200 OK", b"Refresh: 5; url=/x", b"Content-Location: /y"),
    b"100": answer(b"200 OK", b"Content-Length: 2", body=b"ok"),
    b"103": answer(b"200 OK", b"Content-Length: 2", body=b"ok"),
    b"slow-head": with_length(b"200 OK"),
    b"big-body": answer(b"200 OK", b"Content-Length: 300000", body=b"b" * 300000),
    b"long-head": with_length(b"200 OK", *(b"X-Long-%d: " % i + b"v" * 90 for i in range(25))),
    b"too-long-head": with_length(b"200 OK", b"X-Long: " + b"v" * 40000),
    b"short-body": answer(b"200 OK", b"Content-Length: 100", body=b"short", close=True),
    b"stall": answer(b"200 OK", b"Content-Length: 100", body=b"short"),
    b"short-chunks": answer(b"200 OK", b"Transfer-Encoding: chunked", body=b"5\r\nfirst\r\n", close=True),
    b"bad-chunks": answer(b"200 OK", b"Transfer-Encoding: chunked", body=b"5\r\nfirst\r\nzz\r\n", close=True),
    b"garbage": (b"this is no HTTP\r\n\r\n", True),
    b"nothing": (b"", True),
    b"half-head": (b"HTTP/1.1 200 OK\r\nX-Backend: %NAME%\r\nConte", True),
    b"two-lengths": answer(b"200 OK", b"Content-Length: 2", b"Content-Length: 3", body=b"ok", close=True),
    b"length-and-chunked": answer(
        b"200 OK", b"Content-Length: 2", b"Transfer-Encoding: chunked", body=CHUNKS
    ),
    b"bad-length": answer(b"200 OK", b"Content-Length: two", body=b"ok", close=True),
    b"unknown-coding": answer(b"200 OK", b"Transfer-Encoding: gzip", body=b"ok", close=True),
    b"fold": answer(b"200 OK", b"X-Folded: a", b" b", b"Content-Length: 2", body=b"ok"),
    b"bad-name": answer(b"200 OK", b"X Bad: a", b"Content-Length: 2", body=b"ok"),
    b"nul": answer(b"200 OK", b"X-Nul: a\x00b", b"Content-Length: 2", body=b"ok"),
    b"bare-lf": (b"HTTP/1.1 200 OK\nX-Backend: %NAME%\nContent-Length: 2\n\nok", False),
    # What the query says behind to=.
    b"redirect": with_length(b"302 Found", b"Location: %TO%"),
    b"created-at": with_length(b"201 Created", b"Location: %TO%"),
    b"refresh-to": with_length(b"200 OK", b"Refresh: 3; url=%TO%"),
    b"101": (
        b"HTTP/1.1 101 Switching Protocols\r\nX-Backend: %NAME%\r\n"
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        True,
    ),
}
FIRST = {
    b"100": b"HTTP/1.1 100 Continue\r\n\r\n",
    b"103": b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n",
}

SWITCH = [
    b"HTTP/1.1 101 Switching Protocols",
    b"X-Backend: %NAME%",
    b"Upgrade: websocket",
    b"Connection: Upgrade",
    b"Sec-WebSocket-Accept: %ACCEPT%",
]
SWITCHES = {
    b"": SWITCH,
    b"ws-fields": SWITCH
    + [
        b"Sec-WebSocket-Protocol: chat",
        b"Set-Cookie: a=1",
        b"Set-Cookie: b=2",
        b"Content-Type: text/x",
        b"X-Private: 1",
    ],
    b"ws-other-case": [
        SWITCH[0],
        SWITCH[1],
        b"upgrade: WebSocket",
        b"connection: keep-alive, UPGRADE",
        b"sec-websocket-accept: %ACCEPT%",
    ],
    b"ws-wrong-accept": SWITCH[:4] + [b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="],
    b"ws-deaf": SWITCH[:],
    b"ws-no-accept": SWITCH[:4],
    b"ws-no-connection": SWITCH[:3] + SWITCH[4:],
    b"ws-other-protocol": SWITCH[:2] + [b"Upgrade: h2c"] + SWITCH[3:],
}


class Listener:
    """Accepts connections until it is closed, and serves each on a thread of its own: serve(), with what begin()
    made of it. A client that goes away is no trouble."""

    def __init__(self, listener):
        self.listener = listener
        self.port = listener.getsockname()[1] if listener.family != socket.AF_UNIX else None
        self.open, self.changed = 0, threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def begin(self):
        """Called as connections are accepted, in their order."""
        return {}

    def serve(self, connection, **begun):
        raise NotImplementedError

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with self.changed:
                self.open += 1
                begun = self.begin()
            threading.Thread(target=self._run, args=(connection, begun), daemon=True).start()

    def _run(self, connection, begun):
        try:
            with connection:
                self.serve(connection, **begun)
        except (ConnectionError, socket.timeout):
            pass
        finally:
            with self.changed:
                self.open -= 1
                self.changed.notify_all()

    def ended(self, patience):
        """Whether every connection has ended; waits so many seconds for it."""
        with self.changed:
            return self.changed.wait_for(lambda: self.open == 0, patience)

    def close(self):
        self.listener.close()


class Backend(Listener):
    """One of the `server`s. What a request asks for with answer=NAME in its query is what it gets."""

    def __init__(self, name, at=("127.0.0.1", 0), backlog=64):
        """`at`: an address, or a path for a Unix socket."""
        self.name, self.seen = name, []
        if isinstance(at, str):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(at)
            listener.listen(backlog)
        else:
            family = socket.AF_INET6 if ":" in at[0] else socket.AF_INET
            listener = socket.create_server(at, family=family, backlog=backlog)
        super().__init__(listener)

    def serve(self, connection):
        reader = Reader(connection, timeout=30)
        while self._one(connection, reader):
            pass

    def _note(self, head):
        self.seen.append(
            {"backend": self.name, "at": time.monotonic(), "head": head, "body": b"", "whole": False}
        )

    def _one(self, connection, reader):
        """A request and its answer; true if another may follow."""
        head = reader.until(b"\r\n\r\n")
        if head is None:
            if reader.data:
                self._note(reader.data)
            return False
        seen = {
            "backend": self.name,
            "at": time.monotonic(),
            "head": head,
            "body": b"",
            "whole": True,
            "tunnel": None,
        }
        self.seen.append(seen)
        fields = fields_of(head)
        if b"chunked" in value_of(fields, b"transfer-encoding"):
            seen["body"], seen["whole"] = reader.chunked()
        elif length := int(value_of(fields, b"content-length") or b"0"):
            seen["body"] = reader.exactly(length)
            seen["whole"] = len(seen["body"]) == length
        method, target = head.split(b" ", 2)[:2]
        wanted = target.partition(b"answer=")[2].partition(b"&")[0].partition(b"#")[0]
        if wanted in SWITCHES and b"websocket" in value_of(fields, b"upgrade") and b" HTTP/1.1\r\n" in head:
            return self._switch(connection, reader, seen, fields, SWITCHES[wanted])
        text, close = ANSWERS[wanted if wanted in ANSWERS else b""]
        if method == b"HEAD":
            text = text.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if text else b""
        if wanted in FIRST:
            connection.sendall(FIRST[wanted])
            time.sleep(0.02)
        if wanted == b"slow-head":
            connection.sendall(text[:20])
            time.sleep(0.05)
            text = text[20:]
        to = target.partition(b"to=")[2].partition(b"&")[0]
        connection.sendall(text.replace(b"%NAME%", self.name.encode()).replace(b"%TO%", to))
        if close:
            connection.shutdown(socket.SHUT_WR)
            reader.rest()
        return not close

    def _switch(self, connection, reader, seen, fields, lines):
        key = next((value for name, value in fields if name.lower() == b"sec-websocket-key"), b"")
        head = (
            b"\r\n".join(lines).replace(b"%NAME%", self.name.encode()).replace(b"%ACCEPT%", accept_key(key))
        )
        connection.sendall(head + b"\r\n\r\n" + SERVER_HELLO)
        if lines is SWITCHES[b"ws-deaf"]:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self._take_nothing(connection)
            return False
        seen["tunnel"] = reader.until(CLIENT_CLOSE) or reader.data
        if not reader.ended:
            connection.sendall(SERVER_CLOSE)
            connection.shutdown(socket.SHUT_WR)
            reader.rest()
        return False

    def _take_nothing(self, connection):
        """Until the other side has closed or reset the connection; what it sends stays in the kernel."""
        watch = select.poll()
        watch.register(connection, select.POLLRDHUP)
        watch.poll(30000)

    def take(self):
        """What came since the last call, once every connection has ended."""
        if not self.ended(5):
            self._note(b"(a connection stays open)\r\n\r\n")
        seen, self.seen = self.seen, []
        return seen


class SilentBackend(Listener):
    """Accepts, reads and says nothing."""

    def __init__(self):
        super().__init__(socket.create_server(("127.0.0.1", 0)))

    def serve(self, connection):
        Reader(connection, timeout=30).rest()


class UnreachableBackend:
    """A listener whose queue is full: further connection requests are not answered."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.port = self.listener.getsockname()[1]
        self.waiting = []
        while not self.waiting or select.select([], self.waiting[-1:], [], 0.2)[1]:
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))
            self.waiting.append(one)

    def close(self):
        for one in self.waiting:
            one.close()
        self.listener.close()


# ---- The client


def read_response(reader, method):
    """The next response, with the interim ones before it. None: there is none."""
    interim = []
    while True:
        head = reader.until(b"\r\n\r\n")
        if head is None:
            return (
                {"status": f"none ({reader.ended}; {reader.data[:80]!r})", "interim": interim}
                if reader.data or interim
                else None
            )
        if not head.startswith(b"HTTP/"):
            return {"status": f"no HTTP: {head + reader.rest()!r:.80}", "interim": interim}
        version, status, reason = (head.split(b"\r\n")[0] + b"  ").split(b" ", 2)
        fields, status = fields_of(head), int(status)
        if status == 101 or status >= 200:
            break
        interim.append((status, fields))
    response = {
        "status": status,
        "reason": reason.strip().decode("latin-1"),
        "version": version.decode(),
        "method": method,
        "fields": fields,
        "interim": interim,
        "body": b"",
        "whole": True,
    }
    if method == "HEAD" or status in (101, 204, 304):
        return response
    if b"chunked" in value_of(fields, b"transfer-encoding"):
        response["body"], response["whole"] = reader.chunked()
    elif value_of(fields, b"content-length"):
        length = int(value_of(fields, b"content-length"))
        response["body"] = reader.exactly(length)
        response["whole"] = len(response["body"]) == length
    else:
        response["body"] = reader.rest()
        response["whole"] = reader.ended == "end"
    return response


def exchange(address, source, steps, patience=10):
    """Sends each step's bytes and reads its responses; and how the connection stands after that."""
    responses, tunnel = [], None
    with socket.create_connection(address, timeout=10, source_address=(source, 0)) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(client, timeout=patience)
        for data, methods in steps:
            send(client, data)
            for method in methods:
                if method == "CONTINUE":
                    await_continue(reader, responses)
                    continue
                response = read_response(reader, method)
                if response is None:
                    break
                responses.append(response)
                if response["status"] == 101:
                    send(client, CLIENT_HELLO)
                    send(client, CLIENT_CLOSE)
                    tunnel = reader.rest()
                    break
        return {"responses": responses, "tunnel": tunnel, "end": end_of(client, reader, responses)}


def await_continue(reader, responses):
    """The interim response that a client waits for before it sends the body."""
    head = reader.until(b"\r\n\r\n")
    responses.append({"status": f"interim {head}", "interim": []})


def send(client, data):
    """All of it, unless the other side has closed: its answer counts."""
    try:
        client.sendall(data)
    except ConnectionError:
        pass


def end_of(client, reader, responses):
    """How the connection stands: open, ended, or its end was announced and has not come yet."""
    if not reader.ended:
        said_close = bool(responses) and any(
            name.lower() == b"connection" and b"close" in value.lower()
            for name, value in responses[-1].get("fields", [])
        )
        if select.select([client], [], [], 1 if said_close else 0)[0]:
            reader.more()
        elif said_close:
            return "announced"
    if reader.data:
        return f"more: {reader.data[:80]!r}"
    return reader.ended or "open"
