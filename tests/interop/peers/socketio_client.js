// socket.io clients at different addresses: long polling first, then the upgrade to WebSocket. One request that
// reached the other backend would be answered "unknown session", so this needs the hash to be consistent.
'use strict';
const assert = require('assert');
const {once} = require('events');
const http = require('http');
const {io} = require('socket.io-client');
const {run} = require('./scenarios.js');

const url = process.argv[2];
const addresses = 40;  // so many that each of two backends is somebody's, whatever their ports

const ask = (socket, ...what) => socket.timeout(10000).emitWithAck(...what);

async function open(address, transports, upgrade = true, extraHeaders = {}) {
  const agent = new http.Agent({localAddress: address, keepAlive: true});
  const socket = io(url, {transports, upgrade, agent, extraHeaders, forceNew: true, reconnection: false});
  socket.on('connect_error', (error) => (socket.failure = error));
  await Promise.race([
    once(socket, 'connect'),
    once(socket, 'connect_error').then(([error]) => { throw error; }),
  ]);
  return socket;
}

const at = (n) => `127.0.0.${n + 1}`;

async function upgraded(address, extraHeaders = {}) {
  const socket = await open(address, ['polling', 'websocket'], true, extraHeaders);
  if (socket.io.engine.transport.name !== 'websocket') await once(socket.io.engine, 'upgrade');
  return socket;
}

const scenarios = {
  async 'long polling alone'() {
    const socket = await open(at(1), ['polling'], false);
    assert.strictEqual(await ask(socket, 'transport'), 'polling');
    assert.strictEqual(await ask(socket, 'echo', 'x'.repeat(100000)), 'x'.repeat(100000));
    socket.close();
  },
  async 'WebSocket alone'() {
    const socket = await open(at(1), ['websocket']);
    assert.strictEqual(await ask(socket, 'transport'), 'websocket');
    assert.strictEqual(await ask(socket, 'echo', 'hello'), 'hello');
    socket.close();
  },
  async 'polling, then upgrade, over two backends'() {
    const names = new Map();
    for (let n = 0; n < addresses; ++n) {
      const socket = await upgraded(at(n));
      assert.strictEqual(await ask(socket, 'transport'), 'websocket');
      names.set(at(n), await ask(socket, 'name'));
      socket.close();
      const again = await open(at(n), ['websocket']);
      assert.strictEqual(await ask(again, 'name'), names.get(at(n)));
      again.close();
    }
    assert.strictEqual(new Set(names.values()).size, 2, `of two backends only ${[...names.values()]}`);
  },
  // All from one address, so that only the cookie can tell who goes where.
  async 'polling, then upgrade, over two backends by a cookie'() {
    const names = new Set();
    for (let n = 0; n < addresses; ++n) {
      const fields = {Cookie: `other=1; route=client-${n}`};
      const polling = await open(at(0), ['polling'], false, fields);
      const name = await ask(polling, 'name');
      for (const socket of [await upgraded(at(0), fields), await open(at(0), ['websocket'], true, fields)]) {
        assert.strictEqual(await ask(socket, 'transport'), 'websocket');
        assert.strictEqual(await ask(socket, 'name'), name);
        socket.close();
      }
      assert.strictEqual(await ask(polling, 'name'), name);
      polling.close();
      names.add(name);
    }
    assert.strictEqual(names.size, 2, `of two backends only ${[...names]}`);
  },
  async 'binary and large messages'() {
    const socket = await upgraded(at(2));
    const sent = Buffer.alloc(1 << 20, 'binary');
    assert.ok(sent.equals(await ask(socket, 'echo', sent)));
    socket.close();
  },
  async 'broadcast'() {
    const sockets = await Promise.all([upgraded(at(3)), open(at(3), ['polling'], false)]);
    const told = Promise.all(sockets.map((socket) => once(socket, 'told')));
    sockets[0].emit('tell all', 'news');
    assert.deepStrictEqual(await told, [['news'], ['news']]);
    sockets.forEach((socket) => socket.close());
  },
  async 'the server disconnects'() {
    for (const socket of [await upgraded(at(4)), await open(at(4), ['polling'], false)]) {
      const gone = once(socket, 'disconnect');
      socket.emit('leave');
      assert.strictEqual((await gone)[0], 'io server disconnect');
    }
  },
};

run(process.argv.slice(3), 30, (name) => scenarios[name]());
