/** The messages on the page. @module */

const log = document.getElementById("conversation");

/** Whether the reader is at the end, and so wants to stay there. */
function atEnd() {
  return log.scrollHeight - log.scrollTop - log.clientHeight < 40;
}

/** Removes every message. */
export function clearMessages() {
  for (const message of log.querySelectorAll(".message")) message.remove();
}

/**
 * Adds a message.
 * @param {"user" | "assistant"} role
 * @param {string} [given] text before the model's own, shown apart (a prompt that is continued)
 */
export function addMessage(role, given = "") {
  const article = document.createElement("article");
  article.className = `message ${role}`;
  article.setAttribute("aria-label", role === "user" ? "You" : "Model");
  const text = document.createElement("div");
  text.className = "text";
  if (given !== "") {
    const span = document.createElement("span");
    span.className = "given";
    span.textContent = given;
    text.append(span);
  }
  const written = document.createTextNode("");
  text.append(written);
  const meta = document.createElement("div");
  meta.className = "meta";
  article.append(text, meta);
  log.append(article);
  log.scrollTop = log.scrollHeight;
  return {
    /** The text added so far, without what was given. */
    get text() {
      return written.data;
    },
    /** @param {string} more */
    append(more) {
      const follow = atEnd();
      written.appendData(more);
      if (follow) log.scrollTop = log.scrollHeight;
    },
    /** @param {boolean} running */
    setRunning(running) {
      article.classList.toggle("running", running);
      // The log is a live region: without this every token is read out.
      article.setAttribute("aria-busy", String(running));
    },
    /** Shows figures below the text, and where the browser can, a button that copies it. @param {string} figures */
    finish(figures) {
      const follow = atEnd();
      this.setRunning(false);
      meta.replaceChildren(figures);
      // Browsers give the clipboard to pages over HTTPS and of this machine only.
      if (navigator.clipboard) meta.append(copyButton(text));
      if (follow) log.scrollTop = log.scrollHeight;
    },
    remove() {
      article.remove();
    },
  };
}

/** A button that copies what `text` shows. @param {HTMLElement} text */
function copyButton(text) {
  const copy = document.createElement("button");
  copy.type = "button";
  copy.className = "plain";
  copy.textContent = "Copy";
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent ?? "");
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Not allowed";
    }
    setTimeout(() => copy.textContent = "Copy", 1500);
  });
  return copy;
}
