/** How many pixels a picture may have while it moves: fewer where drawing is slow, all of them once it stands. */

const SLOW = 55;
const QUICK = 22;
const LEAST = 0.3;
/** Frames between two changes, so that each change shows its effect first. */
const PATIENCE = 3;

export class Sharpness {
  /** Share of the full resolution along a side. */
  scale = 1;
  private since = 0;
  private interval = 0;

  /** @param milliseconds Between two frames of a running animation. */
  measure(milliseconds: number): void {
    this.interval = this.since === 0 ? milliseconds : 0.6 * this.interval + 0.4 * milliseconds;
    if (++this.since < PATIENCE) return;
    if (this.interval > SLOW && this.scale > LEAST) this.change(Math.max(LEAST, this.scale * Math.max(0.5, Math.sqrt(40 / this.interval))));
    else if (this.interval < QUICK && this.scale < 1) this.change(Math.min(1, this.scale * 1.2));
  }

  private change(scale: number): void {
    this.scale = scale;
    this.since = 0;
  }
}
