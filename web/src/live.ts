/** Follows a live driver over the WebSocket that docs/live.md describes, as a watcher. The newest frame wins. */

import { neutralMotion, type Motion, type Packet } from "./packet";
import type { Source } from "./puppet";

const RETRY = 2000;
/** A driver that has been silent for so long is gone (ms). */
const SILENCE = 3000;

const KEYS: readonly (readonly [keyof Motion, string])[] = [
  ["expression", "expression"], ["globalRotation", "global_rotation"], ["neckRotation", "neck_rotation"],
  ["jawRotation", "jaw_rotation"], ["eyesRotation", "eyes_rotation"], ["translation", "translation"],
  ["neckTranslation", "neck_translation"],
];

export class Live {
  private readonly source: Source;
  private socket: WebSocket | null = null;
  private arrived = -Infinity;
  private fresh = false;
  private connected = false;
  private frames = 0;

  /** @param packet The avatar that the server was started with: its motions are in this one's terms. */
  constructor(
    private readonly address: string, packet: Packet, private readonly changed: () => void,
    private readonly say: (state: string) => void,
  ) {
    const { expressionNames, headEdition, rest, sight } = packet;
    this.source = {
      driver: { expressionNames, headEdition, rest, sight }, frame: neutralMotion(packet.expressionNames.length),
    };
    this.connect();
    setInterval(() => this.report(), 1000);
  }

  /** The newest frame; null when nobody drives. */
  get now(): Source | null {
    return performance.now() - this.arrived < SILENCE ? this.source : null;
  }

  /** @returns Whether a frame arrived since the last call. */
  advance(): boolean {
    const fresh = this.fresh;
    this.fresh = false;
    return fresh;
  }

  /** Take the driver's face of this moment for neutral. */
  neutral(): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send('{"type": "neutral"}');
  }

  private connect(): void {
    const socket = new WebSocket(this.address);
    this.socket = socket;
    socket.addEventListener("open", () => {
      this.connected = true;
      socket.send('{"type": "watch"}');
      this.report();
    });
    socket.addEventListener("message", (event) => this.receive(String(event.data)));
    socket.addEventListener("close", () => {
      this.connected = false;
      this.report();
      setTimeout(() => this.connect(), RETRY);
    });
  }

  private receive(text: string): void {
    let message: Record<string, unknown>;
    try {
      message = JSON.parse(text) as Record<string, unknown>;
    } catch {
      return;
    }
    if (message["type"] !== "motion") return;
    const { frame } = this.source;
    for (const [key, name] of KEYS) {
      const values = message[name];
      if (!Array.isArray(values) || values.length !== frame[key].length || !values.every(Number.isFinite)) return;
    }
    for (const [key, name] of KEYS) frame[key].set(message[name] as number[]);
    this.arrived = performance.now();
    this.fresh = true;
    this.frames++;
    this.changed();
  }

  private report(): void {
    const rate = this.frames;
    this.frames = 0;
    this.say(!this.connected ? "not connected" : this.now === null ? "waiting for a driver" : `${rate} frames/s`);
    if (this.connected && this.now === null && this.arrived > 0) {
      // The driver went away: back to rest, once.
      this.arrived = -Infinity;
      this.changed();
    }
  }
}
