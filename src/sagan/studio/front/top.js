import { choice, element } from "studio/elements.js";

/** The bar at the top: which model, which question, how it is coloured. */
export function mountTop(root, session) {
  const model = element("select", {
    "aria-label": "Model", onchange: () => session.set({ models: [model.value], step: null }),
  }, ...session.models.map(({ id, name }) => element("option", { value: id }, name)));
  const query = choice("Question", { from: "Where it looks", to: "Who looks here" },
    () => session.state.query, (value) => session.set({ query: value }));
  const colour = choice("Colours", { own: "Own scale", common: "Common scale" },
    () => session.state.colour, (value) => session.set({ colour: value }));
  root.append(element("h1", {}, "sagan studio"), model, query.group, colour.group);
  session.on("state", () => {
    model.value = session.state.models[0];
    query.update();
    colour.update();
  });
}
