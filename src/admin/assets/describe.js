// What an event of the live activity says, in a few words: parts of text, some of them badges in a tone.

const OUTCOMES = {
  completed: "ok",
  refused: "warn",
  rejected: "warn",
  client_gone: "warn",
  interrupted: "warn",
};

const TYPES = {
  "policy.faulted": "bad",
  "stream.stalled": "bad",
  "rules.rejected": "bad",
  "rules.reloaded": "ok",
  "policy.emitted": "note",
  "judge.verdict": "note",
};

const VERDICTS = { allow: "ok", block: "bad", replace: "warn", fault: "bad" };

/** The tone of an event's badge. */
export function tone(event) {
  if (event.type === "call.closed") return OUTCOMES[event.outcome] ?? "bad";
  if (event.type === "policy.decided") return event.shadow ? "note" : "warn";
  return TYPES[event.type] ?? (event.type.startsWith("call.") ? "info" : "");
}

const text = (text) => ({ text: String(text) });
const muted = (text) => ({ text: String(text), muted: true });
const badge = (text, tone = "") => ({ text: String(text), badge: tone || "none" });
const when = (condition, ...parts) => (condition ? parts : []);
const shadow = (event) => when(event.shadow, badge("shadow", "note"));

function bytes(count) {
  if (count < 1024) return `${count} B`;
  return count < 1024 * 1024 ? `${(count / 1024).toFixed(1)} KiB` : `${(count / 1024 / 1024).toFixed(1)} MiB`;
}

function span(milliseconds) {
  return milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

function tokens(usage) {
  const { input, output } = usage ?? {};
  if (input === undefined && output === undefined) return [];
  return [muted(`${input ?? "?"} → ${output ?? "?"} tokens`)];
}

const SAYS = {
  "call.opened": (event) => [
    text(event.path),
    ...when(event.dialect, muted(event.dialect)),
    ...when(event.client, muted(`client ${event.client}`)),
  ],
  "request.received": (event) => [
    text(bytes(event.bytes)),
    ...when(event.stream, muted("stream")),
    ...when(event.session_id, muted(`session ${event.session_id}`)),
  ],
  "request.sent": (event) => [
    text(`to ${event.upstream}`),
    muted(event.dialect),
    ...when(event.changed, badge("changed", "warn")),
    muted(bytes(event.bytes)),
  ],
  "response.started": (event) => [text(`HTTP ${event.status}`)],
  "response.sent": (event) => [text(`HTTP ${event.status}`), ...when(event.changed, badge("changed", "warn"))],
  "policy.started": (event) => [text(event.policy), ...shadow(event)],
  "policy.decided": (event) => [
    text(event.policy),
    badge(event.decision, event.shadow ? "note" : "warn"),
    muted(`on ${event.on}`),
    ...shadow(event),
  ],
  "policy.faulted": (event) => [text(event.policy), badge(`fails ${event.on_fault}`, "bad"), text(event.error)],
  "policy.emitted": (event) => [
    text(event.policy),
    badge(event.event, "note"),
    muted(JSON.stringify(event.fields)),
    ...shadow(event),
  ],
  "judge.verdict": (event) => [
    text(event.policy),
    badge(event.verdict, VERDICTS[event.verdict]),
    muted(`${event.judge} on ${event.tool ?? event.on}`),
    ...when(event.probability !== undefined, muted(`p = ${event.probability}`)),
    muted(event.cached ? "cached" : span(event.duration_ms)),
    ...shadow(event),
  ],
  "stream.stalled": (event) => [text(event.error)],
  "call.closed": (event) => [
    badge(event.outcome, tone(event)),
    ...when(event.status, text(`HTTP ${event.status}`)),
    ...when(event.upstream, muted(event.upstream)),
    muted(span(event.duration_ms)),
    ...tokens(event.usage),
  ],
  "rules.reloaded": (event) => [text(`in force: ${event.rules}`)],
  "rules.rejected": (event) => [text(event.error), muted(`in force: ${event.rules}`)],
};

/** What an event says. One of a type that this page does not know says nothing but its details. */
export function describe(event) {
  const parts = SAYS[event.type]?.(event) ?? [];
  return event.replica ? [...parts, muted(event.replica)] : parts;
}
