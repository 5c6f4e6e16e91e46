import { element } from "studio/elements.js";

/** A slider for the gamma of every layer. */
export function mountGammas(root, session) {
  session.on("drawn", ({ model }) => {
    if (session.columns[0].model !== model || root.dataset.of === model.id) return;
    root.dataset.of = model.id;
    const sliders = ["generator", "discriminator"].flatMap((network) =>
      (model[network]?.layers ?? []).map((layer) => {
        const name = `${network}.${layer.name}`;
        const slider = element("input", {
          type: "range", min: 0, max: 2, step: 0.01, value: session.state.scales[name] ?? 1,
          oninput: () => session.set({ scales: { ...session.state.scales, [name]: Number(slider.value) } }),
        });
        return element("label", {}, `${name}: gamma ${layer.gamma.toFixed(3)}`, slider);
      }));
    root.replaceChildren(...sliders);
  });
}
