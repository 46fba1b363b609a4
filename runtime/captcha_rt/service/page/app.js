// The page: a picture goes in, the answer and the steps that led to it come out.

const find = (id) => document.getElementById(id);
const drop = find("drop");
let waiting = null; // the picture to read once the key is there
let latest = 0;

/** Asks the service; the key stays in this tab. */
function ask(path, options = {}) {
  const key = sessionStorage.getItem("captcha-rt-key");
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  return fetch(path, { ...options, headers });
}

/** Makes an element with a text. */
function make(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const percent = (confidence) => `${(100 * confidence).toFixed(confidence < 0.9995 ? 1 : 0)} %`;

/** Reads a picture and shows the answer. */
async function read(file) {
  waiting = file;
  const number = ++latest;
  find("message").textContent = "Reading …";
  find("answer").hidden = find("how").hidden = true;
  const model = find("model").value;
  let found;
  try {
    const query = model ? `?model=${encodeURIComponent(model)}` : "";
    const answer = await ask(`explain${query}`, { method: "POST", body: file });
    if (number !== latest) return;
    found = await answer.json();
    if (answer.status === 401) return lock(found.error.message);
  } catch {
    if (number === latest) find("message").textContent = "The service doesn’t answer.";
    return;
  }
  if (number === latest) show(file, found);
}

function lock(message) {
  find("message").textContent = message;
  find("locked").hidden = false;
  find("key").focus();
}

function show(file, found) {
  find("locked").hidden = true;
  const error = found.error ? found.error.message : "";
  const text = found.text ?? found.read ?? "";
  find("message").textContent = error ? `Not accepted: ${error}` : "";
  find("message").classList.toggle("wrong", Boolean(error));
  const steps = found.steps ?? [];
  if (!steps.length) return;
  URL.revokeObjectURL(find("picture").src);
  find("picture").src = URL.createObjectURL(file);
  find("text").textContent = text;
  const sum = found.value === undefined ? "" : `, the sum is ${found.value}`;
  const by = found.model ? `, read by ${found.model}` : "";
  find("summary").textContent =
    found.confidence === undefined ? "" : `Confidence ${percent(found.confidence)}${by}${sum}`;
  find("characters").replaceChildren(...(found.characters ?? []).map(character));
  find("answer").hidden = false;
  find("steps").replaceChildren(...steps.map(step));
  find("how").hidden = false;
}

function character({ text, confidence }) {
  const item = make("li");
  const bar = make("meter", "", { min: 0, max: 1, value: confidence, "aria-hidden": "true" });
  item.append(make("b", text), bar, make("span", percent(confidence)));
  return item;
}

function step({ name, picture }) {
  const item = make("li");
  const figure = make("figure");
  figure.append(make("img", "", { src: picture, alt: "" }), make("figcaption", name));
  item.append(figure);
  return item;
}

/** Lists the models, if there are several to choose from. */
async function listModels() {
  const answer = await ask("v2/repository/index", { method: "POST" });
  if (!answer.ok) return;
  const models = await answer.json();
  find("model").replaceChildren(...models.map(({ name }) => make("option", name, { value: name })));
  find("choice").hidden = models.length < 2;
}

find("file").addEventListener("change", ({ target }) => {
  if (target.files.length) read(target.files[0]);
  target.value = ""; // the same picture may be chosen again
});
find("model").addEventListener("change", () => waiting && read(waiting));
find("locked").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("captcha-rt-key", find("key").value);
  listModels().catch(() => {});
  if (waiting) read(waiting);
});
document.addEventListener("paste", ({ clipboardData }) => {
  const [file] = clipboardData.files;
  if (file) read(file);
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length) read(event.dataTransfer.files[0]);
  });
}
listModels().catch(() => {}); // the page works without
