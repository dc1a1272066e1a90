// The page of an operator. What a peer, a tenant or the configuration chooses is written as text
// only (textContent): nothing here makes markup of it.
"use strict";

const $ = (id) => document.getElementById(id);
const mostRows = 100;
const mostErrors = 20;
const keepToken = "bulkhead-token";

let token = "";
let host = null, findings = [], lastFrame = 0, over = 1, looked = 0, matched = 0, connectionsProblem = "";
const tenants = new Map(), listeners = new Map(), generations = new Map(), feedConnections = new Map();
let chosen = { tenant: "", rows: null, matched: 0, problem: "" }; // connections of one tenant

// ---- writing -----------------------------------------------------------------------------------

function setText(el, text) {
  text = String(text);
  if (el.textContent !== text) el.textContent = text;
}

function make(tag, cls, text) {
  const el = document.createElement(tag);
  if (cls) el.className = cls;
  if (text !== undefined) el.textContent = text;
  return el;
}

function bytes(n) {
  if (n < 1000) return Math.round(n) + " B";
  for (const unit of ["KiB", "MiB", "GiB", "TiB"]) {
    n /= 1024;
    if (n < 1000 || unit === "TiB") return (n < 10 ? n.toFixed(1) : Math.round(n)) + " " + unit;
  }
}

const count = (n) => (n >= 10 || Number.isInteger(n) ? Math.round(n).toLocaleString("en") : n.toFixed(1));

function span(seconds) {
  seconds = Math.round(seconds);
  if (seconds < 100) return seconds + " s";
  if (seconds < 6000) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " d";
}

const isBytes = new Set(["memory", "socket_memory", "bandwidth"]);

function ofLimit(key, u) {
  const write = key === "cpu" ? (n) => n.toFixed(2) : isBytes.has(key) ? bytes : count;
  return write(u[0]) + (u[1] > 0 ? " of " + write(u[1]) : "") + (key === "bandwidth" ? " a second" : "");
}

const share = (u) => (u && u[1] > 0 ? u[0] / u[1] : 0);

// setUse writes how much of a limit is in use, as words and as a bar.
function setUse(cell, key, u, name) {
  let box = cell.firstElementChild;
  if (!box || !box.classList.contains("use")) {
    box = make("div", "use");
    box.append(make("span", "figure"), make("span", "bar"));
    box.lastChild.append(make("span", "fill"));
    box.lastChild.setAttribute("aria-hidden", "true");
    cell.replaceChildren(box);
  }
  const part = share(u), full = part >= 0.9;
  setText(box.firstChild, (name ? name + " " : "") + ofLimit(key, u) + (part >= 0.5 ? ", " + Math.round(part * 100) + "\u00a0%" + (full ? "\u00a0\u25b2" : "") : ""));
  box.classList.toggle("full", full);
  box.lastChild.hidden = !(u[1] > 0);
  const width = Math.min(100, Math.round(part * 100)) + "%";
  if (box.lastChild.firstChild.style.width !== width) box.lastChild.firstChild.style.width = width;
}

const held = (body) => body.contains(document.activeElement) || (matchMedia("(hover: hover)").matches && body.matches(":hover"));

// sync makes the children of a body be those of the items, in their order. A row keeps its element
// as long as its item is there. While somebody points into the rows, or has the focus there, they
// stay where they are.
function sync(body, items, keyOf, create, update) {
  const old = body.rows_ || (body.rows_ = new Map());
  const now = new Map();
  for (const item of items) {
    const key = keyOf(item);
    let el = old.get(key);
    if (!el) el = create(item);
    update(el, item);
    now.set(key, el);
  }
  const still = held(body);
  for (const [key, el] of old) if (!now.has(key)) el.remove();
  let before = null;
  for (const el of now.values()) {
    if (still ? !el.isConnected : (before ? before.nextSibling : body.firstChild) !== el) {
      if (still) body.append(el);
      else body.insertBefore(el, before ? before.nextSibling : body.firstChild);
    }
    before = el;
  }
  body.rows_ = now;
}

// tableRow makes a row, whose first cell is its heading.
function tableRow(body, n) {
  const row = make("tr");
  row.setAttribute("role", "row");
  const labels = body.closest("table").tHead.rows[0].cells;
  for (let i = 0; i < n; i++) {
    const cell = make(i === 0 ? "th" : "td");
    if (i === 0) cell.scope = "row";
    cell.setAttribute("role", i === 0 ? "rowheader" : "cell");
    cell.dataset.label = labels[i].textContent;
    row.append(cell);
  }
  return row;
}

function button(text, label, does, cls) {
  const b = make("button", cls, text);
  b.type = "button";
  if (label) b.setAttribute("aria-label", label);
  b.addEventListener("click", does);
  return b;
}

function say(text) {
  setText($("said"), text);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => setText($("said"), ""), 8000);
}

// ---- parts -------------------------------------------------------------------------------------

function showTotals() {
  const u = host.uses;
  const all = [
    ["Connections", ofLimit("connections", u.connections)],
    ["New a second", count(host.accept_rate)],
    ["In", bytes(host.in_rate) + "/s"], ["Out", bytes(host.out_rate) + "/s"],
    ["CPU", host.cpu.toFixed(2) + " cores"],
    ["Loops late by", host.lag_seconds < 0.001 ? "< 1 ms" : Math.round(host.lag_seconds * 1000) + " ms"],
    ["Tenants", count(host.tenants)], ["Listeners", count(host.listeners)],
    ["Generation", host.generation + ", since " + span((Date.now() - Date.parse(host.in_force)) / 1000)],
    ["Up", span((Date.now() - Date.parse(host.since)) / 1000)],
  ];
  sync($("totals"), all, (a) => a[0], (a) => {
    const el = make("div");
    el.append(make("dt", "", a[0]), make("dd"));
    return el;
  }, (el, a) => setText(el.lastChild, a[1]));
  setText($("file"), host.file + " (process " + host.pid + ", " + host.version.split(",")[0] + ")");
}

const levelWords = { act: "\u25a0 ACT", look: "\u25b2 LOOK", note: "\u25cf NOTE" };

function showFindings(more) {
  const urgent = findings.filter((f) => f.level === "act").length;
  const looks = findings.filter((f) => f.level === "look").length;
  let text = "Nothing waits, and no handler fails.";
  if (urgent) text = urgent === 1 ? "1 thing needs you now." : urgent + " things need you now.";
  else if (looks) text = looks === 1 ? "1 thing is worth a look." : looks + " things are worth a look.";
  else if (findings.length) text = "Nothing is urgent.";
  if (more) text += " " + more + " more are not shown.";
  setText($("summary"), text);
  document.title = (urgent ? "(" + urgent + ") " : "") + "Bulkhead";
  sync($("findings"), findings, (f) => [f.kind, f.tenant, f.listener, f.connection, f.key].join("\n"), (f) => {
    const el = make("li"), p = make("p");
    p.append(make("span", "level"), make("span", "text"));
    el.append(p, make("p", "mend"));
    const does = make("div", "does");
    if (f.tenant) does.append(button("Show its connections", "Show the connections of tenant " + f.tenant, () => choose(f.tenant, true)));
    if (f.connection && token) does.append(button("Close connection " + f.connection, "", () => kill({ id: f.connection, of: f.listener, tenant: f.tenant, peer: "" }), "danger"));
    el.append(does);
    return el;
  }, (el, f) => {
    el.className = f.level;
    setText(el.querySelector(".level"), levelWords[f.level] || f.level);
    setText(el.querySelector(".text"), f.text);
    setText(el.querySelector(".mend"), f.mend);
  });
  const r = host.last_reload;
  setText($("reload"), r ? "Last " + r.what + ": " + r.result + ", " + new Date(r.at).toLocaleString() + ", by " + r.by + "." + (r.errors && r.errors.length > 1 ? " All its errors: " + r.errors.join("; ") : "") : "");
}

const sum = (o) => Object.values(o || {}).reduce((a, b) => a + b, 0);
const words = (o, by) => Object.entries(o || {}).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([k, n]) => k + " " + count(n)).join(by || ", ");

const tenantOrders = {
  share: (t) => t.share + sum(t.waits) * 1e-9 + (t.waits ? 2 : 0) + (t.failed ? 1 : 0),
  cpu: (t) => t.uses.cpu[0],
  memory: (t) => (t.uses.memory || [0])[0],
  connections: (t) => (t.uses.connections || [0])[0],
  waits: (t) => sum(t.waits),
  failures: (t) => t.failed * 1e9 + t.failures,
  name: () => 0,
};

const listenerOrders = {
  failures: (l) => (l.quarantine ? 1e12 : 0) + l.failed * 1e9 + l.failures + l.active * 1e-9,
  active: (l) => l.active,
  accepts: (l) => l.accept_rate,
  bytes: (l) => l.in_rate + l.out_rate,
  name: () => 0,
};

// pick gives the first rows in an order, of those whose words have the text in the field.
function pick(all, name, orders, text) {
  const find = $(name + "-find").value.trim().toLowerCase();
  const by = orders[$(name + "-order").value];
  let rows = [...all.values()];
  if (find) rows = rows.filter((r) => text(r).toLowerCase().includes(find));
  rows = rows.map((r) => [by(r), r]);
  rows.sort((a, b) => b[0] - a[0] || (a[1].name < b[1].name ? -1 : 1));
  const more = rows.length - mostRows;
  setText($(name + "-rest"), rows.length === 0 ? (find ? "None fits." : "There are none.") : more > 0 ? "The first " + mostRows + " of " + count(rows.length) + ". Find, or another order, shows others." : "");
  return rows.slice(0, mostRows).map((r) => r[1]);
}

function showTenants() {
  const body = $("tenants-rows");
  sync(body, pick(tenants, "tenants", tenantOrders, (t) => t.name), (t) => t.name, (t) => {
    const row = tableRow(body, 8);
    const more = button("Limits", "All limits of tenant " + t.name, () => {
      row.open_ = !row.open_;
      more.setAttribute("aria-expanded", row.open_);
      showLimits(row, tenants.get(t.name));
    });
    more.setAttribute("aria-expanded", "false");
    const box = make("div", "does");
    box.append(more, button("Connections", "Connections of tenant " + t.name, () => choose(t.name, true)));
    row.cells[7].append(box);
    return row;
  }, (row, t) => {
    const c = row.cells;
    setText(c[0], t.name + (t.removed ? " (removed)" : ""));
    setUse(c[1], "cpu", t.uses.cpu);
    setUse(c[2], "memory", t.uses.memory || [0, 0]);
    setUse(c[3], "connections", t.uses.connections || [0, 0]);
    if (t.worst) setUse(c[4], t.worst, t.uses[t.worst], t.worst + ":"); else setText(c[4], "");
    setText(c[5], words(t.waits));
    c[5].className = t.waits ? "warned" : "";
    setText(c[6], t.failures ? count(t.failures) + (t.failed ? ", " + count(t.failed) + " just now" : "") : "");
    c[6].className = t.failed ? "warned" : "";
    if (row.open_) showLimits(row, t);
  });
}

// showLimits has all limits of a tenant in its row.
function showLimits(row, t) {
  let box = row.cells[7].querySelector(".limits");
  if (!row.open_ || !t) {
    if (box) box.remove();
    return;
  }
  if (!box) {
    box = make("div", "limits");
    row.cells[7].append(box);
  }
  sync(box, Object.keys(t.uses).sort(), (k) => k, () => make("div"), (el, k) => setUse(el, k, t.uses[k], k));
}

function showListeners() {
  const body = $("listeners-rows");
  sync(body, pick(listeners, "listeners", listenerOrders, (l) => l.name + " " + l.tenant + " " + (l.address || "")), (l) => l.name, () => tableRow(body, 8), (row, l) => {
    const c = row.cells;
    setText(c[0], l.name + (l.address ? " \u2014 " + l.address : "") + (l.removed ? " (removed)" : "") + (l.quarantine ? " \u25a0 quarantined" : ""));
    c[0].className = l.quarantine ? "warned" : "";
    setText(c[1], l.tenant);
    setText(c[2], count(l.active));
    setText(c[3], count(l.accept_rate));
    setText(c[4], bytes(l.in_rate));
    setText(c[5], bytes(l.out_rate));
    setText(c[6], l.failures ? count(l.failures) + (l.failed ? ", " + count(l.failed) + " just now" : "") : "");
    c[6].className = l.failed ? "warned" : "";
    setText(c[7], words(l.ended) + (l.lost ? "; datagrams lost: " + words(l.lost) : "") + (l.limits ? "; by key: " + words(l.limits) : ""));
  });
}

function showGenerations() {
  const all = [...generations.values()].sort((a, b) => (a.listener < b.listener ? -1 : a.listener > b.listener ? 1 : b.number - a.number));
  sync($("generations-rows"), all, (g) => g.listener + " " + g.number, () => {
    const el = make("li");
    el.append(make("div", "text"), make("span", "bar"));
    el.lastChild.append(make("span", "fill"));
    el.lastChild.setAttribute("aria-hidden", "true");
    return el;
  }, (el, g) => {
    let text = g.listener + " (tenant " + g.tenant + "), generation " + g.number + ": ";
    if (g.retired) {
      text += count(g.connections) + " of " + count(g.most) + " connections left";
      if (g.until) text += ", closed in " + span(Math.max(0, (Date.parse(g.until) - Date.now()) / 1000));
    } else {
      text += "takes new connections, has " + count(g.connections);
      if (g.changed) text += "; it is new for " + g.changed.join(", ");
    }
    setText(el.firstChild, text);
    el.lastChild.hidden = !g.retired;
    el.lastChild.firstChild.style.width = (g.most ? Math.round((g.connections / g.most) * 100) : 0) + "%";
  });
  setText($("generations-rest"), all.length ? "" : "None: all connections have the handlers of the configuration in force.");
}

// showErrors writes the last errors. What they say may be text of a handler's or a peer's.
function showErrors(all) {
  all = all.slice(0, mostErrors);
  sync($("errors-rows"), all, (e) => [e.what, e.tenant, e.listener, e.cause, e.first].join("\n"), () => {
    const el = make("li");
    el.append(make("div", "text"), make("div", "mend"));
    return el;
  }, (el, e) => {
    const where = [e.listener && "listener " + e.listener, e.tenant && "tenant " + e.tenant, e.connection && "connection " + e.connection, e.peer && "peer " + e.peer].filter(Boolean);
    setText(el.firstChild, (e.level === "ERROR" ? "\u25a0 " : "\u25b2 ") + new Date(e.time).toLocaleTimeString() + (e.times > 1 ? ", " + count(e.times) + " times" : "") + ": " + e.what + (e.why ? ": " + e.why.slice(0, 500) : "") + (where.length ? " (" + where.join(", ") + ")" : ""));
    setText(el.lastChild, (e.key ? "Limit: " + e.key + ". " : "") + (e.mend || ""));
  });
  setText($("errors-rest"), all.length ? "" : "There are none.");
}

function showConnections() {
  const body = $("connections-rows");
  const all = chosen.tenant ? chosen.rows || [] : [...feedConnections.values()];
  const rank = (c) => (c.holds_back ? 2 : c.waits || c.state.includes("blocked") ? 1 : 0);
  all.sort((a, b) => rank(b) - rank(a) || b.cpu - a.cpu || b.in_rate + b.out_rate - a.in_rate - a.out_rate || a.id - b.id);
  let note;
  if (chosen.tenant) {
    note = chosen.problem || (chosen.rows ? count(all.length) + " of " + count(chosen.matched) + " of tenant " + chosen.tenant + ", those that have used the most CPU." : "Asking.");
  } else {
    note = connectionsProblem || (matched === 0 ? "There are none." : count(all.length) + " of " + count(matched) + ": first those that hold others back, then those that wait, then those that use the most.");
    if (looked < matched) note += " Only the " + count(looked) + " whose handlers have used the most CPU were looked at.";
  }
  setText($("connections-note"), note);
  sync(body, all, (c) => c.id, (c) => {
    const row = tableRow(body, 11);
    if (token) row.cells[10].append(button("Close", "Close connection " + c.id, () => kill(c), "danger"));
    return row;
  }, (row, c) => {
    const cell = row.cells;
    row.classList.toggle("held", Boolean(c.holds_back));
    setText(cell[0], c.id);
    setText(cell[1], c.of + (c.generation !== host.generation ? ", generation " + c.generation : ""));
    setText(cell[2], c.tenant);
    setText(cell[3], (c.dialled ? "dialled " : "") + c.peer);
    setText(cell[4], (c.holds_back ? "\u25a0 holds back " + c.holds_back + "; " : "") + (c.waits ? "\u25b2 waits for " + c.waits.join(", ") + "; " : "") + c.state.filter((s) => s !== "throttled" || !c.waits).join(", ").replace(/^$/, "open"));
    cell[4].className = c.holds_back || c.waits ? "warned" : "";
    setText(cell[5], c.cpu.toFixed(3));
    setText(cell[6], bytes(c.in_rate));
    setText(cell[7], bytes(c.out_rate));
    setText(cell[8], c.unsent ? bytes(c.unsent) : "");
    setText(cell[9], span(c.age) + (c.idle >= 5 ? ", idle " + span(c.idle) : ""));
  });
}

// ---- asking ------------------------------------------------------------------------------------

function headers(more) {
  return token ? { ...more, Authorization: "Bearer " + token } : { ...more };
}

async function problemOf(answer) {
  const text = (await answer.text()).slice(0, 2000);
  try {
    return JSON.parse(text).message || text;
  } catch {
    return text || "status " + answer.status;
  }
}

function choose(tenant, go) {
  $("connections-tenant").value = tenant;
  if (chosen.tenant !== tenant) chosen = { tenant, rows: null, matched: 0, problem: "", was: new Map(), at: 0 };
  $("connections-all").hidden = !tenant;
  if (host) showConnections();
  if (tenant) askChosen();
  if (go) {
    $("connections").scrollIntoView();
    $("connections-tenant").focus();
  }
}

// askChosen asks for the connections of the tenant that was chosen, again and again.
async function askChosen() {
  const mine = chosen;
  if (mine.asks) return;
  mine.asks = true;
  while (chosen === mine && mine.tenant) {
    try {
      const answer = await fetch("/v1/conns?" + new URLSearchParams({ tenant: mine.tenant, sort: "cpu", limit: mostRows, over: "1s" }), { headers: headers() });
      if (!answer.ok) throw new Error(await problemOf(answer));
      const list = await answer.json();
      const now = performance.now(), was = new Map();
      mine.rows = list.connections.map((c) => {
        const then = mine.was.get(c.id);
        was.set(c.id, c.cpu_seconds);
        return {
          id: c.id, of: c.listener + (c.route ? "/" + c.route : ""), tenant: c.tenant, generation: c.generation, peer: c.peer || c.transport, dialled: c.dialled,
          age: c.age_seconds, idle: c.idle_seconds, in_rate: c.in_rate || 0, out_rate: c.out_rate || 0, unsent: c.unsent, state: c.state, waits: c.throttled_by,
          cpu: then === undefined ? 0 : Math.max(0, ((c.cpu_seconds - then) * 1000) / (now - mine.at)),
          holds_back: (feedConnections.get(c.id) || {}).holds_back,
        };
      });
      mine.was = was;
      mine.at = now;
      mine.matched = list.matched;
      mine.problem = "";
    } catch (e) {
      mine.problem = "The connections cannot be listed: " + e.message;
    }
    if (chosen === mine && host) showConnections();
    await new Promise((done) => setTimeout(done, 1000));
  }
}

// askErrors asks for the last errors, again and again.
async function askErrors() {
  for (;;) {
    if (host && !document.hidden) {
      try {
        const answer = await fetch("/v1/errors?" + new URLSearchParams({ limit: mostErrors }), { headers: headers() });
        if (!answer.ok) throw new Error(await problemOf(answer));
        showErrors((await answer.json()).errors || []);
      } catch (e) {
        setText($("errors-rest"), "They cannot be listed: " + e.message);
      }
    }
    await new Promise((done) => setTimeout(done, host ? 3000 : 200));
  }
}

let asked = null; // the connection that the dialog is about

function kill(c) {
  asked = c;
  setText($("ask-text"), "Close connection " + c.id + (c.of ? " of " + c.of : "") + (c.tenant ? " (tenant " + c.tenant + (c.peer ? ", peer " + c.peer : "") + ")" : "") + " now? What is on its way is lost.");
  $("ask").showModal();
  $("ask-no").focus();
}

async function killAsked() {
  const c = asked;
  $("ask").close();
  try {
    const answer = await fetch("/v1/kill", {
      method: "POST", headers: headers({ "Content-Type": "application/json" }), body: JSON.stringify({ file: host.file, ids: [c.id] }),
    });
    if (!answer.ok) throw new Error(await problemOf(answer));
    const done = await answer.json();
    say(done.closed ? "Connection " + c.id + " is closed." : "Connection " + c.id + " was closed already.");
  } catch (e) {
    say("Connection " + c.id + " is not closed: " + e.message);
  }
}

function take(kind, text) {
  const f = JSON.parse(text);
  host = f.host;
  findings = f.findings;
  over = f.over_seconds;
  looked = f.looked;
  matched = f.of;
  connectionsProblem = f.connections_problem ? "They are as they were before: " + f.connections_problem : "";
  const merge = (name, into, key) => {
    if (kind === "full") into.clear();
    for (const gone of f["gone_" + name] || []) into.delete(name === "connections" ? Number(gone) : gone);
    for (const row of f[name]) into.set(key(row), row);
  };
  merge("tenants", tenants, (t) => t.name);
  merge("listeners", listeners, (l) => l.name);
  merge("generations", generations, (g) => g.listener + " " + g.number);
  merge("connections", feedConnections, (c) => c.id);
  lastFrame = performance.now();
  linkState("");
  show(f.more_findings);
}

let more = 0;
function show(left) {
  if (left !== undefined || arguments.length) more = left || 0;
  if (!host) return;
  showTotals();
  showFindings(more);
  showTenants();
  showListeners();
  showGenerations();
  showConnections();
}

function linkState(problem) {
  setText($("link"), problem ? "\u25a0 " + problem : "\u25cf Live");
  $("link").className = problem ? "lost" : "";
}

// events reads server-sent events, of which each has one line of data.
async function events(answer, take) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const parts = [];
  let kind = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    let text = value, at;
    while ((at = text.indexOf("\n")) >= 0) {
      parts.push(text.slice(0, at));
      text = text.slice(at + 1);
      const line = parts.join("");
      parts.length = 0;
      if (line.startsWith("event: ")) kind = line.slice(7);
      else if (line.startsWith("data: ")) take(kind, line.slice(6));
    }
    if (text) parts.push(text);
  }
}

async function watch() {
  for (let pause = 1; ; pause = Math.min(pause * 2, 10)) {
    let problem = "The daemon ended the connection.";
    try {
      const answer = await fetch("/v1/events", { headers: headers(), cache: "no-store" });
      if (answer.ok) {
        pause = 0.5;
        await events(answer, take);
      } else if (answer.status === 401) {
        token = "";
        sessionStorage.removeItem(keepToken);
        linkState("This page has no token that is good. Open the address that bulkhead dash prints, which is good for one visit: run bulkhead dash again. Or add #token= and the daemon's token to this address.");
        return;
      } else {
        problem = await problemOf(answer);
      }
    } catch (e) {
      problem = "The daemon does not answer.";
    }
    linkState(problem + " Trying again." + (host ? " What is below is from before." : ""));
    await new Promise((done) => setTimeout(done, pause * 1000));
  }
}

// enter finds the token: #once= has one that is changed into another that nobody else has seen, and
// #token= the daemon's own.
async function enter() {
  const given = new URLSearchParams(location.hash.slice(1));
  const once = given.get("once"), own = given.get("token");
  if (once || own) history.replaceState(null, "", location.pathname);
  if (own) token = own;
  else if (once) {
    const answer = await fetch("/v1/session", { method: "POST", headers: { Authorization: "Bearer " + once, "Content-Type": "application/json" }, body: "{}" });
    if (answer.ok) token = (await answer.json()).token;
  }
  if (token) sessionStorage.setItem(keepToken, token);
  else token = sessionStorage.getItem(keepToken) || "";
}

function start() {
  for (const name of ["tenants", "listeners"]) {
    const again = () => { if (host) (name === "tenants" ? showTenants : showListeners)(); };
    $(name + "-find").addEventListener("input", again);
    $(name + "-order").addEventListener("change", again);
  }
  $("connections-tenant").addEventListener("change", (e) => choose(e.target.value.trim(), false));
  $("connections-all").addEventListener("click", () => choose("", true));
  $("ask-no").addEventListener("click", () => $("ask").close());
  $("ask-yes").addEventListener("click", killAsked);
  setInterval(() => {
    const age = (performance.now() - lastFrame) / 1000;
    if (host && age > 5 && !$("link").className) linkState("No news for " + span(age) + ".");
  }, 1000);
  enter().catch(() => {}).then(() => { watch(); askErrors(); });
}

start();
