import { element } from "studio/elements.js";

/** The class, or a mixture of several. */
export function mountClasses(root, session) {
  const select = element("select", { onchange: () => session.set({ classes: [[Number(select.value), 1]] }) });
  const label = element("label", {}, "Class", select);
  session.on("drawn", ({ model }) => {
    if (session.columns[0].model !== model || select.dataset.of === model.id) return;
    select.dataset.of = model.id;
    root.replaceChildren(...(model.classes.length ? [label] : []));
    select.replaceChildren(...model.classes.map((name, i) => element("option", { value: i }, name)));
    select.value = session.state.classes[0][0];
  });
  session.on("state", () => { select.value = session.state.classes[0][0]; });
}
