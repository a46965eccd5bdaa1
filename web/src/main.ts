import { App } from "./app";
import { loadAvatars, pageData } from "./data";
import { UserError } from "./errors";
import { makeRenderer } from "./renderer";
import "./style.css";

declare global {
  interface Window {
    /** For scripts that embed or test the page. */
    viewer?: App;
  }
}

async function start(): Promise<void> {
  const data = pageData();
  const canvas = document.getElementById("canvas") as HTMLCanvasElement;
  const [renderer, packets] = await Promise.all([makeRenderer(canvas), loadAvatars(data)]);
  const app = new App(data, renderer);
  app.show(packets);
  window.viewer = app;
}

start().catch((error: unknown) => {
  const message = document.getElementById("message")!;
  message.textContent = error instanceof UserError ? error.message : `Something went wrong in the page: ${String(error)}`;
  message.className = "fatal";
  message.hidden = false;
  document.body.classList.add("failed");
  console.error(error);
});
