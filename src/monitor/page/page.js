"use strict";
// The live page of a run. Whatever comes from traffic is put in as text, never as markup.
(() => {
  const MOST_ROWS = 2000;
  const $ = (id) => document.getElementById(id);
  const rows = $("rows"), list = $("list"), details = $("details");
  let all = [];          // what is shown, the oldest first: { record, curl, text, row, shown }
  let waiting = [];      // what has come since the last frame
  let selected = null, paused = false, lost = 0, over = false, drawn = false;

  const cell = (row, type, text, part) => {
    const cell = document.createElement("td");
    cell.className = type;
    cell.setAttribute("role", "gridcell");
    if (part === undefined) cell.textContent = text;
    else {
      cell.append(text);
      const span = document.createElement("span");
      span.className = "path";
      span.textContent = part;
      cell.append(span);
      cell.title = text + part;
    }
    row.append(cell);
  };
  const seconds = (value) => {
    if (typeof value !== "number") return "–";
    if (value < 0.001) return Math.round(value * 1e6) + " µs";
    if (value < 0.01) return (value * 1e3).toFixed(1) + " ms";
    if (value < 1) return Math.round(value * 1e3) + " ms";
    if (value < 60) return value.toFixed(1) + " s";
    if (value < 3600) return Math.floor(value / 60) + " m " + Math.floor(value % 60) + " s";
    return Math.floor(value / 3600) + " h " + Math.floor(value % 3600 / 60) + " m";
  };
  const bytes = (value) => {
    for (const [name, unit] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]])
      if (value >= unit) return (value / unit).toFixed(value / unit < 10 ? 1 : 0) + " " + name;
    return (value ?? 0) + " B";
  };
  const place = (record) => {
    const host = record["server.address"] ?? "";
    const port = record["server.port"];
    const usual = port === undefined || port === (record["url.scheme"] === "https" ? 443 : 80);
    const query = record["url.query"];
    return [host + (usual ? "" : ":" + port), (record["url.path"] ?? "") + (query === undefined ? "" : "?" + query)];
  };

  const filter = () => ({
    text: $("filter").value.trim().toLowerCase(),
    classes: [...document.querySelectorAll("input[name=class]:checked")].map((box) => box.value),
    failed: $("failed").checked,
  });
  const fits = (item, wanted) => {
    const status = String(item.record["http.response.status_code"] ?? "");
    if (wanted.failed && !["failed", "denied"].includes(item.record["amb.outcome"])) return false;
    if (wanted.classes.length && !wanted.classes.includes(status[0])) return false;
    return wanted.text.split(/\s+/).every((word) => item.text.includes(word));
  };

  const make = (item) => {
    const record = item.record, row = document.createElement("tr");
    const [host, path] = place(record), outcome = record["amb.outcome"] ?? "";
    const status = record["http.response.status_code"];
    row.className = outcome + (status >= 400 && status < 500 ? " client" : "");
    row.tabIndex = -1;
    row.setAttribute("role", "row");
    row.setAttribute("aria-selected", "false");
    const time = new Date(record.timestamp);
    const clock = isNaN(time) ? "" : time.toLocaleTimeString([], { hour12: false }) + "." + String(time.getMilliseconds()).padStart(3, "0");
    cell(row, "time", clock);
    cell(row, "method", record["http.request.method"] ?? "");
    cell(row, "url", host, path);
    cell(row, "num status", status ?? (record["error.type"] ? "✗" : "–"));
    cell(row, "num", seconds(record.duration));
    cell(row, "num size", bytes((record["bytes.sent"] ?? 0) + (record["bytes.received"] ?? 0)));
    cell(row, "end", outcome.replace("_", " "));
    row.addEventListener("click", () => choose(item, true));
    item.row = row;
    return row;
  };

  const atEnd = () => list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const toEnd = () => { list.scrollTop = list.scrollHeight; $("newest").hidden = true; };
  const draw = () => {
    drawn = false;
    if (paused) { $("pause").textContent = waiting.length ? `Go on (${waiting.length})` : "Go on"; return; }
    const follow = atEnd(), wanted = filter(), fresh = document.createDocumentFragment();
    for (const item of waiting.splice(0)) {
      make(item);
      item.row.classList.add("new");
      item.row.hidden = !fits(item, wanted);
      fresh.append(item.row);
      all.push(item);
    }
    rows.append(fresh);
    for (const gone of all.splice(0, Math.max(0, all.length - MOST_ROWS))) {
      if (gone === selected) choose(null);
      gone.row.remove();
    }
    if (!rows.querySelector("[tabindex='0']")) all[0]?.row.setAttribute("tabindex", "0");
    say();
    if (follow) toEnd(); else $("newest").hidden = atEnd();
  };
  const soon = () => { if (!drawn) { drawn = true; requestAnimationFrame(draw); } };
  // A page that is not looked at draws nothing, and must not grow for that.
  const come = (item) => {
    waiting.push(item);
    if (waiting.length > MOST_ROWS) waiting.shift();
    soon();
  };
  const say = () => {
    const some = all.some((item) => !item.row.hidden);
    $("empty").hidden = some;
    $("empty").textContent = all.length ? "Nothing fits the filter." : "Nothing has passed yet. Requests appear here as they end.";
    $("lost").hidden = lost === 0;
    $("lost").textContent = `${lost} requests are not shown: this browser could not keep up, or they were before its time.`;
  };
  const refilter = () => {
    const wanted = filter();
    for (const item of all) item.row.hidden = !fits(item, wanted);
    say();
    if (!paused) toEnd();
  };

  const mark = (item, focus) => {
    for (const row of rows.querySelectorAll("[aria-selected=true], [tabindex='0']")) {
      row.setAttribute("aria-selected", "false");
      row.tabIndex = -1;
    }
    selected = item;
    if (!item) return;
    item.row.setAttribute("aria-selected", "true");
    item.row.tabIndex = 0;
    if (focus) item.row.focus({ preventScroll: true });
    item.row.scrollIntoView({ block: "nearest" });
  };
  const choose = (item, open) => {
    mark(item, Boolean(open));
    if (!item) { details.hidden = true; return; }
    if (!open && details.hidden) return;
    const record = item.record, [host, path] = place(record);
    $("title").textContent = `${record["http.request.method"] ?? ""} ${host}${path}`;
    const blame = record["amb.blame"];
    $("why").hidden = !blame;
    $("why").textContent = blame ? `${record["error.type"]}, by ${blame}: ${record["error.message"] ?? ""}` : "";
    $("curl").hidden = $("copy").hidden = !item.curl;
    $("curl").textContent = item.curl ?? "";
    $("copied").textContent = "";
    $("fields").replaceChildren(...Object.entries(record).flatMap(([name, value]) => {
      const dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = name.endsWith("duration") || name === "amb.waited" ? `${seconds(value)} (${value} s)` : String(value);
      return [dt, dd];
    }));
    details.hidden = false;
    details.scrollTop = 0;
    item.row.scrollIntoView({ block: "nearest" });
  };
  const move = (by) => {
    const shown = all.filter((item) => !item.row.hidden);
    if (!shown.length) return;
    const at = shown.indexOf(selected);
    const next = at < 0 ? (by > 0 ? 0 : shown.length - 1) : Math.min(shown.length - 1, Math.max(0, at + by));
    choose(shown[next], !details.hidden);
    shown[next].row.focus({ preventScroll: true });
  };
  const copy = async () => {
    if (!selected?.curl) return;
    try {
      await navigator.clipboard.writeText(selected.curl);
      $("copied").textContent = "copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents($("curl"));
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      $("copied").textContent = "selected: copy it with Ctrl-C";
    }
  };
  const pause = () => {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    $("pause").textContent = paused ? "Go on" : "Pause";
    if (!paused) { soon(); requestAnimationFrame(toEnd); }
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target === $("filter"), button = event.target.closest?.("button, summary, input:not(#filter)");
    const act = (what) => { event.preventDefault(); what(); };
    if (event.key === "Escape") {
      if (!details.hidden) return act(() => { details.hidden = true; selected?.row.focus({ preventScroll: true }); });
      if (typing) return act(() => { $("filter").value = ""; refilter(); $("filter").blur(); });
      return act(() => mark(null));
    }
    if (typing) {
      if (event.key === "Enter" || event.key === "ArrowDown") act(() => move(1));
      return;
    }
    switch (event.key) {
      case "/": return act(() => { $("filter").focus(); $("filter").select(); });
      case "j": case "ArrowDown": return act(() => move(1));
      case "k": case "ArrowUp": return act(() => move(-1));
      case "PageDown": return act(() => move(20));
      case "PageUp": return act(() => move(-20));
      case "Home": return act(() => move(-MOST_ROWS));
      case "End": return act(() => move(MOST_ROWS));
      case "Enter": if (!button && selected) act(() => choose(selected, true)); return;
      case "c": return act(copy);
      case "p": return act(pause);
    }
  });
  $("filter").addEventListener("input", refilter);
  for (const box of document.querySelectorAll("fieldset input")) box.addEventListener("change", refilter);
  $("pause").addEventListener("click", pause);
  $("clear").addEventListener("click", () => { all.splice(0).forEach((item) => item.row.remove()); waiting = []; lost = 0; choose(null); say(); });
  $("close").addEventListener("click", () => { details.hidden = true; selected?.row.focus({ preventScroll: true }); });
  $("copy").addEventListener("click", copy);
  $("newest").addEventListener("click", toEnd);
  list.addEventListener("scroll", () => { if (atEnd()) $("newest").hidden = true; });

  const state = (kind, text) => { if ($("state").textContent !== text) { $("state").className = kind; $("state").textContent = text; } };
  const events = new EventSource("v1/events");
  events.addEventListener("record", (event) => {
    const { record, curl } = JSON.parse(event.data);
    come({ record, curl, text: Object.values(record).join(" ").toLowerCase() });
  });
  events.addEventListener("lost", (event) => { lost += Number(event.data) || 0; say(); });
  events.addEventListener("over", () => { over = true; events.close(); state("over", "the run is over"); });
  events.onerror = () => { if (!over) state("over", "no connection: the run may be over"); };

  const term = (name, value, bad) => {
    const div = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
    dt.textContent = name;
    dd.textContent = value;
    if (bad) div.className = "bad";
    div.append(dt, dd);
    return div;
  };
  let known = 0;
  const figures = (live) => {
    const { status, report, under_way } = live;
    // A run that ends cannot tell any more of what has passed.
    if (status.requests + status.tunnels < known) return;
    known = status.requests + status.tunnels;
    $("name").textContent = status.name;
    document.title = `amb: ${status.name}`;
    state("live", `up ${seconds(status.duration_seconds)}`);
    $("totals").replaceChildren(
      term("requests", status.requests), term("failed", status.failed, status.failed > 0), term("denied", status.denied, status.denied > 0),
      term("open", status.open), ...(status.tunnels ? [term("tunnels", status.tunnels)] : []),
      term("sent", bytes(status.bytes_sent)), term("received", bytes(status.bytes_received)));
    $("hosts").replaceChildren(...report.hosts.slice(0, 200).map((host) => {
      const row = document.createElement("tr"), latency = host.latency_seconds;
      const bad = (host.requests?.failed ?? 0) + (host.requests?.denied ?? 0);
      if (bad) row.className = "failed";
      cell(row, "", host.host + (host.port === 443 || host.port === 80 ? "" : ":" + host.port));
      cell(row, "num", host.requests?.total ?? 0);
      cell(row, bad ? "num status" : "num", bad);
      cell(row, "num", seconds(latency?.p50));
      cell(row, "num", seconds(latency?.p95));
      cell(row, "num", bytes(host.bytes?.sent));
      cell(row, "num", bytes(host.bytes?.received));
      return row;
    }));
    $("open-count").textContent = status.open;
    $("open").replaceChildren(...under_way.slice(0, 200).map((one) => {
      const item = document.createElement("li");
      item.textContent = `${seconds(one.seconds)}  ${one.method} ${one.host}:${one.port}`;
      return item;
    }));
  };
  const look = async () => {
    if (over) return;
    try {
      const answer = await fetch("v1/live", { cache: "no-store" });
      if (answer.ok) figures(await answer.json());
    } catch { /* The events tell of a run that is over. */ }
    setTimeout(look, document.hidden ? 10_000 : 1_000);
  };
  if (innerWidth < 700) $("hosts-part").open = false;
  look();
})();
