import { element } from "studio/elements.js";

/** Seed, truncation and directions of the latent. */
export function mountLatent(root, session) {
  const seed = element("input", {
    type: "number", min: 0, step: 1, onchange: () => session.set({ seed: Number(seed.value) || 0 }),
  });
  root.append(element("label", {}, "Seed", seed));
  session.on("state", () => { seed.value = session.state.seed; });
}
