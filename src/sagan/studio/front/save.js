import { element, iconButton } from "studio/elements.js";
import { layersShown } from "studio/layers.js";
import { boardPng, download, mapPng, nameOf, picturePng, rowsJson } from "studio/saving.js";
import { shortcut } from "studio/shortcuts.js";
import { toLink } from "studio/state.js";
import { walkForm } from "studio/walk.js";

/** The link of the state, which the address bar follows later, without what let this browser in. */
function linkOf(state) {
  return `${location.href.split(/[?#]/)[0]}#${toLink(state)}`;
}

/** The button that opens what can be taken along: a link, pictures, numbers, films. */
export function mountSave(root, session) {
  const told = element("p", { role: "status" });
  const maps = element("div", { class: "row" });
  const address = element("input", { type: "text", readonly: true, onfocus: () => address.select() });
  const save = (text, name, make) => element("button", {
    type: "button",
    onclick: async () => {
      const file = name();
      download(await make(), file);
      told.textContent = `Saved as ${file}.`;
    },
  }, text);
  const dialog = element("dialog", { class: "save", "aria-labelledby": "save-title" },
    element("div", { class: "heading" }, element("h2", { id: "save-title" }, "Save and share"),
      iconButton("remove", "Close", () => dialog.close())),
    element("h3", {}, "Link to exactly this"),
    element("div", { class: "row link" }, element("label", { class: "sr-only", for: "save-link" }, "Link"), address,
      element("button", { type: "button", onclick: () => copy(address, told) }, "Copy link")),
    element("h3", {}, "Pictures (PNG)"), maps,
    element("h3", {}, "Numbers (JSON)"),
    element("div", { class: "row" }, save("Attention of the points", () => `${nameOf(session, session.columns, "rows")}.json`,
      async () => new Blob([JSON.stringify(rowsJson(session))], { type: "application/json" }))),
    ...(session.backend.features.has("film") ? [walkForm(session)] : []), told);
  address.id = "save-link";
  const open = () => {
    address.value = linkOf(session.state);
    told.textContent = "";
    const each = session.columns.flatMap((column) => {
      const of = session.columns.length > 1 ? `${column.model.name}: ` : "";
      return [
        save(`${of}Picture`, () => `${nameOf(session, [column], "picture")}.png`, () => picturePng(session, column)),
        ...layersShown(column).map((place) => save(
          `${of}Map of ${place.words}`,
          () => `${nameOf(session, [column], place.network, place.layer.name)}.png`,
          () => mapPng(session, column, place),
        )),
      ];
    });
    maps.replaceChildren(save("All that is seen", () => `${nameOf(session, session.columns)}.png`, () => boardPng(session)), ...each);
    dialog.showModal();
  };
  const button = iconButton("save", "Save and share", open);
  button.disabled = true;
  session.on("drawn", () => { button.disabled = false; });
  shortcut("s", "Save and share", () => button.click());
  root.querySelector(".tools").prepend(button);
  document.body.append(dialog);
}

async function copy(address, told) {
  try {
    await navigator.clipboard.writeText(address.value);
  } catch {
    address.select();
    document.execCommand("copy");
  }
  told.textContent = "The link is copied.";
}
