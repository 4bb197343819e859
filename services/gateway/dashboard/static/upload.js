// A file on its way into a data set: in pieces, each where the one before ended, so that an interruption costs one piece.
(() => {
  "use strict";
  const form = document.getElementById("upload");
  const input = document.getElementById("file");
  const shown = document.getElementById("sent");
  const words = document.getElementById("sent-words");
  const token = document.querySelector('meta[name="csrf-token"]').content;
  const pieceBytes = 8 * 2 ** 20;

  function say(text, share) {
    shown.hidden = false;
    shown.querySelector("progress").value = share;
    words.textContent = text;
  }

  async function problemOf(answer) {
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = [...page.querySelectorAll(".error, .note.bad:not(#offline)")].map((one) => one.textContent.trim());
    return found.join(" ") || page.body.textContent.trim();
  }

  async function sendPiece(address, file, offset) {
    const answer = await fetch(address, {
      method: "PATCH",
      headers: { "Content-Type": "application/octet-stream", "Upload-Offset": String(offset), "X-CSRF-Token": token, "HX-Request": "true" },
      body: file.slice(offset, offset + pieceBytes),
    });
    const arrived = answer.headers.get("Upload-Offset");
    if (arrived != null) return Number(arrived); // of a conflict, too: where to go on
    throw new Error(await problemOf(answer));
  }

  async function send(file, page) {
    const address = `/datasets/${page.name}/versions/${page.version}/upload`;
    for (let offset = page.offset; offset < file.size;) {
      say(`${Math.floor((100 * offset) / file.size)}% of ${file.name} sent`, offset / file.size);
      offset = await sendPiece(address, file, offset);
    }
    const whole = await fetch(`${address}/complete`, { method: "POST", headers: { "X-CSRF-Token": token, "HX-Request": "true" } });
    if (!whole.ok) throw new Error(await problemOf(whole));
    location.assign(`/datasets/${page.name}?version=${page.version}`);
  }

  // Of a new data set the answer is where it is; a form with something wrong comes back as a page.
  async function begin(file) {
    const fields = new URLSearchParams(new FormData(form));
    fields.set("source/upload", file.name);
    const answer = await fetch("/new-dataset", { method: "POST", headers: { "HX-Request": "true" }, body: fields });
    const place = answer.headers.get("HX-Redirect");
    if (!place) throw new Error(await problemOf(answer));
    const made = new URL(place, location.href);
    return { name: made.pathname.split("/")[2], version: made.searchParams.get("version"), offset: 0 };
  }

  form.addEventListener("submit", async (event) => {
    const known = form.dataset;
    if (!known.name && new FormData(form).get("source") !== "upload") return;
    event.preventDefault();
    const file = input.files[0];
    if (!file) {
      say("Choose a file first.", 0);
      return;
    }
    const buttons = form.querySelectorAll("button");
    for (const one of buttons) one.disabled = true;
    try {
      await send(file, known.name ? { name: known.name, version: known.version, offset: Number(known.offset) } : await begin(file));
    } catch (error) {
      say(`It was not sent: ${error.message}`, 0);
      for (const one of buttons) one.disabled = false;
    }
  });
  input.addEventListener("change", () => {
    const choice = form.querySelector('input[value="upload"]');
    if (choice) choice.checked = true;
  });
})();
