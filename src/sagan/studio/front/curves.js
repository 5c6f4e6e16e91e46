/** Which curves of a run's log are shown, and in which chart; the names are those of the log. */

const LOSSES = {
  discriminator_real: "discriminator, real", discriminator_fake: "discriminator, fake",
  generator: "generator", r1: "R1", r2: "R2",
};
const MEASURES = {
  gamma: "Gamma (0: attention is off)", attention_entropy: "Entropy (1: looks everywhere alike)",
  attention_peak: "Largest weight (1: copies one place)",
};

/** @returns {Object<string, import("./chart.js").Curve[]>} Title of a chart -> its curves. */
export function chartsOf(curves) {
  const charts = {};
  for (const [measure, title] of Object.entries(MEASURES)) {
    const pattern = new RegExp(`^(generator|discriminator)_${measure}_(\\d+(?:-\\d+)?)$`);
    const found = Object.entries(curves).map(([key, curve]) => ({ match: pattern.exec(key), ...curve }));
    charts[title] = found.filter(({ match }) => match)
      .map(({ match, ...curve }) => ({ ...curve, name: `${match[1]} ${match[2]}` }));
  }
  charts.Losses = Object.entries(LOSSES).filter(([key]) => curves[key])
    .map(([key, name]) => ({ ...curves[key], name }));
  for (const [key, curve] of Object.entries(curves)) {
    if (/^FD /.test(key)) charts["Distance to the real pictures"] = [{ ...curve, name: key }];
  }
  return Object.fromEntries(Object.entries(charts).filter(([, found]) => found.length));
}
