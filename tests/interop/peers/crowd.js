// Many npm ws clients with traffic: URL COUNT. Prints "ready" when all are open, and when all have closed one line
// of JSON: [[code, reason, time in ms, error or null], ...].
'use strict';
const WebSocket = require('ws');

const [url, count] = process.argv.slice(2);
const ends = [];
let opened = 0;

function open() {
  const s = new WebSocket(url, {perMessageDeflate: false});
  let error = null, talk;
  s.on('open', () => {
    talk = setInterval(() => s.readyState === WebSocket.OPEN && s.send(Buffer.alloc(Math.random() * 2000)), 200);
    if (++opened === Number(count)) console.log('ready');
    else if (opened + 50 <= Number(count)) open();
  });
  s.on('error', (e) => error = String(e.message));
  s.on('close', (code, reason) => {
    clearInterval(talk);
    ends.push([code, reason.toString(), Date.now(), error]);
    if (ends.length === Number(count)) console.log(JSON.stringify(ends));
  });
}

for (let i = 0; i < Math.min(50, count); ++i) open();
