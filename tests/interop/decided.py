"""Where the gateway differs from nginx on purpose. Each difference changes what nginx did into what is expected
of the gateway, for the requests and configurations it names and in nothing else; then both must be equal."""

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
            data = data[int(length) :]
        data = data.lstrip(b"\r\n")
    return found


def verdict(request, template):
    """plain, websocket, or the status that refuses it."""
    method, version, fields = request
    if (
        template in WITHOUT_UPGRADE
        or method != b"GET"
        or version != b"HTTP/1.1"
        or b"upgrade" not in tokens(fields, b"connection")
        or b"websocket" not in tokens(fields, b"upgrade")
    ):
        return "plain"
    keys = values(fields, b"sec-websocket-key")
    if (
        len(keys) != 1
        or not re.fullmatch(rb"[A-Za-z0-9+/]{22}==", keys[0])
        or len(base64.b64decode(keys[0])) != 16
    ):
        return 400
    if values(fields, b"sec-websocket-version") != [b"13"]:
        return 426
    if b"".join(values(fields, b"content-length")) not in (b"", b"0") or values(fields, b"transfer-encoding"):
        return 400
    return "websocket"


def verdicts(seen, case, template):
    """For each request that a backend received, that of the request it stems from (attempts repeat it)."""
    asked = [verdict(each, template) for each in requests_of(case)] or ["plain"]
    asked = [asked[min(i, len(asked) - 1)] for i in range(len(seen["backend"]))]
    # A location with other fields of its own may pass no Upgrade on.
    return [
        "plain" if not values(fields_of(record["head"]), b"upgrade") else which
        for record, which in zip(seen["backend"], asked)
    ]


# ---- Changing what nginx did


def edit_head(record, change):
    """`change` maps each line's name and the line to another line, or None; true if that changed something."""
    lines = record["head"].split(b"\r\n")
    kept = [lines[0]] + [
        line if not line else change(line.partition(b":")[0].lower(), line) for line in lines[1:]
    ]
    head = b"\r\n".join(line for line in kept if line is not None)
    changed = head != record["head"]
    record["head"] = head
    return changed


def refusal(status, fields=()):
    return {"status": status, "method": "GET", "refusal": True, "interim": [], "whole": True, "fields": list(fields)}


def refuse(seen, status):
    """An answer of the gateway's own and the end, without asking a backend."""
    fields = [(b"Sec-WebSocket-Version", b"13")] if status == 426 else []
    seen |= {"backend": [], "tunnel": None, "end": "end", "responses": [refusal(status, fields)]}
    return True


def answer(seen, fields, record, body, interim=(), whole=True):
    """What a backend answers, which nginx did not relay; what the configuration adds to it is not compared."""
    fields = [(b"X-Backend", record["backend"].encode()), *fields, (b"Date", b""), (b"Server", b"")]
    seen |= {
        "tunnel": None,
        "responses": [
            {
                "status": 200,
                "reason": "OK",
                "version": "HTTP/1.1",
                "method": "GET",
                "interim": list(interim),
                "fields": fields,
                "body": body,
                "whole": whole,
                "added fields": True,
            }
        ],
    }


def answer_502(seen):
    """The gateway's own answer to what only the first backend was asked; the connection stays open."""
    for record in seen["backend"]:
        if record.get("tunnel") is not None:
            record["tunnel"] = b""
    seen |= {"tunnel": None, "end": "open", "responses": [refusal(502)]}
    return True


# ---- The differences


def plain_is_close(seen, case, template):
    def change(name, line):
        return (
            b"Connection: close" if name == b"connection" and line.lower() != b"connection: close" else line
        )

    return any(
        [
            edit_head(record, change)
            for record, which in zip(seen["backend"], verdicts(seen, case, template))
            if which == "plain"
        ]
    )


def plain_has_no_upgrade(seen, case, template):
    change = lambda name, line: None if name == b"upgrade" else line
    return any(
        [
            edit_head(record, change)
            for record, which in zip(seen["backend"], verdicts(seen, case, template))
            if which == "plain"
        ]
    )


def plain_is_not_switched(seen, case, template):
    """Without Upgrade the backend answers as it does to any request."""
    if (
        not seen["responses"]
        or seen["responses"][0]["status"] != 101
        or verdicts(seen, case, template) != ["plain"]
    ):
        return False
    _, version, fields = requests_of(case)[0]
    record = seen["backend"][0]
    record["tunnel"] = None
    body = b"from " + record["backend"].encode()
    answer(seen, [(b"Content-Length", b"6"), (b"Content-Type", b"text/plain")], record, body=body)
    seen["end"] = "end" if version == b"HTTP/1.0" or b"close" in tokens(fields, b"connection") else "open"
    return True


def only_websocket(seen, case, template):
    def change(name, line):
        known = SWITCHING.get(name, line)
        return line if line.lower() == known.lower() else known

    changed = False
    for record, which in zip(seen["backend"], verdicts(seen, case, template)):
        if which == "websocket":
            changed |= edit_head(record, change)
            if not values(
                fields_of(record["head"]), b"connection"
            ):  # what the file made of the client's was empty
                record["head"] = record["head"].replace(
                    b"Upgrade: websocket\r\n", b"Upgrade: websocket\r\nConnection: upgrade\r\n"
                )
                changed = True
    return changed


def bad_handshake(seen, case, template):
    requests = requests_of(case)
    which = verdict(requests[0], template) if requests else "plain"
    passed_on = seen["backend"] and values(fields_of(seen["backend"][0]["head"]), b"upgrade")
    return isinstance(which, int) and bool(passed_on) and refuse(seen, which)


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
    return any(
        [
            edit_head(record, change)
            for record in seen["backend"]
            if any(tokens(fields, b"transfer-encoding") == [b"chunked"] for _, _, fields in requests_of(case))
        ]
    )


def nominated(seen, case, template):
    named = {token for _, _, fields in requests_of(case) for token in tokens(fields, b"connection")}
    named = {
        name
        for name in named - PROTECTED - {b"close", b"keep-alive", b"upgrade"}
        if not name.startswith(b"sec-websocket-")
    } | {b"proxy-connection"}
    return any(
        [edit_head(record, lambda name, line: None if name in named else line) for record in seen["backend"]]
    )


def nominated_in_answer(seen, case, template):
    changed = False
    for response in seen["responses"]:
        kept = [
            field
            for field in response["fields"]
            if field[0].lower() not in (b"x-private", b"proxy-connection", b"keep-alive")
        ]
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


def relayed_interim(seen, case, template):
    """nginx takes the first head for the whole answer."""
    if not seen["backend"]:
        return False
    early = [(103, [(b"Link", b"</style.css>")])] if "103" in case.name else []
    answer(seen, [(b"Content-Length", b"2")], seen["backend"][-1], b"ok", early)
    seen["end"] = "open"
    return True


def streamed_answer(seen, case, template):
    """nginx, which has read the broken chunk before it sent anything, just closes."""
    if not seen["backend"]:
        return False
    answer(seen, [(b"Transfer-Encoding", b"chunked")], seen["backend"][-1], b"first", whole=False)
    seen["end"] = "end"
    return True


def strict(seen, case, template):
    return bool(seen["backend"] or seen["responses"]) and refuse(seen, STRICT[case.name][0])


def trimmed(seen, case, template):
    def change(name, line):
        label, _, value = line.partition(b":")
        return label + b": " + value.strip(b" \t")

    return any([edit_head(record, change) for record in seen["backend"]])


def whole_target(seen, case, template):
    """nginx sends what the file and the variables make."""
    changed = False
    for record in seen["backend"]:
        line, _, rest = record["head"].partition(b"\r\n")
        method, _, target = line.rpartition(b" HTTP/")[0].partition(b" ")
        whole = (b"/" if target.startswith(b"?") else b"") + target.replace(b" ", b"%20")
        changed |= whole != target
        record["head"] = method + b" " + whole + line[len(method) + 1 + len(target) :] + b"\r\n" + rest
    return changed


def without_fields(seen, *names):
    changed = False
    for response in seen["responses"]:
        kept = [field for field in response.get("fields", []) if field[0] not in names]
        changed |= kept != response.get("fields", [])
        response |= {"fields": kept} if "fields" in response else {}
    return changed


def without_content(seen, case, template):
    return without_fields(seen, b"Content-Length", b"Content-Type")


def keep_alive_untold(seen, case, template):
    """[the second time of keepalive_timeout]"""
    return template == "keep_alive.conf" and without_fields(seen, b"Keep-Alive")


def length_unknown(seen, case, template):
    """nginx has read the whole body by then."""
    change = lambda name, line: b"X-Length: ;" if name == b"x-length" else line
    return template == "fields.conf" and any([edit_head(record, change) for record in seen["backend"]])


def all_lines(seen, case, template):
    change = lambda name, line: b"X-Field: |1, 3|||" if name == b"x-field" else line
    return template == "fields.conf" and any([edit_head(record, change) for record in seen["backend"]])


def no_raw_control(seen, case, template):
    """nginx lets a client write lines of its own into the head."""
    if template != "fields.conf":
        return False
    for record in seen["backend"]:
        record["head"] = record["head"].replace(b"X-Uri: /a\r\nb?", b"X-Uri: /a%0D%0Ab?")
    for response in seen["responses"]:
        # The injected line has no colon, and so its text is a name.
        response["fields"] = [
            (name, b"GET /a%0D%0Ab 200" if name == b"X-Request" else value)
            for name, value in response["fields"]
            if name != b"b 200"
        ]
    return True


def host_of_the_pass(seen, case, template):
    """Where the configured Host is empty."""
    host = (
        b"application"
        if template in ("map.conf", "maps.conf", "weights.conf", "keep_alive_upstream.conf")
        else b"127.0.0.1:@BACKEND_A@"
    )
    changed = False
    for record in seen["backend"]:
        if not values(fields_of(record["head"]), b"host"):
            line, _, rest = record["head"].partition(b"\r\n")
            first, last = (
                (b"Host: " + host + b"\r\n", b"")
                if template == "map.conf"
                else (b"", b"Host: " + host + b"\r\n")
            )
            record["head"] = line + b"\r\n" + first + rest[:-2] + last + b"\r\n"
            changed = True
    return changed


def unread_body(seen, case, template):
    """nginx reads the body and drops it."""
    if seen["backend"] or seen["end"] != "open":
        return False
    for response in seen["responses"]:
        response["fields"].append((b"Connection", b"close"))
    seen["end"] = "end"
    return True


def no_continue(seen, case, template):
    """The body has come already: RFC 9110 section 10.1.1 lets a server omit the 100."""
    changed = any(response["interim"] for response in seen["responses"])
    for response in seen["responses"]:
        response["interim"] = []
    return changed


def case_named(*names):
    return lambda case: case.name in names


def case_starts(*beginnings):
    return lambda case: case.name.startswith(beginnings)


def asks_for(*names):
    """For one of these answers of a backend's, and in no handshake: those are named."""
    wanted = re.compile(b"[?&]answer=(" + b"|".join(name.encode() for name in names) + rb")[ &]")
    return lambda case: bool(wanted.search(case.steps[0][0])) and not case.name.startswith("W")


def everywhere(case):
    return True


# Heads that nginx takes and the gateway does not, or not with that status, and why.
STRICT = {
    "bare LF": (
        400,
        "RFC 9112 section 2.2 lets a recipient refuse it; heads that two parsers read differently smuggle",
    ),
    "two spaces in the line": (400, "RFC 9112 section 3: exactly one"),
    "space at the line's end": (400, "RFC 9112 section 3"),
    "HTTP/0.9 line": (400, "HTTP/0.9 is not spoken"),
    "version HTTP/1.2": (505, "no such version"),
    "version HTTP/0.9": (505, "the version is named, and not supported"),
    "version HTTP/1": (505, "the version is named, and not supported"),
    "field no colon": (400, "RFC 9112 section 5"),
    "field control character": (400, "RFC 9110 section 5.5"),
    "field DEL": (400, "RFC 9110 section 5.5"),
    "target, raw UTF-8": (400, "RFC 3986 section 2: a URI is ASCII"),
    "Host with at": (400, "RFC 9110 section 7.2: no user there"),
    "Host bad port": (400, "RFC 9110 section 7.2: a port is digits"),
    "absolute-form": (400, "the target's authority and Host differ"),
    "absolute-form, another Host": (400, "the target's authority and Host differ"),
    "Transfer-Encoding unknown": (400, "RFC 9112 section 6.3: the last coding is not chunked"),
    "Transfer-Encoding identity": (400, "RFC 9112 section 6.3: the last coding is not chunked"),
}
BROKEN_SWITCHES = ("ws-wrong-accept", "ws-no-accept", "ws-no-connection", "ws-other-protocol")
BROKEN_ANSWERS = ("garbage", "two-lengths", "length-and-chunked", "bad-length", "unknown-coding", "bare-lf")

# Name, cases, change. The order matters: framing is decided before the version that it needs.
DIFFERENCES = (
    ("classification: a handshake that breaks a rule is refused", everywhere, bad_handshake),
    ("classification: no upgrade on a plain request", everywhere, plain_has_no_upgrade),
    (
        "the 101 is verified",
        case_named("answer 101", *(f"WebSocket answer {each}" for each in BROKEN_SWITCHES)),
        broken_switch,
    ),
    ("classification: no switch on a plain request", everywhere, plain_is_not_switched),
    (
        "classification: only websocket is forwarded, Upgrade and Connection decided last",
        everywhere,
        only_websocket,
    ),
    ("Connection: close on plain requests", everywhere, plain_is_close),
    (
        "a chunked request stays chunked",
        case_starts("POST chunked", "WebSocket with a chunked body"),
        stays_chunked,
    ),
    ("HTTP/1.1 upstream by default, and for chunked bodies", everywhere, http_1_1),
    (
        "nominated and hop-by-hop fields are stripped from requests",
        case_starts("Connection ", "WebSocket Connection: upgrade, X-Foo"),
        nominated,
    ),
    (
        "nominated and hop-by-hop fields are stripped from answers",
        asks_for("hop"),
        nominated_in_answer,
    ),
    (
        "the 101's Upgrade and Connection are the gateway's",
        case_named("WebSocket answer ws-other-case"),
        switch_fields,
    ),
    (
        "1xx answers are relayed",
        case_named("answer 100", "answer 103", "WebSocket answer 103"),
        relayed_interim,
    ),
    (
        "broken answers are 502",
        case_named("WebSocket answer garbage", *(f"answer {each}" for each in BROKEN_ANSWERS)),
        broken_answer,
    ),
    ("heads are read strictly", case_named(*STRICT), strict),
    ("a target is whole, and no space is in it", everywhere, whole_target),
    ("a 304 says nothing of a content it has not", case_named("GET /statuses/304"), without_content),
    ("clients are not told how long connections are kept", everywhere, keep_alive_untold),
    ("the length of a chunked request is not known", case_starts("POST chunked"), length_unknown),
    ("$http_NAME joins all lines, as newer nginx does", case_named("field repeated"), all_lines),
    (
        "control characters in variables stay escaped",
        case_named("target, encoded control characters"),
        no_raw_control,
    ),
    (
        "an empty Host is the name in proxy_pass, as in newer nginx",
        case_named("HTTP/1.0 without Host"),
        host_of_the_pass,
    ),
    ("no 100 Continue for a body that has come", case_named("Expect with the body"), no_continue),
    (
        "an answer of its own to a request whose body is still coming ends the connection",
        case_named("POST of 100 KiB"),
        unread_body,
    ),
    ("answers are streamed", case_named("answer bad-chunks"), streamed_answer),
    ("spaces and tabs around a value do not belong to it", everywhere, trimmed),
)

used = set()
lock = threading.Lock()


def apply(seen, case, template):
    """Changes what nginx did into what is expected; the names of the differences that took part."""
    if seen["end"] in ("announced", "reset"):  # nginx reads on for a while before it closes, or not at all
        seen["end"] = "end"
    applied = [name for name, cases, change in DIFFERENCES if cases(case) and change(seen, case, template)]
    with lock:
        used.update(applied)
    return applied
