// The page: shows a picture, takes what is typed, and goes on to the next one at once.

import { alertWith, bold, hint, marked, say } from "./alerts.js";
import { AHEAD, load, showImage } from "./images.js";
import { Pictures } from "./pictures.js";
import { Saves, ask } from "./server.js";
import { describe, left, sentence, stateOf } from "./words.js";

const POLL = 1000; // milliseconds
const STRIP = 6; // pictures that are shown as coming next

const find = (id) => document.getElementById(id);
const text = find("text");
const pictures = new Pictures();
const tab = sessionStorage.getItem("tab") ?? Math.random().toString(36).slice(2);
sessionStorage.setItem("tab", tab);
const saves = new Saves(tab, { saved, conflict, refused, trouble });
let initial = ""; // what the field held before anything was typed
let status = {};
let instance = ""; // which server answers
let lost = false; // the server doesn't know this page any more

// ---- What is shown

function show({ keep = false } = {}) {
  const place = pictures.current;
  find("work").hidden = place === null;
  find("nothing").hidden = place !== null;
  if (place === null) showNothing();
  else {
    const picture = pictures.get(place);
    find("name").textContent = picture.name;
    find("state").textContent = stateOf(picture);
    showImage(picture);
    if (!keep) fill(picture.label || (picture.label === null ? picture.reading : "") || "");
    showHint(picture);
  }
  showCounts();
  showStrip();
}

function fill(value) {
  initial = value;
  text.value = value;
  text.select();
  showAccept();
  const touch = matchMedia("(hover: none) and (pointer: coarse)").matches;
  if (!touch) text.focus({ preventScroll: true });
}

function showHint(picture) {
  const differs = Boolean(picture.reading) && picture.label !== null && picture.reading !== picture.label;
  find("take").hidden = !differs;
  find("take-text").textContent = `Take “${picture.reading}”`;
  showAccept();
  const sure = `${Math.round(100 * picture.confidence)} % sure`;
  if (differs) {
    hint("read as ", marked(picture.reading, picture.label || picture.reading), `, ${sure}`);
  } else if (picture.reading) {
    hint(picture.label === null ? `suggested, ${sure}` : `read the same, ${sure}`);
  } else {
    hint(picture.problem ? "" : status.left ? "no suggestion yet" : "no suggestion");
  }
}

function showAccept() {
  const place = pictures.current;
  const kept = place !== null && pictures.get(place).label ? "Keep" : "Accept";
  find("accept-text").textContent = text.value === initial && initial ? kept : "Save";
}

function showStrip() {
  const coming = pictures.coming(AHEAD);
  coming.forEach((place) => pictures.get(place).problem || load(place));
  find("coming").hidden = !coming.length || pictures.current === null;
  const shown = coming.slice(0, STRIP).join();
  if (find("strip").dataset.shown === shown) return; // what has the focus keeps it
  find("strip").dataset.shown = shown;
  const items = coming.slice(0, STRIP).map((place) => {
    const [item, button, image] = ["li", "button", "img"].map((tag) => document.createElement(tag));
    button.type = "button";
    const { name, problem } = pictures.get(place);
    button.setAttribute("aria-label", `Go to ${name}`);
    if (!problem) image.src = load(place).src;
    image.alt = "";
    button.append(image);
    button.addEventListener("click", () => { pictures.jump(place); show(); });
    item.append(button);
    return item;
  });
  find("strip").replaceChildren(...items);
}

function showCounts() {
  const counts = pictures.counts();
  find("done").textContent = counts.labelled;
  find("total").textContent = counts.all;
  find("progress").max = Math.max(counts.all, 1);
  find("progress").value = counts.labelled;
  for (const button of document.querySelectorAll("nav button")) {
    const { filter } = button.dataset;
    button.setAttribute("aria-pressed", filter === pictures.filter);
    button.querySelector("span").textContent = counts[filter];
  }
  const { pace } = status;
  find("pace").textContent = pace && counts.unlabelled
    ? `${Math.round(pace)} a minute, ${left(counts.unlabelled / pace)}` : "";
}

async function showNothing() {
  const counts = pictures.counts();
  const reading = status.left ? ` ${status.left} pictures are still to be read.` : "";
  const [title, line] = {
    unlabelled: ["All done", `All ${counts.all} pictures are labelled.`],
    labelled: ["Nothing labelled yet", "Labelled pictures will be here, to look at again."],
    suspects: ["No suspects", `No label contradicts what is read.${reading}`],
    all: ["No pictures", ""],
  }[pictures.filter];
  find("nothing-title").textContent = title;
  find("nothing-text").textContent = line;
  find("next").hidden = true;
  if (counts.unlabelled) return;
  const { command } = await ask("/api/next").catch(() => ({}));
  find("next-command").textContent = command;
  find("next").hidden = !command;
}

function showStatus() {
  const { model, left: open, learned } = status;
  const reading = open ? `; ${open} pictures are still to be read` : "";
  find("model").textContent = `Suggestions: ${model}${reading}.`;
  find("learned").textContent = learned ? describe(learned) : "";
}

// ---- What people do

function label(value) {
  const place = pictures.current;
  if (place === null) return;
  const { version } = pictures.get(place);
  pictures.waiting.set(place, value);
  saves.add({ place, version, label: value, name: pictures.get(place).name });
  forward();
  say(value ? `Saved ${value}.` : "Marked as unreadable.");
}

function accept() {
  const value = text.value.trim();
  if (value) label(value);
  else hint("type the text, or mark the picture as unreadable");
}

function take() {
  const place = pictures.current;
  if (place !== null && !find("take").hidden) label(pictures.get(place).reading);
}

function forward() {
  if (!pictures.forward()) {
    if (pictures.filter === "unlabelled" || pictures.filter === "suspects") {
      if (!pictures.order().length) pictures.start(pictures.filter);
    }
    if (pictures.current !== null) say("That was the last one.");
  }
  show();
}

function back() {
  if (pictures.back()) show();
  else say("That is the first one.");
}

function undo() {
  const save = saves.takeBack();
  if (!save) {
    saves.add({ undo: true });
    return;
  }
  pictures.waiting.delete(save.place);
  pictures.jump(save.place);
  show();
  fill(save.label);
}

function start(filter) {
  sessionStorage.setItem("filter", JSON.stringify([instance, filter]));
  pictures.start(filter);
  show();
}

/** The filter that the page had before a reload. */
function filterBefore() {
  const [of, filter] = JSON.parse(sessionStorage.getItem("filter") ?? "[]");
  return of === instance ? filter : undefined;
}

// ---- What the server answers

function saved(picture, save) {
  if (!picture) {
    hint("there is nothing to take back");
    return;
  }
  const before = pictures.list[picture.place];
  if (!saves.queue.some((other) => other.place === picture.place)) pictures.waiting.delete(picture.place);
  pictures.take([picture]);
  if (!save.undo) {
    showCounts();
    return;
  }
  pictures.jump(picture.place);
  show();
  if (before.label) fill(before.label);
  say(`Taken back: ${picture.name}.`);
}

function conflict(save, picture) {
  pictures.waiting.delete(picture.place);
  pictures.take([picture]);
  show({ keep: true });
  const theirs = picture.label === "" ? "unreadable" : picture.label ?? "no label";
  if (save.undo) {
    alertWith(`conflict-${picture.place}`, [`${picture.name} was changed in another tab since: `, bold(theirs), "."]);
    return;
  }
  const mine = save.label || "unreadable";
  alertWith(
    `conflict-${picture.place}`,
    [`${picture.name} was labelled in another tab meanwhile: `, bold(theirs), ". You typed ", bold(mine), "."],
    [
      [`Keep “${theirs}”`, () => {}],
      [`Save “${mine}”`, () => {
        pictures.waiting.set(picture.place, save.label);
        saves.add({ place: picture.place, version: picture.version, label: save.label, name: picture.name });
        show({ keep: true });
      }],
    ],
  );
}

function refused(save, message) {
  if (save.undo) {
    alertWith("refused", [`Nothing is taken back: ${message}.`]);
    return;
  }
  pictures.waiting.delete(save.place);
  alertWith("refused", [`${save.name}: `, bold(save.label), ` is not saved: ${message}.`]);
  pictures.jump(save.place);
  show();
  fill(save.label);
}

function trouble(error) {
  if (!error) {
    find("trouble")?.remove();
    return;
  }
  const count = saves.queue.filter((save) => !save.undo).length;
  const wait = count === 1 ? "1 label is not saved yet" : `${count} labels are not saved yet`;
  alertWith("trouble", [`${sentence(error)} ${wait}; it is tried again.`]);
}

async function poll() {
  try {
    const answer = await ask(`/api/changes?since=${pictures.stamp}`);
    const here = pictures.current;
    const before = here === null ? null : pictures.list[here];
    takeStatus(answer);
    if (lost) find("lost")?.remove();
    lost = false;
    if (here === null && pictures.start(pictures.filter)) show();
    else if (answer.pictures.length) refresh(here, before);
  } catch (error) {
    if (!saves.queue.length) alertWith("lost", [sentence(error)]);
    lost = true;
  }
  setTimeout(poll, POLL);
}

/** Shows what has come, but leaves alone what is being typed. */
function refresh(here, before) {
  const untouched = text.value === initial;
  const after = here === null ? null : pictures.list[here];
  const other = after && (after.label !== before.label || after.reading !== before.reading);
  show({ keep: !(untouched && other) });
}

function takeStatus({ stamp, pictures: changed, ...others }) {
  pictures.take(changed);
  pictures.stamp = stamp;
  status = others;
  showStatus();
}

// ---- Keys

const KEYS = {
  ArrowUp: back, ArrowLeft: back, PageUp: back,
  ArrowDown: forward, ArrowRight: forward, PageDown: forward,
};

function onKey(event) {
  if (event.isComposing || event.altKey) return;
  const control = event.ctrlKey || event.metaKey;
  const typing = event.target === text;
  let act = null;
  if (control && !event.shiftKey && event.key.toLowerCase() === "z") {
    act = text.value === initial ? undo : () => fill(initial);
  } else if (event.key === "Enter" && (control || event.shiftKey)) {
    if (typing || event.target === document.body) act = control ? take : () => label("");
  } else if (!control && !event.shiftKey && event.key in KEYS) {
    const sideways = event.key === "ArrowLeft" || event.key === "ArrowRight";
    if (!(typing && sideways && text.value)) act = KEYS[event.key];
  } else if (!control && event.target === document.body && event.key.length === 1) {
    text.focus();
  }
  if (!act) return;
  event.preventDefault();
  act();
}

find("form").addEventListener("submit", (event) => { event.preventDefault(); accept(); });
text.addEventListener("input", showAccept);
find("take").addEventListener("click", take);
find("unreadable").addEventListener("click", () => label(""));
find("back").addEventListener("click", back);
find("skip").addEventListener("click", forward);
find("undo").addEventListener("click", undo);
for (const button of document.querySelectorAll("nav button")) {
  button.addEventListener("click", () => start(button.dataset.filter));
}
document.addEventListener("keydown", onKey);
addEventListener("beforeunload", (event) => { if (saves.queue.length) event.preventDefault(); });
if (/Mac|iPhone|iPad/.test(navigator.platform)) {
  document.querySelectorAll(".control").forEach((key) => { key.textContent = key.textContent.replace("Ctrl", "⌘"); });
}

// ---- The beginning

/** Takes up what an earlier page couldn't save. */
function resume(folder) {
  const kept = Saves.left();
  saves.about(folder, instance);
  if (kept.folder !== folder) return;
  for (const save of kept.queue ?? []) {
    if (save.undo) continue;
    const picture = pictures.list.find(({ name }) => name === save.name);
    if (!picture) continue;
    pictures.waiting.set(picture.place, save.label);
    // Another server counts versions anew; a label that is there by now must not be lost.
    const version = kept.instance === instance ? save.version : picture.label === null ? picture.version : -1;
    saves.add({ ...save, place: picture.place, version });
  }
}

async function begin() {
  history.replaceState(null, "", location.pathname); // the token is in the cookie now
  let answer;
  try {
    answer = await ask("/api/pictures");
  } catch (error) {
    alertWith("lost", [sentence(error)]);
    setTimeout(begin, 2 * POLL);
    return;
  }
  find("lost")?.remove();
  const { folder, path, file, source, notes, view, ...others } = answer;
  instance = others.instance;
  document.title = `Label ${folder}`;
  find("folder").textContent = folder;
  find("file").textContent = `Saved in ${file}${source ? `; labels from ${source}` : ""}.`;
  find("notes").replaceChildren(...notes.map((note) => {
    const item = document.createElement("li");
    item.textContent = note;
    return item;
  }));
  takeStatus(others);
  resume(path);
  start(filterBefore() ?? view);
  setTimeout(poll, POLL);
}

begin();
