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
