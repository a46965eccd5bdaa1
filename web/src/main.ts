import { App } from "./app";
import { loadAvatars, pageData } from "./data";
import { UserError } from "./errors";
import "./style.css";

declare global {
  interface Window {
    /** For scripts that embed or test the page. */
    viewer?: App;
  }
}

async function start(): Promise<void> {
  const data = pageData();
  const app = new App(data);
  app.show(await loadAvatars(data));
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
