/* Filters above the tables of the ledger: words, verdict, chapter. Rows that are hidden stay on the page without scripts. */
{
  const home = document.getElementById("ledger-filter");
  const rows = [...document.querySelectorAll("table.ledger tbody tr")].map((row) => ({
    row,
    words: row.textContent.toLowerCase(),
    verdict: row.querySelector(".verdict")?.textContent ?? "",
    chapter: row.querySelector(".where a")?.textContent.replace(/^measured in [“"]|[”"]$/g, "") ?? "",
  }));
  const said = Object.assign(document.createElement("output"), { className: "ledger-filter-said" });

  function choice(name, label) {
    const select = document.createElement("select");
    const values = [...new Set(rows.map((each) => each[name]).filter(Boolean))].sort();
    select.append(new Option(`every ${label}`, ""), ...values.map((value) => new Option(value, value)));
    select.setAttribute("aria-label", label);
    return select;
  }
  const verdict = choice("verdict", "verdict");
  const chapter = choice("chapter", "chapter");
  const search = Object.assign(document.createElement("input"), { type: "search", placeholder: "words in a row" });
  search.setAttribute("aria-label", "words in a row");

  function filter() {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const each of rows) {
      const fits = (!verdict.value || each.verdict === verdict.value) && (!chapter.value || each.chapter === chapter.value);
      each.row.hidden = !(fits && wanted.every((word) => each.words.includes(word)));
      shown += !each.row.hidden;
    }
    said.textContent = `${shown} of ${rows.length} rows`;
  }
  for (const control of [search, verdict, chapter]) control.addEventListener("input", filter);
  home.append(search, verdict, chapter, said);
  filter();
}
