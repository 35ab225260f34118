"""What the system has to do with the gateway: who reads its logs, who may connect to its sockets, how much memory
it takes."""

import os
import resource
import select
import socket
import stat
import subprocess

import recording
from requests_table import request

FILE = """
worker_processes 1;
@MAIN@
events {}
http {
  access_log @ACCESS@;
  server {
    listen 127.0.0.1:@PORT@;
    location / { return 204; }
    location /refused { proxy_pass http://127.0.0.1:@REFUSED@; }
    location ~ ^/go/([^/]+) { proxy_pass http://$1; }
  }
}
"""


def expect(condition, why):
    if not condition:
        raise AssertionError(why)


def file_for(world, port, access="off", main=""):
    values = {"MAIN": main, "ACCESS": access, "PORT": port, "REFUSED": world.refusing_port()}
    text = FILE
    for key, value in values.items():
        text = text.replace(f"@{key}@", str(value))
    return text


def status(port, target):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request(target))
        response = recording.read_response(recording.Reader(client, 20), "GET")
        return response and response["status"]


def expect_answers(port, target, wanted):
    found = [status(port, target) for _ in range(3)]
    expect(found == [wanted] * 3, f"{found} instead of {wanted}")


# ---- Logs


def what_comes(reader, wanted):
    """All that came, as soon as that is in it."""
    said = b""
    while wanted not in said:
        expect(select.select([reader], [], [], 20)[0], f"no {wanted} came: {said}")
        piece = os.read(reader, 65536)
        expect(piece, f"it ended without {wanted}: {said}")
        said += piece
    return said


def standard_error(world):
    """Every failed exchange is a line of the error log."""
    port = world.reserve_port()
    command = [world.gateway, "-c", world.write(f"gateway-{port}.conf", file_for(world, port))]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            what_comes(process.stderr.fileno(), b"listening")
            expect(status(port, "/refused") == 502, "no 502")
            what_comes(process.stderr.fileno(), b"/refused")
            process.stderr.close()
            expect_answers(port, "/refused", 502)
            expect(process.poll() is None, "it is gone")
        finally:
            process.kill()


def access_log(world):
    """A FIFO whose reader goes, and comes back."""
    port = world.reserve_port()
    path = os.path.join(world.directory, f"access-{port}.fifo")
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    gateway = world.start_gateway_with(file_for(world, port, access=path), ("127.0.0.1", port))
    expect(status(port, "/read") == 204, "no 204")
    what_comes(reader, b"GET /read ")
    os.close(reader)
    expect_answers(port, "/unread", 204)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    expect(status(port, "/again") == 204, "no 204")
    said = what_comes(reader, b"GET /again ")
    os.close(reader)
    expect(b"unread" not in said, said)
    gateway.stop()


def forged_lines(world):
    port = world.reserve_port()
    path = os.path.join(world.directory, f"error-{port}.log")
    gateway = world.start_gateway_with(file_for(world, port, main=f"error_log {path};"), ("127.0.0.1", port))
    expect(status(port, "/go/foo%0a2026-01-01T00:00:00+00:00%20[notice]%20forged%1b[31m") == 502, "no 502")
    gateway.stop()
    with open(path, "rb") as file:
        lines = file.read().split(b"\n")
    expect(not any(line.startswith(b"2026-01-01") or b"\x1b" in line for line in lines), lines)
    expect(any(b"foo\\x0A2026-01-01" in line for line in lines), lines)


# ---- Sockets


def rights_of_a_socket(world):
    """Whoever may enter the folder may connect, as with nginx."""
    found = {}
    for name, start in (("nginx", world.start_nginx_with), ("gateway", world.start_gateway_with)):
        port = world.reserve_port()
        path = os.path.join(world.directory, f"rights-{name}.socket")
        text = f"events {{}}\nhttp {{\nserver {{ listen 127.0.0.1:{port}; listen unix:{path}; return 204; }}\n}}\n"
        child = start(text, ("127.0.0.1", port))
        expect(status(port, "/") == 204, "no 204")  # so all its sockets are there
        found[name] = oct(stat.S_IMODE(os.stat(path).st_mode))
        child.stop()
    expect(found["gateway"] == found["nginx"] == oct(0o666), found)


# ---- Memory


def without_semicolons(world):
    """What is wrong with a file takes no more memory than the file: 20,000 directives, none of them ended."""
    lines = 20000
    path = world.write(
        "no-semicolons.conf",
        "events {}\nhttp { server { location / {\n" + "proxy_read_timeout 1s\n" * lines + "} } }\n",
    )
    # A sanitizer's own memory is beyond any limit.
    bound = (lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))) if world.scale == 1 else None
    done = subprocess.run(
        [world.gateway, "-t", "-c", path], stderr=subprocess.PIPE, preexec_fn=bound, timeout=300 * world.scale
    )
    said = done.stderr.decode().splitlines()
    missing = sum("a \";\" is missing here" in line for line in said)
    repeated = sum("directive is duplicate" in line for line in said)
    expect((done.returncode, missing, repeated) == (1, lines, lines - 1), said[-3:])


TESTS = {
    "a file without semicolons takes no memory": without_semicolons,
    "standard error without a reader": standard_error,
    "an access log without a reader": access_log,
    "no client forges a line of the error log": forged_lines,
    "everybody may connect to a Unix socket, as with nginx": rights_of_a_socket,
}


def jobs(report, world):
    for name, test in TESTS.items():
        yield lambda name=name, test=test: report.check(f"system: {name}", test, world)
