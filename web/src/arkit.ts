/** ARKit blendshape tables: Live Link Face's CSV and the same as npz, as in spatialavatar/drive/arkit.py. */

import { ARKIT_INDEX, ARKIT_NAMES } from "./arkit_names";
import { UserError } from "./errors";
import { readNpz, type NpyArray } from "./npz";
import { neutralMotion } from "./packet";
import { Recording } from "./recording";
import { axisAngleFromMatrix, identity, matrixFromAngles } from "./rotations";

/** Gaze at full weight of the eyeLook shapes, radians. */
export const LARGEST_YAW = (30 * Math.PI) / 180;
export const LARGEST_PITCH = (25 * Math.PI) / 180;

const DEFAULT_RATE = 30;
const HEAD = ["headYaw", "headPitch", "headRoll"];
const EYES = ["leftEyeYaw", "leftEyePitch", "rightEyeYaw", "rightEyePitch"];
const NAME_OF: ReadonlyMap<string, string> =
  new Map([...ARKIT_NAMES, ...HEAD, ...EYES, "timecode"].map((name) => [name.toLowerCase(), name]));

/** Columns of a table: name -> one number per frame. */
type Table = Map<string, Float32Array>;

/** Read a table with one row per frame and ARKit's names as columns. */
export function readArkitCsv(text: string, source: string): Recording {
  const lines = text.replace(/^\uFEFF/, "").split(/\r\n|\r|\n/).filter((line) => /[^,;\t\s]/.test(line));
  const first = lines[0] ?? "";
  const delimiter = [",", ";", "\t"].reduce((a, b) => (first.split(b).length > first.split(a).length ? b : a));
  const titles = first.split(delimiter).map((title) => NAME_OF.get(unquoted(title).toLowerCase()) ?? "");
  if (!titles.some((title) => ARKIT_INDEX.has(title))) {
    throw new UserError(`${source}: no column has the name of an ARKit blendshape, such as jawOpen.`);
  }
  if (lines.length < 2) throw new UserError(`${source}: this table has no rows of values.`);
  const table: Table = new Map();
  for (const title of titles) {
    if (title && title !== "timecode") table.set(title, new Float32Array(lines.length - 1));
  }
  const codes: string[] = [];
  for (let row = 1; row < lines.length; row++) {
    const cells = lines[row]!.split(delimiter).map(unquoted);
    const lost = titles.every((title, i) => !title || title === "timecode" || !cells[i]);
    titles.forEach((title, i) => {
      const cell = cells[i] ?? "";
      if (title === "timecode") codes.push(cell);
      else if (title) {
        const column = table.get(title)!;
        // A lost face repeats the frame before.
        column[row - 1] = lost ? (row > 1 ? column[row - 2]! : 0) : numberOf(cell, source, row + 1, title);
      }
    });
  }
  return recordingOf(table, rateOf(codes), source);
}

/** Read `weights` (T, 52) in ARKit's order or with `names`, `head_angles`, `eye_angles`, `frame_rate`. */
export async function readArkitNpz(file: ArrayBuffer, source: string): Promise<Recording> {
  const arrays = await readNpz(file);
  const weights = arrays.get("weights");
  if (weights === undefined) {
    throw new UserError(`${source}: the key 'weights' is missing; expected (frames, 52) numbers.`);
  }
  const names = arrays.get("names")?.texts ?? ARKIT_NAMES;
  const table: Table = new Map();
  const frames = columnsInto(table, weights, names.map((name) => NAME_OF.get(name.toLowerCase()) ?? name), "weights", source);
  for (const [key, titles] of [["head_angles", HEAD], ["eye_angles", EYES]] as const) {
    const angles = arrays.get(key);
    if (angles === undefined) continue;
    if (columnsInto(table, angles, titles, key, source) !== frames) {
      throw new UserError(`${source}: the key '${key}' has another number of frames than 'weights'.`);
    }
  }
  const rate = arrays.get("frame_rate")?.values[0] ?? DEFAULT_RATE;
  return recordingOf(table, rate, source);
}

/** Writes the rotation of both eyes (6,) that fits ARKit's eyeLook weights; `weight` gives them by name. */
export function gazeOfWeights(weight: (name: string) => number, out: Float32Array): void {
  for (const [at, side, left, right] of [[0, "Left", "Out", "In"], [3, "Right", "In", "Out"]] as const) {
    const pitch = weight(`eyeLookDown${side}`) - weight(`eyeLookUp${side}`);
    const yaw = weight(`eyeLook${left}${side}`) - weight(`eyeLook${right}${side}`);
    axisAngleFromMatrix(matrixFromAngles(pitch * LARGEST_PITCH, yaw * LARGEST_YAW, 0), out, at);
  }
}

function recordingOf(table: Table, rate: number, source: string): Recording {
  if (!Number.isFinite(rate) || rate <= 0) throw new UserError(`${source}: the frame rate is ${rate}.`);
  const length = table.values().next().value!.length;
  const value = (name: string, frame: number): number => table.get(name)?.[frame] ?? 0;
  const recording = new Recording({
    expressionNames: ARKIT_NAMES, headEdition: null, rest: neutralMotion(ARKIT_NAMES.length), sight: identity(),
  }, length, rate, source);
  const withEyes = EYES.every((name) => table.has(name));
  const eyes = new Float32Array(6);
  for (let frame = 0; frame < length; frame++) {
    const clamped = (name: string): number => Math.min(1, Math.max(0, value(name, frame)));
    ARKIT_NAMES.forEach((name, i) => recording.set("expression", frame, i, clamped(name)));
    const [yaw, pitch, roll] = HEAD.map((name) => value(name, frame)) as [number, number, number];
    axisAngleFromMatrix(matrixFromAngles(pitch, yaw, roll), eyes);
    for (let i = 0; i < 3; i++) recording.set("neckRotation", frame, i, eyes[i]!);
    if (withEyes) {
      axisAngleFromMatrix(matrixFromAngles(value(EYES[1]!, frame), value(EYES[0]!, frame), 0), eyes, 0);
      axisAngleFromMatrix(matrixFromAngles(value(EYES[3]!, frame), value(EYES[2]!, frame), 0), eyes, 3);
    } else gazeOfWeights(clamped, eyes);
    for (let i = 0; i < 6; i++) recording.set("eyesRotation", frame, i, eyes[i]!);
  }
  return recording;
}

function columnsInto(
  table: Table, array: NpyArray, titles: readonly string[], key: string, source: string,
): number {
  const [frames, width] = array.shape;
  if (array.shape.length !== 2 || width !== titles.length || !frames || array.texts !== undefined) {
    throw new UserError(`${source}: the key '${key}' is (${array.shape.join(", ")}); expected (frames, ${titles.length}).`);
  }
  titles.forEach((title, i) => {
    const column = new Float32Array(frames);
    for (let frame = 0; frame < frames; frame++) {
      const value = array.values[frame * width + i]!;
      if (!Number.isFinite(value)) throw new UserError(`${source}: the key '${key}' holds values that are not finite.`);
      column[frame] = value;
    }
    table.set(title, column);
  });
  return frames;
}

/** Live Link Face writes hours:minutes:seconds:frames.subframes: the largest frame number tells the rate. */
function rateOf(codes: readonly string[]): number {
  const parts = codes.map((code) => code.split(":")).filter((code) => code.length === 4 && /^\s*\d+(\.\d*)?\s*$/.test(code[3]!));
  if (new Set(parts.map((code) => code[2])).size < 2) return DEFAULT_RATE;
  const largest = Math.max(...parts.map((code) => Math.floor(Number(code[3]))));
  return [24, 25, 30, 50, 60].find((rate) => largest < rate) ?? 60;
}

function numberOf(cell: string, source: string, row: number, column: string): number {
  const value = cell === "" ? 0 : Number(cell);
  if (!Number.isFinite(value)) throw new UserError(`${source}: row ${row}, column ${column}: '${cell}' is not a number.`);
  return value;
}

function unquoted(cell: string): string {
  return cell.trim().replace(/^"(.*)"$/, "$1");
}
