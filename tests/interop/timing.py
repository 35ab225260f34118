"""When nginx and the gateway give up, with conf/timeouts.conf: both at the same time, in the same way."""

import concurrent.futures
import select
import socket
import time

import compare
import recording
from requests_table import request, websocket


def connect(address):
    client = socket.create_connection(address, timeout=10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def ask(target, **options):
    """One request; what came, and after how long."""

    def run(address):
        begun = time.monotonic()
        with connect(address) as client:
            client.sendall(request(target, **options))
            response = recording.read_response(recording.Reader(client), options.get("method", "GET"))
            whole = response["whole"] if response else True
            return (
                f"{response['status'] if response else 'no answer'}{'' if whole else ', cut off'}",
                time.monotonic() - begun,
            )

    return run


def wait_for_end(*parts):
    """Sends the parts, half a second between them, and reads to the end; the time is from the last part on."""

    def run(address):
        with connect(address) as client:
            for i, part in enumerate(parts):
                if i:
                    time.sleep(0.5)
                client.sendall(part)
            begun = time.monotonic()
            reader = recording.Reader(client)
            rest = reader.rest()
            body = rest.partition(b"\r\n\r\n")[2]
            what = [
                rest.split(b" ", 2)[1].decode() if rest else "nothing",
                body.hex() if rest.startswith(b"HTTP/1.1 101") else "",
                "closed" if reader.ended in ("end", "reset") else reader.ended,
            ]
            return " ".join(what), time.monotonic() - begun

    return run


def push_until_closed(address):
    """Into a tunnel whose backend reads nothing; the time is from when no more was taken."""
    with connect(address) as client:
        client.sendall(websocket("/chat?answer=ws-deaf"))
        reader = recording.Reader(client)
        reader.until(b"\r\n\r\n")
        reader.exactly(len(recording.SERVER_HELLO))
        client.settimeout(0.2)
        try:
            while True:
                client.send(bytes(65536))
        except (socket.timeout, ConnectionError):
            stopped = time.monotonic()
        closed = select.select([client], [], [], 10)[0]
        return "closed" if closed else "open", time.monotonic() - stopped


HELLO = recording.CLIENT_HELLO
SCENARIOS = {
    "a backend refuses": ask("/refused/"),
    "all backends refuse": ask("/all-refuse/"),
    "the first of two backends refuses": ask("/first-refuses/"),
    "a WebSocket's first backend refuses": wait_for_end(
        websocket("/first-refuses-too/") + HELLO + recording.CLIENT_CLOSE
    ),
    "a backend cannot be reached": ask("/unreachable/"),
    "the first of two backends cannot be reached": ask("/first-unreachable/"),
    "a backend is silent": ask("/silent/"),
    "a backend is silent, more patience": ask("/patient/"),
    "the first of two backends is silent": ask("/first-silent/"),
    "the first of two backends is silent to a POST": ask("/first-silent-too/", method="POST"),
    "all backends are down": ask("/all-down/"),
    "a backend stalls inside a body": ask("/?answer=stall"),
    "a tunnel is idle": wait_for_end(websocket()),
    "a tunnel in which only the client speaks": wait_for_end(websocket(), *[HELLO] * 5),
    "a tunnel's backend takes nothing": push_until_closed,
    "a client stops inside a head": wait_for_end(b"GET / HTTP/1.1\r\nHost: exam"),
    "a client says nothing": wait_for_end(b""),
    "a client sends no second request": wait_for_end(request("/")),
    "a client sends no second request, more patience": wait_for_end(request("/kept/")),
    "a client sends no second request after an answer without a backend": wait_for_end(request("/said/")),
    "a connection that is not kept": wait_for_end(request("/not-kept/")),
    "a client stops inside a body": wait_for_end(
        request("/", "Content-Length: 10", method="POST", body=b"half")
    ),
    "a client stops inside a chunked body": wait_for_end(
        request("/", "Transfer-Encoding: chunked", method="POST", body=b"5\r\nhel")
    ),
}
# nginx just closes; the time table says 408.
DECIDED = {
    "a client stops inside a body": "408  closed",
    "a client stops inside a chunked body": "408  closed",
}


def check(pair, name, scenario):
    # Milliseconds do not matter, a second does. On a busy machine one of them is late now and then: the same one,
    # time and again, is wrong.
    for _ in range(5):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            both = pool.map(scenario, [(compare.ADDRESSES[name], pair.port) for name in ("nginx", "gateway")])
            (theirs, their_time), (ours, our_time) = both
        theirs = DECIDED.get(name, theirs)
        if theirs == ours and -0.5 < our_time - their_time < 0.5 * pair.world.scale:
            return
        if theirs != ours:
            break
    raise compare.Difference(
        f"nginx: {theirs} after {their_time:.2f} s; gateway: {ours} after {our_time:.2f} s"
    )


def run_all(report, world):
    wanted = {name: scenario for name, scenario in SCENARIOS.items() if report.wants(f"nginx, times: {name}")}
    if not wanted:
        return
    pair = compare.Pair(world, "timeouts.conf")
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for name, scenario in wanted.items():
                pool.submit(report.check, f"nginx, times: {name}", check, pair, name, scenario)
    finally:
        pair.stop()
