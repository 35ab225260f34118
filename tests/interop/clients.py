"""Real clients and real servers with the gateway between them, configured with conf/seed.conf."""

import os
import shutil
import subprocess
import tempfile

SCENARIOS = (
    "text and binary echo",
    "1 MiB both ways",
    "a large message from the server",
    "many messages in order",
    "fragmented message from the client",
    "fragmented message from the server",
    "ping from the client",
    "ping from the server",
    "close code from the client",
    "close code from the server",
    "permessage-deflate",
    "without permessage-deflate",
    "subprotocol",
    "refused handshake",
)
CLIENTS = {"npm ws": "ws_client.js", "python3-websockets": "websockets_client", "aiohttp": "aiohttp_client"}
SERVERS = {"npm ws": "ws_server.js", "python3-websockets": "websockets_server", "aiohttp": "aiohttp_server"}
# What a library cannot do.
UNABLE_CLIENTS = {("aiohttp", "fragmented message from the client")}
UNABLE_SERVERS = {("aiohttp", "fragmented message from the server")}

COOKIE = "polling, then upgrade, over two backends by a cookie"
SOCKET_IO = (
    COOKIE,
    "long polling alone",
    "WebSocket alone",
    "polling, then upgrade, over two backends",
    "binary and large messages",
    "broadcast",
    "the server disconnects",
)


def gateway_before(world, *ports, hash_key="$remote_addr"):
    """The port of a gateway with one or two backends."""
    port = world.reserve_port()
    values = {
        "LISTEN": f"127.0.0.1:{port}",
        "BACKEND_A": f"127.0.0.1:{ports[0]}",
        "BACKEND_B": f"127.0.0.1:{ports[-1]}",
    }
    text = world.configuration("seed.conf", values).replace("hash $remote_addr", f"hash {hash_key}")
    world.start_gateway_with(text, ("127.0.0.1", port))
    return port


def run_client(report, world, title, command, names):
    """A client that prints a line for each scenario."""
    try:
        done = subprocess.run(
            command,
            env=world.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=150,
            text=True,
        )
        output, errors = done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        output, errors = (late.stdout or b"").decode(), "the client did not end"
    results = {}
    for line in output.splitlines():
        verdict, _, rest = line.partition(" ")
        name, _, why = (rest, "", "") if verdict == "ok" else rest.partition(": ")
        results[name] = None if verdict == "ok" else why
    for name in names:
        report.add(f"{title}: {name}", results.get(name, f"the client said nothing; {errors}"))


def websocket_clients(report, world, server_title):
    server = None
    for client_title, client in CLIENTS.items():
        title = f"{client_title} client, {server_title} server"
        names = [
            name
            for name in SCENARIOS
            if report.wants(f"{title}: {name}")
            and (client_title, name) not in UNABLE_CLIENTS
            and (server_title, name) not in UNABLE_SERVERS
        ]
        if not names:
            continue
        if server is None:
            server = world.peer(SERVERS[server_title])
            port = gateway_before(world, server.port)
        run_client(
            report, world, title, [*world.peer_command(client), f"ws://127.0.0.1:{port}/", *names], names
        )


def socket_io(report, world):
    names = [name for name in SOCKET_IO if report.wants(f"socket.io: {name}")]
    if not names:
        return
    ports = [world.peer("socketio_server.js", name).port for name in ("a", "b")]
    for hash_key, those in (
        ("$remote_addr", [name for name in names if name != COOKIE]),
        ("$cookie_route", [name for name in names if name == COOKIE]),
    ):
        if those:
            port = gateway_before(world, *ports, hash_key=hash_key)
            client = [*world.peer_command("socketio_client.js"), f"http://127.0.0.1:{port}", *those]
            run_client(report, world, "socket.io", client, those)


class Curl:
    def __init__(self, world, port):
        self.world, self.url = world, f"http://127.0.0.1:{port}"

    def __call__(self, *arguments, path="/plain", data=None):
        """What it printed; raises if it failed."""
        done = subprocess.run(
            ["curl", "-sS", "--max-time", "20", "--noproxy", "*", *arguments, self.url + path],
            input=data,
            capture_output=True,
            timeout=30,
        )
        if done.returncode != 0:
            raise AssertionError(f"curl failed: {done.stderr.decode()}")
        return done.stdout


def expect(seen, expected):
    if seen != expected:
        raise AssertionError(f"{seen!r:.400}, not {expected!r:.400}")


def curl_tests(curl, directory):
    body = os.urandom(200000)
    file = os.path.join(directory, "body")
    with open(file, "wb") as out:
        out.write(body)

    def get():
        expect(curl("-w", " %{http_code} %{http_version}"), b"plain answer 200 1.1")

    def get_chunked():
        expect(curl(path="/chunked"), b"first second")

    def get_large():
        expect(curl(path="/large"), b"x" * (4 << 20))

    def head():
        lines = curl("--head").decode().lower().splitlines()
        expect((lines[0].split()[1], lines[-1]), ("200", ""))
        get()

    def head_large():
        expect(curl("--head", "-w", "%{size_download}", path="/large").split(b"\r\n")[-1], b"0")

    def post():
        expect(curl("--data-binary", f"@{file}", path="/echo"), body)

    def post_chunked():
        expect(curl("-H", "Transfer-Encoding: chunked", "--data-binary", f"@{file}", path="/echo"), body)

    def post_with_expect():
        expect(
            curl(
                "-H",
                "Expect: 100-continue",
                "--expect100-timeout",
                "10",
                "--data-binary",
                f"@{file}",
                path="/echo",
            ),
            body,
        )

    def put_from_pipe():
        expect(curl("-T", "-", path="/echo", data=body), body)

    def keep_alive():
        expect(
            curl("-w", "%{num_connects} ", curl.url + "/chunked", curl.url + "/missing", curl.url + "/plain"),
            b"first second1 nothing here0 plain answer0 plain answer0 ",
        )

    def http_1_0():
        expect(curl("--http1.0", "-w", " %{http_code}"), b"plain answer 200")

    def http_1_0_chunked_origin():
        expect(curl("--http1.0", path="/chunked"), b"first second")

    def missing():
        expect(curl("-w", " %{http_code}", path="/missing"), b"nothing here 404")

    def preflight():
        text = curl("-X", "OPTIONS", "-i").decode().lower()
        expect(("204" in text.split("\r\n")[0], "access-control-allow-origin: *" in text), (True, True))

    return [test for test in locals().values() if callable(test) and test is not curl]


def curl_tests_against(report, world, server_title):
    title = f"curl, {server_title} server"
    with tempfile.TemporaryDirectory(dir=world.directory) as directory:
        tests = [
            (f"{title}: {test.__name__.replace('_', ' ')}", i)
            for i, test in enumerate(curl_tests(Curl(world, 0), directory))
        ]
        if not any(report.wants(name) for name, _ in tests):
            return
        port = gateway_before(world, world.peer(SERVERS[server_title]).port)
        made = curl_tests(Curl(world, port), directory)
        for name, i in tests:
            report.check(name, made[i])


def contents(path):
    """None if there is no such file."""
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return file.read()


def install_npm_packages(world):
    """Into the build directory, anew when the lock file changed."""
    here = os.path.dirname(os.path.abspath(__file__))
    place = os.path.join(world.build, "interop")
    os.makedirs(place, exist_ok=True)
    stamp = os.path.join(place, "node_modules", ".installed")
    wanted = contents(os.path.join(here, "package-lock.json"))
    if contents(stamp) != wanted:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(os.path.join(here, name), place)
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"],
            cwd=place,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"npm ci failed:\n{done.stdout}{done.stderr}")
        with open(stamp, "w", encoding="utf-8") as file:
            file.write(wanted)
    world.node_modules = os.path.join(place, "node_modules")


def jobs(report, world):
    """What may run at the same time."""
    for server in SERVERS:
        yield lambda server=server: websocket_clients(report, world, server)
    yield lambda: socket_io(report, world)
    for server in ("npm ws", "aiohttp"):
        yield lambda server=server: curl_tests_against(report, world, server)
