import { element, heading, icon, iconButton } from "studio/elements.js";
import { clamp } from "studio/numbers.js";
import { shortcut } from "studio/shortcuts.js";
import { simplex } from "studio/simplex.js";
import { MOST_MIXED } from "studio/state.js";

/** From so many classes on they are searched for by typing. */
const MANY = 20;

/** The class, or a mixture of up to four. */
export function mountClasses(root, session) {
  let model = null;
  let built = "";
  let update = () => {};
  const show = () => {
    if (!model) return;
    const mixed = mixtureOf(session.state.classes, model.classes.length);
    const key = JSON.stringify([model.id, model.classes.length, mixed.map(([number]) => number)]);
    if (key !== built) update = build(root, session, model, mixed);
    built = key;
    update(mixed.map(([, share]) => share));
  };
  session.on("drawn", (column) => {
    if (session.columns[0] !== column || model === column.model) return;
    model = column.model;
    show();
  });
  session.on("state", show);
  for (let i = 0; i < 9; i++) {
    const choose = () => {
      if (i < (model?.classes.length ?? 0)) session.set({ classes: [[i, 1]] });
    };
    shortcut(String(i + 1), "The first to the ninth class", choose);
  }
}

/** Classes that the model has with shares that sum to 1; its first where there is none. */
function mixtureOf(classes, count) {
  const known = classes.filter(([number, weight]) => number < count && weight >= 0).slice(0, MOST_MIXED);
  const sum = known.reduce((a, [, weight]) => a + weight, 0);
  return sum > 0 ? known.map(([number, weight]) => [number, weight / sum]) : [[0, 1]];
}

const rounded = (share) => Math.round(share * 1e4) / 1e4;

function build(root, session, model, mixed) {
  if (!model.classes.length) {
    root.replaceChildren();
    return () => {};
  }
  const numbers = mixed.map(([number]) => number);
  let shares = [];
  const set = (next) => session.set({ classes: numbers.map((number, i) => [number, rounded(next[i])]) });
  const replace = (i, number) => {
    session.tell("");
    session.set({ classes: numbers.map((old, k) => [k === i ? number : old, rounded(shares[k])]) });
  };
  const without = (i) => session.set({
    classes: numbers.flatMap((number, k) => (k === i ? [] : [[number, rounded(shares[k]) || 0.01]])),
  });
  const add = () => {
    const unused = model.classes.findIndex((_, number) => !numbers.includes(number));
    const share = 1 / (numbers.length + 1);
    session.set({ classes: [
      ...numbers.map((number, k) => [number, rounded(shares[k] * (1 - share))]), [unused, rounded(share)],
    ] });
  };
  const isFull = numbers.length >= Math.min(MOST_MIXED, model.classes.length);
  const mix = element("button", { type: "button", disabled: isFull, onclick: add }, icon("add"), "Mix");
  const rows = numbers.map((number, i) => classRow(session, model, numbers, i, {
    replace: (chosen) => replace(i, chosen), remove: () => without(i),
    share: (share) => set(withShare(shares, i, share)),
  }));
  const field = numbers.length > 1 ? simplex(numbers.map((number) => model.classes[number]), set) : null;
  const focused = root.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : undefined;
  root.replaceChildren(heading("Class", mix), ...rows.map(({ row }) => row), ...(field ? [field.element] : []));
  if (focused !== undefined) {
    const fields = [...root.querySelectorAll("input, select, button:enabled, [tabindex]")];
    (fields.find((one) => one.getAttribute("aria-label") === focused) ?? fields[0]).focus();
  }
  return (next) => {
    shares = next;
    rows.forEach((one, i) => one.update(next[i]));
    field?.update(next);
  };
}

/** One share changed, the others in proportion. */
function withShare(shares, i, share) {
  const others = 1 - shares[i];
  return shares.map((old, k) => {
    if (k === i) return share;
    return others > 0 ? (old / others) * (1 - share) : (1 - share) / (shares.length - 1);
  });
}

function classRow(session, model, numbers, i, { replace, remove, share }) {
  const name = numbers.length > 1 ? `Class ${i + 1}` : "Class";
  const chosen = classField(session, model, numbers, i, name, replace);
  if (numbers.length === 1) return { row: element("div", { class: "row class" }, ...chosen), update() {} };
  const percent = element("input", {
    type: "number", min: 0, max: 100, step: 1, "aria-label": `Share of ${model.classes[numbers[i]]} in percent`,
    onchange: () => share(clamp(Number(percent.value) || 0, 0, 100) / 100),
  });
  const less = iconButton("remove", `Remove ${model.classes[numbers[i]]}`, remove);
  const sign = element("span", { "aria-hidden": "true" }, "%");
  const row = element("div", { class: "row class" }, ...chosen, percent, sign, less);
  return {
    row,
    update: (value) => { percent.value = Math.round(100 * value); },
  };
}

/** A list to choose from, or with many classes a field that searches. */
function classField(session, model, numbers, i, name, replace) {
  const { classes } = model;
  if (classes.length < MANY) {
    const options = classes.map((text, number) => element("option", {
      value: number, selected: number === numbers[i], disabled: number !== numbers[i] && numbers.includes(number),
    }, text));
    const choose = ({ target }) => replace(Number(target.value));
    return [element("select", { "aria-label": name, onchange: choose }, ...options)];
  }
  const options = classes.map((text) => element("option", { value: text }));
  const list = element("datalist", { id: `classes-${i}` }, ...options);
  const field = element("input", {
    type: "text", list: list.id, value: classes[numbers[i]], "aria-label": name, autocomplete: "off",
    placeholder: "type to search",
    onfocus: () => field.select(),
    onchange: () => {
      const number = search(classes, field.value.trim());
      if (number !== null && !numbers.some((other, k) => k !== i && other === number)) return replace(number);
      session.tell(number === null
        ? `There is no class ${field.value.trim().slice(0, 40)}.` : `${classes[number]} is in the mixture already.`);
      field.value = classes[numbers[i]];
    },
  });
  return [field, list];
}

/** The class of a name, of its beginning or a part of it, or of a number; else null. */
function search(classes, text) {
  const wanted = text.toLowerCase();
  if (!wanted) return null;
  const names = classes.map((name) => name.toLowerCase());
  for (const fits of [(n) => n === wanted, (n) => n.startsWith(wanted), (n) => n.includes(wanted)]) {
    const found = names.findIndex(fits);
    if (found >= 0) return found;
  }
  return /^\d{1,6}$/.test(text) && Number(text) < classes.length ? Number(text) : null;
}
