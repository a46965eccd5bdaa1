/** Pictures and videos of the canvas, saved as files. */

import { UserError } from "./errors";

const VIDEO_TYPES = ["video/mp4;codecs=avc1", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const BITS_PER_SECOND = 12_000_000;

export async function savePicture(canvas: HTMLCanvasElement, name: string): Promise<void> {
  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, "image/png"));
  if (blob === null) throw new UserError("The browser could not make a picture.");
  save(blob, `${name}.png`);
}

export class VideoCapture {
  private recorder: MediaRecorder | null = null;

  get running(): boolean {
    return this.recorder !== null;
  }

  /** @throws UserError when the browser cannot record. */
  start(canvas: HTMLCanvasElement, name: string): void {
    const type = typeof MediaRecorder === "undefined" ? undefined : VIDEO_TYPES.find((kind) => MediaRecorder.isTypeSupported(kind));
    if (type === undefined) throw new UserError("This browser cannot record videos.");
    const parts: Blob[] = [];
    const stream = canvas.captureStream();
    const recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: BITS_PER_SECOND });
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
      for (const track of stream.getTracks()) track.stop();
      save(new Blob(parts, { type }), `${name}.${type.startsWith("video/mp4") ? "mp4" : "webm"}`);
    });
    recorder.start(1000);
    this.recorder = recorder;
  }

  /** Stop and save. */
  stop(): void {
    this.recorder?.stop();
    this.recorder = null;
  }
}

function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
