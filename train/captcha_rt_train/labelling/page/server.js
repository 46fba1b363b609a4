// Talks to the server: asks for what has changed, and saves one label after the other.

const RETRY = 2000; // milliseconds

/** Asks the server; throws an error with `status` (0 without an answer) and the answer as `body`. */
export async function ask(path, values) {
  const options = values === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(values),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw Object.assign(new Error("the server does not answer"), { status: 0, body: {} });
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  throw Object.assign(new Error(body.error ?? "refused"), { status: answer.status, body });
}

/** What was typed and isn't saved yet, in order. It outlives a reload of the page. */
export class Saves {
  constructor(tab, hooks) {
    this.tab = tab;
    this.hooks = hooks; // saved(picture, save), conflict(save, picture), refused(save, message), trouble(error)
    this.queue = [];
    this.busy = false;
    this.timer = 0;
  }

  add(save) {
    this.queue.push(save);
    this.#keep();
    this.#next();
  }

  /** Takes back the last label if it waits and isn't on its way yet; returns it. */
  takeBack() {
    if (this.queue.length <= (this.busy ? 1 : 0) || this.queue.at(-1).undo) return null;
    const save = this.queue.pop();
    this.#keep();
    return save;
  }

  /** What an earlier page has left. */
  static left() {
    try {
      return JSON.parse(sessionStorage.getItem("saves") ?? "{}");
    } catch {
      return {};
    }
  }

  about(folder, instance) {
    this.kept = { folder, instance };
  }

  #keep() {
    try {
      sessionStorage.setItem("saves", JSON.stringify({ ...this.kept, queue: this.queue }));
    } catch { /* the browser keeps nothing: then only the page does */ }
  }

  async #next() {
    if (this.busy || !this.queue.length) return;
    clearTimeout(this.timer);
    this.busy = true;
    const save = this.queue[0];
    let failed = null;
    try {
      const path = save.undo ? "/api/undo" : "/api/label";
      const { picture } = await ask(path, { ...save, tab: this.tab });
      if (picture) this.#chain(save, picture);
      this.#finish(save);
      this.hooks.saved(picture, save);
    } catch (error) {
      if (error.status === 409) {
        this.#finish(save);
        this.hooks.conflict(save, error.body.picture);
      } else if ([400, 404, 413, 422].includes(error.status)) {
        this.#finish(save);
        this.hooks.refused(save, error.message);
      } else {
        failed = error;
      }
    }
    this.busy = false;
    this.hooks.trouble(failed);
    if (failed) this.timer = setTimeout(() => this.#next(), RETRY);
    else this.#next();
  }

  #finish(save) {
    this.queue = this.queue.filter((other) => other !== save);
    this.#keep();
  }

  /** Later labels of the same picture were typed on top of this one. */
  #chain(save, picture) {
    for (const other of this.queue) {
      if (other !== save && other.place === picture.place) other.version = picture.version;
    }
  }
}
