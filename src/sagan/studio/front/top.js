import { choice, element, iconButton } from "studio/elements.js";
import { helpButton } from "studio/help.js";
import { screenButtons } from "studio/screen.js";
import { listenForShortcuts, shortcut } from "studio/shortcuts.js";
import { themeButton } from "studio/theme.js";

/** The bar at the top: which models, which question, how it is coloured, and the screen. */
export function mountTop(root, session) {
  const query = choice("Question", { from: "Where it looks", to: "Who looks here" },
    () => session.state.query, (value) => session.set({ query: value }));
  const colour = choice("Colours", { own: "Own scale", common: "Common scale" },
    () => session.state.colour, (value) => session.set({ colour: value }));
  const turnGrid = () => session.set({ grid: session.state.grid === "on" ? "off" : "on" });
  const grid = iconButton("grid", "Lines between the blocks", turnGrid);
  shortcut("q", "Question: where it looks, who looks here",
    () => session.set({ query: session.state.query === "from" ? "to" : "from" }));
  shortcut("c", "Colours: own scale, common scale",
    () => session.set({ colour: session.state.colour === "own" ? "common" : "own" }));
  shortcut("b", "Lines between the blocks", turnGrid);
  const models = modelChoice(session);
  root.append(
    element("h1", {}, "sagan studio"), ...models.labels, query.group, colour.group,
    element("div", { class: "tools" }, grid, themeButton(), ...screenButtons(), helpButton(session)),
  );
  listenForShortcuts();
  const update = () => {
    models.update();
    query.update();
    colour.update();
    grid.setAttribute("aria-pressed", String(session.state.grid === "on"));
  };
  session.on("state", update);
}

/** Which model, and which one beside it. */
function modelChoice(session) {
  const options = () => session.models.map(({ id, name }) => element("option", { value: id }, name));
  const choose = () => {
    const ids = beside.value && beside.value !== first.value ? [first.value, beside.value] : [first.value];
    session.set({ models: ids, ...(first.value === session.columns[0].id ? {} : { step: null }) });
  };
  const first = element("select", { onchange: choose }, ...options());
  const beside = element("select", { onchange: choose }, element("option", { value: "" }, "none"), ...options());
  const labels = [element("label", {}, "Model", first)];
  if (session.models.length > 1) labels.push(element("label", {}, "Beside it", beside));
  const update = () => {
    const [one, two] = session.columns;
    first.value = one.id;
    beside.value = two?.id ?? "";
    [...beside.options].forEach((option) => { option.disabled = option.value === one.id; });
  };
  return { labels, update };
}
