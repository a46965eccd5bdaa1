/** Moves one scene: a driver's frame fitted to the avatar, and what the sliders add to it. */

import type { Controls } from "./controls";
import { neutralMotion, type Motion } from "./packet";
import { Retarget, type Driver } from "./retarget";
import type { Scene } from "./scene";

export interface Source {
  readonly driver: Driver;
  readonly frame: Motion;
}

export class Puppet {
  readonly motion: Motion;
  private readonly retarget: Retarget;

  constructor(readonly scene: Scene) {
    this.motion = neutralMotion(scene.packet.expressionNames.length);
    this.retarget = new Retarget(scene.packet);
  }

  understands(driver: Driver): boolean {
    return this.retarget.understands(driver);
  }

  /**
   * Put the motion of now together.
   *
   * @param source null for the avatar at rest.
   */
  update(source: Source | null, controls: Controls, travel: boolean): void {
    const { motion, scene: { packet } } = this;
    if (source === null) {
      for (const key of Object.keys(motion) as (keyof Motion)[]) motion[key].set(packet.rest[key]);
    } else this.retarget.apply(source.driver, source.frame, travel, motion);
    controls.addTo(packet, motion);
  }
}
