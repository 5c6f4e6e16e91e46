import { choice } from "studio/elements.js";

/** The choice between looking and the explanation. */
export function mountViews(root, session) {
  const canExplain = session.backend.features.has("explain");
  const view = choice("View", { look: "Look", explain: "Step by step" },
    () => session.state.view, (chosen) => session.set({ view: chosen }));
  if (canExplain) root.append(view.group);
  session.on("state", () => {
    document.body.dataset.view = canExplain ? session.state.view : "look";
    view.update();
  });
}
