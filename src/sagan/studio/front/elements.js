/**
 * An element from its parts.
 *
 * @param {string} tag
 * @param {Object<string, any>} attributes `on...` are listeners; true is an attribute without value.
 * @param {...(Node|string)} children
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** A row of buttons of which one is pressed. */
export function choice(label, options, chosen, choose) {
  const buttons = Object.entries(options).map(([value, text]) => element(
    "button", { type: "button", "aria-pressed": String(value === chosen()), onclick: () => choose(value) }, text,
  ));
  const group = element("div", { role: "group", "aria-label": label, class: "choice" }, ...buttons);
  const update = () => Object.keys(options).forEach((value, i) => {
    buttons[i].setAttribute("aria-pressed", String(value === chosen()));
  });
  return { group, update };
}

/** Strokes in a square of 24. */
const ICONS = {
  previous: "M15 5l-7 7 7 7",
  next: "M9 5l7 7-7 7",
  dice: "M4 4h16v16H4zM8.5 8.5h.01M15.5 8.5h.01M12 12h.01M8.5 15.5h.01M15.5 15.5h.01",
  back: "M5 5v6h6M5.5 11a7.5 7.5 0 1 1-.6 4",
  remove: "M6 6l12 12M18 6L6 18",
  add: "M12 5v14M5 12h14",
  auto: "M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18M14 7h3.5M14 12h6M14 17h3.5",
  light: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2.5M12 19.5V22M2 12h2.5M19.5 12H22M5 5l1.7 1.7M17.3 17.3L19 19M5 19l1.7-1.7M17.3 6.7L19 5",
  dark: "M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z",
  full: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  grid: "M4 4h16v16H4zM4 9.3h16M4 14.7h16M9.3 4v16M14.7 4v16",
  controls: "M4 7h9M17 7h3M15 4.5v5M4 17h3M11 17h9M9 14.5v5",
  save: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  help: "M9 9a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M12 17.5h.01",
};

/** A drawn sign, which says nothing to a screen reader. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" })) {
    svg.setAttribute(key, value);
  }
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows a sign. */
export function iconButton(name, label, onclick) {
  return element("button", { type: "button", class: "sign", "aria-label": label, title: label, onclick }, icon(name));
}

/** The first line of a card, with its buttons. */
export function heading(text, ...buttons) {
  return element("div", { class: "heading" }, element("h2", {}, text), ...buttons);
}

/** A number as people read it, with a true minus, which 0 has not. */
export function readable(number, digits = 2) {
  const text = number.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "\u2212");
}

/**
 * A slider with its name, its number and a way back; a double click goes back too.
 *
 * @param {{name: string, spoken?: string, min: number, max: number, step: number,
 *   change: (value: number) => void, reset: () => void, back?: string}} parts `back` is the text of
 *   the button, without it a sign.
 * @returns {{row: HTMLElement, update: (value: number, text: string, isReset: boolean) => void}}
 */
export function slider({ name, spoken = name, min, max, step, change, reset, back }) {
  const goBack = () => {
    reset();
    input.focus();
  };
  const input = element("input", {
    type: "range", min, max, step, "aria-label": spoken,
    oninput: () => change(Number(input.value)), ondblclick: reset,
  });
  const output = element("output");
  const button = back
    ? element("button", { type: "button", "aria-label": `${spoken}: ${back}`, onclick: goBack }, back)
    : iconButton("back", `Reset ${spoken}`, goBack);
  const row = element("div", { class: "slider" }, element("span", { class: "name" }, name), input, output, button);
  const update = (value, text, isReset) => {
    input.value = value;
    input.setAttribute("aria-valuetext", text);
    output.textContent = text;
    if (back) button.setAttribute("aria-pressed", String(isReset));
    else button.disabled = isReset;
  };
  return { row, update };
}
