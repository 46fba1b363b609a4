// Lines that tell people something: below the field, above the picture, and for screen readers.

const find = (id) => document.getElementById(id);

/** Sets the line below the field, unless it says so already: screen readers speak each change. */
export function hint(...parts) {
  const line = document.createElement("p");
  line.append(...parts);
  if (find("hint").innerHTML !== line.innerHTML) find("hint").replaceChildren(...line.childNodes);
}

/** Tells screen readers. */
export function say(line) {
  find("said").textContent = line;
}

/** Shows an alert above the picture, in place of one with the same id. */
export function alertWith(id, parts, buttons = []) {
  const box = document.createElement("div");
  box.id = id;
  box.className = "alert";
  const line = document.createElement("p");
  line.append(...parts);
  box.append(line);
  if (buttons.length) {
    const row = document.createElement("div");
    for (const [label, act] of buttons) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = label;
      button.addEventListener("click", () => { box.remove(); act(); find("text").focus(); });
      row.append(button);
    }
    box.append(row);
  }
  const before = find(id);
  if (before?.textContent === box.textContent) return;
  before?.remove();
  find("alerts").append(box);
}

/** A text in bold. */
export function bold(value) {
  const element = document.createElement("b");
  element.textContent = value;
  return element;
}

/** A text in which the characters stand out that another text has not in the same place. */
export function marked(shown, other) {
  const bold = document.createElement("b");
  const [characters, others] = [[...shown], [...other]];
  characters.forEach((character, i) => {
    if (characters.length === others.length && character !== others[i]) {
      const mark = document.createElement("mark");
      mark.textContent = character;
      bold.append(mark);
    } else bold.append(character);
  });
  return bold;
}
