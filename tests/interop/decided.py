"""Where the gateway differs from nginx on purpose. Each difference changes what nginx did into what is expected of
the gateway, for the requests and configurations it names and in nothing else; then both must be equal."""

import base64
import re
import threading

from recording import fields_of

# Configurations under which nginx passes no handshake on: it does not send Upgrade, or not in HTTP/1.1.
WITHOUT_UPGRADE = {"defaults.conf", "keep_alive_upstream.conf", "http_1_0_upstream.conf"}
# Configurations that say nothing of proxy_http_version.
WITHOUT_VERSION = {"defaults.conf"}
SWITCHING = {b"upgrade": b"Upgrade: websocket", b"connection": b"Connection: upgrade"}
PROTECTED = {b"host", b"content-length", b"content-type", b"authorization", b"cookie", b"origin"}


# ---- What a case asks for

def tokens(fields, name):
    values = [value for each, value in fields if each.lower() == name]
    return [token.strip().lower() for value in values for token in value.split(b",") if token.strip()]


def values(fields, name):
    return [value for each, value in fields if each.lower() == name]


def requests_of(case):
    """Methods, versions and fields of the requests in a case, as far as they can be read."""
    found = []
    data = b"".join(data for data, _ in case.steps).lstrip(b"\r\n")
    while b"\r\n\r\n" in data:
        head, _, data = data.partition(b"\r\n\r\n")
        line = head.split(b"\r\n")[0].split(b" ")
        fields = fields_of(head)
        found.append((line[0], line[-1], fields))
        length = b"".join(values(fields, b"content-length")[:1])
        if b"chunked" in tokens(fields, b"transfer-encoding"):
            data = data.partition(b"0\r\n")[2].partition(b"\r\n")[2]
        elif length.isdigit():
            data = data[int(length):]
        data = data.lstrip(b"\r\n")
    return found


def verdict(request, template):
    """plain, websocket, or the status that refuses it."""
    method, version, fields = request
    if template in WITHOUT_UPGRADE or method != b"GET" or version != b"HTTP/1.1" or \
            b"upgrade" not in tokens(fields, b"connection") or b"websocket" not in tokens(fields, b"upgrade"):
        return "plain"
    keys = values(fields, b"sec-websocket-key")
    if len(keys) != 1 or not re.fullmatch(rb"[A-Za-z0-9+/]{22}==", keys[0]) or len(base64.b64decode(keys[0])) != 16:
        return 400
    if values(fields, b"sec-websocket-version") != [b"13"]:
        return 426
    if b"".join(values(fields, b"content-length")) not in (b"", b"0") or values(fields, b"transfer-encoding"):
        return 400
    return "websocket"


def verdicts(seen, case, template):
    """For each request that a backend received, that of the request it stems from (attempts repeat it)."""
    all_verdicts = [verdict(each, template) for each in requests_of(case)] or ["plain"]
    return [all_verdicts[min(i, len(all_verdicts) - 1)] for i in range(len(seen["backend"]))]


# ---- Changing what nginx did

def edit_head(record, change):
    """`change` maps each line's name and the line to another line, or None; true if that changed something."""
    lines = record["head"].split(b"\r\n")
    kept = [lines[0]] + [line if not line else change(line.partition(b":")[0].lower(), line) for line in lines[1:]]
    head = b"\r\n".join(line for line in kept if line is not None)
    changed = head != record["head"]
    record["head"] = head
    return changed


def refuse(seen, status):
    """An answer of the gateway's own and the end, without asking a backend."""
    seen |= {"backend": [], "tunnel": None, "end": "end",
             "responses": [{"status": status, "refusal": True, "interim": [], "whole": True}]}
    return True


def answer_502(seen):
    """The gateway's own answer to what only the first backend was asked; the connection stays open."""
    for record in seen["backend"]:
        if record.get("tunnel") is not None:
            record["tunnel"] = b""
    seen |= {"tunnel": None, "end": "open",
             "responses": [{"status": 502, "refusal": True, "interim": [], "whole": True}]}
    return True


# ---- The differences

def plain_is_close(seen, case, template):
    change = lambda name, line: b"Connection: close" if name == b"connection" else line
    return any([edit_head(record, change) for record, which in zip(seen["backend"], verdicts(seen, case, template))
                if which == "plain"])


def plain_has_no_upgrade(seen, case, template):
    change = lambda name, line: None if name == b"upgrade" else line
    return any([edit_head(record, change) for record, which in zip(seen["backend"], verdicts(seen, case, template))
                if which == "plain"])


def only_websocket(seen, case, template):
    change = lambda name, line: b"Upgrade: websocket" if name == b"upgrade" and line.lower() != b"upgrade: websocket" else line
    return any([edit_head(record, change) for record, which in zip(seen["backend"], verdicts(seen, case, template))
                if which == "websocket"])


def bad_handshake(seen, case, template):
    requests = requests_of(case)
    which = verdict(requests[0], template) if requests else "plain"
    return isinstance(which, int) and bool(seen["backend"]) and refuse(seen, which)


def http_1_1(seen, case, template):
    changed = False
    for record in seen["backend"]:
        line, _, rest = record["head"].partition(b"\r\n")
        chunked = b"\nTransfer-Encoding: chunked\r" in rest
        if template in WITHOUT_VERSION or chunked:
            changed |= line.endswith(b"HTTP/1.0")
            record["head"] = line.replace(b"HTTP/1.0", b"HTTP/1.1") + b"\r\n" + rest
    return changed


def stays_chunked(seen, case, template):
    change = lambda name, line: b"Transfer-Encoding: chunked" if name == b"content-length" else line
    return any([edit_head(record, change) for record in seen["backend"]
                if any(tokens(fields, b"transfer-encoding") == [b"chunked"] for _, _, fields in requests_of(case))])


def nominated(seen, case, template):
    named = {token for _, _, fields in requests_of(case) for token in tokens(fields, b"connection")}
    named = {name for name in named - PROTECTED - {b"close", b"keep-alive", b"upgrade"}
             if not name.startswith(b"sec-websocket-")} | {b"proxy-connection"}
    return any([edit_head(record, lambda name, line: None if name in named else line) for record in seen["backend"]])


def nominated_in_answer(seen, case, template):
    changed = False
    for response in seen["responses"]:
        kept = [field for field in response["fields"] if field[0].lower() not in (b"x-private", b"proxy-connection", b"keep-alive")]
        changed |= kept != response["fields"]
        response["fields"] = kept
    return changed


def switch_fields(seen, case, template):
    """In a 101."""
    changed = False
    for response in seen["responses"]:
        if response["status"] == 101:
            kept = [field for field in response["fields"] if field[0].lower() not in SWITCHING]
            both = [tuple(line.split(b": ")) for line in SWITCHING.values()]
            changed |= sorted(kept + both) != sorted(response["fields"])
            response["fields"] = kept + both
    return changed


def broken_switch(seen, case, template):
    return bool(seen["responses"]) and seen["responses"][0]["status"] == 101 and answer_502(seen)


def broken_answer(seen, case, template):
    return bool(seen["backend"]) and answer_502(seen)


def interim(seen, case, template):
    """nginx takes the first head for the whole answer."""
    if not seen["backend"]:
        return False
    early = [(103, [(b"Link", b"</style.css>")])] if "103" in case.name else []
    backend = seen["backend"][-1]["backend"].encode()
    fields = [(b"X-Backend", backend), (b"Content-Length", b"2"), (b"Date", b""), (b"Server", b"")]
    seen |= {"end": "open", "tunnel": None,
             "responses": [{"status": 200, "reason": "OK", "version": "HTTP/1.1", "interim": early, "body": b"ok", "whole": True,
                            "fields": fields, "added fields": True}]}
    return True


def streamed_answer(seen, case, template):
    """nginx, which has read the broken chunk before it sent anything, just closes."""
    if not seen["backend"]:
        return False
    backend = seen["backend"][-1]["backend"].encode()
    fields = [(b"X-Backend", backend), (b"Transfer-Encoding", b"chunked"), (b"Date", b""), (b"Server", b"")]
    seen |= {"end": "end",
             "responses": [{"status": 200, "reason": "OK", "version": "HTTP/1.1", "interim": [], "body": b"first", "whole": False,
                            "fields": fields, "added fields": True}]}
    return True


def refused_with(status):
    return lambda seen, case, template: refuse(seen, status)


def trimmed(seen, case, template):
    change = lambda name, line: b"X-Space: inner  space" if name == b"x-space" else line
    return any([edit_head(record, change) for record in seen["backend"]])


def host_of_the_pass(seen, case, template):
    """Where the configured Host is empty."""
    changed = False
    for record in seen["backend"]:
        if not values(fields_of(record["head"]), b"host"):
            line, _, rest = record["head"].partition(b"\r\n")
            record["head"] = line + b"\r\nHost: application\r\n" + rest
            changed = True
    return changed


def no_continue(seen, case, template):
    """The body has come already: RFC 9110 section 10.1.1 lets a server omit the 100."""
    changed = any(response["interim"] for response in seen["responses"])
    for response in seen["responses"]:
        response["interim"] = []
    return changed


def page_or_not(*names):
    return lambda case: case.name in names


def starting(*beginnings):
    return lambda case: case.name.startswith(beginnings)


def everywhere(case):
    return True


BROKEN_SWITCHES = ("ws-wrong-accept", "ws-no-accept", "ws-no-connection", "ws-other-protocol")
BROKEN_ANSWERS = ("garbage", "two-lengths", "length-and-chunked", "bad-length", "unknown-coding", "bare-lf")

# Name, cases, change. The order matters: framing is decided before the version that it needs.
DIFFERENCES = (
    ("classification: a handshake that breaks a rule is refused", everywhere, bad_handshake),
    ("classification: no upgrade on a plain request", everywhere, plain_has_no_upgrade),
    ("classification: only websocket is forwarded", everywhere, only_websocket),
    ("Connection: close on plain requests", everywhere, plain_is_close),
    ("a chunked request stays chunked", starting("POST chunked"), stays_chunked),
    ("HTTP/1.1 upstream by default, and for chunked bodies", everywhere, http_1_1),
    ("nominated and hop-by-hop fields are stripped from requests", starting("Connection ", "WebSocket Connection: upgrade, X-Foo"),
     nominated),
    ("nominated and hop-by-hop fields are stripped from answers", page_or_not("answer hop"), nominated_in_answer),
    ("the 101 is verified", page_or_not("answer 101", *(f"WebSocket answer {each}" for each in BROKEN_SWITCHES)), broken_switch),
    ("the 101's Upgrade and Connection are the gateway's", page_or_not("WebSocket answer ws-other-case"), switch_fields),
    ("1xx answers are relayed", page_or_not("answer 100", "answer 103", "WebSocket answer 103"), interim),
    ("broken answers are 502", page_or_not("WebSocket answer garbage", *(f"answer {each}" for each in BROKEN_ANSWERS)), broken_answer),
    ("answers are streamed", page_or_not("answer bad-chunks"), streamed_answer),
)

used = set()
lock = threading.Lock()


def apply(seen, case, template):
    """Changes what nginx did into what is expected; the names of the differences that took part."""
    if seen["end"] == "announced":
        seen["end"] = "end"  # nginx reads on for a while before it closes
    applied = [name for name, cases, change in DIFFERENCES if cases(case) and change(seen, case, template)]
    with lock:
        used.update(applied)
    return applied
