/** Asks for the key of a server that wants one. @module */

import { ServerError, setKey } from "./api.js";

/** The question that is open. @type {Promise<boolean> | undefined} */
let asked;

/**
 * Asks for the key and keeps it for this tab. Resolves to whether one was given. There is one question at a time, whoever asks.
 * @returns {Promise<boolean>}
 */
function askKey() {
  asked ??= ask().finally(() => asked = undefined);
  return asked;
}

/** @returns {Promise<boolean>} */
function ask() {
  const dialog = document.createElement("dialog");
  dialog.id = "key-dialog";
  dialog.setAttribute("aria-labelledby", "key-title");
  dialog.innerHTML = `<form method="dialog">
    <h2 id="key-title">This server asks for an API key</h2>
    <p class="quiet">It is kept in this tab only.</p>
    <label>Key <input id="key" type="password" autocomplete="off"></label>
    <button type="submit" value="given">Use this key</button>
  </form>`;
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const key = dialog.querySelector("#key").value.trim();
      dialog.remove();
      // Escape leaves no return value.
      const given = dialog.returnValue === "given" && key !== "";
      if (given) setKey(key);
      resolve(given);
    });
  });
}

/**
 * What `work` returns. Where the server refuses it for want of a key, asks for one and tries again; throws `ServerError` where none is given.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withKey(work) {
  while (true) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof ServerError) || error.status !== 401) throw error;
      if (await askKey()) continue;
      throw new ServerError("This server asks for an API key, and none was given.", 401);
    }
  }
}
