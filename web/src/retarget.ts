/** From a driver's frame to an avatar's motion, as in spatialavatar/drive/retarget.py. */

import { ARKIT_INDEX } from "./arkit_names";
import type { Motion, Packet } from "./packet";
import { axisAngleFromMatrix, identity, matrixFromAxisAngle, multiply, transpose, type Matrix } from "./rotations";

/** Who a driver is: what does not change from frame to frame. */
export interface Driver {
  readonly expressionNames: readonly string[];
  /** The head whose expressions these are; null for weights that only names define (ARKit). */
  readonly headEdition: string | null;
  /** How the driver usually holds body and neck. */
  readonly rest: Motion;
  /** 3 x 3: orientation of a head that looks into the driver's camera. */
  readonly sight: Matrix;
}

/** Fits drivers' frames to one avatar; a frame allocates nothing. */
export class Retarget {
  /** Column of the driver for each of the avatar's expressions; -1 where it has none. */
  private columns: Int32Array | null = null;
  private driver: Driver | null = null;
  private inverseSight: Matrix = identity();
  /** From the driver's neck to the avatar's: what stands to the right of it. */
  private neckOffset: Matrix = identity();
  private readonly driverNeck = identity();
  private readonly body = identity();
  private readonly head = identity();
  private readonly neck = identity();
  private readonly scratch = identity();

  constructor(private readonly packet: Packet) {}

  /** Whether any expression of this driver moves the avatar. */
  understands(driver: Driver): boolean {
    this.follow(driver);
    return this.columns === null || this.columns.some((column) => column >= 0);
  }

  /**
   * The motion that makes the avatar do what the driver does in one frame.
   *
   * @param travel Let the head move about the picture as the driver's does.
   */
  apply(driver: Driver, frame: Motion, travel: boolean, out: Motion): void {
    this.follow(driver);
    const { packet, columns } = this;
    const { rest } = packet;
    if (columns === null) out.expression.set(frame.expression);
    else for (let e = 0; e < columns.length; e++) out.expression[e] = columns[e]! < 0 ? 0 : frame.expression[columns[e]!]!;
    const { driverNeck, body, head, neck, scratch } = this;
    matrixFromAxisAngle(frame.neckRotation, 0, driverNeck);
    matrixFromAxisAngle(frame.globalRotation, 0, body);
    // Orientation against the line of sight: who looks into the camera does so on both sides.
    multiply(this.inverseSight, multiply(body, driverNeck, scratch), head);
    multiply(driverNeck, this.neckOffset, neck);
    multiply(multiply(packet.sight, head, scratch), transpose(neck, body), head);
    axisAngleFromMatrix(head, out.globalRotation);
    axisAngleFromMatrix(neck, out.neckRotation);
    out.jawRotation.set(frame.jawRotation);
    out.eyesRotation.set(frame.eyesRotation);
    for (let i = 0; i < 3; i++) {
      const moved = travel ? frame.translation[i]! - driver.rest.translation[i]! : 0;
      out.translation[i] = rest.translation[i]! + moved;
      out.neckTranslation[i] = rest.neckTranslation[i]! + frame.neckTranslation[i]! - driver.rest.neckTranslation[i]!;
    }
  }

  private follow(driver: Driver): void {
    if (driver === this.driver) return;
    this.driver = driver;
    const { expressionNames: names, headEdition } = this.packet;
    const same = names.length === driver.expressionNames.length &&
      names.every((name, i) => name === driver.expressionNames[i]);
    // Numbered components of different heads never mean the same; ARKit's names do on every head.
    this.columns = same && driver.headEdition === headEdition ? null
      : Int32Array.from(names, (name) => (ARKIT_INDEX.has(name) ? driver.expressionNames.indexOf(name) : -1));
    this.inverseSight = transpose(driver.sight);
    this.neckOffset = multiply(
      transpose(matrixFromAxisAngle(driver.rest.neckRotation)), matrixFromAxisAngle(this.packet.rest.neckRotation));
  }
}
