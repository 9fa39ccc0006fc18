// The live activity: the connection, what waits for its frame, buttons and keys.

import { gap, row } from "./rows.js";

/**
 * How many events are shown, and how many wait while the page is paused or in the background. There is room for the row that
 * says how many are missing.
 */
const SHOWN = 500;
const WAITING = SHOWN - 1;
/** How often rows are added, and how many at once: laying the table out anew is what takes time. */
const FRAME_MS = 80;
const PER_FRAME = 200;
const RETRY_MS = 3000;

const $ = (id) => document.getElementById(id);
const table = $("events");
const body = table.tBodies[0];
const form = $("filters");

let source = null;
let retry = 0;
let frame = 0;
let flushed = 0;
let paused = false;
let state = "connecting";
let waiting = [];
let dropped = 0;
let total = 0;
let wasLive = false;

// --- The connection ---

function query() {
  const given = [...new FormData(form)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value);
  return new URLSearchParams(given).toString();
}

function connect() {
  clearTimeout(retry);
  source?.close();
  show("connecting");
  const address = `/activity/stream?${query()}`;
  const opened = new EventSource(address);
  source = opened;
  opened.addEventListener("open", () => {
    $("mistake").hidden = true;
    wasLive = true;
    show("live");
  });
  opened.addEventListener("error", () => {
    if (source !== opened) return;
    // It comes back by itself, and says what it missed.
    if (opened.readyState === EventSource.CONNECTING) return show(wasLive ? "reconnecting" : "connecting");
    diagnose(address);
  });
  for (const type of table.dataset.types.split(" ")) opened.addEventListener(type, take);
}

/** An `EventSource` does not tell why it was refused. */
async function diagnose(address) {
  const stop = new AbortController();
  let reason = "";
  try {
    const answer = await fetch(address, { headers: { accept: "application/json" }, signal: stop.signal });
    if (answer.status === 401) {
      location.reload();
      return;
    }
    if (answer.status >= 400 && answer.status < 500) {
      reason = (await answer.json()).error ?? `The server answered ${answer.status}.`;
    }
  } catch {
    // It cannot be reached; it may be back soon.
  } finally {
    stop.abort();
  }
  if (reason) {
    $("mistake").textContent = reason;
    $("mistake").hidden = false;
    return show("failed");
  }
  if (wasLive) push({ lost: "The connection was lost here. Events may be missing." });
  wasLive = false;
  show("reconnecting");
  retry = setTimeout(connect, RETRY_MS);
}

function show(next = state) {
  state = next;
  const status = $("connection");
  const label = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting…", failed: "Not connected" }[state];
  const held = paused && state === "live";
  status.dataset.state = held ? "paused" : state;
  status.lastElementChild.textContent = held ? "Paused" : label;
}

// --- Events ---

function take(message) {
  try {
    push(JSON.parse(message.data));
  } catch {
    push({ lost: "An event could not be read." });
  }
}

function push(event) {
  waiting.push(event);
  if (waiting.length > WAITING) {
    waiting.shift();
    dropped += 1;
  }
  schedule();
}

function schedule() {
  if (frame) return;
  const wait = Math.max(0, flushed + FRAME_MS - performance.now());
  frame = setTimeout(() => requestAnimationFrame(flush), wait);
}

function flush() {
  frame = 0;
  flushed = performance.now();
  if (paused) return count();
  const rows = document.createDocumentFragment();
  if (dropped) {
    rows.prepend(gap(`${dropped} events are missing here: more came than this page holds.`));
    total += dropped;
    dropped = 0;
  }
  const batch = waiting.splice(0, PER_FRAME);
  // Rows that come would push open details away from who reads them, so these pause.
  for (const event of batch) rows.prepend(row(event, () => pause(true)));
  total += batch.length;
  body.prepend(rows);
  let shown = body.querySelectorAll("tr:not(.detail)").length;
  while (shown > SHOWN) {
    if (!body.lastElementChild.classList.contains("detail")) shown -= 1;
    body.lastElementChild.remove();
  }
  count();
  if (waiting.length) schedule();
}

function count() {
  const shown = body.querySelectorAll("tr.event").length;
  $("nothing").hidden = shown > 0 || body.childElementCount > 0;
  table.hidden = !$("nothing").hidden;
  $("nothing").querySelector("h2").textContent = query() ? "Nothing has fitted the filter yet" : "Nothing has happened yet";
  const news = waiting.length + dropped;
  $("pause").textContent = paused ? (news ? `Resume (${news} new)` : "Resume") : "Pause";
  $("count").textContent = `${total} ${total === 1 ? "event" : "events"}${total > SHOWN ? `, the last ${SHOWN} are shown` : ""}`;
}

// --- Buttons and keys ---

function pause(on) {
  paused = on;
  $("pause").ariaPressed = String(on);
  show();
  count();
  if (!on) schedule();
}

function clear() {
  waiting = [];
  dropped = 0;
  total = 0;
  body.replaceChildren();
  count();
}

function move(by) {
  const rows = [...body.querySelectorAll("tr.event")];
  const at = rows.indexOf(document.activeElement?.closest("tr.event"));
  rows[Math.min(Math.max(at + by, 0), rows.length - 1)]?.querySelector(".toggle").focus();
}

function restart() {
  clear();
  wasLive = false;
  $("mistake").hidden = true;
  connect();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = query();
  history.pushState(null, "", given ? `?${given}` : location.pathname);
  restart();
});

window.addEventListener("popstate", () => {
  const given = new URLSearchParams(location.search);
  for (const input of form.querySelectorAll("input[name]")) input.value = given.get(input.name) ?? "";
  restart();
});

$("pause").addEventListener("click", () => pause(!paused));
$("clear").addEventListener("click", clear);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = {
    p: () => pause(!paused),
    c: clear,
    j: () => move(1),
    k: () => move(-1),
    "/": () => form.querySelector("input").focus(),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

count();
connect();
