import { element, iconButton } from "studio/elements.js";
import { areOn, shortcut, SHORTCUTS, turn } from "studio/shortcuts.js";

const PICTURE_KEYS = {
  "Arrow keys": "Move the point, with Shift by 8 pixels",
  Enter: "Pin the point, or let it go",
  Delete: "Let go of the pinned point there, or of the last one",
};
const PAD_KEYS = { "Arrow keys": "Move, with Shift further", Home: "Back to the middle" };
const NAMES = { Escape: "Esc" };

/** Text -> keys: several keys that do the same kind of thing are one line. */
function everywhere() {
  const found = {};
  for (const [key, { text }] of SHORTCUTS) (found[text] ??= []).push(NAMES[key] ?? key);
  return Object.fromEntries(Object.entries(found).map(([text, keys]) => [
    keys.length > 2 ? `${keys[0]} \u2013 ${keys.at(-1)}` : keys.join(", "), text,
  ]));
}

const WORDS = [
  "Move over the picture: each map shows where that place of the picture looks while the picture is drawn (generator) or judged (discriminator). Click to pin a point.",
  "A place looks at blocks, often of 2 x 2 places each; the brighter a block, the more of the attention it gets.",
  "Gamma says how much of what attention gathers is added: output = input + gamma x gathered.",
];

function list(title, keys) {
  const rows = Object.entries(keys).flatMap(([key, text]) => [
    element("dt", {}, element("kbd", {}, key)), element("dd", {}, text),
  ]);
  return element("section", {}, element("h3", {}, title), element("dl", {}, ...rows));
}

/** What a model is, in a line. */
function about({ name, step, generator, discriminator, card }) {
  const count = (network) => network.parameters.toLocaleString("en");
  const parts = [
    `${name}: trained for ${step.toLocaleString("en")} steps; generator of ${count(generator)} parameters`,
    discriminator ? `, discriminator of ${count(discriminator)}.` : ".",
    card ? ` Licence: ${card.licence}. Pictures: ${card.credits}` : "",
  ];
  return element("p", { class: "about" }, parts.join(""));
}

/** A button that opens the help: what is seen, the keys, and who made what is shown. */
export function helpButton(session) {
  const dialog = element("dialog", { "aria-labelledby": "help-title" });
  const open = () => {
    const box = element("input", { type: "checkbox", onchange: () => turn(box.checked) });
    box.checked = areOn();
    dialog.replaceChildren(
      element("div", { class: "heading" },
        element("h2", { id: "help-title" }, "What you see, and the keys"),
        iconButton("remove", "Close", () => dialog.close())),
      ...WORDS.map((text) => element("p", {}, text)),
      element("div", { class: "keys" }, list("Everywhere", everywhere()),
        element("div", {}, list("On the picture", PICTURE_KEYS), list("On a pad", PAD_KEYS))),
      element("label", { class: "check" }, box, "Single keys do what is listed under \u201cEverywhere\u201d"),
      element("h3", {}, "Models"), ...session.models.map(about),
    );
    dialog.showModal();
  };
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  shortcut("?", "This help", open);
  return iconButton("help", "Help and keys", open);
}
