import { iconButton } from "studio/elements.js";
import { shortcut } from "studio/shortcuts.js";

const root = document.documentElement;

function show(button, isHidden) {
  root.toggleAttribute("data-no-controls", isHidden);
  button.setAttribute("aria-pressed", String(!isHidden));
}

/** Buttons for the full screen of a lecture, where the controls make room, and for the controls. */
export function screenButtons() {
  const controls = iconButton("controls", "Controls", () => show(controls, !root.hasAttribute("data-no-controls")));
  const full = iconButton("full", "Full screen", () => turn(!root.hasAttribute("data-lecture")));
  const become = (isLecture) => {
    root.toggleAttribute("data-lecture", isLecture);
    full.setAttribute("aria-pressed", String(isLecture));
    show(controls, isLecture);
  };
  const turn = (isLecture) => {
    become(isLecture);
    // Where a browser has no full screen, the page alone becomes large.
    if (isLecture) root.requestFullscreen?.().catch(() => {});
    else if (document.fullscreenElement) document.exitFullscreen();
  };
  document.addEventListener("fullscreenchange", () => become(Boolean(document.fullscreenElement)));
  become(false);
  shortcut("f", "Full screen, and back", () => turn(!root.hasAttribute("data-lecture")));
  shortcut("h", "Hide or show the controls", () => controls.click());
  shortcut("Escape", "Leave the full screen; close this help", () => turn(false));
  return [controls, full];
}
