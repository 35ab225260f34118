// An npm ws client: what it sees of the websocket_ directives (conf/tunnels.conf), a line for each.
'use strict';
const assert = require('assert');
const {once} = require('events');
const WebSocket = require('ws');
const {run} = require('./scenarios.js');

const [url, ...names] = process.argv.slice(2);

async function open(path) {
  const socket = new WebSocket(url + path, {perMessageDeflate: false, maxPayload: 64 << 20});
  socket.on('error', () => {});
  await once(socket, 'open');
  return socket;
}

async function ask(socket, message) {
  socket.send(message);
  const [data] = await once(socket, 'message');
  return data.toString();
}

async function closed(socket, code) {
  const [seen, reason] = await once(socket, 'close');
  assert.strictEqual(seen, code);
  return reason.toString();
}

const scenarios = {
  async 'heartbeat, the client is pinged and its pongs keep it'() {
    const s = await open('heartbeat/');
    for (let i = 0; i < 4; ++i) {
      const [payload] = await once(s, 'ping');
      assert.strictEqual(payload.length, 8);
    }
    assert.strictEqual(await ask(s, 'still here'), 'still here');
    s.close(1000);
    await closed(s, 1000);
  },
  async 'heartbeat, the backend is pinged, and the client does not see it'() {
    const s = await open('upstream/');
    s.on('ping', () => assert.fail('pinged'));
    await new Promise((later) => setTimeout(later, 1500));
    assert.strictEqual(await ask(s, 'still here'), 'still here');
    s.close(1000);
    await closed(s, 1000);
  },
  async 'heartbeat, a client that does not answer is cut off'() {
    const s = await open('deaf/');
    s.pong = () => {};
    s._autoPong = false;
    s._receiver.removeAllListeners('ping');
    s._receiver.on('ping', () => {});
    await closed(s, 1006);
  },
  async 'lifetime, 1001'() {
    await closed(await open('lifetime/'), 1001);
  },
  async 'message size, 1009 to the client, and below it passes'() {
    const s = await open('message/');
    assert.strictEqual(await ask(s, 'x'.repeat(1024)), 'x'.repeat(1024));
    s.send('y'.repeat(600), {fin: false});
    s.send('y'.repeat(600), {fin: true});
    await closed(s, 1009);
  },
  async 'frame size, 1009, also from the backend, though frames are off'() {
    const s = await open('frame/');
    s.send('z'.repeat(1025));
    await closed(s, 1009);
    const t = await open('frame/');
    t.send('large 1025');
    await closed(t, 1001);
  },
  async 'frames enforced, 1002'() {
    const s = await open('enforce/');
    s._socket.write(Buffer.from([0x83, 0x80, 1, 2, 3, 4]));  // a reserved opcode
    await closed(s, 1002);
  },
  async 'frames observed, what is illegal passes, and the backend judges it'() {
    const s = await open('observe/');
    s._socket.write(Buffer.from([0x83, 0x80, 1, 2, 3, 4]));
    const [code] = await once(s, 'close');
    assert.ok(code === 1002 || code === 1006, String(code));
  },
  async 'slow consumer, 1013 when it reads on'() {
    const s = await open('slow/');
    const watcher = await open('');
    s.send('name slow');
    assert.strictEqual(await ask(s, 'closed slow'), 'open');
    s.pause();
    s.send('flood');
    assert.strictEqual(await ask(watcher, 'leaving slow'), 'leaving');  // the backend's Close: it was judged
    s.resume();
    await closed(s, 1013);
    watcher.terminate();
  },
};

run(names, 60, (name) => scenarios[name]());
