import { drawPicture } from "studio/drawing.js";

/** Films that browsers write, the one that most players show first. */
const KINDS = ["video/mp4;codecs=avc1.42E01E", "video/webm"];
const BITS_PER_SECOND = 8e6;

/** Whether this browser writes films. */
export const canFilm = () => Boolean(
  globalThis.MediaRecorder && HTMLCanvasElement.prototype.captureStream,
);

/**
 * A film of pictures, recorded by the browser, which takes as long as it plays.
 *
 * @param {import("./backend.js").Picture[]} pictures
 * @param {number} framesPerSecond
 * @returns {Promise<Blob>} MP4 or WebM, as its type says.
 */
export async function filmOf(pictures, framesPerSecond) {
  const canvas = document.createElement("canvas");
  drawPicture(canvas, pictures[0]);
  const stream = canvas.captureStream(0);
  const mimeType = KINDS.find((kind) => MediaRecorder.isTypeSupported(kind));
  const recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: BITS_PER_SECOND });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const stopped = new Promise((resolve) => { recorder.onstop = resolve; });
  recorder.start();
  const began = performance.now();
  for (const [number, picture] of pictures.entries()) {
    drawPicture(canvas, picture);
    stream.getVideoTracks()[0].requestFrame();
    const next = began + (1000 * (number + 1)) / framesPerSecond;
    await new Promise((resolve) => { setTimeout(resolve, next - performance.now()); });
  }
  recorder.stop();
  await stopped;
  return new Blob(parts, { type: recorder.mimeType });
}
