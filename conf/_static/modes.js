// Which colours are chosen, told to those who do not see the button.
"use strict";
(() => {
  const root = document.documentElement;
  const tell = () => {
    for (const button of document.querySelectorAll(".theme-change-button")) {
      const chosen = button.dataset.mode === root.dataset.mode;
      button.setAttribute("aria-pressed", chosen);
    }
  };
  tell();
  new MutationObserver(tell).observe(root, { attributeFilter: ["data-mode"] });
})();
