"use strict";
// The page reads without this: it only adds a filter, a zoom, and opens what a link leads to.
for (const tools of document.querySelectorAll(".tools")) tools.hidden = false;

const jobs = [...document.querySelectorAll("details.job")];
const filter = document.getElementById("filter");
const shown = document.getElementById("shown");
if (filter) {
  filter.addEventListener("input", () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const job of jobs) {
      const has = job.dataset.words.toLowerCase();
      job.hidden = !words.every((word) => has.includes(word));
      if (!job.hidden) count += 1;
    }
    shown.textContent = words.length ? `${count} of ${jobs.length}` : "";
  });
}
for (const button of document.querySelectorAll("[data-all]")) {
  button.addEventListener("click", () => {
    for (const job of jobs) if (!job.hidden) job.open = button.dataset.all === "open";
  });
}

const wide = document.querySelector(".wide");
let zoom = 1;
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", () => {
    zoom = Math.min(16, Math.max(1, button.dataset.zoom === "in" ? zoom * 1.5 : zoom / 1.5));
    wide.style.width = `${zoom * 100}%`;
  });
}

function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const job = target && target.closest("details.job");
  if (job) {
    job.hidden = false;
    job.open = true;
    job.scrollIntoView({ block: "start" });
    job.querySelector("summary").focus({ preventScroll: true });
  }
}
addEventListener("hashchange", reveal);
reveal();
