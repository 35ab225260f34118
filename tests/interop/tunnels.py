"""What tunnels say for themselves: the websocket_ directives, and drains, with real clients (conf/tunnels.conf)."""

import asyncio
import collections
import contextlib
import json
import signal
import socket
import subprocess
import time

import browser
import clients

DIRECTIVES = (
    "heartbeat, the client is pinged and its pongs keep it",
    "heartbeat, the backend is pinged, and the client does not see it",
    "heartbeat, a client that does not answer is cut off",
    "lifetime, 1001",
    "message size, 1009 to the client, and below it passes",
    "frame size, 1009, also from the backend, though frames are off",
    "frames enforced, 1002",
    "frames observed, what is illegal passes, and the backend judges it",
    "slow consumer, 1013 when it reads on",
)


def start(world, backend, spread="5s", shutdown="30s"):
    """The gateway and its port."""
    port = world.reserve_port()
    values = {
        "LISTEN": f"127.0.0.1:{port}",
        "BACKEND": f"127.0.0.1:{backend}",
        "SPREAD": spread,
        "SHUTDOWN": shutdown,
    }
    return world.start_gateway("tunnels.conf", values, ("127.0.0.1", port)), port


def expect(condition, why):
    if not condition:
        raise AssertionError(why)


def directives(report, world):
    title = "tunnels, npm ws client"
    names = [name for name in DIRECTIVES if report.wants(f"{title}: {name}")]
    if not names:
        return
    port = start(world, world.peer("ws_server.js").port)[1]
    command = [*world.peer_command("tunnels_client.js"), f"ws://127.0.0.1:{port}/", *names]
    clients.run_client(report, world, title, command, names)


# ---- Drains


class Crowd:
    """Many clients of one kind."""

    def __init__(self, world, peer, url, count):
        self.process = subprocess.Popen(
            [*world.peer_command(peer), url, str(count)],
            env=world.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.count = count

    def await_ready(self):
        line = self.process.stdout.readline()
        expect(line.strip() == "ready", f"the clients said {line!r}")

    def ends(self):
        ends = json.loads(self.process.stdout.readline())
        expect(len(ends) == self.count, f"{len(ends)} ends of {self.count}")
        return ends

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def tenths(times, begun, spread):
    """How many ended in each tenth of the window; what is late counts to the last."""
    found = collections.Counter(min(9, max(0, int((at - begun) * 10 / spread))) for at in times)
    return [found[i] for i in range(10)]


def drain_of_many(world, number):
    """Every client sees a clean Close with the code, and they are spread over the window."""
    gateway, port = start(world, world.peer("ws_server.js").port)
    many = max(40, 1000 // world.scale)
    crowds = [
        Crowd(world, "crowd.js", f"ws://127.0.0.1:{port}/", many),
        Crowd(world, "crowd", f"ws://127.0.0.1:{port}/", many // 10),
    ]
    try:
        for crowd in crowds:
            crowd.await_ready()
        time.sleep(0.5)
        begun = time.time() * 1000
        gateway.process.send_signal(number)
        ends = [end for crowd in crowds for end in crowd.ends()]
        wrong = [end for end in ends if end[0] != 1012 or end[1] != "moving" or end[3]]
        expect(not wrong, f"{len(wrong)} of {len(ends)} were not closed cleanly: {wrong[:3]}")
        histogram = tenths([end[2] for end in ends], begun, 5000)
        # A tenth each, as they were sent: never more than that, but a busy machine's clients see some later.
        for i in range(1, 10):
            expect(sum(histogram[:i]) <= len(ends) * i / 10 + 2, f"too early: {histogram}")
        expect(sum(histogram[:9]) > len(ends) / 10, f"all at the end: {histogram}")
        expect(gateway.process.wait(30) == 0, "the gateway did not end well")
    finally:
        for crowd in crowds:
            crowd.stop()


@contextlib.contextmanager
def small_crowd(world, count, path="", **options):
    """A gateway, and clients with tunnels through it."""
    gateway, port = start(world, world.peer("ws_server.js").port, **options)
    crowd = Crowd(world, "crowd.js", f"ws://127.0.0.1:{port}/{path}", count)
    try:
        crowd.await_ready()
        yield gateway, lambda: [end[0] for end in crowd.ends()]
    finally:
        crowd.stop()


def second_signal(world):
    with small_crowd(world, 5, spread="1h", shutdown="2h") as (gateway, codes):
        gateway.process.send_signal(signal.SIGQUIT)
        time.sleep(0.5)
        expect(gateway.process.poll() is None, "it ended at the first signal")
        gateway.process.send_signal(signal.SIGTERM)
        expect(gateway.process.wait(10) == 0, "the gateway did not end well")
        seen = codes()
        expect(all(code in (1006, 1012) for code in seen), f"the clients saw {seen}")


def shrunk_to_fit(world):
    with small_crowd(world, 20, spread="1h", shutdown="6s") as (gateway, codes):
        gateway.process.send_signal(signal.SIGTERM)
        seen = codes()
        expect(seen == [1012] * 20, f"the clients saw {seen}")
        expect(gateway.process.wait(10) == 0, "the gateway did not end well")
        expect("1000 ms instead of 3600000 ms" in gateway.output(), "no warning: " + gateway.output())


def without_drain(world):
    """As nginx: no Close; what is open after the deadline is cut."""
    with small_crowd(world, 5, "undone/", shutdown="1s") as (gateway, codes):
        gateway.process.send_signal(signal.SIGQUIT)
        seen = codes()
        expect(seen == [1006] * 5, f"the clients saw {seen}")


def chromium(world):
    """Clean closes with the code, in a browser."""
    backend = world.peer("ws_server.js").port
    gateway, port = start(world, backend, spread="1s")
    page_port = clients.gateway_before(world, backend)
    script = f"""(async () => {{
      const sockets = [...Array(10)].map(() => new WebSocket('ws://127.0.0.1:{port}/'));
      const ends = sockets.map((s) => new Promise((ended) => s.onclose = (e) => ended([e.code, e.reason, e.wasClean])));
      await Promise.all(sockets.map((s) => new Promise((opened) => s.onopen = opened)));
      sockets.forEach((s) => setInterval(() => s.readyState === 1 && s.send('x'.repeat(1000)), 50));
      window.ends = Promise.all(ends);
      return true;
    }})()"""

    async def test(page):
        await page.evaluate(script)
        gateway.process.send_signal(signal.SIGTERM)
        return await page.evaluate("window.ends")

    ends = asyncio.run(browser.with_page(world, f"http://127.0.0.1:{page_port}/plain", test))
    expect(ends == [[1012, "moving", True]] * 10, f"the browser saw {ends}")


HANDSHAKE = (
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ACCEPTED = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


def read_until(connection, end):
    got = b""
    while not got.endswith(end):
        more = connection.recv(1)
        expect(more, f"it ended after {got!r}")
        got += more
    return got


def half_a_frame(world, rest_comes):
    """A frame of 100 bytes is half sent when the drain begins: nothing is put into it."""
    listener = socket.create_server(("127.0.0.1", 0))
    gateway, port = start(world, listener.getsockname()[1], spread="0")
    with listener, socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(HANDSHAKE.encode())
        backend, _ = listener.accept()
        with backend:
            backend.settimeout(30)
            read_until(backend, b"\r\n\r\n")
            frame = b"\x82\x64" + bytes(range(100))
            backend.sendall(ACCEPTED.encode() + frame[:52])
            read_until(client, b"\r\n\r\n")
            got = read_until(client, frame[:52])
            gateway.process.send_signal(signal.SIGTERM)
            expect(backend.recv(1) == b"\x88", "the backend's side is at a boundary: it gets its Close at once")
            if rest_comes:
                backend.sendall(frame[52:])
            while more := client.recv(4096):
                got += more
        close = b"\x88\x08" + (1012).to_bytes(2, "big") + b"moving"
        expect(got == (frame + close if rest_comes else frame[:52]), f"the client got {got.hex()}")


def drains(report, world):
    tests = {
        "1000 tunnels drained on SIGTERM are closed cleanly, over the window": lambda: drain_of_many(
            world, signal.SIGTERM
        ),
        "a second signal ends it at once": lambda: second_signal(world),
        "a spread that does not fit is shortened, with a warning": lambda: shrunk_to_fit(world),
        "without websocket_drain there is no Close, as in nginx": lambda: without_drain(world),
        "half a frame is out: its end comes first, then the Close": lambda: half_a_frame(world, True),
        "Chromium sees clean closes": lambda: chromium(world),
        "half a frame is out and no more comes: no Close inside": lambda: half_a_frame(world, False),
    }
    for name, test in tests.items():
        report.check(f"tunnels, drain: {name}", test)


def jobs(report, world):
    yield lambda: directives(report, world)
    yield lambda: drains(report, world)
