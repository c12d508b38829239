/* Sorts and filters tables and opens what is folded for paper. Nothing on the page needs it. */
(function () {
  "use strict";
  function value(cell) {
    var text = cell.getAttribute("data-sort") || cell.textContent.trim();
    var number = parseFloat(text.replace(/,/g, "").replace("−", "-"));
    return { text: text, number: isNaN(number) ? null : number };
  }
  function sort(table, column, heading) {
    var down = heading.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("th[aria-sort]").forEach(function (other) { other.removeAttribute("aria-sort"); });
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    var body = table.tBodies[0];
    Array.from(body.rows).sort(function (one, other) {
      var a = value(one.cells[column]), b = value(other.cells[column]);
      if ((a.number === null) !== (b.number === null)) { return a.number === null ? 1 : -1; }
      var order = a.number !== null ? a.number - b.number : a.text.localeCompare(b.text);
      return down ? -order : order;
    }).forEach(function (row) { body.appendChild(row); });
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    Array.from(table.tHead.rows[0].cells).forEach(function (heading, column) {
      if (!heading.textContent.trim()) { return; }
      var button = document.createElement("button");
      button.type = "button";
      button.title = "sort";
      while (heading.firstChild) { button.appendChild(heading.firstChild); }
      heading.appendChild(button);
      button.addEventListener("click", function () { sort(table, column, heading); });
    });
  });
  document.querySelectorAll("[data-filter]").forEach(function (area) {
    var rows = Array.from(area.querySelectorAll(".gates tbody, table:not(.gates) tbody tr"));
    if (rows.length < 8) { return; }
    var label = document.createElement("label"), input = document.createElement("input"), count = document.createElement("span");
    label.className = "filter";
    label.textContent = area.getAttribute("data-filter") + " ";
    input.type = "search";
    count.setAttribute("role", "status");
    label.appendChild(input);
    label.appendChild(count);
    area.insertBefore(label, area.firstChild);
    input.addEventListener("input", function () {
      var words = input.value.toLowerCase().split(/\s+/).filter(Boolean), shown = 0;
      rows.forEach(function (row) {
        var text = row.textContent.toLowerCase();
        row.hidden = !words.every(function (word) { return text.indexOf(word) >= 0; });
        if (!row.hidden) { shown += 1; }
      });
      if (words.length) { area.querySelectorAll("details.more").forEach(function (more) { more.open = true; }); }
      count.textContent = words.length ? " " + shown + " of " + rows.length : "";
    });
  });
  document.querySelectorAll("[data-point]").forEach(function (row) {
    var chart = document.getElementById(row.getAttribute("data-chart"));
    var point = chart && chart.querySelectorAll("g.point")[row.getAttribute("data-point") - 1];
    if (!point) { return; }
    [[row, point], [point, row]].forEach(function (pair) {
      pair[0].addEventListener("mouseenter", function () { pair[1].classList.add("lit"); });
      pair[0].addEventListener("mouseleave", function () { pair[1].classList.remove("lit"); });
    });
  });
  var folded = [];
  window.addEventListener("beforeprint", function () {
    folded = Array.from(document.querySelectorAll("details:not([open])"));
    folded.forEach(function (one) { one.open = true; });
  });
  window.addEventListener("afterprint", function () { folded.forEach(function (one) { one.open = false; }); });
})();
