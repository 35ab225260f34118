// An npm ws client: runs the named scenarios against a server behind the proxy (see peers/README.md).
'use strict';
const assert = require('assert');
const {once} = require('events');
const WebSocket = require('ws');
const {run} = require('./scenarios.js');

const [url, ...names] = process.argv.slice(2);

async function open(options = {}, protocols = []) {
  const socket = new WebSocket(url, protocols, {perMessageDeflate: false, maxPayload: 16 << 20, ...options});
  socket.received = [];
  socket.waiting = [];
  socket.on('message', (data, binary) => {
    const message = binary ? data : data.toString();
    const waiter = socket.waiting.shift();
    if (waiter) waiter(message);
    else socket.received.push(message);
  });
  await once(socket, 'open');
  return socket;
}

const receive = (socket) =>
  socket.received.length
    ? Promise.resolve(socket.received.shift())
    : new Promise((take) => socket.waiting.push(take));

async function ask(socket, message) {
  socket.send(message);
  return receive(socket);
}

async function finish(socket) {
  socket.close(1000);
  const [code] = await once(socket, 'close');
  assert.strictEqual(code, 1000);
}

function compressible(size) {
  const text = 'the same words again and again, ';
  return text.repeat(Math.ceil(size / text.length)).slice(0, size);
}

const scenarios = {
  async 'text and binary echo'(s) {
    const long = [125, 126, 65536].map((size) => 'x'.repeat(size));
    for (const text of ['hello', '', 'gr\u00fc\u00dfe \u{1f44b}', ...long])
      assert.strictEqual(await ask(s, text), text);
    for (const size of [0, 1, 125, 126, 65535, 65536])
      assert.deepStrictEqual(await ask(s, Buffer.alloc(size, 0xa5)), Buffer.alloc(size, 0xa5));
  },
  async '1 MiB both ways'(s) {
    const sent = require('crypto').randomBytes(1 << 20);
    assert.ok(sent.equals(await ask(s, sent)));
  },
  async 'a large message from the server'(s) {
    const size = 5000000;
    assert.ok(Buffer.alloc(size, 'abcdefghijklm').equals(await ask(s, `large ${size}`)));
  },
  async 'many messages in order'(s) {
    for (let i = 0; i < 500; ++i) s.send(`message ${i}`);
    for (let i = 0; i < 500; ++i) assert.strictEqual(await receive(s), `message ${i}`);
  },
  async 'fragmented message from the client'(s) {
    s.send('first ', {fin: false});
    s.send('', {fin: false});
    s.ping('between fragments');
    s.send('last', {fin: true});
    assert.strictEqual(await receive(s), 'first last');
  },
  async 'fragmented message from the server'(s) {
    assert.strictEqual(await ask(s, 'fragments'), 'one two three');
  },
  async 'ping from the client'(s) {
    s.ping('are you there');
    const [payload] = await once(s, 'pong');
    assert.strictEqual(payload.toString(), 'are you there');
  },
  async 'ping from the server'(s) {
    assert.strictEqual(await ask(s, 'ping payload'), 'pong payload');
  },
  async 'close code from the client'(s) {
    const name = `npm-ws-${process.pid}`;
    s.send(`name ${name}`);
    s.close(4001, 'enough');
    await once(s, 'close');  // servers differ in the code they answer with
    const other = await open();
    let answer;
    do answer = await ask(other, `closed ${name}`);
    while (answer === 'open');
    assert.strictEqual(answer, '4001 enough');
    await finish(other);
    return 'closed';
  },
  async 'close code from the server'(s) {
    s.send('close 4002 go away');
    const [code, reason] = await once(s, 'close');
    assert.strictEqual(code, 4002);
    assert.strictEqual(reason.toString(), 'go away');
    return 'closed';
  },
  async 'permessage-deflate'() {
    const s = await open({perMessageDeflate: {threshold: 0}});
    assert.ok(s.extensions.includes('permessage-deflate'));
    for (const size of [10, 1000, 1 << 20, 10]) {
      const text = compressible(size);
      assert.strictEqual(await ask(s, text), text);
    }
    await finish(s);
  },
  async 'without permessage-deflate'(s) {
    assert.strictEqual(s.extensions, '');
    assert.strictEqual(await ask(s, compressible(1 << 20)), compressible(1 << 20));
  },
  async 'subprotocol'() {
    const s = await open({}, ['other', 'chat']);
    assert.strictEqual(s.protocol, 'chat');
    await finish(s);
  },
  async 'refused handshake'() {
    const s = new WebSocket(url + 'refuse');
    s.on('error', () => {});
    const [, response] = await once(s, 'unexpected-response');
    assert.strictEqual(response.statusCode, 401);
    response.resume();
    await once(response, 'end');
  },
};

const opensItself = ['permessage-deflate', 'subprotocol', 'refused handshake'];

async function scenario(name) {
  if (opensItself.includes(name)) return scenarios[name]();
  const socket = await open();
  if ((await scenarios[name](socket)) !== 'closed') await finish(socket);
}

run(names, 20, scenario);
