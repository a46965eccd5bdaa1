/** Theme, background and sharpness of the picture. */

import type { Color } from "./renderer";

const KEY = "spatialavatar-theme";
const BACKGROUNDS: Record<"light" | "dark", Color> = { light: [0.925, 0.929, 0.933], dark: [0.098, 0.106, 0.118] };

export class Look {
  /** Null is automatic. */
  sharpness: number | null = null;

  constructor(
    private readonly parts: {
      readonly theme: HTMLSelectElement; readonly background: HTMLSelectElement; readonly custom: HTMLInputElement;
      readonly customRow: HTMLElement; readonly sharpness: HTMLSelectElement;
    },
    changed: () => void,
  ) {
    const { theme, background, custom, customRow, sharpness } = parts;
    theme.value = remembered();
    this.apply();
    theme.addEventListener("change", () => {
      remember(theme.value);
      this.apply();
      changed();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
    background.addEventListener("change", () => {
      customRow.hidden = background.value !== "custom";
      changed();
    });
    custom.addEventListener("input", changed);
    sharpness.addEventListener("change", () => {
      this.sharpness = sharpness.value === "auto" ? null : Number(sharpness.value);
      changed();
    });
  }

  /** Null is transparent. */
  get background(): Color | null {
    const { background, custom } = this.parts;
    if (background.value === "none") return null;
    if (background.value === "theme") return BACKGROUNDS[this.dark ? "dark" : "light"];
    const digits = background.value === "custom" ? custom.value : background.value;
    return [1, 3, 5].map((at) => parseInt(digits.slice(at, at + 2), 16) / 255) as unknown as Color;
  }

  private get dark(): boolean {
    const { value } = this.parts.theme;
    return value === "dark" || (value === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  }

  private apply(): void {
    const { value } = this.parts.theme;
    if (value === "auto") delete document.documentElement.dataset["theme"];
    else document.documentElement.dataset["theme"] = value;
  }
}

function remembered(): string {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "auto";
  } catch {
    return "auto"; // a page from a file may have no storage
  }
}

function remember(theme: string): void {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // Nothing is remembered then.
  }
}
