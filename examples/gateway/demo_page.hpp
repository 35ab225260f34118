// The page that wsproxy-gateway shows without a configuration.
#pragma once

#include <string_view>

namespace wsproxy_gateway {

inline constexpr std::string_view demo_page = R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>wsproxy</title>
<link rel="icon" href="data:,">
<style>
:root {
  color-scheme: light dark;
  --ground: #f6f7f9; --card: #fff; --line: #dfe3e8; --text: #1b2530; --soft: #5f6b78;
  --b1: #1668c7; --b2: #a8480f; --good: #1c7f4b; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #12161b; --card: #1a2027; --line: #2e3742; --text: #e6eaef; --soft: #97a3b0;
    --b1: #6db3ff; --b2: #ffa366; --good: #5fd08f; --bad: #ff8a80;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.2rem 1rem 3rem; max-width: 46rem; background: var(--ground); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif;
}
header { display: flex; align-items: baseline; justify-content: space-between; gap: 1rem; margin-bottom: 1.2rem; }
h1 { font-size: 1.5rem; margin: 0; letter-spacing: -.02em; }
h2 { font-size: .95rem; margin: 0; }
#state { font-size: .9rem; color: var(--soft); }
#state::before { content: "\25CF"; margin-right: .4em; color: var(--soft); }
#state.open::before { color: var(--good); }
#state.closed::before { color: var(--bad); }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; margin-bottom: 1rem; }
.row { display: flex; align-items: center; justify-content: space-between; gap: .8rem; flex-wrap: wrap; }
.soft { color: var(--soft); font-size: .88rem; margin: .5rem 0 0; }
.badge { font-weight: 600; padding: .1rem .7rem; border-radius: 1rem; border: 1.5px solid currentColor; }
.b1 { color: var(--b1); } .b2 { color: var(--b2); }
button, input {
  font: inherit; color: inherit; background: transparent; border: 1px solid var(--line); border-radius: .4rem;
  padding: .35rem .7rem;
}
button { cursor: pointer; }
button:hover { border-color: var(--soft); }
button[aria-pressed=true] { border-color: currentColor; font-weight: 600; box-shadow: inset 0 0 0 1px currentColor; }
:focus-visible { outline: 2px solid var(--b1); outline-offset: 1px; }
#keys { display: flex; flex-wrap: wrap; gap: .4rem; margin-top: .8rem; }
form { display: flex; gap: .5rem; }
form input { flex: 1; min-width: 0; }
#log { list-style: none; margin: .8rem 0 0; padding: 0; min-height: 6.4em; max-height: 14em; overflow-y: auto; font-size: .92rem; }
#log li { display: flex; gap: .8rem; justify-content: space-between; padding: .15rem 0; border-top: 1px solid var(--line); }
#log li:first-child { border-top: 0; }
#log span:first-child { overflow-wrap: anywhere; min-width: 0; }
#log span:last-child { color: var(--soft); white-space: nowrap; font-variant-numeric: tabular-nums; }
#now { margin: 0; font-variant-numeric: tabular-nums; }
svg { display: block; width: 100%; height: 7.5rem; margin-top: .6rem; }
svg text { fill: var(--soft); font-size: 11px; }
</style>
</head>
<body>
<header><h1>wsproxy</h1><div id="state" role="status">connecting</div></header>

<section>
  <div class="row">
    <h2>Backend</h2>
    <span id="backend" class="badge">none yet</span>
  </div>
  <p class="soft">The gateway hashes the key onto its two backends: the same key always leads to the same one.</p>
  <div id="keys"></div>
</section>

<section>
  <div class="row"><h2>Round trip</h2><span id="now" class="soft"></span></div>
  <svg id="plot" role="img" aria-label="Round-trip times, one a second"></svg>
</section>

<section>
  <form id="form">
    <input id="text" placeholder="Type something; the backend sends it back" aria-label="Message" autocomplete="off">
    <button>Send</button>
  </form>
  <ul id="log" aria-live="polite"></ul>
</section>

<script>
"use strict";
const $ = id => document.getElementById(id);
const keys = ["alice", "bob", "carol", "dave", "erin", "frank"];
const led = {};        // where each key was seen to lead
const times = [];      // {ms, backend}, the newest last
const kept = 60;
let key = new URLSearchParams(location.search).get("key") || keys[0];
let socket, backend, failures = 0, timer, pinger;
let waiting = [];      // what was sent and has not come back: {text, at, shown}

function connect() {
  clearTimeout(timer);
  const mine = socket = new WebSocket(`ws${location.protocol === "https:" ? "s" : ""}://${location.host}/socket?key=${encodeURIComponent(key)}`);
  waiting = [];
  backend = undefined;
  showBackend();
  status("", "connecting");
  mine.onopen = () => {
    if (mine !== socket) return;
    failures = 0;
    status("open", "connected");
    clearInterval(pinger);
    pinger = setInterval(() => send(`ping ${Math.random().toString(36).slice(2)}`, false), 1000);
    send("ping", false);
  };
  mine.onmessage = event => { if (mine === socket) receive(event.data); };
  mine.onclose = () => { if (mine === socket) retry(); };
}

function retry() {
  clearInterval(pinger);
  backend = undefined;
  showBackend();
  // Twice as long each time, up to ten seconds; the chance part keeps clients from coming back all at once.
  const wait = Math.min(10000, 500 * 2 ** failures++) * (0.75 + Math.random() / 2);
  const until = Date.now() + wait;
  const tick = () => {
    const left = until - Date.now();
    if (left <= 0) return connect();
    status("closed", `reconnecting in ${Math.ceil(left / 1000)} s`);
    timer = setTimeout(tick, Math.min(left, 250));
  };
  tick();
}

function status(kind, text) {
  $("state").className = kind;
  if ($("state").textContent !== text) $("state").textContent = text;
}

function send(text, shown) {
  if (socket.readyState !== WebSocket.OPEN) return false;
  waiting.push({text, at: performance.now(), shown});
  socket.send(text);
  return true;
}

function receive(text) {
  if (backend === undefined) {
    backend = JSON.parse(text).backend;
    led[key] = backend;
    showBackend();
    showKeys();
    return;
  }
  const sent = waiting.shift();
  if (!sent || sent.text !== text) return;
  const ms = performance.now() - sent.at;
  times.push({ms, backend});
  if (times.length > kept) times.shift();
  plot();
  if (sent.shown) note(text, ms);
}

function note(text, ms) {
  const line = document.createElement("li");
  for (const part of [text, `${backend}, ${ms.toFixed(1)} ms`]) {
    const span = document.createElement("span");
    span.textContent = part;
    line.append(span);
  }
  $("log").prepend(line);
  while ($("log").children.length > 50) $("log").lastChild.remove();
}

function showBackend() {
  $("backend").textContent = backend ?? "none yet";
  $("backend").className = `badge ${backend ?? ""}`;
}

function showKeys() {
  $("keys").replaceChildren(...keys.map(one => {
    const button = document.createElement("button");
    button.textContent = one;
    button.className = led[one] ?? "";
    button.ariaPressed = one === key;
    button.onclick = () => choose(one);
    return button;
  }), Object.assign(document.createElement("button"), {
    textContent: "another key",
    onclick: () => {
      const fresh = Math.random().toString(36).slice(2, 7);
      keys.push(fresh);
      if (keys.length > 10) keys.splice(6, 1);
      choose(fresh);
    }
  }));
}

function choose(one) {
  key = one;
  failures = 0;
  const old = socket;
  showKeys();
  connect();
  old.close(1000);
}

function plot() {
  const svg = $("plot"), width = svg.clientWidth, height = svg.clientHeight, top = 14, bottom = height - 4;
  const sorted = times.map(t => t.ms).sort((a, b) => a - b);
  const median = sorted[sorted.length >> 1];
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 60000];
  const most = steps.find(s => s >= sorted[sorted.length - 1]) ?? sorted[sorted.length - 1];
  const y = ms => bottom - (bottom - top) * ms / most;
  const gap = width / kept;
  let out = "";
  for (const level of [most, most / 2])
    out += `<line x1="0" x2="${width}" y1="${y(level)}" y2="${y(level)}" stroke="var(--line)"/>` +
           `<text x="0" y="${y(level) - 3}">${level} ms</text>`;
  times.forEach((t, i) => {
    const x = width - (times.length - i) * gap;
    out += `<rect x="${x + gap * .15}" width="${gap * .7}" y="${Math.min(y(t.ms), bottom - 1.5)}" height="${Math.max(bottom - y(t.ms), 1.5)}"` +
           ` rx="1.5" fill="var(--${t.backend})"><title>${t.ms.toFixed(2)} ms</title></rect>`;
  });
  svg.innerHTML = out + `<line x1="0" x2="${width}" y1="${bottom}" y2="${bottom}" stroke="var(--line)"/>`;
  $("now").textContent = `now ${times[times.length - 1].ms.toFixed(1)} ms, median ${median.toFixed(1)} ms`;
}

$("form").onsubmit = event => {
  event.preventDefault();
  const text = $("text").value;
  if (text && send(text, true)) $("text").value = "";
};
addEventListener("resize", () => { if (times.length) plot(); });
addEventListener("online", () => { if (socket.readyState === WebSocket.CLOSED) connect(); });
showKeys();
connect();
</script>
</body>
</html>
)html";

}  // namespace wsproxy_gateway
