"""Headless Chromium: on the demonstration's page, and as a WebSocket client of the servers in peers/. It is
driven with the DevTools protocol."""

import asyncio
import base64
import json
import os
import shutil
import tempfile
import time

import websockets

import clients

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--remote-debugging-port=0",
    "--window-size=900,900",
]


class Page:
    """A tab. `errors` has what its console shows as an error, `requested` every address it asked for."""

    def __init__(self, connection, patience):
        self.connection, self.patience = connection, patience
        self.session, self.last, self.answers = None, 0, {}
        self.errors, self.requested = [], []
        self.reader = asyncio.ensure_future(self._read())

    async def _read(self):
        async for text in self.connection:
            message = json.loads(text)
            if "id" in message:
                self.answers.pop(message["id"]).set_result(message)
            else:
                self._note(message.get("method"), message.get("params", {}))

    def _note(self, event, values):
        if event == "Runtime.exceptionThrown":
            self.errors.append(
                values["exceptionDetails"].get("exception", {}).get("description", "an exception")
            )
        elif event == "Runtime.consoleAPICalled" and values["type"] in ("error", "assert"):
            self.errors.append(str([each.get("value") for each in values["args"]]))
        elif event == "Log.entryAdded" and values["entry"]["level"] == "error":
            self.errors.append(values["entry"]["text"])
        elif event == "Network.requestWillBeSent":
            self.requested.append(values["request"]["url"])
        elif event == "Network.webSocketCreated":
            self.requested.append(values["url"])

    async def call(self, method, **values):
        self.last += 1
        answer = self.answers[self.last] = asyncio.get_running_loop().create_future()
        session = {"sessionId": self.session} if self.session else {}
        await self.connection.send(
            json.dumps({"id": self.last, "method": method, "params": values, **session})
        )
        message = await asyncio.wait_for(answer, 30 * self.patience)
        if "error" in message:
            raise AssertionError(f"{method}: {message['error']}")
        return message["result"]

    async def open(self):
        target = await self.call("Target.createTarget", url="about:blank")
        self.session = (await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True))[
            "sessionId"
        ]
        for domain in ("Runtime", "Log", "Page", "Network"):
            await self.call(domain + ".enable")

    async def evaluate(self, script):
        result = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(
                result["exceptionDetails"].get("exception", {}).get("description", "an exception")
            )
        return result["result"].get("value")

    async def until(self, script):
        """Until the script's value is true."""
        end = time.monotonic() + 15 * self.patience
        while not (value := await self.evaluate(script)):
            if time.monotonic() > end:
                raise AssertionError(f"never true: {script}")
            await asyncio.sleep(0.05)
        return value


async def with_page(world, url, test):
    """Starts a browser, opens the page and runs the test."""
    with tempfile.TemporaryDirectory(dir=world.directory, ignore_cleanup_errors=True) as profile:
        child = world.start(
            [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            env={**os.environ, "HOME": profile},
        )
        try:
            port_file = os.path.join(profile, "DevToolsActivePort")
            while len(lines := (clients.contents(port_file) or "").split()) != 2:
                if child.process.poll() is not None:
                    raise RuntimeError("Chromium ended:\n" + child.output())
                await asyncio.sleep(0.05)
            async with websockets.connect(
                f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_size=None, ping_interval=None
            ) as connection:
                page = Page(connection, world.scale)
                await page.open()
                await page.call("Page.navigate", url=url)
                await page.until("document.readyState === 'complete'")
                return await test(page)
        finally:
            child.stop()


# ---- The demonstration


def expect(condition, why):
    if not condition:
        raise AssertionError(why)


def start_demonstration(world, port):
    gateway = world.start([world.gateway, "--listen", f"127.0.0.1:{port}"])
    gateway.await_listening(("127.0.0.1", port))
    return gateway


class Demonstration:
    """What is tried on the page, one after the other; the names are the methods'."""

    STEPS = (
        "the page connects",
        "the page names the backend",
        "what is typed comes back",
        "round trips are plotted",
        "every key leads to its backend again",
        "nothing is asked of another host",
        "the console shows no error",
        "the page reconnects by itself",
    )

    def __init__(self, world, port):
        self.world, self.port, self.page = world, port, None
        self.gateway = start_demonstration(world, port)

    async def text(self, element):
        return await self.page.evaluate(f"document.getElementById('{element}').textContent")

    async def shows(self, element, pattern):
        """Until the element's text matches; returns it."""
        await self.page.until(f"/{pattern}/.test(document.getElementById('{element}').textContent)")
        return await self.text(element)

    async def the_page_connects(self):
        await self.shows("state", "^connected$")

    async def the_page_names_the_backend(self):
        await self.shows("backend", "^b[12]$")

    async def what_is_typed_comes_back(self):
        said = "hello through the gateway"
        await self.page.evaluate(f"document.getElementById('text').value = '{said}'")
        await self.page.evaluate("document.querySelector('#form button').click()")
        shown = await self.page.until("document.querySelector('#log li')?.textContent")
        expect(said in shown and await self.text("backend") in shown, f"the page shows {shown!r}")

    async def round_trips_are_plotted(self):
        await self.page.until("document.querySelectorAll('#plot rect').length >= 2")
        await self.shows("now", "median [0-9.]+ ms")

    async def choose(self, key):
        """The backend that the key leads to."""
        buttons = "[...document.querySelectorAll('#keys button')]"
        await self.page.evaluate(f"{buttons}.find((button) => button.textContent === '{key}').click()")
        await self.shows("state", "^connected$")
        return await self.shows("backend", "^b[12]$")

    async def every_key_leads_to_its_backend_again(self):
        keys = ("alice", "bob", "carol", "dave", "erin", "frank")
        led = {key: await self.choose(key) for key in keys}
        again = {key: await self.choose(key) for key in keys}
        expect(led == again, f"first {led}, then {again}")
        expect(set(led.values()) == {"b1", "b2"}, f"only one backend: {led}")

    async def nothing_is_asked_of_another_host(self):
        own = (f"http://127.0.0.1:{self.port}/", f"ws://127.0.0.1:{self.port}/", "data:")
        foreign = [each for each in self.page.requested if not each.startswith(own)]
        expect(self.page.requested and not foreign, f"{foreign}")

    async def the_console_shows_no_error(self):
        expect(not self.page.errors, f"{self.page.errors}")
        if picture := os.environ.get("WSPROXY_SCREENSHOT"):
            with open(picture, "wb") as file:
                file.write(base64.b64decode((await self.page.call("Page.captureScreenshot"))["data"]))

    async def the_page_reconnects_by_itself(self):
        self.gateway.stop()
        await self.shows("state", "^(re)?connecting")
        self.gateway = start_demonstration(self.world, self.port)
        await self.shows("state", "^connected$")


def demonstration_tests(report, world):
    def title(step):
        return f"Chromium, demonstration: {step}"

    if not any(report.wants(title(step)) for step in Demonstration.STEPS):
        return
    shown = Demonstration(world, world.reserve_port())
    failures = {}

    async def test(page):
        shown.page = page
        for step in Demonstration.STEPS:
            try:
                await getattr(shown, step.replace(" ", "_"))()
                failures[step] = None
            except AssertionError as error:
                failures[step] = error

    trouble = "the browser ended"
    try:
        asyncio.run(with_page(world, f"http://127.0.0.1:{shown.port}/", test))
    except Exception as error:
        trouble = f"{type(error).__name__}: {error}"
    for step in Demonstration.STEPS:
        report.add(title(step), failures.get(step, trouble))


# ---- Its WebSocket

SOCKETS = r"""
(async () => {
  const url = '%URL%', token = '%TOKEN%';
  const open = (protocols) => new Promise((resolve, reject) => {
    const s = new WebSocket(url, protocols);
    s.binaryType = 'arraybuffer';
    s.got = []; s.wanted = [];
    s.onmessage = (e) => s.wanted.length ? s.wanted.shift()(e.data) : s.got.push(e.data);
    s.ended = new Promise((ended) => s.onclose = (e) => ended(e));
    s.onopen = () => resolve(s);
    s.onerror = () => reject(new Error('no connection'));
  });
  const ask = (s, message) => new Promise((resolve) => { s.wanted.push(resolve); s.send(message); });
  const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
  const check = (condition, why) => { if (!condition) throw new Error(why); };
  const tests = {
    async 'text and binary echo'() {
      const s = await open();
      for (const text of ['hello', '', 'grüße \u{1f44b}', 'x'.repeat(70000)])
        check(await ask(s, text) === text, 'another text');
      const bytes = new Uint8Array(1 << 20).map((_, i) => (i * 7919) >> 3);
      check(same(new Uint8Array(await ask(s, bytes)), bytes), 'other bytes');
      s.close(1000);
      check((await s.ended).wasClean, 'not closed cleanly');
    },
    async 'permessage-deflate'() {
      const s = await open();
      check(s.extensions.includes('permessage-deflate'), `extensions: "${s.extensions}"`);
      const text = 'the same words again and again, '.repeat(30000);
      check(await ask(s, text) === text && await ask(s, text) === text, 'another text');
      s.close(1000);
      await s.ended;
    },
    async 'close code from the client'() {
      const s = await open();
      s.send(`name ${token}`);
      s.close(4001, 'enough');
      check((await s.ended).wasClean, 'not closed cleanly');
      const other = await open();
      let answer;
      do answer = await ask(other, `closed ${token}`); while (answer === 'open');
      check(answer === '4001 enough', answer);
      other.close();
    },
    async 'close code from the server'() {
      const s = await open();
      s.send('close 4002 go away');
      const end = await s.ended;
      check(end.wasClean && end.code === 4002 && end.reason === 'go away', `${end.code} ${end.reason}`);
    },
    async 'subprotocol'() {
      const s = await open(['other', 'chat']);
      check(s.protocol === 'chat', `protocol "${s.protocol}"`);
      s.close();
    },
  };
  const results = {};
  for (const [name, test] of Object.entries(tests)) {
    const late = new Promise((_, reject) => setTimeout(() => reject(new Error('took too long')), 20000));
    results[name] = await Promise.race([test(), late]).then(() => '', (error) => String(error.message));
  }
  return results;
})()
"""
SOCKET_TESTS = (
    "text and binary echo",
    "permessage-deflate",
    "close code from the client",
    "close code from the server",
    "subprotocol",
)


def socket_tests(report, world):
    titles = {
        title: [f"Chromium client, {title} server: {name}" for name in SOCKET_TESTS]
        for title in clients.SERVERS
    }
    if not any(report.wants(name) for names in titles.values() for name in names):
        return
    servers = {
        title: clients.gateway_before(world, world.peer(server).port)
        for title, server in clients.SERVERS.items()
    }
    # WebSockets are opened from a page of the same host.
    page_port = clients.gateway_before(world, world.peer("ws_server.js").port)

    async def test(page):
        page.patience *= 4
        return {
            title: await page.evaluate(
                SOCKETS.replace("%URL%", f"ws://127.0.0.1:{port}/").replace("%TOKEN%", f"chromium-{port}")
            )
            for title, port in servers.items()
        }

    results, why = {}, ""
    try:
        results = asyncio.run(with_page(world, f"http://127.0.0.1:{page_port}/plain", test))
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
    for title, names in titles.items():
        for name, short in zip(names, SOCKET_TESTS):
            report.add(name, results.get(title, {}).get(short, why) or None if results else why)


def jobs(report, world):
    yield lambda: demonstration_tests(report, world)
    yield lambda: socket_tests(report, world)
