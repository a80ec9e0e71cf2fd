// The search: in the dialog on every page, and on its own page.
// The library and the book's sections are loaded when they are first
// needed, as scripts, which a page that was opened as a file can load.
"use strict";
(() => {
  const root = document.documentElement.dataset.content_root;
  const MOST = 12;

  // Words that a question has and its answer need not.
  const SMALL = new Set(
    ("a an and are as at be by can cannot do does for from has have how i if"
      + " in into is it its me my no not of on or s so t that the their them"
      + " there this to was what when where which who why will with you"
    ).split(" "));

  // Forms of one word meet at its stem; what is left over, `fuzzy` joins.
  const stem = (word) => word.length < 5 ? word.replace(/s$/, "") : word
    .replace(/ies$/, "y")
    .replace(/(?:ing|ers?|ed|es|s)$/, "")
    .replace(/(.)\1$/, "$1")
    .replace(/e$/, "");
  const term = (word) => {
    const lower = word.toLowerCase();
    return SMALL.has(lower) ? null : stem(lower);
  };

  const load = (name) => new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = `${root}_static/${name}`;
    script.onload = done;
    script.onerror = () => failed(new Error(`${name} is missing`));
    document.head.append(script);
  });

  let index;
  const ready = () => index ??= Promise.all(
    [load("vendor/minisearch.js"), load("search-data.js")],
  ).then(() => {
    const made = new MiniSearch({
      idField: "url",
      fields: ["title", "terms", "page", "text", "code"],
      storeFields: ["title", "page", "text"],
      tokenize: (text) => split(text).filter((_, at) => at % 2),
      processTerm: term,
      searchOptions: {
        boost: { title: 5, terms: 6, page: 2, text: 1.5, code: 0.5 },
        prefix: (word, at, words) => at === words.length - 1 || word.length > 3,
        fuzzy: (word) => (word.length > 3 ? 0.25 : false),
        weights: { prefix: 0.5, fuzzy: 0.3 },
      },
    });
    made.addAll(window.bookSections);
    return made;
  }).catch((problem) => {
    index = undefined; // the next key tries again
    throw problem;
  });

  const element = (name, about, ...inside) => {
    const made = Object.assign(document.createElement(name), about);
    made.append(...inside);
    return made;
  };

  const WORD = /([\p{L}\p{N}]+)/u;
  const split = (text) => text.split(WORD);
  const mark = (parts, found) => parts.map(
    (part) => found.has(term(part)) ? element("mark", {}, part) : part);

  // The words round the first one that was found.
  const excerpt = (text, found) => {
    const parts = split(text);
    const first = parts.findIndex((part) => found.has(term(part)));
    const start = Math.max(first - 16, 0);
    const shown = mark(parts.slice(start, start + 64), found);
    if (start) shown.unshift("… ");
    if (start + 64 < parts.length) shown.push(" …");
    return shown;
  };

  const answer = (result) => {
    const found = new Set(result.terms);
    const place = result.title === result.page ? [] : [
      element("span", { className: "search-page" }, result.page),
    ];
    return element("li", {}, element(
      "a", { href: root + result.id },
      element("span", { className: "search-title" },
        ...mark(split(result.title), found)), ...place,
      element("span", { className: "search-text" },
        ...excerpt(result.text, found)),
    ));
  };

  const attach = (form) => {
    const input = form.querySelector("input");
    const status = form.parentElement.querySelector(".search-status");
    const list = form.parentElement.querySelector(".search-results");
    let asked = "";
    const show = async () => {
      asked = input.value.trim();
      const wanted = asked;
      let results = [];
      try {
        if (wanted) results = (await ready()).search(wanted);
      } catch (problem) {
        status.textContent = `The search cannot work: ${problem.message}.`;
        return;
      }
      if (wanted !== asked) return; // a later key has been pressed
      list.replaceChildren(...results.slice(0, MOST).map(answer));
      status.textContent = !wanted ? "" : results.length
        ? `${results.length} ${results.length === 1 ? "place" : "places"}`
        : "Nothing is found. Try a shorter word, or the name of a class.";
    };
    const move = (event) => {
      const links = [...list.querySelectorAll("a")];
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step || !links.length) return;
      event.preventDefault();
      const to = links.indexOf(document.activeElement) + step;
      (to < 0 ? input : links[Math.min(to, links.length - 1)]).focus();
    };
    input.addEventListener("focus", () => ready().catch(() => {}));
    input.addEventListener("input", show);
    form.parentElement.addEventListener("keydown", move);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      await show();
      list.querySelector("a")?.click();
    });
    // a place on this very page would stay behind the dialog
    list.addEventListener("click", () => form.closest("dialog")?.close());
    return show;
  };

  for (const form of document.querySelectorAll("form.bd-search")) {
    const show = attach(form);
    const query = new URLSearchParams(location.search).get("q");
    if (query && !form.closest("dialog")) {
      form.querySelector("input").value = query;
      show();
    }
  }
})();
