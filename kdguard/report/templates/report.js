"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (button, text) => {
    button.dataset.said = text;
    setTimeout(() => delete button.dataset.said, 1200);
  };
  const copyByHand = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    try { await navigator.clipboard.writeText(button.dataset.copy); } catch { copyByHand(button.dataset.copy); button.focus(); }
    say(button, "copied");
  });

  const body = document.querySelector("#all tbody");
  const rows = all("tr", body);
  const find = document.querySelector("#find");
  const boxes = all("input.show");
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let left = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(shown.has(row.dataset.d) && words.every((word) => text.includes(word)));
      left += row.hidden ? 0 : 1;
    }
    document.querySelector("#shown").textContent = `${left} of ${rows.length} shown`;
  };
  find.addEventListener("input", filter);
  boxes.forEach((box) => box.addEventListener("change", filter));
  all("[data-show]").forEach((link) => link.addEventListener("click", () => {
    boxes.forEach((box) => { box.checked = box.value === link.dataset.show; });
    filter();
  }));
  filter();

  const heads = all("#all th");
  const value = (row, index) => {
    const cell = row.cells[index];
    return cell.dataset.v === undefined ? cell.textContent.trim() : Number(cell.dataset.v);
  };
  heads.forEach((head, index) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
      const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b));
      rows.sort((a, b) => sign * compare(value(a, index), value(b, index)));
      body.append(...rows);
    });
  });
  const timeline = document.querySelector(".lanes");
  timeline?.addEventListener("mousemove", (event) => {
    const figure = event.target.closest(".track")?.querySelector("svg.activity");
    if (!figure) return;
    const box = figure.getBoundingClientRect();
    const numbers = figure.dataset.n.split(",");
    const bin = Math.max(0, Math.min(numbers.length - 1, Math.floor(((event.clientX - box.left) / box.width) * numbers.length)));
    const when = new Date(Date.parse(timeline.dataset.start) + bin * Number(timeline.dataset.step)).toISOString();
    const doubt = figure.dataset.s ? `, ${figure.dataset.s.split(",")[bin]} suspicious` : "";
    figure.querySelector("title").textContent = `${when.slice(0, 16).replace("T", " ")} UTC: ${numbers[bin]} requests${doubt}`;
  });
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    const body = target && target.querySelector(":scope > details.body");
    if (body) body.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
