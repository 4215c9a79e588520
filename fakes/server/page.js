"use strict";
// What the server tells under /control, as it happens. Whatever a client has sent is text, never markup.
const MOST_ROWS = 2000;
const byId = (id) => document.getElementById(id);
const entries = [];
let sessions = [];
let chosen = null; // the number of a session; null: the newest
let after = 0;

async function ask(path, body) {
  const how = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const answer = await fetch(`control/${path}`, how);
  const told = await answer.json();
  if (!answer.ok) throw new Error(told.error.message);
  return told;
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

const MOST_LETTERS = 120;
const clipped = (words) => (words.length > MOST_LETTERS ? `${words.slice(0, MOST_LETTERS)}…` : words);

const current = () => chosen ?? (sessions.length ? sessions[sessions.length - 1].number : null);

function showSessions() {
  byId("none").hidden = sessions.length > 0;
  byId("sessions").replaceChildren(...sessions.slice().reverse().map((one) => {
    const state = one.open ? "open" : `closed ${one.closed.code} ${one.closed.reason}`.trim();
    const button = element("button", "", `${one.number}. ${one.name}: ${state}`);
    button.setAttribute("aria-pressed", String(one.number === current()));
    button.onclick = () => { chosen = one.number; showSessions(); showEvents(); };
    return button;
  }));
}

const shorten = (event) => {
  const { type, event_id: _, ...rest } = event;
  const text = JSON.stringify(rest);
  return text === "{}" ? "" : text;
};

function row(entry) {
  const made = element("details");
  made.dataset.number = entry.number;
  const summary = element("summary");
  summary.append(
    element("span", "at", (entry.at_ms / 1000).toFixed(3)),
    element("span", entry.from, entry.from === "fake" ? "mark" : entry.from),
    element("span", "what", `${entry.type} ${shorten(entry.event)}`),
  );
  made.append(summary);
  made.ontoggle = () => {
    if (made.open && made.children.length === 1) made.append(element("pre", "", JSON.stringify(entry.event, null, 2)));
  };
  return made;
}

function wanted() {
  const from = [...document.querySelectorAll(".filters input[value]:checked")].map((box) => box.value);
  const glob = byId("type").value.trim();
  const escaped = glob.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".");
  const pattern = glob ? new RegExp(`^${escaped}$`) : null;
  return (entry) => entry.session === current() && from.includes(entry.from) && (!pattern || pattern.test(entry.type));
}

function showEvents() {
  byId("events").replaceChildren(...entries.filter(wanted()).slice(-MOST_ROWS).map(row));
  showHeard();
  follow();
}

function follow() {
  if (byId("follow").checked) byId("events").scrollTop = byId("events").scrollHeight;
}

// Speech by the server's own ear, on the clock of the audio that it got.
function showHeard() {
  const mine = entries.filter((entry) => entry.session === current() && entry.from === "server");
  const spans = [];
  for (const { type, event } of mine) {
    if (type === "input_audio_buffer.speech_started") spans.push([event.audio_start_ms, null, event.item_id]);
    if (type === "input_audio_buffer.speech_stopped" && spans.length) spans[spans.length - 1][1] = event.audio_end_ms;
  }
  const words = {};
  for (const { type, event } of mine) {
    if (type.endsWith("input_audio_transcription.completed") && event.transcript) words[event.item_id] = ` “${event.transcript}”`;
    if (type.endsWith("input_audio_transcription.failed")) words[event.item_id] = ` (${event.error.code})`;
  }
  const length = Math.max(10000, ...spans.map(([start, end]) => end ?? start)) * 1.05;
  byId("heard").replaceChildren(...spans.map(([start, end]) => {
    const bar = element("i", end === null ? "open" : "");
    bar.style.left = `${100 * start / length}%`;
    bar.style.width = `${100 * ((end ?? length) - start) / length}%`;
    return bar;
  }));
  const told = spans.map(([start, end, item]) => {
    const until = end === null ? "still speaking" : `${(end / 1000).toFixed(2)} s`;
    return `${(start / 1000).toFixed(2)} to ${until}${words[item] ?? ""}`;
  });
  byId("speech").textContent = told.length ? told.join("; ") : "Nothing that sounds like speech.";
}

function tell(text, bad) {
  byId("told").textContent = text;
  byId("told").className = bad ? "bad" : "soft";
}

async function next(change, what) {
  try {
    const target = sessions.find((one) => one.number === current());
    const session = target && target.open ? target.number : "next";
    await ask("next", { ...change, session });
    tell(session === "next" ? `${what}: for the next session.` : `${what}: for session ${session}.`);
  } catch (error) { tell(error.message, true); }
}

// Appends one after another are one entry, which goes on until its session does something else.
async function showAppends() {
  const last = entries.findLast((entry) => entry.session === current());
  if (!last || last.type !== "input_audio_buffer.append") return;
  const [now] = await ask(`events?session=${last.session}&after=${last.number - 1}&limit=1`);
  if (!now || now.event.events === last.event.events) return;
  last.event = now.event;
  const shown = byId("events").querySelector(`[data-number="${last.number}"]`);
  if (shown) shown.replaceWith(row(last));
}

const newest = (list) => (list.length ? list[list.length - 1].number : 0);

function forget() {
  entries.length = 0;
  after = 0;
  chosen = null;
  byId("events").replaceChildren();
}

async function begin() {
  byId("address").textContent = `ws://${location.host}/v1/realtime`;
  const known = await ask("choices");
  byId("replies").replaceChildren(...known.replies.map((reply) => {
    const button = element("button", "", clipped(reply.words));
    button.title = reply.words;
    button.onclick = () => next({ replies: [reply.reply] }, "It will be said");
    return button;
  }));
  byId("fault").elements.fault.append(...known.faults.map((name) => element("option", "", name)));
  byId("say").onsubmit = (event) => {
    event.preventDefault();
    const input = byId("say").elements.words;
    next({ replies: [{ say: input.value }] }, "It will be said").then(() => { input.value = ""; });
  };
  byId("fault").onsubmit = (event) => {
    event.preventDefault();
    next({ faults: [{ fault: byId("fault").elements.fault.value }] }, "It will strike");
  };
  for (const box of document.querySelectorAll(".filters input:not(#follow)")) box.oninput = showEvents;
}

async function listen() {
  for (;;) {
    try {
      const known = await ask("sessions");
      if (newest(known) < newest(sessions)) forget(); // the server was reset
      sessions = known;
      await showAppends();
      const fresh = await ask(`events?after=${after}`);
      byId("state").textContent = "live";
      if (fresh.length) {
        const before = entries.length ? entries[entries.length - 1] : null;
        after = fresh[fresh.length - 1].number;
        entries.push(...fresh);
        if (entries.length > 20000) entries.splice(0, entries.length - 20000);
        const show = wanted();
        if (before && before.session === current()) byId("events").append(...fresh.filter(show).map(row));
        else showEvents();
        while (byId("events").children.length > MOST_ROWS) byId("events").firstChild.remove();
        showHeard();
        follow();
      }
      showSessions();
      document.documentElement.dataset.ready = "true";
    } catch (error) { byId("state").textContent = `the server does not answer: ${error.message}`; }
    await new Promise((resolve) => setTimeout(resolve, 400));
  }
}

begin().then(listen, (error) => tell(error.message, true));
