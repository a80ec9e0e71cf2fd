// Before the page is painted: light or dark, and the book's letters.
// The theme's own script takes over the first; without scripts, the page
// is light, and its letters come from `fonts.css`.
"use strict";
(() => {
  const root = document.documentElement;
  let mode = "auto";
  try { mode = localStorage.getItem("mode") || mode; } catch { /* refused */ }
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.mode = mode;
  root.dataset.theme = mode !== "auto" ? mode : dark ? "dark" : "light";

  // Each font's style and weight, and its file in base64: the build puts
  // them here. A font that is at hand is used from the first line on.
  for (const [about, file] of [/* fonts */]) {
    const bytes = Uint8Array.from(atob(file), (sign) => sign.charCodeAt(0));
    document.fonts.add(new FontFace("Literata", bytes, about));
  }
})();
