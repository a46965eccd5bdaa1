/** What the sliders say: one number per expression, and turns of head, gaze and jaw. */

import { gazeOfWeights, LARGEST_PITCH, LARGEST_YAW } from "./arkit";
import { ARKIT_INDEX } from "./arkit_names";
import type { Motion, Packet } from "./packet";
import { axisAngleFromMatrix, identity, matrixFromAngles, matrixFromAxisAngle, multiply } from "./rotations";
import type { Weights } from "./poses";

/** Channels beside the expressions, in radians, but gaze: -1 to 1. */
export const TURNS = ["headYaw", "headPitch", "headRoll", "gazeYaw", "gazePitch", "jaw"] as const;
export type Turn = (typeof TURNS)[number];

/** How fast values glide to what a preset asks for, per second. */
const GLIDE = 14;

export class Controls {
  readonly names: readonly string[];
  private readonly index: ReadonlyMap<string, number>;
  private readonly target: Float32Array;
  private readonly current: Float32Array;
  private gliding = false;

  constructor(packets: readonly Packet[]) {
    const names = new Set(packets.flatMap((packet) => [...packet.expressionNames]));
    this.names = [...names, ...TURNS];
    this.index = new Map(this.names.map((name, i) => [name, i]));
    this.target = new Float32Array(this.names.length);
    this.current = new Float32Array(this.names.length);
  }

  has(name: string): boolean {
    return this.index.has(name);
  }

  /** Where a slider stands. */
  value(name: string): number {
    return this.target[this.index.get(name) ?? -1] ?? 0;
  }

  /** Set one value at once. */
  set(name: string, value: number): void {
    const index = this.index.get(name);
    if (index === undefined) return;
    this.target[index] = value;
    this.current[index] = value;
  }

  /** Glide to a preset: expressions it does not name go to zero; turns of the head stay, but with `all`. */
  glideTo(weights: Weights, all = false): void {
    this.names.forEach((name, i) => {
      const turn = (TURNS as readonly string[]).includes(name);
      if (!turn || all) this.target[i] = weights[name] ?? 0;
    });
    this.gliding = true;
  }

  /**
   * Go on gliding.
   *
   * @returns Whether anything moved.
   */
  advance(seconds: number, atOnce: boolean): boolean {
    if (!this.gliding) return false;
    const share = atOnce ? 1 : 1 - Math.exp(-GLIDE * seconds);
    let left = 0;
    for (let i = 0; i < this.target.length; i++) {
      const missing = this.target[i]! - this.current[i]!;
      left = Math.max(left, Math.abs(missing));
      this.current[i] = this.current[i]! + share * missing;
    }
    if (left < 2e-3) {
      this.current.set(this.target);
      this.gliding = false;
    }
    return true;
  }

  private now(name: string): number {
    return this.current[this.index.get(name) ?? -1] ?? 0;
  }

  /** Adds what the sliders say to a motion of one of the avatars. */
  addTo(packet: Packet, motion: Motion): void {
    const { expressionNames } = packet;
    const gazeYaw = this.now("gazeYaw"), gazePitch = this.now("gazePitch");
    const withGaze = (name: string): number => this.now(name) + gazeShare(name, gazeYaw, gazePitch);
    for (let e = 0; e < expressionNames.length; e++) {
      const name = expressionNames[e]!;
      const sum = motion.expression[e]! + withGaze(name);
      // Shapes of ARKit end at 1; numbered components do not.
      motion.expression[e] = ARKIT_INDEX.has(name) ? Math.min(1, sum) : sum;
    }
    if (expressionNames.includes("eyeLookUpLeft")) gazeOfWeights(withGaze, EYES);
    else {
      axisAngleFromMatrix(matrixFromAngles(gazePitch * LARGEST_PITCH, gazeYaw * LARGEST_YAW, 0), EYES);
      EYES.copyWithin(3, 0, 3);
    }
    for (let i = 0; i < 6; i++) motion.eyesRotation[i] = motion.eyesRotation[i]! + EYES[i]!;
    motion.jawRotation[0] = motion.jawRotation[0]! + this.now("jaw");
    const turn = matrixFromAngles(this.now("headPitch"), this.now("headYaw"), this.now("headRoll"));
    axisAngleFromMatrix(multiply(turn, matrixFromAxisAngle(motion.neckRotation, 0, NECK), PRODUCT), motion.neckRotation);
  }
}

const EYES = new Float32Array(6);
const NECK = identity(), PRODUCT = identity();

/** The share of a gaze, yaw to the subject's left and pitch down, in an eyeLook shape. */
function gazeShare(name: string, yaw: number, pitch: number): number {
  switch (name) {
    case "eyeLookOutLeft": case "eyeLookInRight": return Math.max(0, yaw);
    case "eyeLookInLeft": case "eyeLookOutRight": return Math.max(0, -yaw);
    case "eyeLookDownLeft": case "eyeLookDownRight": return Math.max(0, pitch);
    case "eyeLookUpLeft": case "eyeLookUpRight": return Math.max(0, -pitch);
    default: return 0;
  }
}
