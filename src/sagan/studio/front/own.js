import { StudioError } from "studio/backend.js";
import { element } from "studio/elements.js";
import { readable } from "studio/numbers.js";

const SHOWN = 10;
/** Bytes of a picture file that the server reads. */
const LARGEST = 2 ** 24;
const WHAT_A_LOGIT_IS = "A logit is the discriminator's score: the higher, the more the picture looks to "
  + "it like a real one of that class. It is no probability: it has no fixed range, and the scores do not sum to 1.";

/** A picture of one's own for the discriminator, and its logits. */
export function mountOwn(root, session) {
  const canFit = session.backend.features.has("fit");
  const list = element("div", {});
  const told = element("p", { role: "status", class: "bad" });
  let hasRefused = false;
  const give = async (file) => {
    if (!file) return;
    if (root.hidden) {
      hasRefused = true;
      session.tell("This model has no discriminator that could look at a picture; show one that has.");
      return;
    }
    told.textContent = "";
    try {
      await requireFile(file);
      await session.showOwn(file);
    } catch (error) {
      told.textContent = error.message;
      told.scrollIntoView({ block: "nearest" });
    }
    update();
  };
  const { button, input } = chooser(give);
  const back = element("button", {
    type: "button", onclick: async () => { button.focus(); await session.showOwn(null); told.textContent = ""; update(); },
  }, "Back to the drawn picture");
  const how = element("p", { class: "muted" }, "Or drop a picture anywhere on the page, or paste one.");
  let isAll = false;
  const all = element("button", { type: "button", onclick: () => { isAll = !isAll; update(); } });
  const buttons = element("div", { class: "row" }, button, back, input);
  root.append(element("h2", {}, "What the discriminator says"), element("div", {}, list, all), element("div", {},
    element("p", { class: "muted" }, WHAT_A_LOGIT_IS), ...(canFit ? [buttons, how, told] : []),
  ));
  const update = () => {
    const shown = session.columns.filter(({ logits }) => logits);
    root.hidden = !shown.length;
    if (hasRefused && shown.length) session.tell("");
    hasRefused &&= root.hidden;
    back.hidden = !session.own;
    how.hidden = Boolean(session.own);
    list.replaceChildren(...shown.flatMap((column) => logits(column, session, isAll)));
    const most = Math.max(0, ...shown.map((column) => column.logits.length));
    all.hidden = most <= SHOWN;
    all.textContent = isAll ? `The ${SHOWN} highest` : `All ${most}`;
  };
  session.on("drawn", update);
  session.on("state", update);
  if (canFit) listen(give);
  update();
}

/** Refuses what cannot be sent, before the server is asked. */
async function requireFile(file) {
  if (file.size > LARGEST) throw new StudioError("This file is larger than 16 MB; give a smaller picture.");
  try {
    await file.slice(0, 1).arrayBuffer();
  } catch {
    throw new StudioError("This is no file that can be read; give one picture, not a folder.");
  }
}

function chooser(give) {
  const input = element("input", {
    type: "file", accept: "image/*", hidden: true, "aria-label": "Picture file",
    onchange: () => { give(input.files[0]); input.value = ""; },
  });
  return { input, button: element("button", { type: "button", onclick: () => input.click() }, "A picture of your own…") };
}

/** Takes pictures that are dropped or pasted anywhere. */
function listen(give) {
  const has = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const mark = (isOver) => document.body.classList.toggle("dropping", isOver);
  addEventListener("dragover", (event) => {
    if (!has(event)) return;
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(false); });
  addEventListener("drop", (event) => {
    if (!has(event)) return;
    event.preventDefault();
    mark(false);
    give(event.dataTransfer.files[0]);
  });
  addEventListener("paste", (event) => give(event.clipboardData?.files[0]));
}

/** Bars from 0 to the right or to the left, highest first. */
function logits({ model, logits: values }, session, isAll) {
  const names = model.classes.length ? model.classes : ["any picture"];
  const sorted = [...values].map((value, i) => ({ value, i })).sort((a, b) => b.value - a.value);
  const low = Math.min(0, ...values);
  const span = Math.max(0, ...values) - low || 1;
  const shares = session.shares(model);
  const rows = sorted.slice(0, isAll ? undefined : SHOWN).map(({ value, i }) => {
    const bar = element("i", { class: "bar" });
    bar.style.left = `${(100 * (Math.min(value, 0) - low)) / span}%`;
    bar.style.width = `${(100 * Math.abs(value)) / span}%`;
    const isAsked = !session.own && shares[i] > 0;
    return element("li", { class: isAsked ? "asked" : "" },
      element("span", { title: names[i] ?? i }, names[i] ?? String(i)), element("i", { class: "track" }, bar),
      element("b", {}, readable(value)));
  });
  const heading = session.columns.length > 1 ? [element("h3", {}, model.name)] : [];
  return [...heading, element("ol", { class: "logits", "aria-label": `Logits of ${model.name}` }, ...rows)];
}
