"use strict";
const POLL_MS = 5000, TIMEOUT_MS = 4000, STALE_S = 15;
const body = document.body, line = document.getElementById("age"), warning = document.getElementById("warning");
let etag = body.dataset.etag, age = Number(body.dataset.age), since = performance.now(), reached = true;

function show() {
  const old = Math.round(age + (performance.now() - since) / 1000);
  line.textContent = "Data is " + spell(old) + " old";
  const stale = old > STALE_S;
  if (stale) {
    const text = reached
      ? "This may be out of date: this server has lost touch with the others. Its data is over "
      : "This may be out of date: the server cannot be reached. The data shown is over ";
    // Whole tens of seconds, so that screen readers are not told each second.
    const told = text + spell(old < 60 ? old - old % 10 : old - old % 60) + " old.";
    if (warning.textContent !== told) warning.textContent = told;
  }
  warning.hidden = !stale;
}

function spell(s) {
  if (s < 120) return s + " s";
  return s < 7200 ? Math.floor(s / 60) + " min" : Math.floor(s / 3600) + " h";
}

async function get(path, headers) {
  const answer = await fetch(path, { cache: "no-store", headers, signal: AbortSignal.timeout(TIMEOUT_MS) });
  if (!answer.ok && answer.status !== 304) throw new Error(answer.status);
  return answer;
}

async function refresh() {
  const page = new DOMParser().parseFromString(await (await get("/", {})).text(), "text/html");
  const fresh = page.getElementById("live"), shown = document.getElementById("live");
  if (!fresh) throw new Error("not the status page");
  for (const open of shown.querySelectorAll("details[open]")) fresh.querySelector("#" + open.id)?.setAttribute("open", "");
  shown.replaceWith(document.importNode(fresh, true));
  document.title = page.title;
  etag = page.body.dataset.etag;
}

async function poll() {
  try {
    const answer = await get("/api/v2/summary.json", { "If-None-Match": etag });
    if (answer.status !== 304 && answer.headers.get("ETag") !== etag) await refresh();
    age = Number(answer.headers.get("Age")) || 0;
    since = performance.now();
    reached = true;
  } catch {
    reached = false;
  }
  show();
  setTimeout(poll, POLL_MS);
}

setInterval(show, 1000);
show();
poll();
