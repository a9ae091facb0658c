/* On the page of the search: formulas, numbered statements, terms and rows of the ledger that hold what was asked for.
   TeX and what one types for it are the same here: \eta^{2/3}, eta^(2/3) and η^2/3. */
(() => {
  const GREEK = "αalpha βbeta γgamma δdelta εepsilon ηeta θtheta κkappa λlambda μmu νnu ξxi πpi ρrho σsigma τtau φphi ψpsi ωomega";
  const named = new Map(GREEK.split(" ").map((pair) => [pair[0], pair.slice(1)]));
  const plain = (text) =>
    [...text.toLowerCase()].map((letter) => named.get(letter) ?? letter).join("")
      .replaceAll("varepsilon", "epsilon").replace(/\\(?:big|left|right|[,;:!])|\\(?:rm|text|operatorname)\b|[\\${}()\s]/g, "");
  const asked = (new URLSearchParams(location.search).get("q") ?? "").trim();
  const words = asked.split(/\s+/).map(plain).filter(Boolean);
  if (!words.length) return;
  const found = window.finds.filter(([title, , by]) => {
    const text = plain(`${title} ${by}`);
    return words.every((word) => text.includes(word));
  });
  if (!found.length) return;
  const home = document.createElement("section");
  home.className = "finds";
  home.append(Object.assign(document.createElement("h2"), { textContent: "Formulas, statements, terms and rows" }));
  const list = document.createElement("ul");
  for (const [title, href, by] of found.slice(0, 40)) {
    const item = document.createElement("li");
    item.append(Object.assign(document.createElement("a"), { href, textContent: title.replaceAll("$", "") }), ` ${by}`);
    list.append(item);
  }
  home.append(list);
  if (found.length > 40) home.append(`and ${found.length - 40} more`);
  document.getElementById("search-results").before(home);
})();
