// What every page does: the session's token with each htmx request, times that stay right, one click per form.
(() => {
  "use strict";
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

  function ago(moment) {
    const passed = (Date.now() - moment.getTime()) / 1000;
    if (Math.abs(passed) < 5) return "just now";
    const [name, size] = units.find(([, seconds]) => Math.abs(passed) >= seconds);
    const count = Math.floor(Math.abs(passed) / size);
    return passed > 0 ? `${count} ${name} ago` : `in ${count} ${name}`;
  }

  function refreshTimes() {
    for (const one of document.querySelectorAll("time[data-ago]")) {
      const words = ago(new Date(one.dateTime));
      if (one.textContent !== words) one.textContent = words;
    }
  }
  setInterval(refreshTimes, 15000);

  // On a phone the row of pages scrolls: the one that is open should be seen.
  const current = document.querySelector(".bar [aria-current]");
  if (current) current.closest("nav").scrollLeft = current.offsetLeft - 80;

  document.addEventListener("htmx:configRequest", (event) => {
    const token = document.querySelector('meta[name="csrf-token"]');
    if (token) event.detail.headers["X-CSRF-Token"] = token.content;
  });

  const offline = () => document.getElementById("offline");
  for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) {
    document.addEventListener(name, () => { offline().hidden = false; });
  }
  document.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.successful) offline().hidden = true;
  });

  document.addEventListener("submit", (event) => {
    if (event.defaultPrevented || event.target.method !== "post") return;
    // Disabled only after this event: a button that is disabled now would not be sent.
    setTimeout(() => { for (const one of event.target.querySelectorAll("button")) one.disabled = true; });
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) for (const one of document.querySelectorAll("form button")) one.disabled = false;
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const open of document.querySelectorAll("details.sure[open]")) {
      open.open = false;
      open.querySelector("summary").focus();
    }
  });
})();
