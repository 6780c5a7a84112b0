"use strict";
// Sort a table by the column whose button is pressed: down, then up. Cells are compared by data-value where they have one.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const table = head.closest("table");
    const column = [...head.parentElement.children].indexOf(head);
    const falling = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === ""); // what has no value comes last either way
      const order = isNaN(a) || isNaN(b) ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
      return falling ? -order : order;
    };
    const body = table.tBodies[0];
    body.append(...[...body.rows].sort((one, other) => compare(value(one), value(other))));
  });
}
// The block grid is one stop of the Tab key; arrows move within it, and the line below says what is under them.
const cells = [...document.querySelectorAll(".cell")];
const line = document.querySelector(".chosen-layer");
const tell = (cell) => { line.textContent = cell.getAttribute("aria-label"); };
const centre = (cell) => {
  const box = cell.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
};
const neighbour = (cell, key) => {
  const at = cells.indexOf(cell);
  if (key === "ArrowLeft") return cells[at - 1];
  if (key === "ArrowRight") return cells[at + 1];
  if (key === "Home") return cells[0];
  if (key === "End") return cells[cells.length - 1];
  const sign = { ArrowUp: -1, ArrowDown: 1 }[key];
  if (sign === undefined) return undefined;
  const [x, y] = centre(cell);
  const score = (other) => {
    const [ox, oy] = centre(other);
    return sign * (oy - y) > 1 ? Math.abs(oy - y) + 3 * Math.abs(ox - x) : Infinity;
  };
  const best = cells.reduce((a, b) => (score(b) < score(a) ? b : a), cell);
  return score(best) < Infinity ? best : undefined;
};
for (const cell of cells) {
  cell.addEventListener("mouseenter", () => tell(cell));
  cell.addEventListener("focus", () => tell(cell));
  cell.addEventListener("keydown", (event) => {
    const next = neighbour(cell, event.key);
    if (next === undefined) return;
    event.preventDefault();
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}
// Save what is shown: pictures as SVG and PNG, tables as CSV. Everything is made here; nothing is asked of anybody.
const save = (blob, name) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
};
const buttons = (actions) => {
  const box = document.createElement("span");
  box.className = "saves";
  for (const [text, action] of actions) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "save";
    button.textContent = text;
    button.title = `save as ${text}`;
    button.addEventListener("click", action);
    box.append(button);
  }
  return box; // it floats to the right of the line that follows
};
const HEAD = 44; // room for title and caption, which are not in the picture on the page
const standing = (picture, caption) => {
  const [, , width, height] = picture.getAttribute("viewBox").split(" ").map(Number);
  const copy = picture.cloneNode(true);
  const sheet = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const node = (name, text, set) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    made.textContent = text;
    for (const [key, value] of Object.entries(set)) made.setAttribute(key, value);
    sheet.append(made);
  };
  sheet.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  const size = { class: "sheet", width: width + 20, height: height + HEAD + 10, viewBox: `0 0 ${width + 20} ${height + HEAD + 10}` };
  for (const [key, value] of Object.entries(size)) sheet.setAttribute(key, value);
  node("style", document.querySelector("style").textContent, {});
  node("rect", "", { class: "ground", width: "100%", height: "100%" });
  node("text", document.title, { class: "sheet-text sheet-name", x: 10, y: 17 });
  node("text", caption, { class: "sheet-text", x: 10, y: 35 });
  for (const [key, value] of Object.entries({ x: 10, y: HEAD, width, height })) copy.setAttribute(key, value);
  sheet.append(copy);
  return new XMLSerializer().serializeToString(sheet);
};
const png = (text, name) => {
  const image = new Image();
  image.addEventListener("load", () => {
    const canvas = document.createElement("canvas");
    canvas.width = 2 * image.width;
    canvas.height = 2 * image.height;
    const context = canvas.getContext("2d");
    context.scale(2, 2);
    context.drawImage(image, 0, 0);
    canvas.toBlob((blob) => save(blob, name));
  });
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
};
for (const picture of document.querySelectorAll("figure > svg, svg.grid")) {
  const figure = picture.closest("figure");
  const grid = picture.classList.contains("grid");
  const said = figure?.querySelector("figcaption") ?? picture.parentElement.querySelector(".legend") ?? figure?.closest("section").querySelector("h2");
  const caption = said.textContent.replace(/\s+/g, " ").trim();
  const name = picture.querySelector("title").id.replace(/-title$/, "");
  const box = buttons([
    ["SVG", () => save(new Blob([standing(picture, caption)], { type: "image/svg+xml" }), `${name}.svg`)],
    ["PNG", () => png(standing(picture, caption), `${name}.png`)],
  ]);
  if (grid) picture.after(box); // behind its cells, which the Tab key reaches first
  else said.prepend(box);
}
const csv = (table) => {
  const cell = (text) => {
    const figure = /^-[\d.]+(e-?\d+)?( [^=+@|!]*)?$/.test(text); // "-0.67 [-0.80, -0.50]"
    const safe = /^[=+\-@]/.test(text) && !figure ? `'${text}` : text;
    return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const head = [...table.tHead.rows[0].cells].map((th) => (th.querySelector("button") ?? th).textContent.trim());
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((td) => td.textContent.trim()));
  return [head, ...rows].map((row) => row.map(cell).join(",")).join("\n") + "\n";
};
for (const table of document.querySelectorAll("table")) {
  const name = table.closest("section").getAttribute("aria-labelledby") ?? "table";
  table.caption.prepend(buttons([["CSV", () => save(new Blob([csv(table)], { type: "text/csv" }), `${name}.csv`)]]));
}
