/** Mouse, touch and keyboard move the view. */

import { frontView, type View } from "./camera";

const LARGEST_PITCH = 1.3;
const ZOOMS = [0.25, 20] as const;
/** Radians per share of the canvas' shorter side. */
const TURN = 2.6;
const KEY_TURN = Math.PI / 36;
const KEY_SHIFT = 0.03;

export class Orbit {
  private readonly pointers = new Map<number, { x: number; y: number }>();

  constructor(private readonly canvas: HTMLCanvasElement, readonly view: View, private readonly changed: () => void) {
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"] as const) {
      canvas.addEventListener(kind, (event) => this.pointers.delete(event.pointerId));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("dblclick", () => this.front());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0016)));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** Back to where the avatar's source was seen from. */
  front(): void {
    Object.assign(this.view, frontView());
    this.changed();
  }

  private get unit(): number {
    return Math.min(this.canvas.clientWidth, this.canvas.clientHeight) || 1;
  }

  private turn(yaw: number, pitch: number): void {
    this.view.yaw = Math.atan2(Math.sin(this.view.yaw + yaw), Math.cos(this.view.yaw + yaw));
    this.view.pitch = Math.min(LARGEST_PITCH, Math.max(-LARGEST_PITCH, this.view.pitch + pitch));
    this.changed();
  }

  private zoom(factor: number): void {
    this.view.zoom = Math.min(ZOOMS[1], Math.max(ZOOMS[0], this.view.zoom * factor));
    this.changed();
  }

  private shift(right: number, down: number): void {
    this.view.shiftX = Math.min(3, Math.max(-3, this.view.shiftX + right));
    this.view.shiftY = Math.min(3, Math.max(-3, this.view.shiftY + down));
    this.changed();
  }

  private down(event: PointerEvent): void {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  private move(event: PointerEvent): void {
    const last = this.pointers.get(event.pointerId);
    if (last === undefined) return;
    const dx = (event.clientX - last.x) / this.unit, dy = (event.clientY - last.y) / this.unit;
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    const other = others[0];
    if (other !== undefined) {
      // Two fingers: how far apart they are zooms, where they are moves.
      const before = Math.hypot(last.x - other.x, last.y - other.y);
      const after = Math.hypot(event.clientX - other.x, event.clientY - other.y);
      if (before > 1) this.zoom(after / before);
      this.shift(dx / 2, dy / 2);
    } else if (event.shiftKey || event.buttons & 6) this.shift(dx, dy);
    else this.turn(-dx * TURN, dy * TURN);
    last.x = event.clientX;
    last.y = event.clientY;
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const shift = event.shiftKey;
    const actions: Record<string, () => void> = {
      ArrowLeft: () => (shift ? this.shift(-KEY_SHIFT, 0) : this.turn(-KEY_TURN, 0)),
      ArrowRight: () => (shift ? this.shift(KEY_SHIFT, 0) : this.turn(KEY_TURN, 0)),
      ArrowUp: () => (shift ? this.shift(0, -KEY_SHIFT) : this.turn(0, KEY_TURN)),
      ArrowDown: () => (shift ? this.shift(0, KEY_SHIFT) : this.turn(0, -KEY_TURN)),
      "+": () => this.zoom(1.1), "=": () => this.zoom(1.1), "-": () => this.zoom(1 / 1.1), _: () => this.zoom(1 / 1.1),
      Home: () => this.front(), "0": () => this.front(),
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  }
}
