/** The page at `/`: a chat with a served model, or a text that it continues when it knows no chat. @module */

import { listModels, streamEvents } from "./api.js";
import { addMessage, clearMessages } from "./conversation.js";
import { withKey } from "./key_dialog.js";
import { rememberSettings, samplingFields, systemPrompt } from "./settings.js";
import { suggestions } from "./suggestions.js";

/** @param {string} id */
const element = (id) => document.getElementById(id);
const input = element("input");
const send = element("send");
const stop = element("stop-button");
const picker = element("model");
const stats = element("stats");
const notice = element("notice");

let models = [];
/** The turns so far, as the API takes them. */
let turns = [];
/** @type {AbortController | undefined} */
let running;

/** The model that is picked. */
function picked() {
  return models.find((model) => model.id === picker.value);
}

/** @param {string} [text] */
function say(text = "") {
  notice.textContent = text;
  notice.hidden = text === "";
}

/** @param {number} ms */
function duration(ms) {
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** Figures of a finished answer, from the server's own clock. */
function figures({ usage, timings }) {
  const cached = usage.prompt_tokens_details.cached_tokens;
  return [
    `${usage.completion_tokens} tokens`,
    timings.tokens_per_s === null ? "" : `${timings.tokens_per_s.toFixed(1)} tokens/s`,
    `first after ${duration(timings.ttft_ms)}`,
    `prompt ${usage.prompt_tokens}${cached > 0 ? ` (${cached} cached)` : ""}`,
  ].filter(Boolean).join(" · ");
}

function showModel() {
  const model = picked();
  if (model === undefined) return;
  const size = model.parameters >= 1e9
    ? `${(model.parameters / 1e9).toFixed(1)} B`
    : `${(model.parameters / 1e6).toFixed(1)} M`;
  element("device").textContent =
    `${model.architecture} · ${size} parameters · context ${model.context_length.toLocaleString()} · ${model.device}`;
  element("device").title = element("device").textContent;
  element("welcome").textContent = model.has_chat_template
    ? `Chat with ${model.id}. It runs on this machine.`
    : `${model.id} continues the text you write; it was not trained to chat. It runs on this machine.`;
  element("suggestions").hidden = !model.has_chat_template;
  input.placeholder = model.has_chat_template ? "Write a message" : "Write the beginning of a text";
  element("system").disabled = !model.has_chat_template;
}

async function loadModels() {
  try {
    models = await withKey(listModels);
  } catch (error) {
    picker.replaceChildren(new Option("No models"));
    say(`The models could not be listed. ${error.message} Reload the page to try again.`);
    return;
  }
  say();
  picker.replaceChildren(...models.map(({ id }) => new Option(id, id)));
  const last = localStorage.getItem("model");
  if (models.some((model) => model.id === last)) picker.value = last;
  picker.disabled = models.length < 2;
  send.disabled = models.length === 0;
  if (models.length === 0) say("The server has no model that could be loaded; its log says why.");
  showModel();
  input.focus();
}

/** The call that answers `text`: a chat, or a continuation. */
function requestFor(model, text) {
  const common = { model: model.id, ...samplingFields(), sparrow: { progress: true } };
  if (!model.has_chat_template) return ["/v1/completions", { ...common, prompt: text }];
  const system = systemPrompt();
  const messages = [
    ...(system === "" ? [] : [{ role: "system", content: system }]),
    ...turns,
    { role: "user", content: text },
  ];
  return ["/v1/chat/completions", { ...common, messages }];
}

/** Shows how much of a long prompt is read. */
function showReading(comment) {
  const [, tokens, all] = /^read (\d+) of (\d+) tokens$/.exec(comment) ?? [];
  if (all) stats.textContent = `Reading: ${Math.floor(100 * tokens / all)} % of ${all} tokens…`;
}

/** Sends `text` and streams the answer onto the page. */
async function answer(text) {
  const model = picked();
  const chat = model.has_chat_template;
  const own = turns;
  const question = chat ? addMessage("user") : undefined;
  question?.append(text);
  const message = addMessage("assistant", chat ? "" : text);
  message.setRunning(true);
  running = new AbortController();
  send.hidden = true;
  stop.hidden = false;
  say();
  stats.textContent = "Waiting for the first token…";

  const sent = performance.now();
  let first = 0;
  let tokens = 0;
  let end;
  const request = requestFor(model, text);
  try {
    for await (const event of streamEvents(...request, running.signal, showReading)) {
      const choice = event.choices[0];
      const piece = choice?.delta?.content ?? choice?.text ?? "";
      if (piece !== "") {
        const now = performance.now();
        if (tokens++ === 0) first = now;
        message.append(piece);
        const rate = tokens > 1
          ? ` · ${((tokens - 1) / (now - first) * 1000).toFixed(1)} tokens/s`
          : "";
        stats.textContent = `first token after ${duration(first - sent)}${rate}`;
      }
      if (event.usage) end = event;
    }
    stats.textContent = end ? figures(end) : "";
    message.finish(end ? figures(end) : "");
  } catch (error) {
    // Another chat was begun: nothing of this one is shown any more.
    if (own !== turns) return;
    const stopped = error.name === "AbortError";
    if (!stopped) say(error.message);
    if (!stopped && error.status === 401) loadModels();
    stats.textContent = stopped ? "Stopped." : "";
    if (message.text === "") {
      message.remove();
      question?.remove();
      input.value = input.value === "" ? text : `${text}\n\n${input.value}`;
      return;
    }
    message.finish(stopped ? "stopped" : "broken off");
  } finally {
    running = undefined;
    // Who went elsewhere meanwhile, to the settings or the text above, stays there.
    const idle = [document.body, stop].includes(document.activeElement);
    send.hidden = false;
    stop.hidden = true;
    if (idle) input.focus();
  }
  if (chat) {
    own.push({ role: "user", content: text }, { role: "assistant", content: message.text });
  }
}

element("suggestions").replaceChildren(...suggestions.map(({ title, text }) => {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = title;
  button.addEventListener("click", () => {
    input.value = text;
    input.focus();
  });
  return button;
}));
element("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = input.value;
  if (text.trim() === "" || running !== undefined || picked() === undefined) return;
  const settings = element("sampling");
  // What is wrong is not shown, and nothing said, where it is folded up.
  if (!settings.checkValidity()) element("settings").open = true;
  if (!settings.reportValidity()) return;
  input.value = "";
  answer(text);
});
input.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    element("composer").requestSubmit();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
});
stop.addEventListener("click", () => running?.abort());
picker.addEventListener("change", () => {
  localStorage.setItem("model", picker.value);
  showModel();
});
element("new-chat").addEventListener("click", () => {
  running?.abort();
  turns = [];
  clearMessages();
  say();
  stats.textContent = "";
  input.focus();
});

rememberSettings();
loadModels();
