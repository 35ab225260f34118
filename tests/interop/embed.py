"""The programs of examples/embed: each serves its own page and hands the upgrades on /chat to the backends."""

import os
import re
import socket

import clients
import examples
from examples import HANDSHAKE, exchange, expect
from harness import eventually

HOSTS = ("epoll", "cpp_httplib", "libmicrohttpd", "beast", "restinio")
# RESTinio 0.6 hands over no byte behind the head.
NO_EARLY_BYTES = ("restinio",)
# A refusal by the backend has a path of its own, which these hosts do not hand over.
SCENARIOS = tuple(name for name in clients.SCENARIOS if name != "refused handshake")


def program(name):
    return os.path.join("embed", f"embed_{name}")


def built(world, name):
    return os.access(examples.program(world, program(name)), os.X_OK)


def get(port, target):
    return exchange(port, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode(), until=None)


def own_business(world, name):
    """What the server did before, it does; where no backend is, somebody answers."""
    port, child = examples.listening(world, program(name), f"127.0.0.1:{world.refusing_port()}")
    page = get(port, "/")
    expect(page.startswith(b"HTTP/1.1 200 ") and b"Hello. The chat is at /chat." in page, page)
    expect(b'{"answer": 42}' in get(port, "/api"), "the API")
    expect(get(port, "/elsewhere").startswith(b"HTTP/1.1 404 "), "404")
    answer = exchange(port, HANDSHAKE, until=None)
    expect(answer.startswith(b"HTTP/1.1 502 "), f"no backend: {answer!r}")
    refused = exchange(port, HANDSHAKE.replace(b"Version: 13", b"Version: 8"))
    expect(b"HTTP/1.1 101 " not in refused, refused)
    expect(b'{"answer": 42}' in get(port, "/api"), "the API, afterwards")
    expect(child.process.poll() is None, child.output())


def early_bytes(world, name):
    port, _ = examples.listening(world, program(name), examples.backend(world))
    examples.echo_through(port)


def ends(world, name):
    """A tunnel's end is told to the host, and the connection is closed."""
    port, child = examples.listening(world, program(name), examples.backend(world))
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(HANDSHAKE)
        expect(b" 101 " in examples.read_until(client, b"\r\n\r\n"), "no 101")
        client.sendall(b"\x81\x82\0\0\0\0hi")
        received = client.recv(65536)
        client.sendall(b"\x88\x82\0\0\0\0\x03\xe8")
        while piece := client.recv(65536):
            received += piece
        expect(received == b"\x81\x02hi\x88\x02\x03\xe8", received)
    child.await_output("ended: ")


def real_clients(report, world, name):
    wanted = {}
    for client in ("python3-websockets", "npm ws"):
        title = f"embed {name}: {client} client"
        wanted[client] = title, [each for each in SCENARIOS if report.wants(f"{title}: {each}")]
    if not any(names for _, names in wanted.values()):
        return
    port, _ = examples.listening(world, program(name), examples.backend(world))
    for client, (title, names) in wanted.items():
        command = [*world.peer_command(clients.CLIENTS[client]), f"ws://127.0.0.1:{port}/chat", *names]
        clients.run_client(report, world, title, command, names)


def authorized(token, tenant="blue"):
    return HANDSHAKE.replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {token}\r\nX-Tenant: {tenant}\r\n\r\n".encode())


def custom_gateway(world):
    name = program("custom_gateway")
    port, child = examples.listening(world, name, "127.0.0.1:0", f"blue={examples.backend(world)}")
    admin = int(child.await_output(re.compile(r"administered on [^ ]*:(\d+)").search)[1])
    expect(exchange(port, HANDSHAKE).startswith(b"HTTP/1.1 401 "), "without a token")
    expect(exchange(port, authorized("alice-1", "red")).startswith(b"HTTP/1.1 404 "), "another tenant")
    first, second = (socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(2))
    with first, second:
        for each in (first, second):
            each.sendall(authorized("alice-1"))
            expect(b" 101 " in examples.read_until(each, b"\r\n\r\n"), "no 101")
        expect(exchange(port, authorized("alice-1")).startswith(b"HTTP/1.1 429 "), "a third tunnel of alice's")
        numbers = get(admin, "/metrics")
        expect(b'tunnels{user="alice"} 2' in numbers and b"refused_total 3" in numbers, numbers)
        gone = exchange(admin, b"DELETE /users/alice HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", until=None)
        expect(b"2 tunnels are closing" in gone, gone)
        for each in (first, second):
            examples.read_until(each, b"\x88\x0c\x0f\xa1signed out")
            each.sendall(b"\x88\x82\x00\x00\x00\x00\x0f\xa1")
            examples.read_rest(each)
    gone = eventually(lambda: b'tunnels{user="alice"} 0' in get(admin, "/metrics"))
    numbers = get(admin, "/metrics")
    expect(gone and b'tenant="blue"' in numbers, numbers)
    expect(exchange(admin, b"DELETE /users/bob HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 404 "), "bob")


def jobs(report, world):
    for name in HOSTS:
        if not built(world, name):
            yield lambda name=name: report.skip(f"embed {name}", "not built: its library is not installed")
            continue
        yield lambda name=name: report.check(f"embed {name}: its own business", own_business, world, name)
        yield lambda name=name: report.check(f"embed {name}: a tunnel's end", ends, world, name)
        if name not in NO_EARLY_BYTES:
            yield lambda name=name: report.check(f"embed {name}: early bytes", early_bytes, world, name)
        yield lambda name=name: real_clients(report, world, name)
    yield lambda: report.check("embed custom_gateway", custom_gateway, world)
