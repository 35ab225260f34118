"""Hostile and odd bytes, from clients and from backends, to the gateway and to nginx with the same file: what
the client gets, whether its connection goes on, and every byte that reaches the backend."""

import queue
import re
import socket
import threading

import harness
from hostile_table import ANSWERS, REQUESTS, VARIES, Row
from recording import CLIENT_CLOSE, SERVER_CLOSE, Listener, Reader, accept_key, fields_of, value_of

# The nginx whose outcomes the table has.
RECORDED_VERSION = "1.22.1"
LANES = 6
PATIENCE = 10
ADDRESSES = {"nginx": "127.0.0.2", "gateway": "127.0.0.1"}

# The timers are short, as some requests never end, and longer than any machine needs for one that does.
HTTP = """
events {}
http {
  client_header_timeout 3s;
  client_body_timeout 3s;
  client_max_body_size 64k;
  map $http_upgrade $connection_upgrade { default upgrade; '' close; }
@SERVERS@}
"""
SERVER = """
  server {
    listen @ADDRESS@;
    location / {
      proxy_pass http://127.0.0.1:@BACKEND@;
      proxy_http_version 1.1;
      proxy_read_timeout 3s;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }
  }
"""


# ---- Reading messages


class Broken(Exception):
    pass


def chunked(reader):
    """A chunked body and its trailer lines; the proxies' own writing of it is simple."""
    body, trailers = b"", []
    while True:
        line = reader.until(b"\r\n")
        if line is None:
            return body, trailers, False
        if not re.fullmatch(rb"[0-9a-fA-F]+\r\n", line):
            raise Broken(f"chunk size {line!r}")
        size = int(line, 16)
        if size == 0:
            break
        chunk = reader.exactly(size)
        body += chunk
        if len(chunk) < size:
            return body, trailers, False
        if reader.exactly(2) != b"\r\n":
            raise Broken("no end of a chunk")
    while (line := reader.until(b"\r\n")) not in (b"\r\n", None):
        trailers.append(line.strip())
    return body, trailers, line is not None


def body_of(reader, fields):
    """A body that is delimited by its head: the data, trailers, and whether it was whole."""
    coding, lengths = value_of(fields, b"transfer-encoding"), values(fields, b"content-length")
    if coding and lengths or len(lengths) > 1 or coding not in (b"", b"chunked"):
        raise Broken(f"framed by {coding!r} and {lengths}")
    if coding:
        return chunked(reader)
    size = int(lengths[0]) if lengths else 0
    body = reader.exactly(size)
    return body, [], len(body) == size


def values(fields, name):
    return [value for each, value in fields if each.lower() == name.lower()]


def abridged(body):
    return repr(body)[1:] if len(body) < 200 else f"{len(body)} bytes"


def shown(fields, trailers, names):
    """The lines that a row looks at."""
    found = [f"{n}: {v.decode('latin-1')}" for n in names for v in values(fields, n.encode())]
    return found + [f"trailer {line.decode('latin-1')}" for line in trailers]


# ---- The backend


class Backend(Listener):
    """Keeps every byte that arrives. Answers the first request of a connection, and no second one."""

    def __init__(self):
        self.records = []
        super().__init__(socket.create_server(("127.0.0.1", 0), backlog=64))

    def begin(self):
        self.records.append({"head": b"", "body": b"", "trailers": [], "whole": True, "behind": b""})
        return {"record": self.records[-1]}

    def serve(self, connection, record):
        reader = Reader(connection, PATIENCE)
        try:
            self._answer(connection, reader, record)
            record["behind"] += reader.rest()
        except Broken as broken:
            record["behind"] = f"({broken})".encode()

    def _answer(self, connection, reader, record):
        record["head"] = reader.until(b"\r\n\r\n") or b""
        if not record["head"]:
            return
        fields = fields_of(record["head"])
        target = record["head"].split(b" ", 2)[1]
        row = ANSWERS_BY_TARGET.get(target.decode("latin-1"))
        if row and row.early:
            connection.sendall(row.answer)
        record["body"], record["trailers"], record["whole"] = body_of(reader, fields)
        if not record["whole"]:
            return
        if row:
            if not row.early:
                connection.sendall(row.answer.replace(b"%ACCEPT%", accept_of(fields)))
            if row.closes:
                connection.shutdown(socket.SHUT_WR)
        elif b"websocket" in value_of(fields, b"upgrade"):
            self._switch(connection, reader, record, accept_of(fields))
        else:
            body = b"" if record["head"].startswith(b"HEAD ") else b"ok"
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nX-Target: %s\r\nContent-Length: 2\r\n\r\n%s" % (target, body)
            )

    def _switch(self, connection, reader, record, accept):
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        record["behind"] = (reader.until(CLIENT_CLOSE) or b"").removesuffix(CLIENT_CLOSE)
        connection.sendall(SERVER_CLOSE)
        connection.shutdown(socket.SHUT_WR)

    def take(self):
        """What came since the last call, once every connection has ended."""
        if not self.ended(2 * PATIENCE):
            raise AssertionError("a connection to the backend stays open")
        with self.changed:
            records, self.records = self.records, []
        return records


def accept_of(fields):
    return accept_key(b"".join(values(fields, b"sec-websocket-key")[:1]))


ANSWERS_BY_TARGET = {row.target: row for row in ANSWERS}


def reached(record, names):
    """A request as the backend saw it, in a line."""
    if not record["head"]:
        return "nothing"
    line = b" ".join(record["head"].split(b" ", 2)[:2]).decode("latin-1")
    parts = [re.sub(r"(/answer)/\d+$", r"\1", line)]
    parts += shown(fields_of(record["head"]), record["trailers"], names)
    if record["body"]:
        parts.append(abridged(record["body"]))
    if not record["whole"]:
        parts.append("cut off")
    if record["behind"]:
        parts.append(f"behind it {record['behind']!r}")
    return ", ".join(parts)


# ---- The client


def read_response(reader, method, row):
    """A response in a few words, and its status; None at the end of the stream. What is no HTTP may have no end:
    its first line is enough to tell."""
    if not reader.data:
        reader.more()
    head = reader.until(b"\r\n\r\n") if reader.data.startswith(b"H") else None
    line = re.match(rb"HTTP/1\.[01] (\d\d\d)[ \r]", head or b"")
    if line is None:
        return ("no HTTP", None) if head or reader.data else None
    status, fields = int(line[1]), fields_of(head)
    if status < 200 and status != 101:
        return " ".join([line[1].decode(), *shown(fields, [], row.shows_client)]), status
    body, trailers, whole = b"", [], True
    if method != "HEAD" and status not in (101, 204, 304):
        try:
            body, trailers, whole = body_of(reader, fields)
            if not values(fields, b"content-length") and not values(fields, b"transfer-encoding"):
                body, whole = reader.rest(), reader.ended == "end"
        except Broken as broken:
            return f"{status} broken: {broken}", status
    words = [str(status), *shown(fields, trailers, row.shows_client)]
    if row.shows_body and status < 400 and status != 101:
        words.append(abridged(body))
    return " ".join(words + ([] if whole else ["cut off"])), status


PROBE = b"GET /probe HTTP/1.1\r\nHost: a.test\r\n\r\n"


def probe(client, reader, row):
    """Whether the connection takes another request, and answers that one."""
    try:
        client.sendall(PROBE)
    except ConnectionError:
        return "closed"
    head = reader.until(b"\r\n\r\n")
    if head is None:
        return "closed" if not reader.data and reader.ended != "silence" else f"then {reader.data[:60]!r}"
    if value_of(fields_of(head), b"x-target") != b"/probe":
        return f"then {head[:60]!r}"
    return "open"


def converse(address, row, answers, stays_open):
    """Sends the row's bytes, reads so many answers, and says how it went on."""
    words = []
    with socket.create_connection(address, timeout=PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = Reader(client, PATIENCE)
        try:
            client.sendall(row.data)
            if row.ends:
                client.shutdown(socket.SHUT_WR)
        except ConnectionError:
            pass
        methods = list(row.methods)
        while len(words) < answers:
            answer = read_response(reader, methods[0] if methods else "GET", row)
            if answer is None:
                break
            words.append(answer[0])
            if answer[1] is None:
                return words
            if answer[1] == 101:
                if not row.ends:
                    client.sendall(CLIENT_CLOSE)
                rest = reader.rest()
                words.append("tunnel" if rest == SERVER_CLOSE else f"tunnel with {rest[:16]!r}")
                return words
            if answer[1] >= 200:
                methods = methods[1:]
        if stays_open:
            words.append(probe(client, reader, row))
        else:
            rest = reader.rest()
            silent = "silent" if reader.ended == "silence" else "closed"
            words.append(silent if not rest else f"then {rest[:60]!r}, {silent}")
    return words


# ---- A row


def observe(front, address, backend, row, expected):
    """What the row leads to, in the words of the table."""
    outcome = expected.partition("; ")[0]  # (no body that is shown has this in it)
    answers = len(re.findall(r"(?:^|, )(?:\d\d\d|no HTTP)", outcome))
    words = converse(address, row, answers, outcome.endswith("open"))
    # That it lives, with a request of its own.
    alive = converse(address, ALIVE, 1, True)
    if alive != ["200", "open"] or front.process.poll() is not None:
        raise AssertionError(f"after it a plain request got {alive}")
    requests = [reached(each, row.shows) for each in backend.take()]
    requests = [each for each in requests if not each.startswith(("GET /probe", "GET /alive"))]
    return "; ".join([", ".join(words), *requests])


def check(front, address, backend, row, expected):
    seen = observe(front, address, backend, row, expected)
    if seen != expected:
        raise AssertionError(f"{row.data[:300]!r}\ngave      {seen}\nand not   {expected}")


ALIVE = Row("alive", PROBE.replace(b"probe", b"alive"), "", "", "200, open", "200, open")


# ---- Both fronts


class Fronts:
    """nginx and the gateway, each with a listener for every lane, and a lane's backend behind both."""

    def __init__(self, world):
        self.backends = [Backend() for _ in range(LANES)]
        self.ports = [world.reserve_port() for _ in range(LANES)]
        self.children = {}
        for name, address in ADDRESSES.items():
            servers = "".join(
                SERVER.replace("@ADDRESS@", f"{address}:{port}").replace("@BACKEND@", str(backend.port))
                for port, backend in zip(self.ports, self.backends)
            )
            text = HTTP.replace("@SERVERS@", servers)
            start = world.start_nginx_with if name == "nginx" else world.start_gateway_with
            self.children[name] = start(text, (address, self.ports[0]))

    def stop(self):
        for child in self.children.values():
            child.stop()


def names_of(row):
    """The row's tests, by front."""
    expected = {"gateway": row.gateway, "nginx": row.nginx}
    return {front: f"hostile, {front}: {row.name}" for front in ADDRESSES if expected[front] != VARIES}


def run_lane(report, fronts, lane, rows):
    while True:
        try:
            row = rows.get_nowait()
        except queue.Empty:
            return
        for front, name in names_of(row).items():
            if report.wants(name) and not (front == "nginx" and harness.nginx_version() != RECORDED_VERSION):
                address = (ADDRESSES[front], fronts.ports[lane])
                expected = row.gateway if front == "gateway" else row.nginx
                child = fronts.children[front]
                report.check(name, check, child, address, fronts.backends[lane], row, expected)


def run_all(report, world):
    rows = queue.Queue()
    for row in (*REQUESTS, *ANSWERS):
        if any(report.wants(name) for name in names_of(row).values()):
            rows.put(row)
    if rows.empty():
        return
    if harness.nginx_version() != RECORDED_VERSION:
        report.skip("hostile, nginx", f"the outcomes are those of nginx {RECORDED_VERSION}")
    fronts = Fronts(world)
    try:
        lanes = [
            threading.Thread(target=run_lane, args=(report, fronts, lane, rows)) for lane in range(LANES)
        ]
        for lane in lanes:
            lane.start()
        for lane in lanes:
            lane.join()
    finally:
        fronts.stop()


def jobs(report, world):
    yield lambda: run_all(report, world)
