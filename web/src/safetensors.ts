/** Reads safetensors files: our packets and motion files are such files. Nothing in them can run code. */

import { UserError } from "./errors";

export interface Tensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export interface Contents {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, Tensor>;
}

const LENGTH_BYTES = 8;
const LONGEST_HEADER = 100_000_000;
const ITEM_BYTES: Record<string, number> = { F64: 8, F32: 4, I32: 4, F16: 2, U8: 1, I64: 8 };

/**
 * Read a whole file.
 *
 * @param what What the file should be, for messages, such as "a motion file".
 * @throws UserError when it is no safetensors file, or is cut short or damaged.
 */
export function readSafetensors(file: ArrayBuffer, what: string): Contents {
  const notOurs = new UserError(`This is not ${what}.`);
  if (file.byteLength < LENGTH_BYTES + 2) throw notOurs;
  const length = Number(new DataView(file).getBigUint64(0, true));
  const start = LENGTH_BYTES + length;
  if (length < 2 || length > LONGEST_HEADER || new Uint8Array(file)[LENGTH_BYTES] !== 0x7b) throw notOurs;
  if (start > file.byteLength) throw cutShort(file.byteLength, start);
  const raw = parse(new Uint8Array(file, LENGTH_BYTES, length), notOurs);
  const { __metadata__: metadata = {}, ...entries } = raw;
  const tensors = new Map<string, Tensor>();
  for (const [name, value] of Object.entries(entries)) tensors.set(name, tensorOf(file, start, name, value));
  return { metadata: metadata as Record<string, string>, tensors };
}

/**
 * The numbers of a float tensor.
 *
 * @param shape What it must be; null stands for any length.
 * @throws UserError when it is missing, has another shape or type, or holds values that are not finite.
 */
export function floats(contents: Contents, name: string, shape: readonly (number | null)[]): Float32Array {
  const tensor = checked(contents, name, shape, ["F32", "F16"]);
  const values = tensor.dtype === "F32" ? new Float32Array(aligned(tensor.bytes, 4)) : fromHalf(tensor.bytes);
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) throw new UserError(`The key '${name}' holds values that are not finite.`);
  }
  return values;
}

/** The numbers of an integer tensor, checked as `floats` does; each must be in 0 .. below - 1. */
export function integers(
  contents: Contents, name: string, shape: readonly (number | null)[], below: number,
): Int32Array {
  const tensor = checked(contents, name, shape, ["I32", "U8"]);
  const values = tensor.dtype === "I32" ? new Int32Array(aligned(tensor.bytes, 4)) : Int32Array.from(tensor.bytes);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (value < 0 || value >= below) throw new UserError(`The key '${name}' holds ${value}, out of range.`);
  }
  return values;
}

/** The JSON header in the metadata of one of our files. */
export function headerOf(contents: Contents, format: string, version: number, what: string): Record<string, unknown> {
  const { metadata } = contents;
  if (metadata["format"] !== format) {
    throw new UserError(`This is not ${what}: its format is ${metadata["format"] ?? "not given"}, expected ${format}.`);
  }
  if (metadata["version"] !== String(version)) {
    throw new UserError(
      `This file has the version ${metadata["version"]}; this page reads version ${version}. ` +
      "Update SpatialAvatar, or make the file again.",
    );
  }
  return parse(new TextEncoder().encode(metadata["header"] ?? ""), new UserError("The header of this file is damaged."));
}

/** Half precision to single. */
export function fromHalf(bytes: Uint8Array): Float32Array {
  const halves = new Uint16Array(aligned(bytes, 2));
  const values = new Float32Array(halves.length);
  const table = (halfTable ??= singles());
  for (let i = 0; i < halves.length; i++) values[i] = table[halves[i]!]!;
  return values;
}

let halfTable: Float32Array | undefined;

function singles(): Float32Array {
  const table = new Float32Array(65536);
  for (let half = 0; half < table.length; half++) table[half] = singleOf(half);
  return table;
}

function singleOf(half: number): number {
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  const size =
    exponent === 0 ? fraction * 2 ** -24
    : exponent === 31 ? (fraction ? NaN : Infinity)
    : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return half & 0x8000 ? -size : size;
}

function parse(bytes: Uint8Array, otherwise: UserError): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // Not JSON: said below.
  }
  throw otherwise;
}

function tensorOf(file: ArrayBuffer, start: number, name: string, value: unknown): Tensor {
  const { dtype, shape, data_offsets: offsets } = value as { dtype: string; shape: number[]; data_offsets: number[] };
  const whole = (list: unknown): list is number[] =>
    Array.isArray(list) && list.every((item) => Number.isSafeInteger(item) && item >= 0);
  if (typeof dtype !== "string" || !whole(shape) || !whole(offsets) || offsets.length !== 2) throw damaged(name);
  const [first, last] = offsets as [number, number];
  const count = shape.reduce((product, side) => product * side, 1);
  const item = ITEM_BYTES[dtype];
  if (last < first || (item !== undefined && count * item !== last - first)) throw damaged(name);
  if (start + last > file.byteLength) throw cutShort(file.byteLength, start + last);
  return { dtype, shape, bytes: new Uint8Array(file, start + first, last - first) };
}

function checked(contents: Contents, name: string, shape: readonly (number | null)[], dtypes: string[]): Tensor {
  const tensor = contents.tensors.get(name);
  if (tensor === undefined) throw new UserError(`The key '${name}' is missing; the file is damaged.`);
  const fits = tensor.shape.length === shape.length &&
    shape.every((side, i) => side === null || side === tensor.shape[i]);
  if (!fits || !dtypes.includes(tensor.dtype)) {
    const wanted = shape.map((side) => side ?? "any").join(", ");
    throw new UserError(
      `The key '${name}' is ${tensor.dtype} (${tensor.shape.join(", ")}); expected ${dtypes.join(" or ")} (${wanted}).`,
    );
  }
  return tensor;
}

/** A copy that starts where typed arrays may. */
function aligned(bytes: Uint8Array, item: number): ArrayBuffer {
  return bytes.slice(0, bytes.length - (bytes.length % item)).buffer as ArrayBuffer;
}

function damaged(name: string): UserError {
  return new UserError(`The header entry of the key '${name}' is damaged.`);
}

function cutShort(size: number, announced: number): UserError {
  const text = (count: number): string => count.toLocaleString("en-US");
  return new UserError(`This file is cut short: it has ${text(size)} bytes and announces ${text(announced)}.`);
}
