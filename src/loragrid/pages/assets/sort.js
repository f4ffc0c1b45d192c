
// A click on a heading sorts its table. Numbers sort as numbers, empty cells last in both directions.
document.querySelectorAll(".table th button").forEach(button => button.addEventListener("click", () => {
  const heading = button.parentElement, table = heading.closest("table"), body = table.tBodies[0];
  const up = heading.getAttribute("aria-sort") !== "ascending", column = heading.cellIndex;
  table.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = row => row.cells[column].dataset.sort;
  const rows = Array.from(body.rows).sort((one, two) => {
    const a = key(one), b = key(two);
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
    return up ? order : -order;
  });
  rows.forEach(row => body.append(row));
}));
