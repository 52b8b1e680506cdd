import { listModels, ServerError, socketProtocols } from "/web/api.js";
import { DamageCodec } from "/web/damage_codec.js";
import { toI420 } from "/web/i420.js";
import { withKey } from "/web/key_dialog.js";

const $ = (id) => document.getElementById(id);
/** Longest side sent to the server: what a call sends when the network is bad. */
const sentSide = 320;
/** The slider's end, which means no damage. */
const undamaged = 1050;
const framePeriodMs = 40;
/** The rate shown is that of this last while. */
const rateMs = 2000;

const video = document.createElement("video");
video.muted = true;
video.playsInline = true;
const small = document.createElement("canvas");

let socket, ready, timer, camera, answered = 0;
/** Frames sent and not yet answered, each with when it was sent. @type {{ frame: VideoFrame, sent: number }[]} */
let waiting = [];
/** When the latest answers came. @type {number[]} */
let answers = [];
/** Raised when a source is left: what was asked for before, and comes only then, is let go. */
let turn = 0;

const codec = new DamageCodec((frame) => sendFrame(frame));

function status(text) {
  $("status").textContent = text;
}

/** Shows the video's source, unless it was left meanwhile. @param {number} own its turn */
async function start(own) {
  stopSocket();
  // A socket that is refused does not say why; this does, and asks for the key.
  await withKey(listModels);
  if (own !== turn) return;
  await video.play();
  if (own !== turn) return;
  const ratio = Math.min(1, sentSide / Math.max(video.videoWidth, video.videoHeight));
  small.width = Math.max(2, Math.round(video.videoWidth * ratio / 2) * 2);
  small.height = Math.max(2, Math.round(video.videoHeight * ratio / 2) * 2);
  $("before").width = small.width;
  $("before").height = small.height;
  connect();
  $("stop").disabled = false;
  clearInterval(timer);
  timer = setInterval(tick, framePeriodMs);
}

function connect() {
  stopSocket();
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const own = socket = new WebSocket(
    `${scheme}//${location.host}/v1/videos/live`,
    socketProtocols(),
  );
  socket.binaryType = "arraybuffer";
  let opened = false;
  socket.onopen = () => {
    opened = true;
    own.send(JSON.stringify({
      width: small.width,
      height: small.height,
      scale: Number($("scale").value),
      quality: $("quality").value,
    }));
  };
  socket.onmessage = ({ data }) =>
    typeof data === "string" ? onText(JSON.parse(data)) : onFrame(data);
  socket.onclose = ({ reason }) => {
    // One that was left may close when its successor is ready.
    if (socket !== own) return;
    forgetFrames();
    status(
      opened
        ? `The server closed the connection${reason ? `: ${reason}` : ""}.`
        : "The server takes no more videos at the moment, or cannot be reached.",
    );
    ready = undefined;
  };
}

function onText(message) {
  if (message.type === "ready") {
    forgetFrames();
    ready = message;
    answered = 0;
    $("after").width = message.width;
    $("after").height = message.height;
    status(
      `${small.width}×${small.height} to ${message.width}×${message.height}, ${message.device}`,
    );
  } else if (message.type === "error") {
    status(message.message);
  } else if (message.type === "dropped") {
    waiting.pop()?.frame.close();
  }
}

function onFrame(data) {
  const { frame: input, sent } = waiting.shift();
  // Only now, so that the two that stand side by side are the same picture.
  $("before").getContext("2d").drawImage(input, 0, 0);
  input.close();
  const frame = new VideoFrame(data, {
    format: "I420",
    codedWidth: ready.width,
    codedHeight: ready.height,
    timestamp: 0,
    colorSpace: {
      matrix: "smpte170m",
      primaries: "smpte170m",
      transfer: "smpte170m",
      fullRange: false,
    },
  });
  $("after").getContext("2d").drawImage(frame, 0, 0);
  frame.close();
  document.body.dataset.frames = String(++answered);
  answers.push(performance.now());
  showNumbers(answers.at(-1) - sent);
}

/** The rate of the answers of the last while, and how long the latest took. @param {number} ms */
function showNumbers(ms) {
  const now = answers.at(-1);
  answers = answers.filter((at) => now - at < rateMs);
  if (answers.length < 2) return;
  const rate = (answers.length - 1) * 1000 / (now - answers[0]);
  $("numbers").textContent = `${rate.toFixed(1)} frames a second, ${Math.round(ms)} ms`;
}

/** Lets go of what is not answered, and of what was shown of the answers' pace. */
function forgetFrames() {
  for (const { frame } of waiting) frame.close();
  waiting = [];
  answers = [];
  $("numbers").textContent = "";
}

/** One picture of the source, through the codec when it is to be damaged. */
function tick() {
  if (performance.now() - answers.at(-1) > rateMs) $("numbers").textContent = "";
  if (!ready || waiting.length > 2 || video.readyState < 2 || codec.pending > 2) return;
  small.getContext("2d").drawImage(video, 0, 0, small.width, small.height);
  const frame = new VideoFrame(small, { timestamp: performance.now() * 1000 });
  const kbps = Number($("kbps").value);
  if (kbps < undamaged && DamageCodec.supported) codec.push(frame, kbps);
  else sendFrame(frame);
}

async function sendFrame(frame) {
  try {
    const { bytes, width, height } = await toI420(frame);
    if (ready && width === small.width && height === small.height) {
      waiting.push({ frame: frame.clone(), sent: performance.now() });
      socket.send(bytes);
    }
  } finally {
    frame.close();
  }
}

function stopSocket() {
  ready = undefined;
  forgetFrames();
  socket?.close();
  socket = undefined;
}

/** Leaves the source. Returns the turn of the next. */
function stop() {
  clearInterval(timer);
  stopSocket();
  codec.close();
  video.pause();
  release(camera);
  camera = undefined;
  $("stop").disabled = true;
  return ++turn;
}

/** Turns a camera off. @param {MediaStream | undefined} stream */
function release(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

async function openFile(file) {
  const own = stop();
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.src = URL.createObjectURL(file);
  status(`Reading ${file.name} …`);
  try {
    await new Promise((resolve, reject) => {
      video.onloadeddata = resolve;
      video.onerror = () => reject(new Error(`This browser cannot play ${file.name}.`));
    });
    if (video.videoWidth === 0) throw new Error(`${file.name} has no picture.`);
    // Of a picture or two nothing is seen while they are wound back and back.
    video.loop = video.duration > 0.2;
    await start(own);
  } catch (error) {
    if (own === turn) status(error.message);
  }
}

$("file").onchange = () => {
  const [file] = $("file").files;
  // So that the same file, picked again, is a change.
  $("file").value = "";
  if (file) openFile(file);
};
$("camera").onclick = async () => {
  const own = stop();
  try {
    if (!navigator.mediaDevices) {
      throw new Error("browsers give it to pages over HTTPS and of this machine only.");
    }
    const given = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360 } });
    if (own !== turn) return release(given);
    camera = given;
    camera.getVideoTracks()[0].onended = () => {
      if (own !== turn) return;
      stop();
      status("The camera was turned off.");
    };
    video.srcObject = camera;
    await new Promise((resolve) => video.onloadeddata = resolve);
    await start(own);
  } catch (error) {
    if (own !== turn) return;
    stop();
    status(
      error instanceof ServerError ? error.message : `The camera cannot be used: ${error.message}`,
    );
  }
};
$("stop").onclick = () => {
  stop();
  status("Stopped.");
};
for (const id of ["scale", "quality"]) $(id).onchange = () => !$("stop").disabled && connect();
$("kbps").oninput = () => {
  const kbps = Number($("kbps").value);
  $("kbps-shown").textContent = kbps < undamaged ? `${kbps} kb/s` : "undamaged";
};
if (!DamageCodec.supported) $("kbps").disabled = true;

// The whole window, since a browser leaves the page for a file that is dropped beside.
const drop = $("drop");
document.ondragover = (event) => {
  event.preventDefault();
  drop.classList.add("over");
};
document.ondragleave = ({ relatedTarget }) => {
  if (relatedTarget === null) drop.classList.remove("over");
};
document.ondrop = (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files[0]) openFile(event.dataTransfer.files[0]);
};
