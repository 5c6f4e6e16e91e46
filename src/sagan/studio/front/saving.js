import { drawMark, drawPicture, drawSight, pictureShown } from "studio/drawing.js";
import { gridAt, layersShown } from "studio/layers.js";
import { pointsOf } from "studio/points.js";

const LEAST = 1024;
const CELL = 512;
const GAP = 24;
const LINE = 30;

/** Hands a file to the user. */
export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

const png = (canvas) => new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });

/** The name of a file about columns of the state, without its suffix. */
export function nameOf(session, columns, ...more) {
  const [{ model }] = columns;
  const classes = session.mixture(model).map(([name]) => name);
  const seed = session.own ? "own" : `seed${session.state.seed}`;
  const parts = [...columns.map((column) => column.model.name), `step${model.step}`, seed, ...classes, ...more];
  return parts.map((part) => String(part).replace(/[^\p{L}\p{N}.]+/gu, "")).filter(Boolean).join("-").slice(0, 120);
}

/** The picture of a column as a PNG. */
export async function picturePng(session, column) {
  const canvas = document.createElement("canvas");
  drawPicture(canvas, pictureShown(column), LEAST);
  return png(canvas);
}

function mapCanvas(session, column, place, point, common, least) {
  const canvas = document.createElement("canvas");
  const grid = gridAt(column, place, point, session.state.query);
  drawSight(canvas, column.picture, grid, point, {
    top: common ?? grid.top, hasLines: session.state.grid === "on", least,
  });
  return canvas;
}

/** The weight that gets the brightest colour in all maps of a column; null where each has its own. */
function commonTop(session, column) {
  if (session.state.colour === "own") return null;
  const tops = pointsOf(session, column.model).flatMap((point) =>
    layersShown(column).map((place) => gridAt(column, place, point, session.state.query).top));
  return Math.max(...tops);
}

/** The map of a layer, of the first point, as a PNG. */
export async function mapPng(session, column, place) {
  const [point] = pointsOf(session, column.model);
  return png(mapCanvas(session, column, place, point, commonTop(session, column), LEAST));
}

/** A row for every point: the picture with the point, and its map in every layer. */
function rowsOf(session, column) {
  const layers = layersShown(column);
  const common = commonTop(session, column);
  const side = layers.length ? CELL : LEAST;
  return pointsOf(session, column.model).map((point) => {
    const picture = document.createElement("canvas");
    drawPicture(picture, pictureShown(column), side);
    drawMark(picture, column.picture, point, point.mark);
    return [
      [picture, `place ${point.x}, ${point.y}`],
      ...layers.map((place) => [mapCanvas(session, column, place, point, common, side), place.words]),
    ];
  });
}

/** Everything that is seen, with captions, as a PNG. */
export async function boardPng(session) {
  const blocks = session.columns.map((column) => ({ column, rows: rowsOf(session, column) }));
  const all = blocks.flatMap(({ rows }) => rows.flat());
  const [wide, high] = ["width", "height"].map((side) => Math.max(...all.map(([canvas]) => canvas[side])));
  const most = Math.max(...blocks.map(({ rows }) => rows[0].length));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(LEAST, GAP + most * (wide + GAP));
  canvas.height = GAP + blocks.reduce((sum, { rows }) => sum + 2 * LINE + rows.length * (high + LINE + GAP), 0);
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  context.fillStyle = style.backgroundColor;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = style.color;
  let y = GAP;
  for (const { column, rows } of blocks) {
    context.font = "600 24px system-ui, sans-serif";
    context.fillText(titleOf(session, column), GAP, y + LINE, canvas.width - 2 * GAP);
    y += 2 * LINE;
    context.font = "18px system-ui, sans-serif";
    for (const row of rows) {
      row.forEach(([cell, caption], i) => {
        context.drawImage(cell, GAP + i * (wide + GAP), y);
        context.fillText(caption, GAP + i * (wide + GAP), y + cell.height + LINE - 6, wide);
      });
      y += high + LINE + GAP;
    }
  }
  return png(canvas);
}

function titleOf(session, { model }) {
  const what = session.own ? ["a picture of one's own"] : [`seed ${session.state.seed}`, ...session.classWords(model)];
  return [model.name, `step ${model.step.toLocaleString("en")}`, ...what].join(" · ");
}

/** Where the chosen points look, in numbers: every list of weights sums to 1. */
export function rowsJson(session) {
  const { state } = session;
  const models = session.columns.map((column) => {
    const { model } = column;
    const layers = layersShown(column).map(({ network, layer }) => ({
      network, ...layer, scale: session.scales(network, model)[layer.name] ?? 1,
      rows: pointsOf(session, model).map((point) => ({
        x: point.x, y: point.y,
        weights: [...gridAt(column, { network, layer }, point, "from").values],
      })),
    }));
    return { model: model.name, step: model.step, classes: Object.fromEntries(session.mixture(model)), layers };
  });
  const { seed, truncation, weights } = state;
  return { picture: session.own ? "own" : "drawn", seed, truncation, directions: weights, models };
}
