// A socket.io server on a free port, which it prints. It tells its name and echoes.
'use strict';
const http = require('http');
const {Server} = require('socket.io');

const name = process.argv[2];
const server = http.createServer((request, response) => response.writeHead(404).end());
const io = new Server(server, {perMessageDeflate: true, maxHttpBufferSize: 4 << 20});

io.on('connection', (socket) => {
  socket.on('name', (reply) => reply(name));
  socket.on('echo', (value, reply) => reply(value));
  socket.on('transport', (reply) => reply(socket.conn.transport.name));
  socket.on('tell all', (value) => io.emit('told', value));
  socket.on('leave', () => socket.disconnect(true));
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
