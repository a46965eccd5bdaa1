/** One avatar as the page gets it: see spatialavatar/view/packet.py for every tensor. */

import { UserError } from "./errors";
import { SHADES } from "./light";
import { floats, headerOf, integers, readSafetensors, type Contents } from "./safetensors";

const FORMAT = "spatialavatar-page";
const VERSION = 1;

/** One frame of motion: rotations as axis-angle vectors in radians, lengths in metres. */
export interface Motion {
  expression: Float32Array;
  globalRotation: Float32Array;
  neckRotation: Float32Array;
  jawRotation: Float32Array;
  eyesRotation: Float32Array;
  translation: Float32Array;
  neckTranslation: Float32Array;
}

export function neutralMotion(expressions: number): Motion {
  const [globalRotation, neckRotation, jawRotation, translation, neckTranslation] =
    [3, 3, 3, 3, 3].map((width) => new Float32Array(width)) as [
      Float32Array, Float32Array, Float32Array, Float32Array, Float32Array];
  return {
    expression: new Float32Array(expressions), globalRotation, neckRotation, jawRotation,
    eyesRotation: new Float32Array(6), translation, neckTranslation,
  };
}

/** A pinhole camera in OpenCV's convention; the matrices row by row, the intrinsics in pixels. */
export interface SourceCamera {
  readonly cameraFromWorld: Float64Array;
  readonly intrinsics: Float64Array;
  readonly width: number;
  readonly height: number;
}

export interface Packet {
  readonly name: string;
  readonly consent: string;
  readonly headEdition: string;
  readonly headName: string;
  readonly expressionNames: readonly string[];
  readonly jointParents: readonly number[];
  readonly rest: Motion;
  /** 3 x 3: orientation of a head in its place that looks into the camera. */
  readonly sight: Float64Array;
  /** Where the skull is at rest. */
  readonly center: Float64Array;
  readonly camera: SourceCamera;
  readonly template: Float32Array;
  readonly joints: Float32Array;
  readonly jointExpressions: Float32Array;
  readonly expressionStarts: Int32Array;
  readonly expressionVertices: Int32Array;
  /** Metres. */
  readonly expressionOffsets: Float32Array;
  /** (R, V, 3) metres, or null. */
  readonly correctives: Float32Array | null;
  readonly weightStarts: Int32Array;
  readonly weightJoints: Int32Array;
  readonly weightValues: Float32Array;
  readonly faces: Int32Array;
  readonly triangles: Int32Array;
  readonly positions: Float32Array;
  readonly quaternions: Float32Array;
  readonly logScales: Float32Array;
  readonly opacityLogits: Float32Array;
  readonly colors: Float32Array;
  readonly residual: ResidualHead | null;
  /** Eight numbers, see `light.ts`; null where the avatar has none. */
  readonly light: Float32Array | null;
}

/** The residual head, as in spatialavatar/avatar/residual.py. */
export interface ResidualHead {
  /** C: features of each Gaussian. */
  readonly channels: number;
  /** H: width of the hidden layer. */
  readonly hidden: number;
  /** (N, C) in half precision, as they lie in the file. */
  readonly features: Float32Array;
  /** The same in half precision, as the graphics device takes them. */
  readonly halves: Uint16Array;
  readonly hiddenWeight: Float32Array;
  readonly hiddenBias: Float32Array;
  readonly filmWeight: Float32Array;
  readonly filmBias: Float32Array;
  readonly weights: Float32Array;
  readonly biases: Float32Array;
}

/**
 * Read a packet.
 *
 * @throws UserError that says what is wrong, by key.
 */
export function readPacket(file: ArrayBuffer): Packet {
  const contents = readSafetensors(file, "an avatar's packet");
  const header = headerOf(contents, FORMAT, VERSION, "an avatar's packet") as unknown as RawHeader;
  const lengthOf = (key: string): number => contents.tensors.get(key)?.shape[0] ?? 0;
  const vertices = lengthOf("template");
  const joints = header.joint_parents.length;
  const expressions = header.expression_names.length;
  const rows = lengthOf("expression.vertices");
  const weights = lengthOf("weights.values");
  const faces = lengthOf("faces");
  const count = lengthOf("triangles");
  if (joints !== 5) throw new UserError(`This head has ${joints} joints; the viewer poses heads with five.`);
  const scaled = (values: Float32Array): Float32Array => values.map((value) => value * header.offset_unit);
  const correctives = contents.tensors.has("correctives")
    ? scaled(floats(contents, "correctives", [null, vertices, 3])) : null;
  return {
    name: header.name,
    consent: header.consent,
    headEdition: header.head_edition,
    headName: header.head_name,
    expressionNames: header.expression_names,
    jointParents: header.joint_parents,
    rest: {
      expression: Float32Array.from(header.rest["expression"] ?? []),
      globalRotation: Float32Array.from(header.rest["global_rotation"] ?? []),
      neckRotation: Float32Array.from(header.rest["neck_rotation"] ?? []),
      jawRotation: Float32Array.from(header.rest["jaw_rotation"] ?? []),
      eyesRotation: Float32Array.from(header.rest["eyes_rotation"] ?? []),
      translation: Float32Array.from(header.rest["translation"] ?? []),
      neckTranslation: Float32Array.from(header.rest["neck_translation"] ?? []),
    },
    sight: Float64Array.from(header.sight),
    center: Float64Array.from(header.center),
    camera: {
      cameraFromWorld: Float64Array.from(header.camera.camera_from_world),
      intrinsics: Float64Array.from(header.camera.intrinsics),
      width: header.camera.width,
      height: header.camera.height,
    },
    template: floats(contents, "template", [vertices, 3]),
    joints: floats(contents, "joints", [joints, 3]),
    jointExpressions: floats(contents, "joint_expressions", [expressions, joints, 3]),
    expressionStarts: integers(contents, "expression.starts", [expressions + 1], rows + 1),
    expressionVertices: integers(contents, "expression.vertices", [rows], vertices),
    expressionOffsets: scaled(floats(contents, "expression.offsets", [rows, 3])),
    correctives,
    weightStarts: integers(contents, "weights.starts", [vertices + 1], weights + 1),
    weightJoints: integers(contents, "weights.joints", [weights], joints),
    weightValues: floats(contents, "weights.values", [weights]),
    faces: integers(contents, "faces", [faces, 3], vertices),
    triangles: integers(contents, "triangles", [count], faces),
    positions: floats(contents, "gaussians.positions", [count, 3]),
    quaternions: floats(contents, "gaussians.quaternions_wxyz", [count, 4]),
    logScales: floats(contents, "gaussians.log_scales", [count, 3]),
    opacityLogits: floats(contents, "gaussians.opacity_logits", [count]),
    colors: floats(contents, "gaussians.colors", [count, 3]),
    residual: contents.tensors.has("residual.features") ? readResidual(contents, count, expressions + 12) : null,
    light: contents.tensors.has("light") ? floats(contents, "light", [SHADES]) : null,
  };
}

function readResidual(contents: Contents, count: number, condition: number): ResidualHead {
  const features = contents.tensors.get("residual.features")!;
  const channels = features.shape[1] ?? 0;
  const hidden = contents.tensors.get("residual.hidden_bias")?.shape[0] ?? 0;
  const singles = floats(contents, "residual.features", [count, channels]);
  return {
    channels,
    hidden,
    features: singles,
    halves: new Uint16Array(features.bytes.slice().buffer),
    hiddenWeight: floats(contents, "residual.hidden_weight", [hidden, condition]),
    hiddenBias: floats(contents, "residual.hidden_bias", [hidden]),
    filmWeight: floats(contents, "residual.film_weight", [8 * channels, hidden]),
    filmBias: floats(contents, "residual.film_bias", [8 * channels]),
    weights: floats(contents, "residual.weights", [13, channels]),
    biases: floats(contents, "residual.biases", [13]),
  };
}

interface RawHeader {
  name: string;
  consent: string;
  head_edition: string;
  head_name: string;
  expression_names: string[];
  joint_parents: number[];
  offset_unit: number;
  rest: Record<string, number[]>;
  sight: number[];
  center: number[];
  camera: { camera_from_world: number[]; intrinsics: number[]; width: number; height: number };
}
