import { drawPicture } from "studio/drawing.js";

/** Films that browsers write, the one that most players show first. */
const KINDS = ["video/mp4;codecs=avc1.42E01E", "video/webm"];
const BITS_PER_SECOND = 8e6;

/** The kind of films that this browser writes, undefined if none. */
function filmKind() {
  if (!globalThis.MediaRecorder || !HTMLCanvasElement.prototype.captureStream) return undefined;
  return KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
}

/** How files of a MIME type end: "video/mp4;codecs=avc1" -> "mp4". */
export const suffixOf = (type) => type.split(";")[0].split("/")[1];

/** What films this browser writes: "mp4", "webm" or nothing. @returns {string[]} */
export function filmFormats() {
  const kind = filmKind();
  return kind ? [suffixOf(kind)] : [];
}

/**
 * A film of pictures, recorded by the browser, which takes as long as it plays.
 *
 * @param {import("./backend.js").Picture[]} pictures
 * @param {number} framesPerSecond
 * @param {AbortSignal} [signal]
 * @returns {Promise<Blob>} MP4 or WebM, as its type says.
 */
export async function filmOf(pictures, framesPerSecond, signal) {
  const canvas = document.createElement("canvas");
  drawPicture(canvas, pictures[0]);
  const stream = canvas.captureStream(0);
  const recorder = new MediaRecorder(stream, { mimeType: filmKind(), videoBitsPerSecond: BITS_PER_SECOND });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start();
  const began = performance.now();
  for (const [number, picture] of pictures.entries()) {
    if (signal?.aborted) break;
    drawPicture(canvas, picture);
    stream.getVideoTracks()[0].requestFrame();
    const next = began + (1000 * (number + 1)) / framesPerSecond;
    await new Promise((resolve) => { setTimeout(resolve, next - performance.now()); });
  }
  recorder.stop();
  await stopped;
  signal?.throwIfAborted();
  return new Blob(parts, { type: recorder.mimeType });
}
