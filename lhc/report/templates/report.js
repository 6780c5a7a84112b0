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
