// The rows of the live activity. Everything that comes from outside goes in as text, never as HTML.

import { describe, tone } from "./describe.js";

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A row that says that something is missing. */
export function gap(text) {
  const made = element("tr", "gap");
  const cell = element("td", "", text);
  cell.colSpan = 6;
  made.append(cell);
  return made;
}

/** The row of an event. `onOpen` is called before its details are shown. */
export function row(event, onOpen) {
  if (event.lost) return gap(event.lost);
  if (event.type === "gap") return gap(event.missed ? `${event.missed} events are missing here.` : "Events are missing here.");
  const made = element("tr", "event");
  made.tabIndex = -1;
  const time = element("td", "time", clock(event.time));
  time.title = event.time;
  const kind = element("td", "kind");
  const badge = element("span", "badge", event.type);
  badge.dataset.tone = tone(event);
  kind.append(badge);
  const what = element("td");
  const parts = element("div", "what");
  for (const part of describe(event)) {
    const piece = element("span", part.badge ? "badge" : `untrusted clipped${part.muted ? " muted" : ""}`, part.text);
    if (part.badge) piece.dataset.tone = part.badge;
    else piece.dir = "auto";
    parts.append(piece);
  }
  what.append(parts);
  const model = element("td", "model untrusted", event.model ?? "");
  model.title = event.model ?? "";
  model.dir = "auto";
  const call = element("td", "call");
  if (event.call_id) {
    const link = element("a", "", event.call_id.slice(-8));
    link.href = `/debug/calls/${encodeURIComponent(event.call_id)}`;
    link.title = `Call ${event.call_id}`;
    call.dataset.lane = parseInt(event.call_id.slice(-2), 16) % 8;
    call.append(link);
  }
  const open = element("td", "open");
  const toggle = element("button", "toggle");
  toggle.type = "button";
  toggle.ariaLabel = `Details of ${event.type}`;
  toggle.ariaExpanded = "false";
  toggle.addEventListener("click", () => details(made, toggle, event, onOpen));
  open.append(toggle);
  made.append(time, kind, what, model, call, open);
  return made;
}

function clock(time) {
  const then = new Date(time);
  const digits = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 };
  return Number.isNaN(then.getTime()) ? "" : then.toLocaleTimeString("en-GB", digits);
}

/** An event as JSON, in which the characters that turn or hide others are escaped. */
function json(event) {
  const hidden = /[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;
  const escaped = (mark) => `\\u${mark.charCodeAt(0).toString(16)}`;
  return JSON.stringify(event, null, 2).replace(hidden, escaped);
}

/** Opens or closes what an event says. */
function details(made, toggle, event, onOpen) {
  if (toggle.ariaExpanded === "true") {
    toggle.ariaExpanded = "false";
    return made.nextElementSibling.remove();
  }
  toggle.ariaExpanded = "true";
  onOpen();
  const detail = element("tr", "detail");
  const cell = element("td");
  cell.colSpan = 6;
  const links = element("div", "links");
  for (const [label, name] of [["Only this call", "call_id"], ["Only this model", "model"], ["Only this policy", "policy"]]) {
    if (!event[name]) continue;
    const link = element("a", "button", label);
    // What means something in a glob stands for itself here.
    const literal = String(event[name]).replace(/[*?[\]{},!\\]/g, "?");
    link.href = `?${new URLSearchParams([[name, literal]])}`;
    links.append(link);
  }
  if (event.call_id) {
    const link = element("a", "button", "Open the call");
    link.href = `/debug/calls/${encodeURIComponent(event.call_id)}`;
    links.append(link);
  }
  const code = element("div", "code");
  const pre = element("pre");
  pre.append(element("code", "untrusted", json(event)));
  code.append(pre);
  cell.append(links, code);
  detail.append(cell);
  made.after(detail);
}
