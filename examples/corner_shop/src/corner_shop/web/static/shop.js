// Saves page loads; every page works without it.
"use strict";

document.documentElement.classList.add("scripted");

// Forms with data-swap="#part": send, and take over only that part of the page that comes back. One at a time, so that
// quick taps on a till are all counted.
let last = Promise.resolve();

document.addEventListener("submit", (event) => {
  const form = event.target;
  const part = form.dataset.swap;
  if (!part) return;
  event.preventDefault();
  const body = new URLSearchParams(new FormData(form, event.submitter));
  last = last.then(() => swap(form.action, body, part)).catch(() => window.location.reload());
});

async function swap(action, body, part) {
  const focused = document.activeElement?.getAttribute("aria-label");
  const response = await fetch(action, { method: "POST", body, credentials: "same-origin" });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.querySelector(part);
  if (!fresh) throw new Error("not the page we expected");
  document.querySelector(part).replaceWith(fresh);
  if (focused) fresh.querySelector(`[aria-label="${CSS.escape(focused)}"]`)?.focus();
}

// Selects that act as soon as something is chosen.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
});

// On a phone the navigation scrolls sideways: begin where we are.
document.querySelector("nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });

// Widgets that plugins say have changed: take them over from a fresh copy of this page, once for all that came meanwhile.
const organisation = document.body.dataset.organisation;
if (organisation && document.querySelector(".slot")) {
  let refreshing = false;
  const stale = new Set();
  new EventSource(`/t/${encodeURIComponent(organisation)}/live`).addEventListener("widget", (event) => {
    stale.add(JSON.parse(event.data).slot);
    if (!refreshing) refresh(stale).catch(() => {});
  });

  async function refresh(slots) {
    refreshing = true;
    try {
      while (slots.size) {
        const names = [...slots];
        slots.clear();
        const response = await fetch(window.location.href, { credentials: "same-origin" });
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        for (const name of names) {
          const place = `.slot[data-slot="${CSS.escape(name)}"]`;
          const fresh = page.querySelector(place);
          if (fresh) document.querySelector(place)?.replaceWith(fresh);
        }
      }
    } finally {
      refreshing = false;
    }
  }
}
