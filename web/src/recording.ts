/** A recording: a driver's frames, as in spatialavatar/drive/recording.py, and the motion file that holds one. */

import { UserError } from "./errors";
import { neutralMotion, type Motion } from "./packet";
import type { Driver } from "./retarget";
import { floats, headerOf, readSafetensors } from "./safetensors";

const WIDTHS = {
  globalRotation: 3, neckRotation: 3, jawRotation: 3, eyesRotation: 6, translation: 3, neckTranslation: 3,
} as const;
const KEYS = ["expression", ...Object.keys(WIDTHS)] as (keyof Motion)[];
const snake = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

export class Recording {
  private readonly columns: Record<keyof Motion, Float32Array>;
  private readonly widths: Record<keyof Motion, number>;

  constructor(
    readonly driver: Driver, readonly length: number, readonly frameRate: number, readonly source: string,
  ) {
    this.widths = { expression: driver.expressionNames.length, ...WIDTHS };
    this.columns = Object.fromEntries(
      KEYS.map((key) => [key, new Float32Array(length * this.widths[key])])) as Record<keyof Motion, Float32Array>;
  }

  /** Seconds. */
  get duration(): number {
    return this.length / this.frameRate;
  }

  set(key: keyof Motion, frame: number, column: number, value: number): void {
    this.columns[key][frame * this.widths[key] + column] = value;
  }

  setAll(key: keyof Motion, values: Float32Array): void {
    this.columns[key].set(values);
  }

  /**
   * Writes the motion at a time to `out`, between two frames in proportion. Allocates nothing.
   *
   * @param seconds From the start; held at both ends.
   */
  at(seconds: number, out: Motion): void {
    const place = Math.min(Math.max(seconds * this.frameRate, 0), this.length - 1);
    const frame = Math.floor(place);
    const share = place - frame;
    const next = Math.min(frame + 1, this.length - 1);
    for (const key of KEYS) {
      const width = this.widths[key];
      const column = this.columns[key];
      const target = out[key];
      for (let i = 0; i < width; i++) {
        const value = column[frame * width + i]!;
        target[i] = value + share * (column[next * width + i]! - value);
      }
    }
  }
}

/** Read a `.motion.safetensors` file. Every tensor but `expression` may be missing and is then zero. */
export function readMotionFile(file: ArrayBuffer, source: string): Recording {
  const contents = readSafetensors(file, "a motion file");
  const header = headerOf(contents, "spatialavatar-motion", 1, "a motion file");
  const names = header["expression_names"];
  const rate = header["frame_rate"];
  const edition = header["head_edition"] ?? null;
  if (!Array.isArray(names) || !names.every((name) => typeof name === "string")) {
    throw new UserError("The header key 'expression_names' must be a list of names.");
  }
  if (typeof rate !== "number" || !(rate > 0)) throw new UserError("The header key 'frame_rate' must be frames per second.");
  if (edition !== null && typeof edition !== "string") throw new UserError("The header key 'head_edition' must be a name.");
  const length = contents.tensors.get("expression")?.shape[0] ?? 0;
  if (length === 0) throw new UserError("This motion has no frames.");
  const rest = neutralMotion(names.length);
  const widths = { expression: names.length, ...WIDTHS } as Record<keyof Motion, number>;
  for (const key of KEYS) {
    const name = `rest.${snake(key)}`;
    if (contents.tensors.has(name)) rest[key].set(floats(contents, name, [1, widths[key]]));
  }
  const sight = contents.tensors.has("sight")
    ? Float64Array.from(floats(contents, "sight", [3, 3])) : Float64Array.of(1, 0, 0, 0, 1, 0, 0, 0, 1);
  const recording = new Recording({ expressionNames: names, headEdition: edition, rest, sight }, length, rate, source);
  for (const key of KEYS) {
    if (key === "expression" || contents.tensors.has(snake(key))) {
      recording.setAll(key, floats(contents, snake(key), [length, widths[key]]));
    }
  }
  return recording;
}
