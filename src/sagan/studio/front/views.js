import { element } from "studio/elements.js";
import { shortcut } from "studio/shortcuts.js";

/** The button for the explanation, in the bar at the top. */
export function mountViews(root, session) {
  if (!session.backend.features.has("explain")) return;
  const isExplained = () => session.state.view === "explain";
  const turn = () => session.set({ view: isExplained() ? "look" : "explain" });
  const button = element("button", { type: "button", onclick: turn }, "Step by step");
  root.querySelector(".tools").before(button);
  shortcut("e", "Step by step: how attention computes one place", turn);
  session.on("state", () => {
    document.body.dataset.view = session.state.view;
    button.setAttribute("aria-pressed", String(isExplained()));
  });
}
