/** Plays a recording: time line, play and pause, repeat. */

import { neutralMotion } from "./packet";
import type { Source } from "./puppet";
import type { Recording } from "./recording";

export class Player {
  private recording: Recording | null = null;
  private source: Source | null = null;
  private seconds = 0;
  private running = false;

  constructor(
    private readonly parts: {
      readonly bar: HTMLElement; readonly play: HTMLElement; readonly take: HTMLElement; readonly time: HTMLInputElement;
      readonly clock: HTMLOutputElement; readonly loop: HTMLElement; readonly close: HTMLElement;
    },
    private readonly changed: () => void,
  ) {
    parts.play.addEventListener("click", () => this.toggle());
    parts.close.addEventListener("click", () => this.open(null));
    parts.loop.addEventListener("click", () => {
      parts.loop.setAttribute("aria-pressed", String(!this.repeats));
    });
    parts.time.addEventListener("input", () => {
      this.seconds = Number(parts.time.value);
      this.show();
      changed();
    });
  }

  get playing(): boolean {
    return this.running;
  }

  /** The frame of now; null without a recording. */
  get now(): Source | null {
    if (this.recording === null || this.source === null) return null;
    this.recording.at(this.seconds, this.source.frame);
    return this.source;
  }

  /** Show another recording from its start; null closes. */
  open(recording: Recording | null): void {
    this.recording = recording;
    this.source = recording === null ? null
      : { driver: recording.driver, frame: neutralMotion(recording.driver.expressionNames.length) };
    this.seconds = 0;
    this.parts.bar.hidden = recording === null;
    this.parts.take.textContent = recording?.source ?? "";
    this.parts.take.title = recording?.source ?? "";
    this.parts.time.max = String(this.end);
    this.run(recording !== null && recording.length > 1);
  }

  toggle(): void {
    if (this.recording === null) return;
    if (!this.running && this.seconds >= this.end) this.seconds = 0;
    this.run(!this.running);
  }

  seek(seconds: number): void {
    this.seconds = Math.min(Math.max(seconds, 0), this.end);
    this.run(false);
  }

  /** @returns Whether time went on. */
  advance(seconds: number): boolean {
    if (!this.running) return false;
    this.seconds += seconds;
    if (this.seconds > this.end) {
      if (this.repeats && this.end > 0) this.seconds %= this.end;
      else {
        this.seconds = this.end;
        this.run(false);
      }
    }
    this.show();
    return true;
  }

  private get repeats(): boolean {
    return this.parts.loop.getAttribute("aria-pressed") === "true";
  }

  /** Time of the last frame. */
  private get end(): number {
    return this.recording === null ? 0 : (this.recording.length - 1) / this.recording.frameRate;
  }

  private run(running: boolean): void {
    this.running = running;
    this.parts.play.setAttribute("aria-pressed", String(running));
    this.parts.play.setAttribute("aria-label", running ? "Pause" : "Play");
    this.show();
    this.changed();
  }

  private show(): void {
    this.parts.time.value = String(this.seconds);
    this.parts.time.style.setProperty("--to", String(this.end > 0 ? this.seconds / this.end : 0));
    const text = `${Math.floor(this.seconds / 60)}:${(this.seconds % 60).toFixed(1).padStart(4, "0")}`;
    this.parts.clock.value = text;
    this.parts.time.setAttribute("aria-valuetext", text);
  }
}
