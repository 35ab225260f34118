"""Headless Chromium: on the demonstration's page, and as a WebSocket client of the servers in peers/. It is driven
with the DevTools protocol."""

import asyncio
import json
import os
import shutil
import tempfile
import time

import websockets

import clients

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
         "--no-default-browser-check", "--no-proxy-server", "--remote-debugging-port=0", "--window-size=900,900"]


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
            self.errors.append(values["exceptionDetails"].get("exception", {}).get("description", "an exception"))
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
        await self.connection.send(json.dumps({"id": self.last, "method": method, "params": values, **session}))
        message = await asyncio.wait_for(answer, 30 * self.patience)
        if "error" in message:
            raise AssertionError(f"{method}: {message['error']}")
        return message["result"]

    async def open(self):
        target = await self.call("Target.createTarget", url="about:blank")
        self.session = (await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True))["sessionId"]
        for domain in ("Runtime", "Log", "Page", "Network"):
            await self.call(domain + ".enable")

    async def evaluate(self, script):
        result = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(result["exceptionDetails"].get("exception", {}).get("description", "an exception"))
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
        child = world.start([CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
                            env={**os.environ, "HOME": profile})
        try:
            port_file = os.path.join(profile, "DevToolsActivePort")
            for _ in range(600):
                if os.path.exists(port_file) and len(lines := open(port_file, encoding="ascii").read().split()) == 2:
                    break
                if child.process.poll() is not None:
                    raise RuntimeError("Chromium ended:\n" + child.output())
                await asyncio.sleep(0.05)
            async with websockets.connect(f"ws://127.0.0.1:{lines[0]}{lines[1]}", max_size=None, ping_interval=None) as connection:
                page = Page(connection, world.scale)
                await page.open()
                await page.call("Page.navigate", url=url)
                await page.until("document.readyState === 'complete'")
                return await test(page)
        finally:
            child.stop()


# ---- The demonstration

TEXT = "hello through the gateway"
DEMO = ("the page connects", "the page names the backend", "what is typed comes back", "round trips are plotted",
        "a key leads to the same backend again", "both backends are reached", "nothing is asked of another host",
        "the console shows no error", "the page reconnects by itself")


def expect(condition, why):
    if not condition:
        raise AssertionError(why)


async def follow_key(page, key):
    """Chooses a key; the backend's name once the new connection has told it."""
    await page.evaluate(f"[...document.querySelectorAll('#keys button')].find(b => b.textContent === '{key}').click()")
    await page.until("document.getElementById('state').textContent === 'connected'")
    return await page.until("/^b\\d$/.test(document.getElementById('backend').textContent) && document.getElementById('backend').textContent")


async def demo(page, world, port, gateway):
    """Yields each test of DEMO, in order; it is passed when the next one is asked for."""
    yield
    await page.until("document.getElementById('state').textContent === 'connected'")
    yield
    await page.until("/^b[12]$/.test(document.getElementById('backend').textContent)")
    yield
    await page.evaluate(f"document.getElementById('text').value = '{TEXT}'; document.querySelector('#form button').click()")
    shown = await page.until("document.querySelector('#log li')?.textContent")
    backend = await page.evaluate("document.getElementById('backend').textContent")
    expect(TEXT in shown and backend in shown, f"the page shows {shown!r}")
    yield
    await page.until("document.querySelectorAll('#plot rect').length >= 2 && /median [0-9.]+ ms/.test(document.getElementById('now').textContent)")
    yield
    keys = ["alice", "bob", "carol", "dave", "erin", "frank"]
    led = {key: await follow_key(page, key) for key in keys}
    again = {key: await follow_key(page, key) for key in keys}
    expect(led == again, f"first {led}, then {again}")
    yield
    expect(set(led.values()) == {"b1", "b2"}, f"{led}")
    yield
    foreign = [each for each in page.requested if f"//127.0.0.1:{port}/" not in each and not each.startswith("data:")]
    expect(not foreign, f"{foreign}")
    yield
    expect(not page.errors, f"{page.errors}")
    if picture := os.environ.get("WSPROXY_SCREENSHOT"):
        import base64
        with open(picture, "wb") as file:
            file.write(base64.b64decode((await page.call("Page.captureScreenshot", format="png"))["data"]))
    yield
    gateway.stop()
    await page.until("/^(reconnecting|connecting)/.test(document.getElementById('state').textContent)")
    start_demo(world, port)
    await page.until("document.getElementById('state').textContent === 'connected'")
    yield


def start_demo(world, port):
    gateway = world.start([world.gateway, "--listen", f"127.0.0.1:{port}"])
    gateway.await_listening(("127.0.0.1", port))
    return gateway


def demo_tests(report, world):
    names = [f"Chromium, demonstration: {name}" for name in DEMO]
    if not any(report.wants(name) for name in names):
        return
    port = world.reserve_port()
    gateway = start_demo(world, port)
    done = []

    async def test(page):
        async for _ in demo(page, world, port, gateway):
            done.append(None)

    why = "it was not reached"
    try:
        asyncio.run(with_page(world, f"http://127.0.0.1:{port}/", test))
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
    passed = max(len(done) - 1, 0)
    for i, name in enumerate(names):
        report.add(name, None if i < passed else why if i == passed else "an earlier step failed")


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
      for (const text of ['hello', '', 'grüße \u{1f44b}', 'x'.repeat(70000)]) check(await ask(s, text) === text, 'another text');
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
SOCKET_TESTS = ("text and binary echo", "permessage-deflate", "close code from the client", "close code from the server", "subprotocol")


def socket_tests(report, world):
    titles = {title: [f"Chromium client, {title} server: {name}" for name in SOCKET_TESTS] for title in clients.SERVERS}
    if not any(report.wants(name) for names in titles.values() for name in names):
        return
    servers = {title: clients.gateway_before(world, world.peer(server).port) for title, server in clients.SERVERS.items()}
    # WebSockets are opened from a page of the same host.
    page_port = clients.gateway_before(world, world.peer("ws_server.js").port)

    async def test(page):
        page.patience *= 4
        return {title: await page.evaluate(SOCKETS.replace("%URL%", f"ws://127.0.0.1:{port}/").replace("%TOKEN%", f"chromium-{port}"))
                for title, port in servers.items()}

    results, why = {}, ""
    try:
        results = asyncio.run(with_page(world, f"http://127.0.0.1:{page_port}/plain", test))
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
    for title, names in titles.items():
        for name, short in zip(names, SOCKET_TESTS):
            report.add(name, results.get(title, {}).get(short, why) or None if results else why)


def jobs(report, world):
    yield lambda: demo_tests(report, world)
    yield lambda: socket_tests(report, world)
