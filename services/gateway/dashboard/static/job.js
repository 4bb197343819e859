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
  let asked = 0;

  // While the gateway starts anew there is no answer: what is drawn stays, and the next look finds the rest.
  async function fetchCurves() {
    try {
      const answer = await fetch(`${address}/curves`);
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    }
  }

  async function loadCurves() {
    const found = await fetchCurves();
    if (!found) return;
    const items = found.items;
    more.hidden = !found.more;
    document.getElementById("usage-panel").hidden = !items.some((one) => one.name in used);
    for (const one of items) (one.name in used ? usage : charts).set(one.name, one.steps, one.values);
    charts.draw();
    usage.draw();
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
    const source = new EventSource(`${address}/stream?after=${job.dataset.after}`);
    const on = (kind, act) => source.addEventListener(kind, (event) => {
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
    const again = setInterval(loadCurves, 15000); // of what is used there are no events
    source.addEventListener("end", async () => {
      clearInterval(again);
      source.close();
      await loadCurves();
      lookAgain();
      job.dataset.ended = "yes";
    });
    window.addEventListener("pagehide", () => source.close());
  }

  box.scrollTop = box.scrollHeight;
  loadCurves().then(() => { if (job.dataset.ended === "no") listen(); });
})();
