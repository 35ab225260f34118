"""Processes, ports and the count of what passed."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Report:
    """Counts, and says what failed. A test is asked for by a part of its name."""

    def __init__(self, pattern, verbose=False):
        self.pattern, self.verbose = pattern.lower(), verbose
        self.passed = self.failed = self.skipped = 0
        self.lock = threading.Lock()

    def wants(self, name):
        return self.pattern in name.lower()

    def add(self, name, why):
        """`why` is None if the test passed."""
        if not self.wants(name):
            return
        with self.lock:
            if why is None:
                self.passed += 1
                if self.verbose:
                    print(f"ok: {name}", flush=True)
            else:
                self.failed += 1
                print(
                    f"FAILED: {name}\n" + "".join(f"    {line}\n" for line in str(why).splitlines()),
                    end="",
                    flush=True,
                )

    def trouble(self, what, why):
        """What no test's name fits: it fails whatever was asked for."""
        with self.lock:
            self.failed += 1
            print(f"FAILED: {what}\n{why}", flush=True)

    def skip(self, name, why):
        if self.wants(name):
            with self.lock:
                self.skipped += 1
                print(f"skipped: {name}: {why}", flush=True)

    def check(self, name, test, *arguments):
        """Runs a test that raises when it fails."""
        if not self.wants(name):
            return
        try:
            test(*arguments)
            self.add(name, None)
        except Exception as error:
            self.add(name, f"{type(error).__name__}: {error}")


def has_ipv6():
    """Containers often have none, not even on loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


def nginx_version():
    done = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True)
    return done.stderr.rpartition("/")[2].split()[0]


def eventually(ask, patience=30):
    """Asks again and again, for so many seconds at most, until the answer is true; the last answer."""
    end = time.monotonic() + patience
    while not (answer := ask()) and time.monotonic() < end:
        time.sleep(0.02)
    return answer


class Child:
    """A process of ours with what it wrote in a file."""

    def __init__(self, world, arguments, announces_port=False, **options):
        descriptor, self.log = tempfile.mkstemp(dir=world.directory, suffix=".log")
        self.program, self.name, self.stopped = arguments[0], os.path.basename(arguments[0]), False
        with open(descriptor, "wb") as log:
            self.process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
                stdout=subprocess.PIPE if announces_port else log,
                **options,
            )
        self.port = None
        if announces_port:
            line = self.process.stdout.readline()
            if not line.strip().isdigit():
                raise RuntimeError(f"{arguments} did not start:\n{self.output()}")
            self.port = int(line)

    def output(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def await_listening(self, address):
        """Until it accepts connections."""

        def listens():
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.output()}")
            try:
                socket.create_connection(address, timeout=5).close()
                return True
            except OSError:
                return False

        if not eventually(listens):
            raise RuntimeError(f"{self.name} does not listen on {address}:\n{self.output()}")

    def await_output(self, wanted):
        """Until it has written what `wanted` finds, or that text; what was found."""
        find = wanted if callable(wanted) else lambda output: wanted in output

        def said():
            ended = self.process.poll() is not None  # asked first: it may say it at its end
            found = find(self.output())
            if not found and ended:
                raise AssertionError(f"{self.name} ended, and did not say what was awaited:\n{self.output()}")
            return found

        found = eventually(said)
        if not found:
            raise AssertionError(f"{self.name} does not say {wanted!r}:\n{self.output()}")
        return found

    def stop(self):
        """Its whole session: browsers have children of their own. The gateway ends at a first signal when its
        connections have ended, and at a second in any case."""
        if self.stopped:
            return
        self.stopped = True
        for patience in (1, 10):
            if self.process.poll() is None:
                self._signal(signal.SIGTERM)
                try:
                    self.process.wait(patience)
                except subprocess.TimeoutExpired:
                    pass
        self._signal(signal.SIGKILL)
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def trouble(self):
        """What its end tells: a status other than 0, a sanitizer's finding. None if there is nothing."""
        output = self.output()
        found = self.process.returncode != 0 or "Sanitizer" in output or "runtime error:" in output
        return f"it ended with {self.process.returncode}:\n{output[-5000:]}" if found else None

    def _signal(self, number):
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass


class World:
    """The gateway under test, a directory for all files, and everything that was started."""

    def __init__(self, gateway, build, directory):
        self.gateway, self.build, self.directory = gateway, build, directory
        self.children, self.reserved, self.lock = [], [], threading.Lock()
        self.scale = int(os.environ.get("WSPROXY_TEST_SCALE", "1"))
        self.node_modules = None

    def start(self, arguments, **options):
        child = Child(self, arguments, **options)
        with self.lock:
            self.children.append(child)
        return child

    def peer(self, name, *arguments):
        """A server of peers/; it chooses its port."""
        return self.start([*self.peer_command(name), *arguments], announces_port=True, env=self.environment())

    @staticmethod
    def peer_command(name):
        path = os.path.join(HERE, "peers", name)
        return ["node", path] if name.endswith(".js") else [path]

    def environment(self):
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        if self.node_modules:
            environment["NODE_PATH"] = self.node_modules
        return environment

    def reserve_port(self):
        """A port for a process that is told where to listen. It stays bound here, without listening, so that
        nobody else is given it; SO_REUSEADDR lets a listener have it all the same."""
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("", 0))
        with self.lock:
            self.reserved.append(bound)
        return bound.getsockname()[1]

    def refusing_port(self):
        """Nobody listens there, nor can."""
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        with self.lock:
            self.reserved.append(bound)
        return bound.getsockname()[1]

    def configuration(self, template, values):
        """The text of conf/TEMPLATE with its placeholders filled in."""
        with open(os.path.join(HERE, "conf", template), encoding="utf-8", newline="") as file:
            text = file.read()
        for key, value in {"CONF": os.path.join(HERE, "conf"), **values}.items():
            text = text.replace(f"@{key}@", str(value))
        return text

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        return path

    def start_gateway(self, template, values, address):
        return self.start_gateway_with(self.configuration(template, values), address)

    def start_gateway_with(self, text, address):
        """`address` is one that the configuration listens at."""
        child = self.start([self.gateway, "-c", self.write(f"gateway-{address[1]}.conf", text)])
        child.await_listening(address)
        return child

    def start_nginx(self, template, values, address):
        return self.start_nginx_with(self.configuration(template, values), address)

    def start_nginx_with(self, text, address):
        """In the foreground, and with nothing that needs rights: no log, no directories of the system."""
        place = os.path.join(self.directory, f"nginx-{address[1]}")
        os.makedirs(place, exist_ok=True)
        extra = "access_log off;\n" + "".join(
            f"{kind}_temp_path {place}/temp;\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        path = self.write(f"nginx-{address[1]}.conf", text.replace("\nhttp {\n", f"\nhttp {{\n{extra}", 1))
        child = self.start(
            [
                NGINX,
                "-p",
                place,
                "-e",
                f"{place}/error.log",
                "-c",
                path,
                "-g",
                f"daemon off; master_process off; pid {place}/pid;",
            ]
        )
        child.await_listening(address)
        return child

    def stop(self):
        with self.lock:
            children = list(reversed(self.children))
        for child in children:
            child.stop()
        for bound in self.reserved:
            bound.close()

    def check_gateways(self, report):
        """After stop()."""
        ends = [child.trouble() for child in self.children if child.program == self.gateway]
        troubles = [each for each in ends if each]
        if troubles:
            report.trouble("a gateway did not end as it was asked to", "\n".join(troubles[:3]))
        elif ends:
            report.add("every gateway ended as it was asked to", None)
