const $ = (id) => document.getElementById(id);
const data = JSON.parse($("data").textContent);

function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

const [rows, columns] = data.grid;
const numPatches = rows * columns, numTokens = data.prefix + numPatches;
const inflated = new Blob([bytesOf(data.levels)]).stream().pipeThrough(new DecompressionStream("deflate"));
const levels = new Uint8Array(await new Response(inflated).arrayBuffer());
const scales = new Float32Array(bytesOf(data.scales).buffer), colours = bytesOf(data.colours);
const MEAN = -1;
const state = { view: Object.keys(data.methods)[0] ?? "attention", layer: data.layers.length - 1, head: data.heads > 1 ? MEAN : 0, query: 0, held: false };

/* One query's attention to all tokens, in multiples of uniform attention; query 0 is what the head reads. */
function attention(layer, head, query) {
  const result = new Float32Array(numTokens);
  const heads = head === MEAN ? [...Array(data.heads).keys()] : [head];
  for (const one of heads) {
    const row = (layer * data.heads + one) * data.queries + query;
    const factor = (scales[row] / 255) * (numTokens / heads.length);
    for (let token = 0; token < numTokens; token++) result[token] += levels[row * numTokens + token] * factor;
  }
  return result;
}

/* Pointing at a patch shows attention for as long; then the chosen view is back. */
const shownView = () => (state.query ? "attention" : state.view);
function shownHeat() {
  if (shownView() === "attention") return attention(state.layer, state.head, state.query).subarray(data.prefix);
  return data.methods[state.view];
}

/* Where the colours end: what was chosen, or the smallest range that holds the shown map's largest value. */
let range = data.ranges[0];
function setRange(largest) {
  const chosen = $("range").value, fits = data.ranges.find((high) => largest <= high);
  range = chosen === "fit" ? (fits ?? data.ranges.at(-1)) : Number(chosen);
  const why = chosen === "fit" && fits ? `the smallest of ${data.ranges.join(", ")} that holds this map's largest value, ${largest.toFixed(1)} ×` : `this map's largest value is ${largest.toFixed(1)} ×`;
  $("ranged").textContent = `Colours end at ${range} × uniform: ${why}.`;
}

const share = (heat) => Math.min(heat / range, 1);
function colour(heat) {
  const at = 3 * Math.round(255 * share(heat));
  return [colours[at], colours[at + 1], colours[at + 2]];
}

const stage = $("stage"), veil = $("veil"), map = $("map");
const cellBox = (patch) => {
  const [left, top, right, bottom] = data.seen;
  const width = ((right - left) / columns) * veil.width, height = ((bottom - top) / rows) * veil.height;
  return [left * veil.width + (patch % columns) * width, top * veil.height + Math.floor(patch / columns) * height, width, height];
};

function hatch(pen) {
  const [left, top, right, bottom] = data.seen.map((edge, i) => edge * (i % 2 ? veil.height : veil.width));
  const outside = new Path2D();
  outside.rect(0, 0, veil.width, veil.height);
  outside.rect(left, top, right - left, bottom - top);
  pen.save();
  pen.clip(outside, "evenodd");
  pen.fillStyle = "rgba(255, 255, 255, 0.6)";
  pen.fillRect(0, 0, veil.width, veil.height);
  pen.strokeStyle = "rgba(40, 40, 40, 0.75)";
  pen.lineWidth = Math.max(1, devicePixelRatio);
  pen.beginPath();
  const step = 10 * devicePixelRatio;
  for (let x = -veil.height; x < veil.width; x += step) {
    pen.moveTo(x, veil.height);
    pen.lineTo(x + veil.height, 0);
  }
  pen.stroke();
  pen.restore();
}

function drawMap(pen, heat, opacity) {
  pen.clearRect(0, 0, veil.width, veil.height);
  hatch(pen);
  for (let patch = 0; heat && patch < numPatches; patch++) {
    const [x, y, width, height] = cellBox(patch);
    pen.fillStyle = `rgba(${colour(heat[patch]).join(",")},${opacity(heat[patch])})`;
    pen.fillRect(Math.round(x), Math.round(y), Math.round(x + width) - Math.round(x), Math.round(y + height) - Math.round(y));
  }
  if (state.query) {
    const box = cellBox(state.query - 1), line = 2 * devicePixelRatio;
    pen.lineWidth = 2 * line;
    pen.strokeStyle = "rgba(0, 0, 0, 0.8)";
    pen.strokeRect(...box);
    pen.lineWidth = line;
    pen.strokeStyle = state.held ? "#ffd166" : "#fff";
    pen.strokeRect(...box);
  }
}

const mosaic = $("mosaic");
mosaic.width = data.heads * (columns + 1) - 1;
mosaic.height = data.layers.length * (rows + 1) - 1;
mosaic.style.width = `${mosaic.width * Math.max(1, Math.min(16, Math.floor(540 / Math.max(mosaic.width, mosaic.height))))}px`;

function drawMosaic() {
  const image = new ImageData(mosaic.width, mosaic.height);
  for (let layer = 0; layer < data.layers.length; layer++)
    for (let head = 0; head < data.heads; head++) {
      const heat = attention(layer, head, state.query);
      for (let patch = 0; patch < numPatches; patch++) {
        const x = head * (columns + 1) + (patch % columns), y = layer * (rows + 1) + Math.floor(patch / columns);
        image.data.set([...colour(heat[data.prefix + patch]), 255], 4 * (y * mosaic.width + x));
      }
    }
  mosaic.getContext("2d").putImageData(image, 0, 0);
  const marker = $("chosen"), factor = mosaic.clientWidth / mosaic.width, whole = state.head === MEAN;
  marker.style.left = `${(whole ? 0 : state.head * (columns + 1)) * factor - 3}px`;
  marker.style.top = `${state.layer * (rows + 1) * factor - 3}px`;
  marker.style.width = `${(whole ? mosaic.width : columns) * factor + 6}px`;
  marker.style.height = `${rows * factor + 6}px`;
}

function say() {
  const percent = (value) => `${(100 * value).toFixed(1)} %`;
  const place = (patch) => `row ${Math.floor(patch / columns) + 1}, column ${(patch % columns) + 1}`;
  if (shownView() !== "attention") {
    $("said").textContent = data.words[state.view];
    return;
  }
  const heat = attention(state.layer, state.head, state.query);
  const patches = heat.subarray(data.prefix);
  const best = patches.indexOf(Math.max(...patches));
  const mass = (from, to) => heat.subarray(from, to).reduce((sum, value) => sum + value, 0) / numTokens;
  const head = data.averaged || state.head === MEAN ? "mean of the heads" : `head ${state.head + 1}`;
  const from = state.query ? `the patch in ${place(state.query - 1)}` : data.readout;
  let text = `From ${from}, layer ${data.layers[state.layer]}, ${head}: most on ${place(best)}, ${patches[best].toFixed(1)} × uniform.`;
  if (data.classTokens) text += ` On the class token: ${percent(mass(0, data.classTokens))}.`;
  if (data.prefix > data.classTokens) text += ` On registers: ${percent(mass(data.classTokens, data.prefix))}.`;
  $("said").textContent = text;
}

function writeTicks() {
  $("ticks").replaceChildren(...[0, 0.25, 0.5, 0.75, 1].map((part) => Object.assign(document.createElement("span"), { textContent: part * range })));
}

function draw() {
  const heat = shownHeat(), strength = Number($("strength").value);
  if (heat) setRange(Math.max(...heat));
  else $("ranged").textContent = "";
  writeTicks();
  $("layer").value = state.layer;
  $("head").value = state.head;
  document.querySelector(`#views input[value="${shownView()}"]`).checked = true;
  drawMap(veil.getContext("2d"), heat, (value) => strength * share(value));
  drawMap(map.getContext("2d"), heat, () => 1);
  $("alone").hidden = !heat;
  drawMosaic();
  say();
}

/* Frames, not events: a pointer moves more often than a screen shows. */
let due = false;
function change(what) {
  Object.assign(state, what);
  if (due) return;
  due = true;
  requestAnimationFrame(() => {
    due = false;
    draw();
  });
}

function patchAt(event) {
  const box = stage.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
  const [left, top, right, bottom] = data.seen;
  if (data.queries === 1 || x < left || x >= right || y < top || y >= bottom) return 0;
  return 1 + Math.floor(((y - top) / (bottom - top)) * rows) * columns + Math.floor(((x - left) / (right - left)) * columns);
}

function hover(event) {
  const query = patchAt(event);
  if (!state.held && query !== state.query) change({ query });
}

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const within = (value, count) => Math.min(Math.max(value, 0), count - 1);

stage.addEventListener("pointermove", hover);
stage.addEventListener("pointerdown", (event) => {
  const query = patchAt(event);
  if (state.held && query === state.query) change({ held: false });
  else change({ query, held: query > 0 });
});
stage.addEventListener("pointerleave", () => state.held || change({ query: 0 }));
stage.addEventListener("keydown", (event) => {
  const arrow = ARROWS[event.key];
  if (event.key === "Escape") change({ query: 0, held: false });
  else if (event.key === "Enter" && state.query) change({ held: !state.held });
  else if (arrow && data.queries > 1) {
    event.preventDefault();
    const start = state.query ? state.query - 1 : Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    const [down, right] = state.query ? arrow : [0, 0];
    const row = within(Math.floor(start / columns) + down, rows), column = within((start % columns) + right, columns);
    change({ query: 1 + row * columns + column });
  }
});

const atlas = $("atlas");
atlas.addEventListener("click", (event) => {
  const box = mosaic.getBoundingClientRect();
  const head = Math.floor(((event.clientX - box.left) / box.width) * data.heads);
  const layer = Math.floor(((event.clientY - box.top) / box.height) * data.layers.length);
  change({ head: within(head, data.heads), layer: within(layer, data.layers.length), view: "attention" });
});
atlas.addEventListener("keydown", (event) => {
  const arrow = ARROWS[event.key];
  if (!arrow) return;
  event.preventDefault();
  change({ layer: within(state.layer + arrow[0], data.layers.length), head: within(state.head + arrow[1], data.heads), view: "attention" });
});

const option = (text, value) => new Option(text, value);
data.layers.forEach((layer, index) => $("layer").append(option(layer, index)));
if (data.heads > 1 || data.averaged) $("head").append(option("mean of all", data.averaged ? 0 : MEAN));
if (!data.averaged) for (let head = 0; head < data.heads; head++) $("head").append(option(head + 1, head));
$("layer").addEventListener("change", (event) => change({ layer: Number(event.target.value), view: "attention" }));
$("head").addEventListener("change", (event) => change({ head: Number(event.target.value), view: "attention" }));
$("views").addEventListener("change", (event) =>
  change({ view: event.target.value, ...(event.target.value === "attention" ? {} : { query: 0, held: false }) }));
for (const control of ["strength", "range"]) $(control).addEventListener("input", () => change({}));

const ramp = new ImageData(256, 1);
for (let i = 0; i < 256; i++) ramp.data.set([...colours.subarray(3 * i, 3 * i + 3), 255], 4 * i);
$("scale").getContext("2d").putImageData(ramp, 0, 0);

new ResizeObserver(() => {
  map.width = veil.width = Math.round(stage.clientWidth * devicePixelRatio);
  map.height = veil.height = Math.round(stage.clientHeight * devicePixelRatio);
  map.style.width = `${stage.clientWidth}px`;
  draw();
}).observe(stage);
