"use strict";
(() => {
  const run = JSON.parse(document.getElementById("data").textContent);
  const WORDS = {
    ok: "ok", changed: "changed", skipped: "skipped", failed: "failed", failure_ignored: "failed, ignored",
    unreachable: "unreachable", unreachable_ignored: "unreachable, ignored", cancelled: "cancelled",
  };
  const COLOURS = {
    ok: "ok", changed: "changed", skipped: "skipped", failed: "failed", failure_ignored: "ignored",
    unreachable: "failed", unreachable_ignored: "ignored", cancelled: "ignored",
  };
  const colour = (step) => COLOURS[step.outcome] || "open";
  const word = (step) => WORDS[step.outcome] || "has no end";
  const bad = (step) => step.outcome === "failed" || step.outcome === "unreachable" || step.outcome === null;

  /** Makes an element: attributes, then children; strings become text, never markup. */
  function make(name, attributes, ...children) {
    const svg = ["svg", "g", "rect", "text", "line", "path", "title", "defs", "pattern", "marker"].includes(name);
    const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
      else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
    }
    element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
    return element;
  }
  const plural = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
  function took(ms) {
    const s = ms / 1000;
    if (s < 0.95) return `${Math.round(ms)}ms`;
    if (s < 60) return `${s.toFixed(1)}s`;
    const two = (n) => String(Math.floor(n)).padStart(2, "0");
    return s < 3600 ? `${Math.floor(s / 60)}m ${two(s % 60)}s` : `${Math.floor(s / 3600)}h ${two((s / 60) % 60)}m`;
  }
  const clock = (ms) => new Date(run.began + ms).toLocaleTimeString([], { hour12: false });
  const title = (task) => (task.role ? `${task.role} : ${task.name}` : task.name);
  const place = (p) => (p.line ? `${p.file}:${p.line}` : p.file);
  const section = (id, ...children) => document.getElementById(id).append(...children.filter(Boolean));

  function state(host) {
    if (host.failed || host.unreachable) return "failed";
    return host.changed ? "changed" : host.ok ? "ok" : "skipped";
  }

  function head() {
    const sum = (key) => run.hosts.reduce((n, h) => n + h[key], 0);
    const [kind, text] = run.exit === 0 ? ["ok", "done"] : run.exit === null ? ["open", "no end yet"]
      : [2, 4].includes(run.exit) ? ["failed", run.exit === 4 ? "unreachable" : "failed"] : ["failed", `stopped, exit ${run.exit}`];
    const figure = (value, label) => make("div", null, make("b", null, value), make("span", null, label));
    const broken = run.hosts.filter((h) => h.failed || h.unreachable).length;
    section("head",
      make("h1", null, run.command.length > 2 ? run.command.slice(1).join(" ").slice(0, 90) : run.run,
        make("span", { class: `badge ${kind}` }, text), run.check && make("span", { class: "badge open" }, "check mode")),
      make("p", { class: "sub" }, `${new Date(run.began).toLocaleString([], { hour12: false })} · run ${run.run} · ${run.program}`,
        run.resumes && ` · goes on from ${run.resumes}`),
      make("p", { class: "sub" }, make("code", null, run.command.join(" "))),
      make("div", { class: "figures" },
        figure(took(run.took), "in all"), figure(run.hosts.length.toLocaleString("en"), "hosts"),
        broken > 0 && figure(broken, "failed hosts"), figure(sum("ok").toLocaleString("en"), "ok"),
        figure(sum("changed").toLocaleString("en"), "changed"), figure(sum("skipped").toLocaleString("en"), "skipped"),
        run.reboots.length > 0 && figure(run.reboots.length, "reboots")),
      ...run.not_run.map((line) => make("p", { class: "sub" }, `Not run: ${line}`)),
      ...run.warnings.map((line) => make("p", { class: "sub" }, `Warning: ${line}`)));
  }

  function hosts() {
    const wide = run.hosts.length <= 40;
    const squares = run.hosts.map((h, at) => make("a", {
      class: `s-${state(h)}`, href: "#steps", title: `${h.name}: ok ${h.ok}, changed ${h.changed}, failed ${h.failed}, unreachable ${h.unreachable}`,
      onclick: () => search(h.name),
    }, wide ? h.name : ""));
    section("hosts", make("h2", null, "Hosts", make("small", null, plural(run.hosts.length, "host"))),
      make("div", { class: wide ? "grid wide" : "grid" }, squares), key(["ok", "changed", "failed"]));
  }

  function key(names) {
    const texts = { ok: "ok", changed: "changed", skipped: "skipped", failed: "failed or unreachable", ignored: "failure ignored", open: "has no end", wait: "waits for other hosts", reboot: "reboot" };
    return make("div", { class: "key" }, names.map((n) => make("span", null, make("i", { class: `s-${n}` }), texts[n])));
  }

  const SHOWN_HOSTS = 120;
  function timeline() {
    const all = run.hosts.map((_, at) => at);
    const troubled = all.filter((at) => state(run.hosts[at]) === "failed");
    let rows = all;
    if (all.length > SHOWN_HOSTS) {
      const first = new Set(troubled.concat(run.critical.map((at) => run.steps[at].host)));
      rows = [...first, ...all.filter((at) => !first.has(at))].slice(0, SHOWN_HOSTS);
    }
    const row = new Map(rows.map((host, at) => [host, at]));
    const left = Math.min(190, 20 + 7 * Math.max(5, ...rows.map((r) => run.hosts[r].name.length)));
    const width = 1082, high = rows.length > 40 ? 12 : 20, span = Math.max(run.took, 1);
    const x = (ms) => left + (ms / span) * (width - left - 8);
    // Plays that overlap get lanes of their own.
    const lanes = [];
    const bands = run.plays.map((play) => {
      let lane = lanes.findIndex((end) => end <= play.start + span / 400);
      if (lane < 0) lane = lanes.push(0) - 1;
      lanes[lane] = Math.max(play.end, play.start + span / 60);
      return { play, lane };
    });
    const top = lanes.length * 21 + 8, bottom = top + rows.length * (high + 4);
    const svg = make("svg", { width, height: bottom + 26, viewBox: `0 0 ${width} ${bottom + 26}`, role: "img" },
      make("defs", null,
        make("pattern", { id: "hatch", width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, make("rect", { width: 2, height: 5, fill: "var(--band)" })),
        make("pattern", { id: "reboot", width: 4, height: 4, patternUnits: "userSpaceOnUse" }, make("rect", { width: 2, height: 4, fill: "var(--accent)" }))));
    for (const { play, lane } of bands) {
      const w = Math.max(2, x(play.end) - x(play.start));
      const label = play.phase && play.phase !== play.name.toLowerCase() ? `${play.phase} · ${play.name}` : play.name;
      svg.append(make("g", null, make("rect", { x: x(play.start), y: lane * 21, width: w, height: 18, rx: 3, fill: "var(--band)", opacity: 0.35 }),
        w > 40 && make("text", { x: x(play.start) + 6, y: lane * 21 + 13 }, label.slice(0, Math.floor((w - 8) / 6.6))),
        make("title", null, `${label}: ${took(play.end - play.start)}, ${plural(play.hosts, "host")}\n${place(play.place)}`)));
    }
    const ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].map((s) => s * 1000);
    const step = ticks.find((t) => span / t <= 9) || 14400000;
    for (let t = 0; t <= span; t += step) {
      svg.append(make("line", { class: "rule", x1: x(t), x2: x(t), y1: top - 4, y2: bottom }),
        make("text", { class: "soft", x: x(t), y: bottom + 16, "text-anchor": t ? "middle" : "start" }, t ? took(t) : clock(0)));
    }
    for (const [host, at] of row) {
      const y = top + at * (high + 4);
      svg.append(make("g", { class: "row" }, make("rect", { class: "track", x: 0, y, width, height: high }),
        make("text", { x: left - 10, y: y + high / 2 + 4, "text-anchor": "end" }, run.hosts[host].name.slice(0, 26))));
    }
    const bar = (item, ms, cls, text, more) => {
      if (!row.has(item.host)) return;
      const y = top + row.get(item.host) * (high + 4);
      svg.append(make("rect", { class: cls, x: x(item.start), y: y + 2, width: Math.max(0.7, x(item.start + ms) - x(item.start) - 0.3), height: high - 4, ...more }, make("title", null, text)));
    };
    for (const wait of run.waits) if (wait.end - wait.start > span / 2000) bar(wait, wait.end - wait.start, "s-wait", `${run.hosts[wait.host].name} waits ${took(wait.end - wait.start)}: ${wait.why}`);
    const critical = new Set(run.critical);
    run.steps.forEach((step, at) => {
      // What is narrower than a hair would only cost the browser time.
      if (step.took < span / 4000 && !bad(step)) return;
      const task = run.tasks[step.task];
      bar(step, step.took, `step s-${colour(step)}`, `${run.hosts[step.host].name}: ${title(task)}\n${word(step)}, ${took(step.took)}\n${place(task.place)}`, { onclick: () => open(at) });
    });
    for (const reboot of run.reboots) bar({ host: reboot.host, start: reboot.end - reboot.took }, reboot.took, "s-reboot", `${run.hosts[reboot.host].name}: reboot, ${took(reboot.took)}`);
    for (const at of critical) if (row.has(run.steps[at].host) && run.steps[at].took > span / 1000) {
      const s = run.steps[at], y = top + row.get(s.host) * (high + 4);
      svg.append(make("rect", { class: "critical", x: x(s.start), y: y + 1, width: Math.max(1, x(s.start + s.took) - x(s.start)), height: high - 2, "pointer-events": "none" }));
    }
    section("timeline", make("h2", null, "Timeline", make("small", null, rows.length < all.length ? `${rows.length} of ${all.length} hosts, failed ones first` : "outlined: the critical path")),
      make("div", { class: "scroll" }, svg), key(["ok", "changed", "skipped", "failed", "ignored", "wait", ...(run.reboots.length ? ["reboot"] : [])]));
  }

  function text(kind, value) {
    if (kind !== "diff") return make("pre", null, value);
    return make("pre", { class: "diff" }, value.split("\n").map((line) => make("span", { class: line[0] === "+" ? "a" : line[0] === "-" ? "d" : null }, line + "\n")));
  }
  function details(step) {
    const task = run.tasks[step.task], list = [];
    const row = (name, ...value) => list.push(make("dt", null, name), make("dd", null, ...value));
    if (step.failure && step.failure.excerpt) row("task", make("pre", null, step.failure.excerpt));
    row("place", make("span", { class: "mono" }, place(task.place)));
    for (const link of (step.failure && step.failure.chain) || []) row("included from", make("span", { class: "mono" }, link));
    if (step.failure && step.failure.ran_as) row("ran on", step.failure.ran_as);
    for (const [kind, value] of step.said || []) row(kind, text(kind, value));
    if (!step.said && run.results_left_out) row("result", make("span", { class: "soft" }, "left out of this long report; see the log or journal.jsonl"));
    const log = run.hosts[step.host].log;
    row("log", make("a", { href: `hosts/${encodeURIComponent(log)}` }, `hosts/${log}`), ` at ${clock(step.start)}`);
    return make("dl", null, list);
  }

  function failures() {
    const list = run.steps.filter(bad);
    const ignored = run.steps.filter((s) => s.outcome === "failure_ignored" || s.outcome === "unreachable_ignored");
    if (!list.length && !ignored.length) return;
    const one = (step, isOpen, cls) => make("details", { class: `fail ${cls}`, open: isOpen ? "" : null },
      make("summary", null, make("b", null, run.hosts[step.host].name), `${title(run.tasks[step.task])} `, make("span", { class: "soft" }, `${word(step)} after ${took(step.took)}`)), details(step));
    section("failures", make("h2", null, list.length ? "Failures" : "Ignored failures", make("small", null, plural(list.length || ignored.length, "step"))),
      ...list.slice(0, 100).map((s, at) => one(s, at < 10, "")),
      list.length > 100 && make("p", { class: "soft" }, `and ${list.length - 100} more in the table of steps`),
      ...ignored.slice(0, 50).map((s) => one(s, false, "ignored")));
  }

  function path() {
    const steps = run.critical.map((at) => ({ at, step: run.steps[at] }));
    const worth = steps.filter(({ step }) => step.took > Math.max(50, run.took / 200)).sort((a, b) => b.step.took - a.step.took).slice(0, 12).sort((a, b) => a.step.start - b.step.start);
    if (!worth.length) return;
    const sum = worth.reduce((n, { step }) => n + step.took, 0);
    section("path", make("h2", null, "What the time went into", make("small", null, `the longest steps of the critical path: ${took(sum)} of ${took(run.took)}`)),
      make("table", null, make("tbody", null, worth.map(({ at, step }) => make("tr", { class: "pick", onclick: () => open(at) },
        make("td", { class: "n" }, took(step.took)), make("td", { class: "w" }, run.hosts[step.host].name), make("td", null, title(run.tasks[step.task])),
        make("td", { class: "place" }, place(run.tasks[step.task].place)))))));
  }

  function plays() {
    if (run.plays.length < 2) return;
    const layer = run.plays.map(() => 0);
    // Plays stand in the order in which they began, which is not always that of their needs.
    for (let round = 0, moved = true; moved && round < run.plays.length; round++) {
      moved = false;
      run.plays.forEach((play, at) => {
        const least = Math.max(0, ...play.after.map((before) => layer[before] + 1));
        if (least > layer[at]) { layer[at] = least; moved = true; }
      });
    }
    const columns = [];
    layer.forEach((l, at) => (columns[l] = columns[l] || []).push(at));
    const wide = 176, high = 46, gap = 44, down = 14;
    const spot = (at) => ({ x: layer[at] * (wide + gap) + 1, y: columns[layer[at]].indexOf(at) * (high + down) + 1 });
    const width = columns.length * (wide + gap) - gap + 2, height = Math.max(...columns.map((c) => c.length)) * (high + down);
    const on = new Set(run.critical.map((at) => run.tasks[run.steps[at].task].play));
    const svg = make("svg", { width, height, viewBox: `0 0 ${width} ${height}` });
    run.plays.forEach((play, at) => {
      const to = spot(at);
      // An edge that a longer way says, too, only hides the others.
      const direct = play.after.filter((b) => !play.after.some((c) => c !== b && reaches(c, b)));
      for (const before of direct) {
        const from = spot(before), x1 = from.x + wide, y1 = from.y + high / 2, y2 = to.y + high / 2, mid = (x1 + to.x) / 2;
        svg.append(make("path", { class: on.has(at) && on.has(before) ? "edge on" : "edge", d: `M${x1} ${y1} C${mid} ${y1} ${mid} ${y2} ${to.x} ${y2}` }));
      }
    });
    run.plays.forEach((play, at) => {
      const { x, y } = spot(at);
      svg.append(make("g", null, make("rect", { class: on.has(at) ? "box on" : "box", x, y, width: wide, height: high, rx: 6 }),
        make("text", { x: x + 11, y: y + 19 }, play.name.slice(0, 25)), make("text", { class: "soft", x: x + 11, y: y + 36 }, `${plural(play.hosts, "host")}, ${took(play.end - play.start)}`),
        make("title", null, `${play.name}\n${place(play.place)}\n${clock(play.start)} to ${clock(play.end)}`)));
    });
    section("plays", make("h2", null, "Plays", make("small", null, "an arrow waits for what is left of it; outlined: the critical path")), make("div", { class: "scroll" }, svg));
    function reaches(from, to) { return layer[from] > layer[to] && run.plays[from].after.some((b) => b === to || reaches(b, to)); }
  }

  let find = "", only = null, many = 200, shown = null;
  const groups = { failed: (s) => bad(s), changed: (s) => s.outcome === "changed", ok: (s) => s.outcome === "ok", skipped: (s) => s.outcome === "skipped", ignored: (s) => colour(s) === "ignored" };
  const box = make("input", { type: "search", placeholder: "host, task, role, module, file, output …", "aria-label": "Search steps", oninput: () => { find = box.value.toLowerCase(); many = 200; table(); } });
  const chips = Object.keys(groups).map((name) => make("button", { type: "button", onclick: (e) => { only = only === name ? null : name; many = 200; chips.forEach((c) => c.classList.toggle("on", c === e.target && only !== null)); table(); } }, name));
  const body = make("tbody", null), more = make("p", null);
  const texts = [];
  function haystack(at) {
    if (texts[at] === undefined) {
      const step = run.steps[at], task = run.tasks[step.task];
      texts[at] = [run.hosts[step.host].name, title(task), task.action, place(task.place), word(step), ...(step.said || []).map((s) => s[1])].join("\n").toLowerCase();
    }
    return texts[at];
  }
  function table() {
    const matches = [];
    for (let at = 0; at < run.steps.length; at++) if ((!only || groups[only](run.steps[at])) && (!find || find.split(/\s+/).every((w) => haystack(at).includes(w)))) matches.push(at);
    body.replaceChildren(...matches.slice(0, many).flatMap((at) => {
      const step = run.steps[at], task = run.tasks[step.task];
      const line = make("tr", { class: shown === at ? "pick shown" : "pick", id: `step${at}`, onclick: () => { shown = shown === at ? null : at; table(); } },
        make("td", { class: "n soft" }, clock(step.start)), make("td", { class: "w" }, run.hosts[step.host].name),
        make("td", { class: "w" }, make("i", { class: `dot s-${colour(step)}` }), word(step), step.adopted && make("span", { class: "soft" }, " (run before)"), step.attempts > 0 && make("span", { class: "soft" }, ` (${step.attempts + 1} attempts)`)),
        make("td", null, title(task), " ", make("span", { class: "place" }, `${task.action} · ${place(task.place)}`)), make("td", { class: "n" }, took(step.took)));
      return shown === at ? [line, make("tr", null, make("td", { colspan: 5 }, details(step)))] : [line];
    }));
    more.replaceChildren(make("span", { class: "soft" }, plural(matches.length, "step"), " "), matches.length > many ? make("button", { type: "button", onclick: () => { many *= 5; table(); } }, "show more") : "");
  }
  function search(word_) { box.value = word_; find = word_.toLowerCase(); many = 200; table(); }
  function open(at) {
    box.value = find = ""; only = null; chips.forEach((c) => c.classList.remove("on")); shown = at; many = Math.max(200, at + 1); table();
    document.getElementById(`step${at}`).scrollIntoView({ block: "center", behavior: "smooth" });
  }
  function steps() {
    section("steps", make("h2", null, "Steps", make("small", null, run.left_out ? `${plural(run.left_out, "short step")} that went well are only counted` : "click one for its result")),
      make("div", { class: "bar" }, box, chips),
      make("table", null, make("thead", null, make("tr", null, make("th", { class: "n" }, "at"), make("th", null, "host"), make("th", null, "outcome"), make("th", null, "task"), make("th", { class: "n" }, "took"))), body), more);
    table();
  }

  function recap() {
    const columns = ["ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored"];
    section("recap", make("h2", null, "Recap"),
      make("table", null, make("thead", null, make("tr", null, make("th", null, "host"), columns.map((c) => make("th", { class: "n" }, c)), make("th", { class: "n" }, "busy"), make("th", null, "log"))),
        make("tbody", null, run.hosts.slice(0, 2000).map((h) => make("tr", null, make("td", null, make("i", { class: `dot s-${state(h)}` }), h.name), columns.map((c) => make("td", { class: h[c] ? "n" : "n soft" }, h[c])), make("td", { class: "n" }, took(h.busy_ms)), make("td", null, make("a", { href: `hosts/${encodeURIComponent(h.log)}` }, h.log)))))));
  }

  head(); hosts(); timeline(); failures(); path(); plays(); steps(); recap();
})();
