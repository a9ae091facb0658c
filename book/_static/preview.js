/* Shows what a link to an equation, a statement, a term, a reference or a row leads to: under the mouse, at the keyboard's
   focus, and at the first touch (the second one follows the link). Escape puts it away. */
(() => {
  const SHOWN = ".math[id^=equation-], dt[id^=term-], .proof, .citation, tr[id^=ledger-]";
  const OF_ROW = "td:first-child > p:first-child, td:nth-child(2) > p:first-child, p.value, .verdict";
  const box = Object.assign(document.createElement("div"), { className: "preview", id: "preview", hidden: true });
  box.setAttribute("role", "tooltip");
  let [link, waiting, touched] = [null, 0, false];

  /** What a link leads to, as an element of its own; nothing if it is not shown in advance. */
  function target(a) {
    const href = a.getAttribute("href");
    const kept = document.querySelector(`template[data-preview="${CSS.escape(href)}"]`);
    if (kept) return kept.content.cloneNode(true);
    const found = href.startsWith("#") && document.getElementById(decodeURIComponent(href.slice(1)));
    if (!found || !found.matches(SHOWN)) return null;
    const made = document.createElement("dl");
    if (found.matches("tr")) {
      const row = Object.assign(document.createElement("div"), { className: "ledger-row" });
      row.append(...[...found.querySelectorAll(OF_ROW)].map((part) => part.cloneNode(true)));
      return row;
    }
    made.append(found.cloneNode(true));
    if (found.matches("dt")) made.append(found.nextElementSibling.cloneNode(true));
    for (const each of made.querySelectorAll(".headerlink")) each.remove();
    for (const each of made.querySelectorAll("[id], [tabindex]")) for (const name of ["id", "tabindex"]) each.removeAttribute(name);
    return made.children[0].matches("dt") ? made : made.children[0];
  }

  function show(a) {
    clearTimeout(waiting);
    if (link === a) return;
    const content = target(a);
    if (!content) return;
    hide();
    link = a;
    link.setAttribute("aria-describedby", "preview");
    box.replaceChildren(content);
    box.hidden = false;
    const [at, room] = [a.getClientRects()[0], document.documentElement.clientWidth];
    const left = Math.max(8, Math.min(at.left, room - box.offsetWidth - 8));
    const below = at.bottom + box.offsetHeight + 8 < innerHeight || at.top < box.offsetHeight + 8;
    box.style.left = `${left + scrollX}px`;
    box.style.top = `${(below ? at.bottom + 6 : at.top - box.offsetHeight - 6) + scrollY}px`;
  }

  function hide() {
    clearTimeout(waiting);
    link?.removeAttribute("aria-describedby");
    link = null;
    box.hidden = true;
  }
  const later = (act, pause) => {
    clearTimeout(waiting);
    waiting = setTimeout(act, pause);
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.body.append(box);
    for (const a of document.querySelectorAll("article a.reference.internal[href*='#']")) {
      a.addEventListener("pointerenter", (event) => event.pointerType === "mouse" && later(() => show(a), 200));
      a.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && later(hide, 250));
      a.addEventListener("pointerdown", (event) => (touched = event.pointerType === "touch"));
      a.addEventListener("focus", () => !touched && show(a));
      a.addEventListener("blur", () => hide());
      a.addEventListener("click", (event) => {
        if (touched && link !== a) {
          show(a);
          if (link === a) event.preventDefault();
        } else hide();
      });
    }
    box.addEventListener("pointerenter", () => clearTimeout(waiting));
    box.addEventListener("pointerleave", () => later(hide, 250));
    document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
    document.addEventListener("pointerdown", (event) => link && event.target.closest("a") !== link && !box.contains(event.target) && hide());
  });
})();
