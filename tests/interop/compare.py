"""The same requests to nginx and to the gateway, with the same configuration: what arrives at the backend must
be the same bytes, and what comes back must mean the same, but for the decided differences."""

import copy
import difflib
import os

import decided
import harness
import recording
from requests_table import CASES, COMMON, cases_of

HERE = os.path.dirname(os.path.abspath(__file__))
# The nginx whose differences decided.py has.
COMPARED_VERSION = "1.22.1"
# nginx and the gateway listen on one port of two addresses: what mentions the port says the same.
ADDRESSES = {"nginx": "127.0.0.2", "gateway": "127.0.0.1"}


class Pair:
    """nginx and the gateway before the same backends, with the same file."""

    def __init__(self, world, template):
        self.world, self.template, self.port = world, template, world.reserve_port()
        unix = os.path.join(world.directory, f"backend-{self.port}.socket")
        self.backends = [recording.Backend(name) for name in "abc"]
        six = "::1" if harness.has_ipv6() else "127.0.0.1"
        self.backends += [recording.Backend("unix", unix), recording.Backend("six", (six, 0))]
        self.others = [recording.SilentBackend(), recording.UnreachableBackend()]
        self.values = {f"BACKEND_{b.name.upper()}": f"127.0.0.1:{b.port}" for b in self.backends[:3]}
        self.values |= {"UNIX": unix, "SIX": f"{f'[{six}]' if ':' in six else six}:{self.backends[-1].port}"}
        for key, port in (
            ("SILENT", self.others[0].port),
            ("UNREACHABLE", self.others[1].port),
            ("REFUSED", world.refusing_port()),
            ("REFUSED_TOO", world.refusing_port()),
        ):
            self.values[key] = f"127.0.0.1:{port}"
        self.fronts = {}
        self.restart()

    def restart(self):
        """Both forget whose turn it was, and who failed."""
        for child in self.fronts.values():
            child.stop()
        start = {"nginx": self.world.start_nginx, "gateway": self.world.start_gateway}
        for name, address in ADDRESSES.items():
            own = os.path.join(self.world.directory, f"{name}-{self.port}.socket")
            values = {"LISTEN": f"{address}:{self.port}", "LISTEN_UNIX": own, **self.values}
            self.fronts[name] = start[name](self.template, values, (address, self.port))

    def observe(self, name, source, steps):
        # nginx is known to hang in a few cases; the gateway must not.
        patience = 3 if name == "nginx" else 10 * self.world.scale
        seen = recording.exchange((ADDRESSES[name], self.port), source, steps, patience)
        seen["backend"] = sorted(
            (each for backend in self.backends for each in backend.take()), key=lambda each: each["at"]
        )
        return seen

    def names(self):
        """Ports differ from run to run, and so would the comparison's output."""
        ports = {key: value for key, value in self.values.items() if key != "UNIX"}
        return {f":{value.rpartition(':')[2]}": f":@{key}@" for key, value in ports.items()} | {
            self.values["UNIX"]: "@UNIX@",
            f":{self.port}": ":@LISTEN@",
        }

    def stop(self):
        for child in self.fronts.values():
            child.stop()
        for backend in self.backends + self.others:
            backend.close()


def text(data):
    return data.decode("latin-1").replace("\r", "\\r").replace("\0", "\\0")


def shortened(body):
    return repr(body) if len(body) < 400 else f"{body[:40]!r}... of {len(body)} bytes"


def is_page(response):
    """An error page of the proxy's own: every backend's answer has this field. To HEAD it has no body."""
    names = [name.lower() for name, _ in response["fields"]]
    headed = response["method"] == "HEAD" and (b"Content-Type", b"text/html") in response["fields"]
    return response["status"] >= 300 and b"x-backend" not in names and (bool(response["body"]) or headed)


def described(response):
    """What must be the same of a response. On an error page text, type and length are the proxy's own."""
    yield f"status {response['status']}"
    if "refusal" in response:
        yield from sorted(
            text(b": ".join(each)) for each in response["fields"] if each[0] == b"Sec-WebSocket-Version"
        )
        yield "an error page"
        return
    for status, fields in response["interim"]:
        yield f"after {status} " + text(b", ".join(sorted(name + b": " + value for name, value in fields)))
    if "fields" not in response:
        return
    page = is_page(response)
    if not page and response["status"] != 101 and b"X-Backend" in dict(response["fields"]):
        yield f"reason {response['reason']}"
    ours = {b"date", b"server"} | (
        {b"content-length", b"content-type", b"transfer-encoding"} if page else set()
    )
    lines = []
    for name, value in response["fields"]:
        # That it stays open is HTTP/1.1's default, which nginx says all the same.
        if (name.lower(), value.lower()) != (b"connection", b"keep-alive") or response[
            "version"
        ] == "HTTP/1.0":
            lines.append(f"{text(name)}: {'(any)' if name.lower() in ours else text(value)}")
    if not page:
        yield from sorted(lines)
        yield f"body {shortened(response['body'])}"
    else:
        yield from sorted(line for line in lines if not line.endswith("(any)"))
        yield "an error page"
    if not response["whole"]:
        yield "(cut off)"


def lines_of(seen, names):
    """An observation as lines that can be compared and read."""
    lines = []
    for each in seen["backend"]:
        lines.append(f"-- backend {each['backend']} received")
        lines += text(each["head"]).split("\n")[:-2]
        lines.append(f"body {shortened(each['body'])}{'' if each['whole'] else ' (cut off)'}")
        if each.get("tunnel") is not None:
            lines.append(f"tunnel {each['tunnel'].hex()}")
    for response in seen["responses"]:
        lines.append("-- client received")
        lines += described(response)
    if seen["tunnel"] is not None:
        lines.append(f"tunnel {seen['tunnel'].hex()}")
    lines.append(f"-- then {seen['end']}")
    for old, new in names.items():
        lines = [line.replace(old, new) for line in lines]
    return lines


def is_failure(seen):
    return any(response["status"] in (502, 504) or "fields" not in response for response in seen["responses"])


def soften(wanted, got):
    """Fields that nginx would have added to an answer which it did not give cannot be compared."""
    if "refusal" in wanted and "fields" in got and is_page(got):
        got["refusal"] = True
    if "added fields" in wanted and "fields" in got:
        names = [name for name, _ in wanted["fields"]]
        got["fields"] = [field for field in got["fields"] if field[0] in names]


def compare(pair, case, source):
    """None, or how they differ beyond what is decided."""
    theirs, ours = (pair.observe(name, source, case.steps) for name in ("nginx", "gateway"))
    expected = copy.deepcopy(theirs)
    applied = decided.apply(expected, case, pair.template)
    if len(theirs["backend"]) != len(ours["backend"]) or is_failure(theirs) or is_failure(ours):
        pair.restart()
    for wanted, got in zip(expected["responses"], ours["responses"]):
        soften(wanted, got)
    wanted, got = (lines_of(seen, pair.names()) for seen in (expected, ours))
    if wanted == got:
        return None
    difference = "\n".join(difflib.unified_diff(wanted, got, "nginx", "gateway", lineterm="", n=1))
    return difference + (f"\n(applied: {', '.join(applied)})" if applied else "")


def cases_for(template):
    """A file that lists requests of its own, behind "#: ", gets those and the common ones; another all."""
    with open(os.path.join(HERE, "conf", template), encoding="utf-8") as file:
        lines = [line[2:].strip() for line in file if line.startswith("#: ")]
    return (*cases_of(lines), *COMMON) if lines else CASES


def compare_all(report, world, template):
    wanted = [
        (i, case)
        for i, case in enumerate(cases_for(template))
        if report.wants(f"nginx, {template}: {case.name}")
    ]
    if not wanted:
        return
    pair = Pair(world, template)
    try:
        for i, case in wanted:
            # Many client addresses: where the hash is of the address, all backends have their share.
            report.check(f"nginx, {template}: {case.name}", check, pair, case, f"127.0.0.{10 + i % 200}")
    finally:
        pair.stop()


class Difference(Exception):
    pass


def check(pair, case, source):
    difference = compare(pair, case, source)
    if difference:
        raise Difference("\n" + difference)


# ---- Which backend, for many clients


def choices(pair, name, clients):
    return [
        pair.observe(name, f"127.0.0.{x}", [(CASES[0].steps[0][0], ("GET",))])["backend"][0]["backend"]
        for x in clients
    ]


def same_choices(world, template, spread):
    clients = range(1, 251)
    pair = Pair(world, template)
    try:
        theirs, ours = choices(pair, "nginx", clients), choices(pair, "gateway", clients)
    finally:
        pair.stop()
    different = [
        f"127.0.0.{x}: nginx {their}, gateway {our}"
        for x, their, our in zip(clients, theirs, ours)
        if their != our
    ]
    if different:
        raise Difference(f"{len(different)} of {len(clients)} clients:\n" + "\n".join(different[:5]))
    if set(theirs) != set(spread):
        raise Difference(f"only {set(theirs)} were chosen")


def choice_tests(report, world):
    for template, spread in (("seed.conf", "ab"), ("map.conf", "ab"), ("weights.conf", "abc")):
        report.check(
            f"nginx, {template}: the same backends for 250 clients", same_choices, world, template, spread
        )


# ---- All of it


def templates():
    """All that nginx understands too."""
    found = os.listdir(os.path.join(HERE, "conf"))
    return sorted(name for name in found if name.endswith(".conf") and name != "tunnels.conf")


def all_occurred(report):
    """A decided difference that nothing shows any more would only hide others. After a whole run."""
    name = "nginx: every decided difference occurs"
    if report.pattern:
        return
    if harness.nginx_version() != COMPARED_VERSION:
        report.skip(name, f"some are differences from nginx {COMPARED_VERSION}")
    else:
        unused = [name for name, _, _ in decided.DIFFERENCES if name not in decided.used]
        report.add(name, f"never seen: {unused}" if unused else None)


def jobs(report, world):
    for template in templates():
        yield lambda template=template: compare_all(report, world, template)
    yield lambda: choice_tests(report, world)
