// An npm ws server on a free port, which it prints. What it understands stands in peers/README.md.
'use strict';
const http = require('http');
const {WebSocket, WebSocketServer} = require('ws');

const closed = new Map(); // what a connection called itself -> how it ended
const named = new Map(); // -> its socket

const server = http.createServer((request, response) => {
  const path = request.url.split('?')[0];
  if (path === '/plain') {
    response.end('plain answer');
  } else if (path === '/chunked') {
    response.write('first ');
    setTimeout(() => response.end('second'), 20);
  } else if (path === '/large') {
    response.end(Buffer.alloc(4 << 20, 'x'));
  } else if (path === '/echo') {
    request.pipe(response);
  } else {
    response.writeHead(404).end('nothing here');
  }
});

const sockets = new WebSocketServer({
  noServer: true,
  maxPayload: 16 << 20,
  perMessageDeflate: true,
  handleProtocols: (offered) => offered.has('chat') && 'chat',
});

server.on('upgrade', (request, socket, early) => {
  if (request.url === '/refuse') {
    socket.end('HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n');
    return;
  }
  sockets.handleUpgrade(request, socket, early, serve);
});

function sendFragments(socket, parts) {
  parts.forEach((part, i) => socket.send(part, {fin: i === parts.length - 1}));
}

function flood(socket) {
  const message = Buffer.alloc(20000, 'abcdefghijklm');
  const more = () => socket.readyState === WebSocket.OPEN && socket.send(message, more);
  more();
}

function whenLeaving(socket, tell) {
  if (socket.readyState !== WebSocket.OPEN) return tell();
  setTimeout(whenLeaving, 10, socket, tell);  // that a Close has come is no event
}

function serve(socket) {
  let name;
  socket.on('error', () => {});  // a client's illegal frame: the socket closes by itself
  socket.on('message', (data, binary) => {
    if (binary) return socket.send(data);
    const text = data.toString();
    const [word, ...rest] = text.split(' ');
    if (word === 'close') socket.close(Number(rest[0]), rest.slice(1).join(' '));
    else if (word === 'ping') socket.once('pong', (payload) => socket.send(`pong ${payload}`)).ping(rest[0]);
    else if (word === 'name') named.set((name = rest[0]), socket);
    else if (word === 'closed') socket.send(closed.get(rest[0]) || 'open');
    else if (word === 'large') socket.send(Buffer.alloc(Number(rest[0]), 'abcdefghijklm'));
    else if (word === 'flood') flood(socket);
    else if (word === 'leaving') whenLeaving(named.get(rest[0]), () => socket.send('leaving'));
    else if (word === 'fragments') sendFragments(socket, ['one ', 'two ', 'three']);
    else socket.send(text);
  });
  socket.on('close', (code, reason) => name && closed.set(name, `${code} ${reason}`));
}

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
