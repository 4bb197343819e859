// The page of one job: its curves, and its events as they come.
(() => {
  "use strict";
  const job = document.getElementById("job");
  const address = `/jobs/${job.dataset.job}`;
  const events = document.getElementById("events");
  const box = events.closest(".log");
  const mostLines = 1000;
  const charts = new octavoCharts.Charts(document.getElementById("curves"));
  const used = { "resources/cpu": "CPU in cores", "resources/memory": "Memory in MB", "resources/gpu": "GPU in percent", "resources/gpu_memory": "GPU memory in MB" };
  const usage = new octavoCharts.Charts(document.getElementById("usage"), used, "second");
  const more = document.getElementById("more-curves");
  const offline = document.getElementById("offline");
  const usualWaitMs = 15000; // of what is used there are no events
  let seen = Number(job.dataset.after); // the last event on the page
  let over = hasEnded();
  let asked = 0;
  let looks = 0;
  let failedLooks = 0;
  let nextLook = 0;
  let source = null;
  let closedStreams = 0;
  let nextStream = 0;

  function hasEnded() { return document.getElementById("job-now").dataset.ended === "yes"; }

  // After each failure twice as long.
  function waitMs(failures) { return Math.min(500 * 2 ** failures, usualWaitMs); }

  // null: no answer just now; undefined: there will be none, as the job was deleted or the session is over.
  async function fetchCurves() {
    try {
      const answer = await fetch(`${address}/curves`, { signal: AbortSignal.timeout(30000) });
      if (answer.ok && !answer.redirected) return await answer.json();
      return answer.status >= 500 ? null : undefined;
    } catch {
      return null;
    }
  }

  // Without an answer what is drawn stays, and it is asked again; once the job has ended, until there is one.
  async function loadCurves() {
    clearTimeout(nextLook);
    const look = ++looks;
    const found = await fetchCurves();
    if (look !== looks || found === undefined) return; // the page is left, or a later look is on its way
    offline.hidden = found !== null;
    failedLooks = found ? 0 : failedLooks + 1;
    if (found) drawCurves(found);
    if (!found || !over) nextLook = setTimeout(loadCurves, found ? usualWaitMs : waitMs(failedLooks));
  }

  function drawCurves(found) {
    const items = found.items;
    more.hidden = !found.more;
    document.getElementById("usage-panel").hidden = !items.some((one) => one.name in used);
    for (const one of items) (one.name in used ? usage : charts).set(one.name, one.steps, one.values);
    charts.draw();
    usage.draw();
    const none = document.querySelector("#curves > .help");
    if (none && over) none.textContent = "It reported no figures on its way.";
  }

  // Several events in a row are one look.
  function lookAgain() {
    clearTimeout(asked);
    asked = setTimeout(() => document.body.dispatchEvent(new Event("octavo:changed")), 150);
  }

  function wordsOf(kind, data) {
    switch (kind) {
      case "log": return [data.message, ...Object.entries(data.fields ?? {}).map(([key, value]) => `${key}=${value}`)].join("  ");
      case "status": return `${data.from ?? "new"} → ${data.to}${data.reason ? `: ${data.reason}` : ""}`;
      case "progress": return `${Math.round(data.fraction * 100)}% ${data.note}`;
      case "metrics": return Object.entries(data.values).map(([name, point]) => `${name}=${octavoCharts.figure(point.value)} @${point.step}`).join("  ");
      case "checkpoint": return `step ${data.step}, ${data.size_bytes} bytes`;
      default: return `${data.name}@${data.version} is ${data.status}`;
    }
  }

  function addLine(kind, data) {
    const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 30;
    const line = document.createElement("li");
    line.className = kind === "log" ? `log ${data.level}` : kind;
    const time = document.createElement("time");
    time.dateTime = data.at;
    time.textContent = data.at.slice(11, 19);
    const parts = [["kind", kind], ["words", wordsOf(kind, data)]].map(([name, text]) => {
      const part = document.createElement("span");
      part.className = name;
      part.textContent = text;
      return part;
    });
    line.append(time, " ", parts[0], " ", parts[1]);
    events.append(line);
    while (events.childElementCount > mostLines) events.firstElementChild.remove();
    if (atEnd) box.scrollTop = box.scrollHeight;
  }

  function showProgress(data) {
    document.getElementById("progress").value = data.fraction;
    document.getElementById("progress-words").textContent = `${Math.round(data.fraction * 100)}% ${data.note}`;
  }

  function listen() {
    source?.close();
    source = new EventSource(`${address}/stream?after=${seen}`);
    const on = (kind, act) => source.addEventListener(kind, (event) => {
      seen = Number(event.lastEventId);
      closedStreams = 0;
      const data = JSON.parse(event.data);
      addLine(kind, data);
      act(data);
    });
    on("log", () => {});
    on("progress", showProgress);
    on("metrics", (data) => {
      for (const [name, point] of Object.entries(data.values)) if (charts.has(name) || more.hidden) charts.add(name, point.step, point.value);
      charts.draw();
    });
    for (const kind of ["status", "checkpoint", "model", "dataset"]) on(kind, lookAgain);
    source.addEventListener("end", finish);
    source.addEventListener("error", () => {
      // The browser connects again by itself, but not after an answer that is no stream: an error, or that none follows.
      if (source.readyState !== EventSource.CLOSED) return;
      lookAgain();
      nextStream = setTimeout(() => (hasEnded() ? finish() : listen()), waitMs(++closedStreams));
    });
  }

  async function finish() {
    over = true;
    source.close();
    await loadCurves();
    lookAgain();
  }

  async function begin() {
    await loadCurves();
    if (!over) listen();
  }

  function leave() {
    source?.close();
    clearTimeout(nextStream);
    clearTimeout(nextLook);
    looks += 1;
  }

  for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
    document.addEventListener(name, (event) => {
      const status = event.detail.xhr.status;
      if (status === 0 || status >= 500) setTimeout(lookAgain, waitMs(4));
    });
  }
  window.addEventListener("pagehide", leave);
  window.addEventListener("pageshow", (event) => { if (event.persisted) begin(); });
  box.scrollTop = box.scrollHeight;
  begin();
})();
