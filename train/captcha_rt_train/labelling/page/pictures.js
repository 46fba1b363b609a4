// The page's copy of the pictures: which there are, which come next, which were seen.

export class Pictures {
  constructor() {
    this.list = [];
    this.stamp = -1;
    this.filter = "unlabelled";
    this.waiting = new Map(); // what was typed but isn't saved yet, by place
    this.trail = []; // the places that were shown, in order
    this.at = -1; // where in the trail the page is
  }

  /** Takes pictures from the server. */
  take(pictures) {
    for (const picture of pictures) this.list[picture.place] = picture;
  }

  /** A picture as the page shows it: with what was typed, saved or not. */
  get(place) {
    const picture = this.list[place];
    const label = this.waiting.get(place);
    if (label === undefined) return picture;
    return { ...picture, label, suspect: false };
  }

  get current() {
    return this.at < 0 ? null : this.trail[this.at];
  }

  counts() {
    const counts = { all: this.list.length, unlabelled: 0, labelled: 0, suspects: 0 };
    for (const { place } of this.list) {
      const picture = this.get(place);
      counts[picture.label === null ? "unlabelled" : "labelled"] += 1;
      if (picture.suspect) counts.suspects += 1;
    }
    return counts;
  }

  /** The places of the pictures that the filter lets through, in the order to go through them. */
  order(filter = this.filter) {
    const places = this.list.map((picture) => picture.place);
    const by = (score) => (a, b) => score(this.list[a]) - score(this.list[b]) || a - b;
    if (filter === "labelled") return places.filter((place) => this.get(place).label !== null);
    if (filter === "suspects") {
      return places.filter((place) => this.get(place).suspect).sort(by((p) => -p.confidence));
    }
    if (filter === "unlabelled") {
      return places.filter((place) => this.get(place).label === null).sort(by(uncertainty));
    }
    return places;
  }

  /** Which pictures come next, the next one first. */
  coming(count) {
    const order = this.order();
    if (this.filter === "all" || this.filter === "labelled") {
      const here = this.current;
      return order.filter((place) => here === null || place > here).slice(0, count);
    }
    const seen = new Set(this.trail);
    const fresh = order.filter((place) => !seen.has(place));
    const skipped = order.filter((place) => seen.has(place) && place !== this.current);
    const later = this.trail.slice(this.at + 1);
    return [...new Set([...later, ...fresh, ...skipped])].slice(0, count);
  }

  /** Goes to the next picture; returns whether there is one. */
  forward() {
    const [next] = this.coming(1);
    if (next === undefined) return false;
    if (this.trail[this.at + 1] !== next) this.trail.splice(this.at + 1, Infinity, next);
    this.at += 1;
    return true;
  }

  /** Goes back to the picture before; returns whether there is one. */
  back() {
    if (this.at > 0) {
      this.at -= 1;
      return true;
    }
    if (this.filter !== "all" && this.filter !== "labelled") return false;
    const before = this.order().filter((place) => place < (this.current ?? 0));
    if (!before.length) return false;
    this.trail.unshift(before.at(-1));
    this.at = 0;
    return true;
  }

  /** Goes to a picture. */
  jump(place) {
    this.trail.splice(this.at + 1, Infinity, place);
    this.at += 1;
  }

  /** Forgets what was seen, and begins a filter anew. */
  start(filter) {
    this.filter = filter;
    this.trail = [];
    this.at = -1;
    return this.forward();
  }
}

/** The least sure suggestion has the lowest number; without one, the picture can wait. */
function uncertainty(picture) {
  if (picture.problem) return 3;
  return picture.confidence === null ? 2 : picture.confidence;
}
