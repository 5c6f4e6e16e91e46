import { element, heading, icon, iconButton, slider } from "studio/elements.js";
import { readable } from "studio/numbers.js";
import { shortcut } from "studio/shortcuts.js";

/** Of the seeds that the dice throw. */
const SEEDS = 1_000_000;
const WIDEST = 2;

/** The seed and the truncation. */
export function mountLatent(root, session) {
  const go = (seed) => {
    session.tell("");
    session.set({ seed: Math.max(0, seed) });
  };
  const next = () => go(session.state.seed + 1);
  const previous = () => go(session.state.seed - 1);
  const random = () => go(Math.floor(Math.random() * SEEDS));
  shortcut("n", "Next seed", next);
  shortcut("p", "Previous seed", previous);
  shortcut("r", "Random seed", random);

  const seed = element("input", {
    type: "text", inputmode: "numeric", "aria-label": "Seed", autocomplete: "off",
    onchange: () => {
      if (/^\d{1,15}$/.test(seed.value.trim())) return go(Number(seed.value));
      session.tell(`A seed is a whole number from 0, not ${seed.value.trim().slice(0, 40) || "nothing"}.`);
      seed.value = session.state.seed;
    },
  });
  const dice = element("button", { type: "button", onclick: random }, icon("dice"), "Random");
  const truncation = slider({
    name: "Truncation", min: 0.1, max: WIDEST, step: 0.05, back: "Off",
    change: (value) => session.set({ truncation: value }),
    reset: () => session.set({ truncation: null }),
  });
  root.append(
    heading("Seed"),
    element("div", { class: "row seed" },
      iconButton("previous", "Previous seed", previous), seed,
      iconButton("next", "Next seed", next), dice),
    truncation.row,
  );
  const update = () => {
    const { truncation: t } = session.state;
    seed.value = session.state.seed;
    truncation.update(t ?? WIDEST, t === null ? "off" : readable(t), t === null);
  };
  session.on("state", update);
}
