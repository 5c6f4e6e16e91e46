/** @type {Map<string, {text: string, run: () => void}>} By the key that is pressed. */
export const SHORTCUTS = new Map();
const STORED = "sagan.shortcuts";

/** Makes a key do something everywhere on the page but where text is typed. */
export function shortcut(key, text, run) {
  if (SHORTCUTS.has(key)) throw new Error(`two shortcuts for ${key}`);
  SHORTCUTS.set(key, { text, run });
}

/** What the browser remembers for this page; null where it keeps nothing. */
export function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A page without storage works too, it only forgets.
  }
}

export const areOn = () => remembered(STORED) !== "off";
export const turn = (isOn) => remember(STORED, isOn ? "on" : "off");

function isTyping(target) {
  // The focus is nowhere once a button of a dialog has gone; Escape still closes the dialog.
  if (document.querySelector("dialog[open]")) return true;
  if (target.closest("select, textarea, [contenteditable]")) return true;
  return target.matches("input") && !["range", "checkbox", "radio", "button"].includes(target.type);
}

/** Listens for the keys of all shortcuts. */
export function listenForShortcuts() {
  document.addEventListener("keydown", (event) => {
    const known = SHORTCUTS.get(event.key);
    if (!known || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (isTyping(event.target) || !areOn()) return;
    event.preventDefault();
    known.run();
  });
}
