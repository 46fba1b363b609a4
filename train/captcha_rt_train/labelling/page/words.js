// What the page says, in words.

/** Whether a picture is labelled. */
export function stateOf(picture) {
  if (picture.label === null) return "";
  if (picture.label === "") return "marked as unreadable";
  return picture.checked ? "labelled, checked" : "labelled";
}

/** How much time is left. */
export function left(minutes) {
  if (minutes < 1) return "less than a minute left";
  if (minutes < 90) return `about ${Math.round(minutes)} min left`;
  return `about ${Math.round(minutes / 60)} h left`;
}

/** What the trainings came to. */
export function describe({ labels, accuracy, tried, running, problem }) {
  const lines = [];
  if (labels) {
    const right = accuracy === null ? "" : `: ${Math.round(100 * accuracy)} % on held back`;
    lines.push(`Trained on ${labels} labels${right}.`);
  }
  if (running) lines.push(`Training on ${tried} labels.`);
  else if (problem) lines.push(`The model trained on ${tried} labels is not used: ${problem}.`);
  return lines.join(" ");
}

/** Why the server couldn't do what it was asked for. */
export function sentence(error) {
  if (error.status === 403) {
    return "The server was started anew: open the address that it has printed.";
  }
  if (error.status === 0) return "The server does not answer: is captcha-rt label still running?";
  return `${error.message}.`;
}
