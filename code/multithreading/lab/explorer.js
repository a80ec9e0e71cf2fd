// Steps through the states of a program as the reader chooses: see
// explorer.py. An element holds its states as JSON, the part that needs
// this script in a <template>, and the same as tables, which show as
// they are where this script does not run.
"use strict";
{
  const PAUSE = 1000; // ms between two steps of a schedule that plays

  const make = (tag, ...content) => {
    const element = document.createElement(tag);
    element.append(...content);
    return element;
  };

  const sum = (numbers) => numbers.reduce((a, b) => a + b);

  // "4 of 6": how many of the ways end so.
  const share = (ways, outcome) =>
    `${ways[outcome].toLocaleString("en")} of ${sum(ways).toLocaleString("en")}`;

  const explore = (root) => {
    const all = (selector) => [...root.querySelectorAll(selector)];
    const one = (selector) => root.querySelector(selector);
    const { outcomes, goals, states } = JSON.parse(one("script").textContent);
    const tables = one(".explorer-static");
    const template = one("template");
    template.replaceWith(template.content);
    const details = one("details");
    details.append(tables);
    // where a style cannot unfold them for print
    addEventListener("beforeprint", () => (details.open = true));

    const buttons = all("button");
    const status = one("[role=status]");
    const link = one(".explorer-live a");
    const lanes = all(".explorer-lane").map((lane) => ({
      lane,
      run: lane.querySelector("button"),
      note: lane.querySelector(".explorer-note"),
      locals: lane.querySelector(".explorer-locals code"),
    }));
    let schedule = "";
    let goal = null;
    let timer;

    // The states that a schedule passes; null if it cannot be run.
    const walk = (letters) => {
      const passed = [states[0]];
      for (const letter of letters) {
        const step = passed.at(-1).next[letter];
        if (!step) return null;
        passed.push(states[step[0]]);
      }
      return passed;
    };
    const now = () => walk(schedule).at(-1);

    const standing = ({ ways, end, why }) => {
      if (end >= 0) {
        const { text, grade } = outcomes[end];
        return `The end: ${text}, ${grade}. ${why}`;
      }
      const parts = outcomes.flatMap(({ text }, outcome) =>
        ways[outcome] ? [[share(ways, outcome), text]] : [],
      );
      parts[0][0] += " ways on from here";
      return `${parts.map((part) => part.join(": ")).join("; ")}.`;
    };

    const judged = ({ ways, end }) => {
      if (!goal || goal.none) return goal ? goal.none : "";
      const steps = schedule.length;
      if (end === goal.outcome)
        return steps > goal.fewest
          ? `Done in ${steps} steps; ${goal.fewest} would do.`
          : `Done in ${steps} steps; the fewest is ${steps}.`;
      if (ways[goal.outcome]) return "";
      return "No way on from here ends so: step back.";
    };

    const pairs = (list) =>
      list.map(([name, value]) =>
        make("div", make("dt", name), make("dd", value)),
      );

    const tell = (...words) => {
      status.textContent = words.filter(Boolean).join(" ");
    };

    const show = (letters, before = "") => {
      schedule = letters;
      const passed = walk(schedule);
      const state = passed.at(-1);
      lanes.forEach(({ lane, run, note, locals }, thread) => {
        const at = state.at[thread];
        const can = run.value in state.next;
        lane.classList.toggle("explorer-stopped", !can);
        run.setAttribute("aria-disabled", !can);
        note.textContent = state.notes[thread];
        locals.textContent = state.locals[thread];
        lane
          .querySelector("[aria-current]")
          ?.removeAttribute("aria-current");
        if (at)
          lane
            .querySelector(`[data-function="${at[0]}"] [value="${at[1] + 1}"]`)
            .setAttribute("aria-current", "step");
      });
      for (const button of buttons) {
        const { act } = button.dataset;
        if (act === "back") button.setAttribute("aria-disabled", !schedule);
        if (act === "goal")
          button.setAttribute("aria-pressed", goals[button.value] === goal);
      }
      one("[data-part=shared]").replaceChildren(
        ...pairs([...state.shared, ...state.locks]),
      );
      one("[data-part=ways]").replaceChildren(
        ...outcomes.map(({ text }, outcome) => {
          const { ways } = state;
          const fill = make("span");
          fill.style.width = `${(100 * ways[outcome]) / sum(ways)}%`;
          const words = `${share(ways, outcome)}: ${text}`;
          return make("li", words, make("span", fill));
        }),
      );
      const steps = [...schedule].map((letter, n) => {
        const [, line, effect] = passed[n].next[letter];
        return { letter, line, effect: effect && ` (${effect})` };
      });
      one("[data-part=trail]").replaceChildren(
        ...steps.map(({ letter, line, effect }) =>
          make("li", make("b", letter), " ", make("code", line), effect),
        ),
      );
      const last = steps.at(-1);
      const news = last
        ? `${last.letter} runs “${last.line}”${last.effect}.`
        : "This is the start.";
      tell(before, news, standing(state), judged(state));
      link.hash = schedule ? `${root.id}=${schedule}` : root.id;
    };

    const go = (letters, before) => {
      show(letters, before);
      history.replaceState(null, "", link.hash);
    };

    const acts = {
      run(letter) {
        if (letter in now().next) return go(schedule + letter);
        const thread = lanes.findIndex(({ run }) => run.value === letter);
        tell(`${letter} ${now().notes[thread]}.`);
      },
      back() {
        if (schedule) go(schedule.slice(0, -1), "Back.");
        else tell("This is the start.");
      },
      again() {
        go("");
      },
      goal(number) {
        goal = goal === goals[number] ? null : goals[number];
        go("", goal && `${goal.what}.`);
      },
      play(number) {
        const { example } = outcomes[number];
        goal = null;
        if (matchMedia("(prefers-reduced-motion: reduce)").matches)
          return go(example);
        go("");
        timer = setInterval(() => {
          go(example.slice(0, schedule.length + 1));
          if (schedule === example) clearInterval(timer);
        }, PAUSE);
      },
    };

    const follow = () => {
      const [name, letters] = location.hash.slice(1).split("=");
      if (name !== root.id || letters === undefined) return;
      clearInterval(timer);
      if (walk(letters)) show(letters);
      else tell(`The link is ignored: no schedule “${letters}” can run.`);
      root.scrollIntoView();
    };

    root.addEventListener("click", ({ target }) => {
      const button = target.closest("button[data-act]");
      if (!button) return;
      clearInterval(timer);
      acts[button.dataset.act](button.value);
    });
    root.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const key = event.key.toLowerCase();
      const button = buttons.find(
        (b) => b.getAttribute("aria-keyshortcuts")?.toLowerCase() === key,
      );
      if (!button) return;
      event.preventDefault();
      button.click();
    });
    addEventListener("hashchange", follow);
    show("");
    follow();
  };

  class ScheduleExplorer extends HTMLElement {
    connectedCallback() {
      // once: an element that is moved is connected again
      if (this.querySelector("template")) explore(this);
    }
  }
  customElements.define("schedule-explorer", ScheduleExplorer);
}
