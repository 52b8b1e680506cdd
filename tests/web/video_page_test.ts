import { assert, assertEquals, assertMatch } from "@std/assert";
import { nativeProblem } from "../../ffi/load.ts";
import { type RunningServer, serve, type ServeOptions } from "../../src/server/serve.ts";
import { ChromiumPage, findChromium } from "../support/chromium.ts";
import { FakeEnginePool } from "../support/fake_engine_pool.ts";

const chromium = await findChromium();
const missing = chromium === undefined ? "no chromium on PATH" : nativeProblem();
if (missing !== undefined) console.log(`skipped: the video page in a browser (${missing})`);

/** A second of a moving square, recorded by the page itself, handed to its file field. */
const dropClip = `(async () => {
  const canvas = document.createElement("canvas");
  canvas.width = 160; canvas.height = 90;
  const context = canvas.getContext("2d");
  let x = 0;
  const timer = setInterval(() => {
    context.fillStyle = "#246"; context.fillRect(0, 0, 160, 90);
    context.fillStyle = "#fc8"; context.fillRect(x++ % 130, 20, 30, 40);
  }, 30);
  const chunks = [];
  const recorder = new MediaRecorder(canvas.captureStream(30), { mimeType: "video/webm;codecs=vp8" });
  recorder.ondataavailable = ({ data }) => chunks.push(data);
  const stopped = new Promise((resolve) => recorder.onstop = resolve);
  recorder.start();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  recorder.stop();
  await stopped;
  clearInterval(timer);
  const files = new DataTransfer();
  files.items.add(new File(chunks, "clip.webm", { type: "video/webm" }));
  const field = document.querySelector("#file");
  field.files = files.files;
  field.dispatchEvent(new Event("change"));
})()`;

/** A camera that shows a pattern and is given without a question. */
const fakeCamera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"];

/** A test with the video page of a server. */
function pageTest(
  name: string,
  body: (page: ChromiumPage, server: RunningServer) => Promise<void>,
  { flags, ...options }: ServeOptions & { flags?: string[] } = {},
): void {
  Deno.test({
    name,
    ignore: missing !== undefined,
    fn: async () => {
      await using server = await serve({ port: 0, pool: new FakeEnginePool({}), ...options });
      await using page = await ChromiumPage.open(chromium as string, { flags });
      await page.goto(`${server.url}/video`);
      await body(page, server);
    },
  });
}

pageTest(
  "video page shows a dropped clip enlarged, damages it by the slider, changes scale, and stops",
  async (page) => {
    await page.evaluate(`(() => {
      globalThis.sockets = [];
      const Plain = WebSocket;
      globalThis.WebSocket = class extends Plain {
        constructor(...given) { super(...given); sockets.push(this); }
      };
    })()`);
    await page.evaluate(dropClip);
    const frames = "Number(document.body.dataset.frames ?? 0)";
    await page.waitFor(`${frames} >= 5`, 30_000);
    assertEquals(
      await page.evaluate(
        "[document.querySelector('#after').width, document.querySelector('#after').height]",
      ),
      [640, 360],
    );
    assertMatch(
      await page.evaluate("document.querySelector('#numbers').textContent"),
      /^[\d.]+ frames a second, \d+ ms$/,
    );
    // The square is orange on blue on both sides: colours survive the way through.
    const colours =
      `(id) => { const c = document.querySelector(id), d = c.getContext("2d").getImageData(0, 0, c.width, 4).data; return [d[0], d[1], d[2]]; }`;
    const [before, after] = await page.evaluate(`["#before", "#after"].map(${colours})`);
    for (let i = 0; i < 3; i++) {
      assert(Math.abs(before[i] - after[i]) < 12, `${before} became ${after}`);
    }

    await page.evaluate(
      "(() => { const s = document.querySelector('#kbps'); s.value = 100; s.dispatchEvent(new Event('input')); })()",
    );
    assertEquals(
      await page.evaluate("document.querySelector('#kbps-shown').textContent"),
      "100 kb/s",
    );
    const seen = await page.evaluate(frames);
    await page.waitFor(`${frames} >= ${seen + 5}`, 30_000);

    await page.evaluate(
      "(() => { const s = document.querySelector('#scale'); s.value = 2; s.dispatchEvent(new Event('change')); })()",
    );
    await page.waitFor("document.querySelector('#after').width === 320", 30_000);
    // The socket before may close only now.
    await page.evaluate("sockets[0].onclose(new CloseEvent('close'))");
    const kept = await page.evaluate(frames);
    await page.waitFor(`${frames} >= ${kept + 3}`, 30_000);
    await page.click("#stop");
    assertEquals(await page.evaluate("document.querySelector('#stop').disabled"), true);
    assertEquals(page.errors, []);
  },
);

pageTest(
  "video page asks for the key of a server that wants one, and says when there is none",
  async (page) => {
    await page.evaluate(dropClip);
    await page.waitFor("document.querySelector('#key-dialog')?.open");
    await page.press("Escape");
    const status = "document.querySelector('#status').textContent";
    await page.waitFor(`${status}.includes('none was given')`);
    await page.evaluate(dropClip);
    await page.waitFor("document.querySelector('#key-dialog')?.open");
    await page.type("s~same?/+");
    await page.press("Enter");
    await page.waitFor("Number(document.body.dataset.frames ?? 0) >= 5", 30_000);
  },
  { apiKeys: ["s~same?/+"] },
);

pageTest("video page says when the server takes no more videos", async (page, server) => {
  const other = new WebSocket(`${server.url.replace("http", "ws")}/v1/videos/live`);
  await new Promise((resolve) => other.onopen = resolve);
  await page.evaluate(dropClip);
  const status = "document.querySelector('#status').textContent";
  await page.waitFor(`${status}.includes('takes no more videos')`, 30_000);
  const closed = new Promise((resolve) => other.onclose = resolve);
  other.close();
  await closed;
}, { maxVideos: 1 });

pageTest(
  "video page turns off every camera that it was given, though one is given late",
  async (page) => {
    await page.evaluate(`(() => {
      globalThis.tracks = [];
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (what) => {
        const stream = await ask(what);
        tracks.push(...stream.getTracks());
        return stream;
      };
    })()`);
    const states = "tracks.map((track) => track.readyState).join()";
    const frames = "Number(document.body.dataset.frames ?? 0)";
    await page.click("#camera");
    await page.click("#camera");
    await page.waitFor("tracks.length === 2");
    await page.waitFor(`${frames} >= 1`, 30_000);
    await page.click("#stop");
    assertEquals(await page.evaluate(states), "ended,ended");
    // A file that is opened while the camera is asked for is what is shown.
    await page.click("#camera");
    await page.evaluate(dropClip);
    await page.waitFor("tracks.length === 3");
    await page.waitFor(`${states} === 'ended,ended,ended'`);
    await page.waitFor("document.querySelector('#status').textContent.startsWith('160×90 to')");
    assertEquals(page.errors, []);
  },
  { flags: fakeCamera },
);

pageTest(
  "video page shows each frame beside its own enlargement, and the pace of now",
  async (page) => {
    // Answers wait until they are let through: as from a server that is slow, then gone.
    await page.evaluate(`(() => {
      globalThis.held = [];
      const Plain = WebSocket;
      globalThis.WebSocket = class extends Plain {
        constructor(...given) { super(...given); globalThis.live = this; }
        set onmessage(take) {
          super.onmessage = (event) => {
            if (typeof event.data === "string") take(event);
            else held.push(() => take(event));
          };
        }
      };
    })()`);
    await page.evaluate(dropClip);
    await page.waitFor("held.length >= 3", 30_000);
    const seen = (id: string) =>
      page.evaluate(`(() => {
        const c = document.querySelector("${id}");
        const { data } = c.getContext("2d").getImageData(0, c.height >> 1, c.width, 1);
        // Where the bright square begins, as a part of the width; a canvas without a picture has none.
        for (let x = 0; x < c.width; x++) if (data[4 * x] > 128) return x / c.width;
      })()`);
    assertEquals(await seen("#before"), undefined);
    await page.evaluate("held.shift()()");
    const [before, after] = [await seen("#before"), await seen("#after")];
    assert(Math.abs(before - after) < 0.02, `the square at ${before} and at ${after}`);
    const numbers = "document.querySelector('#numbers').textContent";
    await page.evaluate("held.shift()()");
    assertMatch(await page.evaluate(numbers), /^[\d.]+ frames a second, \d+ ms$/);
    // No answers, no pace.
    await page.waitFor(`${numbers} === ''`);
    await page.evaluate("setInterval(() => held.shift()?.(), 5), 0");
    await page.waitFor(`${numbers} !== ''`);
    await page.click("#stop");
    assertEquals(await page.evaluate(numbers), "");
    assertEquals(await page.evaluate("document.querySelector('#status').textContent"), "Stopped.");
    assertEquals(page.errors, []);
  },
);

/** WebM files, made by ffmpeg: one orange picture of 16x16, and a beep. */
const onePicture =
  "GkXfo59ChoEBQveBAULygQRC84EIQoKEd2VibUKHgQJChYECGFOAZwEAAAAAAAH9EU2bdLpNu4tTq4QVSalmU6yBoU27" +
  "i1OrhBZUrmtTrIHYTbuMU6uEElTDZ1OsggEeTbuMU6uEHFO7a1OsggHn7AEAAAAAAABZAAAAAAAAAAAAAAAAAAAAAAAA" +
  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
  "AAAVSalmsirXsYMPQkBNgI1MYXZmNTkuMjcuMTAwV0GNTGF2ZjU5LjI3LjEwMESJiEBEAAAAAAAAFlSua8GuAQAAAAAA" +
  "ADjXgQFzxYjW/+qrOU98IJyBACK1nIN1bmSIgQCGhVZfVlA4g4EBI+ODhAJiWgDgibCBELqBEJqBAhJUw2f9c3OgY8CA" +
  "Z8iaRaOHRU5DT0RFUkSHjUxhdmY1OS4yNy4xMDBzc9djwItjxYjW/+qrOU98IGfIoUWjh0VOQ09ERVJEh5RMYXZjNTku" +
  "MzcuMTAwIGxpYnZweGfIokWjiERVUkFUSU9ORIeUMDA6MDA6MDAuMDQwMDAwMDAwAAAfQ7Z1wueBAKO9gQAAgPACAJ0B" +
  "KhAAEAAARwiFhYiFhIgCAgJ1qgP4A/oCDU0YAP776P//6ffZgzjn/0/B/+tgNkAU3/WgABxTu2uRu4+zgQC3iveBAfGC" +
  "AaDwgQM=";
const beep =
  "GkXfo59ChoEBQveBAULygQRC84EIQoKEd2VibUKHgQRChYECGFOAZwEAAAAAAAJ5EU2bdLpNu4tTq4QVSalmU6yBoU27" +
  "i1OrhBZUrmtTrIHYTbuMU6uEElTDZ1OsggFCTbuMU6uEHFO7a1OsggJj7AEAAAAAAABZAAAAAAAAAAAAAAAAAAAAAAAA" +
  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
  "AAAVSalmsirXsYMPQkBNgI1MYXZmNTkuMjcuMTAwV0GNTGF2ZjU5LjI3LjEwMESJiEBbAAAAAAAAFlSua+WuAQAAAAAA" +
  "AFzXgQFzxYguRX62Pb8y+5yBACK1nIN1bmSIgQCGhkFfT1BVU1aqg2MuoFa7hATEtACDgQLhkZ+BAbWIQOdwAAAAAABi" +
  "ZIEQY6KTT3B1c0hlYWQBATgBgLsAAAAAABJUw2f+c3OgY8CAZ8iaRaOHRU5DT0RFUkSHjUxhdmY1OS4yNy4xMDBzc9hj" +
  "wItjxYguRX62Pb8y+2fIokWjh0VOQ09ERVJEh5VMYXZjNTkuMzcuMTAwIGxpYm9wdXNnyKJFo4hEVVJBVElPTkSHlDAw" +
  "OjAwOjAwLjEwODAwMDAwMAAAH0O2dUCY54EAo5GBAACACINtgtAc/epJ/gE/wKOZgQAVgAinGl2KmC5fWspQj0PpJrkN" +
  "sG40QKOXgQApgAihLxDkXfvcBAxIvcap4Y+Dh0CjloEAPYAIoTjQdzKqVz3/XFtn7EHwh4CjlIEAUYAIoTjQdzKqXlgh" +
  "3SiI4cNAoJ6hlYEAZQAIg5wBipNqFkAt6EghBOrmQHWihADN/mAcU7trkbuPs4EAt4r3gQHxggHF8IED";

/** Drops a file at an element, as the browser tells of it. */
const dropAt = (selector: string, name: string, base64: string) =>
  `(() => {
    const bytes = Uint8Array.from(atob("${base64}"), (c) => c.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], "${name}", { type: "video/webm" }));
    const at = document.querySelector("${selector}");
    const told = ["dragover", "drop"].map((type) => new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
    for (const event of told) at.dispatchEvent(event);
    return told.map((event) => event.defaultPrevented);
  })()`;

pageTest(
  "video page takes files of one picture and of none, wherever they fall, and the same again",
  async (page) => {
    const folder = await Deno.makeTempDir();
    const status = "document.querySelector('#status').textContent";
    const frames = "Number(document.body.dataset.frames ?? 0)";
    // Beside the page's content the browser would leave the page.
    assertEquals(await page.evaluate(dropAt("html", "beep.webm", beep)), [true, true]);
    await page.waitFor(`${status} === 'beep.webm has no picture.'`);
    assertEquals(await page.evaluate("document.querySelector('#stop').disabled"), true);

    const file = `${folder}/still.webm`;
    await Deno.writeFile(file, Uint8Array.from(atob(onePicture), (c) => c.charCodeAt(0)));
    for (const _ of ["first", "again"]) {
      await page.evaluate("document.body.dataset.frames = 0");
      await page.chooseFile("#file", file);
      await page.waitFor(`${frames} >= 1`, 30_000);
      await page.click("#stop");
    }
    assertEquals(page.errors, []);
    await Deno.remove(folder, { recursive: true });
  },
);

pageTest("video page says when the camera is taken away", async (page) => {
  await page.evaluate(`(() => {
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (what) => globalThis.given = await ask(what);
    })()`);
  await page.click("#camera");
  await page.waitFor("Number(document.body.dataset.frames ?? 0) >= 1", 30_000);
  await page.evaluate("given.getTracks()[0].dispatchEvent(new Event('ended')), 0");
  const status = "document.querySelector('#status').textContent";
  assertEquals(await page.evaluate(status), "The camera was turned off.");
  assertEquals(await page.evaluate("document.querySelector('#stop').disabled"), true);
}, { flags: fakeCamera });
