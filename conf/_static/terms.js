// Escape hides a term's meaning until the reader leaves the term.
"use strict";
(() => {
  const root = document.documentElement;
  document.addEventListener("keydown", (event) => {
    const shown = document.querySelector(".term:is(:hover, :focus-within)");
    if (shown && event.key === "Escape") root.dataset.dismissed = "";
  });
  for (const leaving of ["mouseout", "focusout"]) {
    document.addEventListener(leaving, (event) => {
      const term = event.target.closest?.(".term");
      if (term && !term.contains(event.relatedTarget)) {
        delete root.dataset.dismissed;
      }
    });
  }
})();
