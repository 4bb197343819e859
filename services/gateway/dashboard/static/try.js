// A picture on its way to the deployments on the page, and their answers side by side.
(() => {
  "use strict";
  const drop = document.getElementById("drop");
  const input = document.getElementById("picture");
  const shown = document.getElementById("shown");
  const token = document.querySelector('meta[name="csrf-token"]').content;

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text != null) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // "decode;dur=1.2, compute;dur=0.8" of the model server, and then the gateway's own: the first of a name counts.
  function timings(header) {
    const found = new Map();
    for (const [, name, ms] of (header ?? "").matchAll(/(\w+);dur=([\d.]+)/g)) if (!found.has(name)) found.set(name, Number(ms));
    return found;
  }

  function table(answer) {
    const list = element("table", null, "list short");
    const head = list.createTHead().insertRow();
    for (const name of ["Label", "Probability"]) {
      const cell = element("th", name);
      cell.scope = "col";
      head.append(cell);
    }
    const body = list.createTBody();
    for (const one of answer.predictions) {
      const row = body.insertRow();
      const label = element("th", one.label);
      label.scope = "row";
      const bar = element("progress");
      bar.max = 1;
      bar.value = one.probability;
      bar.setAttribute("aria-label", `Probability of ${one.label}`);
      row.append(label);
      row.insertCell().append(bar, ` ${(one.probability * 100).toFixed(1)} %`);
    }
    return list;
  }

  async function ask(place, file) {
    const result = place.querySelector(".result");
    result.replaceChildren(element("p", "Asking …", "help"));
    const began = performance.now();
    try {
      const answer = await fetch(`/try/classify/${place.dataset.deployment}`, {
        method: "POST",
        headers: { "Content-Type": file.type || "application/octet-stream", "X-CSRF-Token": token },
        body: file,
      });
      const tookMs = performance.now() - began;
      const isJson = (answer.headers.get("content-type") ?? "").includes("json");
      if (!answer.ok) {
        result.replaceChildren(element("p", isJson ? (await answer.json()).detail : "Log in again, then repeat.", "error"));
        return;
      }
      const spent = timings(answer.headers.get("server-timing"));
      const parts = ["queue", "compute"].filter((name) => spent.has(name)).map((name) => `${name} ${spent.get(name).toFixed(1)} ms`);
      result.replaceChildren(table(await answer.json()), element("p", `${tookMs.toFixed(0)} ms there and back; ${parts.join(", ")}.`, "help latency"));
    } catch {
      result.replaceChildren(element("p", "Octavo does not answer just now.", "error"));
    }
  }

  // One after the other, so that neither's latency holds the other's.
  async function classify(file) {
    URL.revokeObjectURL(shown.src);
    shown.src = URL.createObjectURL(file);
    shown.hidden = false;
    for (const place of document.querySelectorAll(".answer")) await ask(place, file);
  }

  input.addEventListener("change", () => { if (input.files.length) classify(input.files[0]); });
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) classify(event.dataTransfer.files[0]);
  });
})();
