import { icon, iconButton } from "studio/elements.js";
import { remember, remembered, shortcut } from "studio/shortcuts.js";

const STORED = "sagan.theme";
const THEMES = ["auto", "light", "dark"];
const TEXTS = { auto: "as the system", light: "light", dark: "dark" };

/** A button that goes through the themes: as the system, light, dark. */
export function themeButton() {
  const root = document.documentElement;
  const button = iconButton("auto", "", () => show(next()));
  const next = () => THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
  const show = (theme) => {
    root.dataset.theme = theme;
    button.title = `Theme: ${TEXTS[theme]}`;
    button.setAttribute("aria-label", button.title);
    button.replaceChildren(icon(theme));
    remember(STORED, theme);
  };
  const stored = remembered(STORED);
  show(THEMES.includes(stored) ? stored : "auto");
  shortcut("t", "Theme: as the system, light, dark", () => show(next()));
  return button;
}
