import { choice } from "studio/elements.js";
import { shortcut } from "studio/shortcuts.js";

/** The choice between looking and the explanation, in the bar at the top. */
export function mountViews(root, session) {
  const canExplain = session.backend.features.has("explain");
  const view = choice("View", { look: "Look", explain: "Step by step" },
    () => session.state.view, (chosen) => session.set({ view: chosen }));
  if (canExplain) {
    root.querySelector(".tools").before(view.group);
    shortcut("e", "View: look, step by step", () => session.set({ view: session.state.view === "look" ? "explain" : "look" }));
  }
  session.on("state", () => {
    document.body.dataset.view = canExplain ? session.state.view : "look";
    view.update();
  });
}
