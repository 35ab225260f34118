"""The requests that are sent to nginx and to the gateway, times every configuration."""

import dataclasses
import re

from recording import CLIENT_HELLO

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    steps: tuple  # of bytes to send and the methods of the responses that are then read


def head(line, *fields):
    return "".join(f"{each}\r\n" for each in (line, *fields, "")).encode("latin-1")


def request(target="/", *fields, method="GET", host="example.test", version="HTTP/1.1", body=b""):
    hosts = [] if host is None else [f"Host: {host}"]
    return head(f"{method} {target} {version}", *hosts, *fields) + body


def websocket(
    target="/chat",
    *more,
    method="GET",
    upgrade=("websocket",),
    connection=("Upgrade",),
    key=(KEY,),
    version=("13",),
    http="HTTP/1.1",
    host="example.test",
    body=b"",
):
    """A handshake; each part of it can be left out or repeated."""
    fields = [f"Upgrade: {each}" for each in upgrade] + [f"Connection: {each}" for each in connection]
    fields += [f"Sec-WebSocket-Key: {each}" for each in key] + [
        f"Sec-WebSocket-Version: {each}" for each in version
    ]
    return request(target, *fields, *more, method=method, host=host, version=http, body=body)


def cases():
    def one(name, data, method="GET"):
        return Case(name, ((data, (method,)),))

    def plain(name, *arguments, **options):
        return one(name, request(*arguments, **options), options.get("method", "GET"))

    # Plain requests.
    yield plain("GET")
    yield plain(
        "GET with the fields of a browser",
        "/page",
        "User-Agent: browser/1",
        "Accept: text/html,*/*;q=0.8",
        "Accept-Language: de",
        "Accept-Encoding: gzip, br",
        "Cookie: a=1; b=2",
        "Referer: http://example.test/",
        "Authorization: Basic eDp5",
        'If-None-Match: "x"',
        "Range: bytes=0-1",
        "Cache-Control: no-cache",
    )
    yield plain(
        "GET with odd header case",
        "/",
        "hOsT-lIke: 1",
        "X-oDD-cAsE: 2",
        "ACCEPT: x",
        "cookie: c=1",
        host="ExAmple.TEST",
    )
    yield plain(
        "POST with a length",
        "/post",
        "Content-Length: 11",
        "Content-Type: text/plain",
        method="POST",
        body=b"hello world",
    )
    yield plain("POST with length 0", "/post", "Content-Length: 0", method="POST")
    yield plain("POST without a length", "/post", method="POST")
    yield plain("POST of 100 KiB", "/post", "Content-Length: 102400", method="POST", body=b"p" * 102400)
    yield plain("POST over 1 MiB", "/post", "Content-Length: 1048577", method="POST")
    for name, body in {
        "one chunk": b"5\r\nhello\r\n0\r\n\r\n",
        "several chunks": b"5\r\nhello\r\n06\r\n world\r\n0\r\n\r\n",
        "an extension and a trailer": b"5;a=b\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n",
        "no data": b"0\r\n\r\n",
    }.items():
        yield plain(f"POST chunked, {name}", "/post", "Transfer-Encoding: chunked", method="POST", body=body)
    yield plain(
        "POST chunked, odd case",
        "/post",
        "transfer-encoding: Chunked",
        method="POST",
        body=b"1\r\nx\r\n0\r\n\r\n",
    )
    yield plain("GET with a body", "/get", "Content-Length: 4", body=b"body")
    for method in (
        "HEAD",
        "PUT",
        "DELETE",
        "PATCH",
        "PROPFIND",
        "PURGE",
        "CONNECT",
        "TRACE",
        "get",
        "M-SEARCH",
    ):
        yield plain(f"method {method}", "/method", method=method)
    yield plain("HEAD of chunked", "/?answer=chunked", method="HEAD")
    yield plain("HEAD of a missing page", "/?answer=404", method="HEAD")
    yield plain(
        "OPTIONS preflight",
        "/api",
        "Origin: http://page.test",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: x-a",
        method="OPTIONS",
    )
    yield plain("OPTIONS with a body", "/api", "Content-Length: 3", method="OPTIONS", body=b"abc")
    yield plain("OPTIONS of the server", "*", method="OPTIONS")

    # Targets.
    for name, target in {
        "query": "/a/b?x=1&y=%20z?&&=",
        "empty query": "/a?",
        "two question marks": "/a??b",
        "percent-encoded": "/a%20b/%7Euser/%e4%bd%a0",
        "percent-encoded lower and upper": "/%41%6a%2e%2E",
        "encoded slash": "/a%2Fb%2fc",
        "encoded percent": "/100%25",
        "encoded question mark": "/a%3Fb?c",
        "dot segments": "/a/../b/./c",
        "dot segments at the end": "/a/b/..",
        "encoded dot segments": "/a/%2e%2e/b",
        "above the root": "/../x",
        "doubled slashes": "//a///b",
        "fragment": "/a#part?x",
        "plus and semicolon": "/a+b;c=d",
        "unescaped specials": '/a|b{c}^d`e"f',
        "raw UTF-8": "/caf\u00c3\u00a9",
        "broken escape": "/a%zz",
        "short escape": "/a%4",
        "encoded NUL": "/a%00b",
        "encoded control characters": "/a%0d%0ab",
        "space inside": "/a b",
        "tab inside": "/a\tb",
        "no slash": "a",
        "prefix": "/app/x?y",
        "prefix alone": "/app/",
        "prefix without slash": "/app",
        "prefix and dots": "/app/../app/z",
        "prefix, encoded": "/app/a%20b%2Fc",
        "prefix in escapes": "/%61pp/x",
        "raw": "/raw/a%20b/../c",
        "exact": "/exact",
        "long": "/" + "l" * 3000,
        "too long": "/" + "l" * 9000,
    }.items():
        yield plain(f"target, {name}", target)
    yield plain("absolute-form", "http://Example.Test:81/path?x=1")
    yield plain("absolute-form without path", "http://example.test")
    yield plain("absolute-form, query only", "http://example.test?x=1")
    yield plain("absolute-form, another Host", "http://other.test/path")
    yield plain("absolute-form, https", "https://example.test/path")

    # Host.
    for name, host in {
        "with port": "Example.test:8080",
        "with trailing dot": "example.test.",
        "of IPv6": "[::1]:80",
        "of IPv4": "127.0.0.1",
        "alpha": "alpha.test",
        "beta": "beta.test:80",
        "wildcard": "x.y.wild.test",
        "wildcard start": "wild.test",
        "dot": "tame.test",
        "dot and more": "a.tame.test",
        "wildcard end": "mail.example.org",
        "regex": "shop-7.test",
        "missing": None,
        "empty": "",
        "bad": "a b",
        "with slash": "a/b",
        "with at": "user@example.test",
        "with underscore": "a_b.test",
        "bad port": "example.test:x",
    }.items():
        yield plain(f"Host {name}", host=host)
    yield plain("Host twice", "/", "Host: other.test")
    yield plain("Host twice, the same", "/", "Host: example.test")

    # Field lines.
    for name, lines in {
        "repeated": ["X-A: 1", "X-B: 2", "X-A: 3"],
        "Cookie repeated": ["Cookie: a=1", "Cookie: b=2"],
        "underscores": ["X_Real_Name: 1", "X-After: 2"],
        "dots": ["X.Dot: 1", "X-After: 2"],
        "other token characters": ["X!Y: 1", "X~Y: 2", "X-After: 3"],
        "space in the name": ["X Y: 1"],
        "space before the colon": ["X-Y : 1"],
        "no colon": ["X-Y"],
        "empty name": [": 1"],
        "empty value": ["X-Empty:", "X-After: 1"],
        "spaces around the value": ["X-Space: \t  inner  space \t "],
        "no space after the colon": ["X-Tight:1"],
        "Latin-1 value": ["X-Latin: caf\u00e9"],
        "NUL in the value": ["X-Nul: a\x00b"],
        "control character": ["X-Ctl: a\x01b"],
        "DEL": ["X-Del: a\x7fb"],
        "folded": ["X-Fold: a", " b"],
        "carriage return inside": ["X-Cr: a\rb"],
        "digits": ["1-2-3: x"],
        "long": ["X-Long: " + "v" * 3000],
        "many": [f"X-{i}: {'v' * 50}" for i in range(60)],
        "too long": ["X-Long: " + "v" * 9000],
        "too long together": [f"X-{i}: {'v' * 4000}" for i in range(10)],
        "X-Forwarded-For": ["X-Forwarded-For: 10.0.0.1"],
        "X-Forwarded-For twice": ["X-Forwarded-For: 10.0.0.1", "x-forwarded-for: 10.0.0.2, 10.0.0.3"],
        "X-Real-IP": ["X-Real-IP: 10.9.9.9"],
        "X-Key": ["X-Key: seven"],
        "X-Kind regex": ["X-Kind: Tablet 12"],
        "X-Kind exact": ["X-Kind: phone"],
        "X-Kind case": ["X-Kind: PHONE"],
    }.items():
        yield plain(f"field {name}", "/fields", *lines)

    # Connection.
    for name, lines in {
        "close": ["Connection: close"],
        "keep-alive": ["Connection: keep-alive"],
        "Keep-Alive": ["Connection: keep-alive", "Keep-Alive: 300"],
        "odd case": ["CONNECTION: Close"],
        "nominating": ["Connection: X-Foo", "X-Foo: 1", "X-Bar: 2"],
        "close, nominating": ["Connection: close, X-Foo", "X-Foo: 1"],
        "nominating Host": ["Connection: Host, Cookie", "Cookie: a=1"],
        "TE": ["TE: trailers", "Connection: TE"],
        "Proxy-Connection": ["Proxy-Connection: keep-alive"],
        "Upgrade to h2c": ["Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"],
        "Trailer": ["Trailer: X-T"],
    }.items():
        yield plain(f"Connection {name}", "/", *lines)
    yield Case("keep-alive, two requests", ((request("/1"), ("GET",)), (request("/2"), ("GET",))))
    yield Case(
        "keep-alive, pipelined",
        (
            (
                request("/1")
                + request("/2", "Content-Length: 2", method="POST", body=b"xy")
                + request("/3", "Connection: close"),
                ("GET", "POST", "GET"),
            ),
        ),
    )
    yield Case(
        "keep-alive, after an error of ours",
        ((request("/", host="nobody.test", method="TRACE"), ("TRACE",)), (request("/2"), ("GET",))),
    )
    yield Case(
        "keep-alive, after a missing page",
        ((request("/?answer=404-chunked"), ("GET",)), (request("/2"), ("GET",))),
    )
    yield Case(
        "keep-alive, after a preflight",
        ((request("/", method="OPTIONS"), ("OPTIONS",)), (request("/2"), ("GET",))),
    )
    yield Case(
        "keep-alive, empty lines before",
        ((b"\r\n\r\n" + request("/1"), ("GET",)), (b"\r\n" + request("/2"), ("GET",))),
    )
    yield Case(
        "slow head", ((request("/slow", "X-A: 1")[:20], ()), (request("/slow", "X-A: 1")[20:], ("GET",)))
    )

    # Versions and request lines.
    yield plain("HTTP/1.0", version="HTTP/1.0")
    yield plain("HTTP/1.0 without Host", host=None, version="HTTP/1.0")
    yield plain("HTTP/1.0 keep-alive", "/", "Connection: keep-alive", version="HTTP/1.0")
    yield plain("HTTP/1.0 POST", "/", "Content-Length: 2", method="POST", version="HTTP/1.0", body=b"hi")
    yield plain("HTTP/1.0 of chunked", "/?answer=chunked", version="HTTP/1.0")
    yield plain(
        "HTTP/1.0 keep-alive of chunked", "/?answer=chunked", "Connection: keep-alive", version="HTTP/1.0"
    )
    yield plain(
        "HTTP/1.0 chunked body",
        "/",
        "Transfer-Encoding: chunked",
        method="POST",
        version="HTTP/1.0",
        body=b"0\r\n\r\n",
    )
    for version in ("HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1", "HTP/1.1", "http/1.1"):
        yield plain(f"version {version}", version=version)
    yield one("HTTP/0.9 line", b"GET /\r\n")
    yield one("bare LF", b"GET /lf HTTP/1.1\nHost: example.test\n\n")
    yield one("two spaces in the line", b"GET  /two HTTP/1.1\r\nHost: example.test\r\n\r\n")
    yield one("space at the line's end", b"GET /end HTTP/1.1 \r\nHost: example.test\r\n\r\n")
    yield one("TLS to a plain port", bytes.fromhex("16030100c8010000c40303") + b"\r\n\r\n")

    # Framing of the request.
    for name, lines in {
        "not a number": ["Content-Length: abc"],
        "negative": ["Content-Length: -1"],
        "with a plus": ["Content-Length: +2"],
        "a list": ["Content-Length: 2, 2"],
        "twice the same": ["Content-Length: 2", "Content-Length: 2"],
        "twice different": ["Content-Length: 2", "Content-Length: 3"],
        "and chunked": ["Content-Length: 2", "Transfer-Encoding: chunked"],
        "huge": ["Content-Length: 99999999999999999999"],
        "empty": ["Content-Length:"],
    }.items():
        yield plain(f"Content-Length {name}", "/", *lines, method="POST", body=b"hi")
    for name, lines in {
        "unknown": ["Transfer-Encoding: gzip"],
        "gzip, chunked": ["Transfer-Encoding: gzip, chunked"],
        "identity": ["Transfer-Encoding: identity"],
        "twice": ["Transfer-Encoding: chunked"] * 2,
    }.items():
        yield plain(f"Transfer-Encoding {name}", "/", *lines, method="POST", body=b"0\r\n\r\n")
    yield plain("chunk size that is none", "/", "Transfer-Encoding: chunked", method="POST", body=b"zz\r\n")
    yield plain(
        "Expect with the body", "/", "Expect: 100-continue", "Content-Length: 2", method="POST", body=b"hi"
    )
    yield Case(
        "Expect, body later",
        (
            (request("/", "Expect: 100-continue", "Content-Length: 2", method="POST"), ("CONTINUE",)),
            (b"hi", ("POST",)),
        ),
    )
    yield plain(
        "Expect something else", "/", "Expect: miracles", "Content-Length: 2", method="POST", body=b"hi"
    )

    # Answers.
    for name in (
        "chunked",
        "until-close",
        "http-1.0",
        "empty",
        "204",
        "304",
        "201",
        "302",
        "401",
        "403",
        "404",
        "404-chunked",
        "404-until-close",
        "500",
        "503",
        "299",
        "no-reason",
        "fields",
        "hidden",
        "hop",
        "refresh",
        "100",
        "103",
        "slow-head",
        "big-body",
        "long-head",
        "too-long-head",
        "short-body",
        "short-chunks",
        "bad-chunks",
        "garbage",
        "nothing",
        "half-head",
        "two-lengths",
        "length-and-chunked",
        "bad-length",
        "unknown-coding",
        "fold",
        "bad-name",
        "nul",
        "bare-lf",
        "101",
    ):
        yield plain(f"answer {name}", f"/?answer={name}")
    yield plain("POST, answer nothing", "/?answer=nothing", "Content-Length: 2", method="POST", body=b"hi")
    yield plain("POST, answer 503", "/?answer=503", "Content-Length: 2", method="POST", body=b"hi")

    # WebSocket handshakes.
    def ws(name, *arguments, **options):
        return one(f"WebSocket {name}", websocket(*arguments, **options))

    yield ws("handshake")
    yield ws(
        "with the fields of a browser",
        "/chat?room=1",
        "Origin: http://page.test",
        "Cookie: a=1",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
        "Sec-WebSocket-Protocol: chat, other",
        "Pragma: no-cache",
        "User-Agent: browser/1",
        "Accept-Encoding: gzip",
    )
    yield one(
        "WebSocket lower-case names",
        websocket()
        .lower()
        .replace(b"get /chat http", b"GET /chat HTTP")
        .replace(KEY.lower().encode(), KEY.encode()),
    )
    # Where it is a plain request the frame is a broken second one.
    yield Case(
        "WebSocket with a frame in the same segment", ((websocket(body=CLIENT_HELLO), ("GET", "GET")),)
    )
    yield ws("Connection: keep-alive, Upgrade", connection=("keep-alive, Upgrade",))
    yield ws("two Connection lines", connection=("keep-alive", "Upgrade"))
    yield ws("empty Connection line first", connection=("", "Upgrade"))
    yield ws("Connection: upgrade, X-Foo", "/chat", "X-Foo: 1", connection=("upgrade, X-Foo",))
    yield ws("Upgrade: WebSocket", upgrade=("WebSocket",))
    yield ws("Upgrade: websocket, h2c", upgrade=("websocket, h2c",))
    yield ws("two Upgrade lines", upgrade=("websocket", "h2c"))
    yield ws("Upgrade: websocket/13", upgrade=("websocket/13",))
    yield ws("Upgrade: h2c", upgrade=("h2c",))
    yield ws("no Upgrade", upgrade=())
    yield ws("empty Upgrade", upgrade=("",))
    yield ws("no Connection", connection=())
    yield ws("Connection: close", connection=("close",))
    yield ws("no key", key=())
    yield ws("empty key", key=("",))
    yield ws("two keys", key=(KEY, KEY))
    yield ws("short key", key=("c2hvcnQ=",))
    yield ws("key that is no base64", key=("!!!!!!!!!!!!!!!!!!!!!!==",))
    yield ws("no version", version=())
    yield ws("version 8", version=("8",))
    yield ws("two versions", version=("8", "13"))
    yield ws("with POST", method="POST")
    yield ws("with HTTP/1.0", http="HTTP/1.0")
    yield ws("with a body", "/chat", "Content-Length: 2", body=b"hi")
    yield ws("with length 0", "/chat", "Content-Length: 0")
    yield ws("with a chunked body", "/chat", "Transfer-Encoding: chunked", body=b"0\r\n\r\n")
    for name in (
        "ws-fields",
        "ws-other-case",
        "ws-wrong-accept",
        "ws-no-accept",
        "ws-no-connection",
        "ws-other-protocol",
        "204",
        "302",
        "401",
        "404-chunked",
        "404-until-close",
        "500",
        "nothing",
        "garbage",
        "103",
        "too-long-head",
    ):
        yield ws(f"answer {name}", f"/chat?answer={name}")
    yield Case(
        "WebSocket refused, then a request",
        ((websocket("/chat?answer=401"), ("GET",)), (request("/after"), ("GET",))),
    )
    yield ws("to a prefix", "/app/chat?x")
    yield ws("percent-encoded", "/a%20b/../chat")
    yield ws("OPTIONS", method="OPTIONS")


CASES = tuple(cases())

# Those that are worth sending whatever the configuration is about.
COMMON_NAMES = """GET; GET with the fields of a browser; POST with a length; POST without a length; HEAD of chunked;
method DELETE; OPTIONS preflight; target, query; target, percent-encoded; target, dot segments;
target, above the root; target, doubled slashes; target, encoded slash; target, broken escape;
target, prefix; target, prefix without slash; target, unescaped specials; absolute-form without
path; Host with port; Host missing; Host empty; Host bad; Host twice; field repeated; field folded;
field NUL in the value; field Latin-1 value; Connection close; Connection nominating; keep-alive,
two requests; keep-alive, pipelined; HTTP/1.0; HTTP/1.0 keep-alive; version HTTP/2.0; Content-Length
twice different; Transfer-Encoding unknown; answer chunked; answer 204; answer 404; answer fields;
answer hidden; answer until-close; answer http-1.0; WebSocket handshake; WebSocket with the fields
of a browser; WebSocket no key; WebSocket version 8; WebSocket no Upgrade; WebSocket Upgrade: h2c;
WebSocket answer 401; WebSocket answer ws-fields"""
COMMON = tuple(case for case in CASES if case.name in " ".join(COMMON_NAMES.split("\n")).split("; "))
assert len(COMMON) == COMMON_NAMES.count(";") + 1


# ---- Requests as a line: METHOD[/VERSION] TARGET [+ BODY SIZE | ! ANNOUNCED SIZE] [| FIELD]...
#
# {a,b} stands for both; @N for N letters; a Host field replaces the usual one; WS is a WebSocket handshake.


def expanded(line):
    """Every way to choose one from each {...}. A pair of braces without a comma is text."""
    found = re.search(r"\{([^{}]*,[^{}]*)\}", line)
    if not found:
        yield line
        return
    for choice in found[1].split(","):
        yield from expanded(line[: found.start()] + choice + line[found.end() :])


def case_of(line):
    first, *fields = re.sub(r"@(\d+)", lambda number: "v" * int(number[1]), line).split(" | ")
    fields = [field.rstrip() + ("" if field.rstrip()[-1:] != ":" else " ") for field in fields]
    first, mark, size = first.partition(" + ") if " + " in first else first.partition(" ! ")
    method, _, target = first.strip().partition(" ")
    method, _, version = method.partition("/")
    hosts = [field.partition(":")[2].strip() for field in fields if field.startswith("Host:")]
    fields = [field for field in fields if not field.startswith("Host:")]
    host = hosts[0] if hosts else "example.test"
    if mark:
        fields.append(f"Content-Length: {size}")
    target = target.encode().decode("latin-1")
    if method == "WS":
        return Case(line, ((websocket(target, *fields, host=host), ("GET",)),))
    body = b"b" * int(size) if mark == " + " else b""
    data = request(target, *fields, method=method, host=host, version=f"HTTP/{version or '1.1'}", body=body)
    return Case(line, ((data, (method,)),))


def cases_of(lines):
    return tuple(case_of(each) for each in dict.fromkeys(each for line in lines for each in expanded(line)))
