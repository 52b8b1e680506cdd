/** The page at `/apps`: submits an application and shows its graph while it runs. @module */

import { call, readEvents, ServerError } from "./api.js";
import { examples } from "./app_examples.js";
import { drawGraph } from "./graph_view.js";
import { withKey } from "./key_dialog.js";

/** Milliseconds between two looks at a running graph. */
const lookEveryMs = 200;

/** @param {string} id */
const element = (id) => document.getElementById(id);

/** The application on the page, while it runs. @type {AbortController | undefined} */
let running;

/** @param {string} [text] */
function say(text = "") {
  element("notice").textContent = text;
  element("notice").hidden = text === "";
}

function showExample() {
  const { about, body } = examples[element("example").selectedIndex];
  element("about").textContent = about;
  element("body").value = JSON.stringify(body, null, 2);
}

/** The session's fields as a query. */
function query(session, more = {}) {
  return new URLSearchParams({
    session_id: session.session_id,
    session_auth: session.session_auth,
    ...more,
  });
}

async function describe(session) {
  const answer = await call(`/v1/apps/${session.session_id}?${query(session)}`);
  return await answer.json();
}

function show(description) {
  element("graph").replaceChildren(drawGraph(description));
  const { totals } = description;
  const share = totals.prefilled_share;
  element("totals").textContent = [
    `${totals.done} of ${totals.nodes} calls done`,
    totals.failed > 0 ? `${totals.failed} failed` : "",
    `${totals.prompt_tokens} prompt tokens${
      share === null ? "" : `, ${Math.round(share * 100)} % of them filled`
    }`,
    `${totals.completion_tokens} generated`,
  ].filter(Boolean).join(" · ");
}

/** What a submission is answered with; where it reads of it, first of all. The boxes read by themselves, as much as they show. */
async function submitted(answer) {
  if (!answer.headers.get("Content-Type").startsWith("text/event-stream")) return answer.json();
  for await (const event of readEvents(answer)) return event;
}

/** What is shown of an application, each once: criteria by ref. */
function shown({ outputs = {}, reads = [] }) {
  const read = reads.map((
    { ref, criteria, stream },
  ) => [ref, criteria ?? (stream ? "TTFT" : "latency")]);
  return new Map([...read, ...Object.entries(outputs)]);
}

/** Streams one variable's text, or why there is none, into a box of its own. */
async function follow(session, ref, id, criteria, signal) {
  const text = document.createElement("p");
  const title = document.createElement("h2");
  title.textContent = ref;
  const article = document.createElement("article");
  article.className = "output";
  article.append(title, text);
  element("outputs").append(article);
  const path = `/v1/semantic_var/${encodeURIComponent(id)}/stream?${query(session, { criteria })}`;
  try {
    for await (const event of readEvents(await call(path, { signal }))) {
      if (event.error) throw new ServerError(event.error, 0);
      if (event.done) return;
      text.append(event.text);
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // The others go on.
    const why = document.createElement("p");
    why.className = "failure";
    why.textContent = error.message;
    article.append(why);
    say(`${ref}: ${error.message}`);
  }
}

/** Looks at the graph until `work` has ended. */
async function watch(session, work) {
  let ended = false;
  work.finally(() => ended = true).catch(() => undefined);
  while (!ended) {
    show(await describe(session));
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
  }
}

/** Shows the button that does something now. It takes the keyboard's place of the other, which would be lost with it. */
function offer(now, other) {
  const focused = document.activeElement === element(other);
  element(now).hidden = false;
  element(other).hidden = true;
  if (focused) element(now).focus();
}

async function run() {
  let body;
  try {
    body = JSON.parse(element("body").value);
  } catch (error) {
    return say(`The body is not JSON: ${error.message}`);
  }
  say();
  element("outputs").replaceChildren();
  element("graph").replaceChildren();
  element("totals").textContent = "";
  offer("stop", "run");
  const { signal } = running = new AbortController();
  let session;
  try {
    const answer = await withKey(() =>
      call("/v1/apps", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(body),
        signal,
      })
    );
    session = await submitted(answer);
    const outputs = Promise.all(
      [...shown(body)].map(([ref, criteria]) =>
        follow(session, ref, session.variables[ref], criteria, signal)
      ),
    );
    await Promise.all([outputs, watch(session, outputs)]);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  } finally {
    if (session !== undefined) await end(session);
    running = undefined;
    offer("run", "stop");
  }
}

/** Shows the graph once more and closes its session, which stops what still runs. */
async function end(session) {
  try {
    show(await describe(session));
    await call(`/v1/session/${session.session_id}`, {
      method: "DELETE",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ session_auth: session.session_auth }),
    });
  } catch (error) {
    say(error.message);
  }
}

element("example").replaceChildren(...examples.map(({ name }) => new Option(name)));
element("example").addEventListener("change", showExample);
element("editor").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running === undefined) run();
});
element("stop").addEventListener("click", () => running?.abort());
showExample();
