"""The numbered examples, as a reader of the README would try them."""

import os
import re
import socket
import subprocess
import tempfile

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE = (f"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
             f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n").encode()


def backend(world):
    """An echo server; "HOST:PORT"."""
    return f"127.0.0.1:{world.peer('websockets_server').port}"


def program(world, name):
    return os.path.join(world.build, "examples", name)


def expect(condition, why):
    if not condition:
        raise AssertionError(why)


def run(world, name, *arguments, given=b""):
    done = subprocess.run([program(world, name), *arguments], input=given, capture_output=True, timeout=30)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def exchange(port, sent, until=b"\r\n\r\n"):
    """What comes back, up to `until` or the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(sent)
        received = b""
        while until is None or until not in received:
            piece = client.recv(65536)
            if not piece:
                break
            received += piece
        return received


def read_until(connection, wanted, received=b""):
    """What came, with what `received` holds already, as soon as `wanted` is in it."""
    while wanted not in received:
        piece = connection.recv(65536)
        expect(piece, f"it ended without {wanted!r}: {received[-100:]!r}")
        received += piece
    return received


def read_rest(connection):
    while connection.recv(65536):
        pass


def echo_through(port, target="/chat"):
    """A frame sent in the segment of the request comes back behind the 101."""
    frame = bytes([0x81, 0x85, 0, 0, 0, 0]) + b"early"
    answer = exchange(port, HANDSHAKE.replace(b"/chat", target.encode()) + frame, until=b"\x81\x05early")
    expect(answer.startswith(b"HTTP/1.1 101 "), f"no 101: {answer[:200]!r}")
    expect(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer, "the Sec-WebSocket-Accept field is not the backend's")
    expect(b"\x81\x05early" in answer, f"no echo: {answer[-100:]!r}")


def listening(world, name, *arguments):
    """Starts an example that prints where it listens."""
    child = world.start([program(world, name), "127.0.0.1:0", *arguments])
    found = child.await_output(re.compile(r"listening on [^ ]*:(\d+)").search)
    return int(found[1]), child


def detect(world):
    code, said, _ = run(world, "1_detect_upgrade", given=HANDSHAKE + b"abc")
    expect(code == 0 and "WebSocket: /chat" in said and "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in said, said)
    expect("3 bytes follow" in said, said)
    expect("plain HTTP: GET /" in run(world, "1_detect_upgrade", given=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")[1], "plain")
    expect("426" in run(world, "1_detect_upgrade", given=HANDSHAKE.replace(b": 13", b": 8"))[1], "426")
    expect("refused: 400" in run(world, "1_detect_upgrade", given=b"\x16\x03\x01")[1], "TLS bytes")
    expect("incomplete" in run(world, "1_detect_upgrade", given=HANDSHAKE[:50])[1], "half a head")


def handshake(world):
    code, said, _ = run(world, "2_forward_handshake", backend(world), "/chat")
    expect(code == 0 and "switched by 127.0.0.1:" in said, said)
    code, said, _ = run(world, "2_forward_handshake", f"127.0.0.1:{world.refusing_port()}", "/chat")
    expect(code == 1 and "failed at connect" in said, said)
    code, _, said = run(world, "2_forward_handshake", "a:b:c", "/")
    expect(code == 1 and "a:b:c" in said, said)


def tunnel(world):
    port, _ = listening(world, "3_tunnel_two_streams", backend(world))
    echo_through(port)


def reverse_proxy(world):
    port, child = listening(world, "4_reverse_proxy", backend(world), backend(world))
    echo_through(port, "/any")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(HANDSHAKE)
        received = read_until(client, b"\r\n\r\n")
        expect(b" 101 " in received, received)
        child.process.terminate()  # drained: a Close frame with 1001, then the end
        read_until(client, b"\x88\x02\x03\xe9", received)
        client.sendall(b"\x88\x82\x00\x00\x00\x00\x03\xe9")
        read_rest(client)
    expect(child.process.wait(20) == 0, child.output())


def balancer(world):
    names = [backend(world), backend(world)]
    port, child = listening(world, "5_custom_balancer", *names)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as first:
        first.sendall(HANDSHAKE)
        expect(b" 101 " in read_until(first, b"\r\n\r\n"), "no 101")
        echo_through(port)  # the other backend has fewer tunnels
    for name in names:
        child.await_output(f"{name} served it")


def embedded(world):
    port, _ = listening(world, "6_embed_in_your_server", backend(world))
    expect(b"Hello. The chat is at /chat." in exchange(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", until=None), "the page")
    echo_through(port)
    port, _ = listening(world, "6_embed_in_your_server", f"127.0.0.1:{world.refusing_port()}")
    expect(exchange(port, HANDSHAKE, until=None).startswith(b"HTTP/1.1 502 "), "the host answers for a dead backend")


def watched_file(world):
    first, second = backend(world), backend(world)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "backends")

        def write(text):  # in one step, as one should
            with open(path + ".new", "w", encoding="utf-8") as file:
                file.write(text)
            os.rename(path + ".new", path)

        write(f"{first}\n")
        port, child = listening(world, "7_watch_a_file", path)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(HANDSHAKE)
            received = read_until(client, b"\r\n\r\n")
            expect(b" 101 " in received, received)
            write("# moved\n" + f"{second} weight=2\n")
            child.await_output(f"{second} came")
            child.await_output(f"{first} left")
            read_until(client, b"\x88", received)  # the tunnel of the first is drained
        echo_through(port)
        write(f"{second} wait=2\n")
        child.await_output("kept the old list: " + path + ":1: \"wait=2\" is not weight=N")
        write("")
        child.await_output("no backends")
        echo_through(port)
        write(f"{second}\n127.0.0.1:{world.refusing_port()}\n")
        child.await_output("is down: ")
        child.process.terminate()
        expect(child.process.wait(20) == 0, child.output())
    code, _, said = run(world, "7_watch_a_file", "127.0.0.1:0", "/nowhere")
    expect(code == 1 and "/nowhere: cannot be read" in said, said)


def jobs(report, world):
    for name, test in (("1_detect_upgrade", detect), ("2_forward_handshake", handshake),
                       ("3_tunnel_two_streams", tunnel), ("4_reverse_proxy", reverse_proxy),
                       ("5_custom_balancer", balancer), ("6_embed_in_your_server", embedded),
                       ("7_watch_a_file", watched_file)):
        yield lambda name=name, test=test: report.check(f"example {name}", test, world)
