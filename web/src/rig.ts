/**
 * Linear blend skinning of the FLAME family, as in spatialavatar/head/rig.py: expressions and pose correctives move the
 * template, joints turn, vertices follow. Expressions are sparse: only those in use, and only what they move, are added.
 * No call allocates memory.
 */

import type { Motion, Packet } from "./packet";
import { identity, matrixFromAxisAngle, multiply, type Matrix } from "./rotations";

const NECK = 1;
const JOINTS = 5;

export class Rig {
  /** (V, 3) posed vertices of the last call of `pose`, metres. */
  readonly vertices: Float32Array;

  private readonly shaped: Float32Array;
  private readonly joints = new Float64Array(3 * JOINTS);
  private readonly locals: Matrix[] = Array.from({ length: JOINTS }, identity);
  private readonly worlds: Matrix[] = Array.from({ length: JOINTS }, identity);
  private readonly places = new Float64Array(3 * JOINTS);
  /** (J, 3, 4): the map from rest to posed positions of each joint. */
  private readonly transforms = new Float64Array(12 * JOINTS);

  constructor(private readonly packet: Packet) {
    this.vertices = new Float32Array(packet.template.length);
    this.shaped = new Float32Array(packet.template.length);
  }

  pose(motion: Motion): void {
    this.express(motion.expression);
    this.turn(motion);
    this.skin();
  }

  private express(expression: Float32Array): void {
    const { packet, shaped, joints } = this;
    const { expressionStarts: starts, expressionVertices: rows, expressionOffsets: offsets } = packet;
    shaped.set(packet.template);
    joints.set(packet.joints);
    for (let e = 0; e < expression.length; e++) {
      const weight = expression[e]!;
      if (weight === 0) continue;
      for (let row = starts[e]!, last = starts[e + 1]!; row < last; row++) {
        const vertex = 3 * rows[row]!;
        shaped[vertex] = shaped[vertex]! + weight * offsets[3 * row]!;
        shaped[vertex + 1] = shaped[vertex + 1]! + weight * offsets[3 * row + 1]!;
        shaped[vertex + 2] = shaped[vertex + 2]! + weight * offsets[3 * row + 2]!;
      }
      for (let i = 0; i < 3 * JOINTS; i++) {
        joints[i] = joints[i]! + weight * packet.jointExpressions[3 * JOINTS * e + i]!;
      }
    }
  }

  private turn(motion: Motion): void {
    const { packet, joints, locals, worlds, places, transforms } = this;
    matrixFromAxisAngle(motion.globalRotation, 0, locals[0]);
    matrixFromAxisAngle(motion.neckRotation, 0, locals[1]);
    matrixFromAxisAngle(motion.jawRotation, 0, locals[2]);
    matrixFromAxisAngle(motion.eyesRotation, 0, locals[3]);
    matrixFromAxisAngle(motion.eyesRotation, 3, locals[4]);
    this.correct();
    for (let joint = 0; joint < JOINTS; joint++) {
      const parent = packet.jointParents[joint]!;
      const world = worlds[joint]!;
      if (parent < 0) {
        world.set(locals[joint]!);
        for (let i = 0; i < 3; i++) places[3 * joint + i] = joints[3 * joint + i]! + motion.translation[i]!;
      } else {
        const above = worlds[parent]!;
        multiply(above, locals[joint]!, world);
        const shift = joint === NECK ? 1 : 0;
        const x = joints[3 * joint]! - joints[3 * parent]! + shift * motion.neckTranslation[0]!;
        const y = joints[3 * joint + 1]! - joints[3 * parent + 1]! + shift * motion.neckTranslation[1]!;
        const z = joints[3 * joint + 2]! - joints[3 * parent + 2]! + shift * motion.neckTranslation[2]!;
        for (let i = 0; i < 3; i++) {
          places[3 * joint + i] = places[3 * parent + i]! +
            above[3 * i]! * x + above[3 * i + 1]! * y + above[3 * i + 2]! * z;
        }
      }
      for (let i = 0; i < 3; i++) {
        const r0 = world[3 * i]!, r1 = world[3 * i + 1]!, r2 = world[3 * i + 2]!;
        const at = 12 * joint + 4 * i;
        transforms[at] = r0;
        transforms[at + 1] = r1;
        transforms[at + 2] = r2;
        transforms[at + 3] = places[3 * joint + i]! -
          (r0 * joints[3 * joint]! + r1 * joints[3 * joint + 1]! + r2 * joints[3 * joint + 2]!);
      }
    }
  }

  /** Pose correctives follow the entries of (rotation - identity), row by row, of all joints or all but the root. */
  private correct(): void {
    const { correctives } = this.packet;
    if (correctives === null) return;
    const { shaped, locals } = this;
    const count = shaped.length;
    const rows = correctives.length / count;
    const first = JOINTS - rows / 9;
    for (let row = 0; row < rows; row++) {
      const entry = row % 9;
      const weight = locals[first + (row - entry) / 9]![entry]! - (entry % 4 === 0 ? 1 : 0);
      if (Math.abs(weight) < 1e-9) continue;
      const start = row * count;
      for (let i = 0; i < count; i++) shaped[i] = shaped[i]! + weight * correctives[start + i]!;
    }
  }

  private skin(): void {
    const { packet, shaped, transforms: t, vertices } = this;
    const { weightStarts: starts, weightJoints: joints, weightValues: values } = packet;
    for (let v = 0, at = 0; at < vertices.length; v++, at += 3) {
      const x = shaped[at]!, y = shaped[at + 1]!, z = shaped[at + 2]!;
      let px = 0, py = 0, pz = 0;
      for (let entry = starts[v]!, last = starts[v + 1]!; entry < last; entry++) {
        const weight = values[entry]!;
        const j = 12 * joints[entry]!;
        px += weight * (t[j]! * x + t[j + 1]! * y + t[j + 2]! * z + t[j + 3]!);
        py += weight * (t[j + 4]! * x + t[j + 5]! * y + t[j + 6]! * z + t[j + 7]!);
        pz += weight * (t[j + 8]! * x + t[j + 9]! * y + t[j + 10]! * z + t[j + 11]!);
      }
      vertices[at] = px;
      vertices[at + 1] = py;
      vertices[at + 2] = pz;
    }
  }
}
