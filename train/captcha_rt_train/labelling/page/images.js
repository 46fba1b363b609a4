// The pictures themselves: loaded before they are needed, and enlarged.

export const AHEAD = 8; // pictures that are loaded before they are needed

const LARGEST = 6; // how much a small picture is enlarged, at most
const images = new Map(); // loaded and decoded, by place

const stage = document.getElementById("stage");

/** Shows a picture, or why it can't be shown. */
export function showImage({ place, problem }) {
  if (problem) {
    showProblem(problem);
    return;
  }
  const image = load(place);
  image.alt = "The captcha to label";
  if (image.parentElement !== stage) stage.replaceChildren(image);
  if (image.complete) fit(image);
}

function showProblem(problem) {
  const line = document.createElement("p");
  line.textContent = `This picture can't be shown: ${problem}`;
  stage.replaceChildren(line);
}

/** Enlarges a small picture by a whole number, so that its pixels stay crisp. */
function fit(image) {
  const { naturalWidth: width, naturalHeight: height } = image;
  if (image.parentElement !== stage || !width) return;
  const room = Math.min((stage.clientWidth - 16) / width, (stage.clientHeight - 16) / height, LARGEST);
  const scale = room >= 2 ? Math.floor(room) : room;
  image.classList.toggle("small", scale >= 2);
  image.style.width = `${width * scale}px`;
  image.style.height = `${height * scale}px`;
}

/** The image of a picture, which is asked for once. */
export function load(place) {
  let image = images.get(place);
  if (!image) {
    image = new Image();
    image.addEventListener("load", () => fit(image));
    image.addEventListener("error", () => {
      images.delete(place);
      if (image.parentElement === stage) showProblem("is its file still there?");
    });
    image.src = `/picture/${place}`;
    image.decode().catch(() => {});
  }
  images.delete(place); // the newest is the last
  images.set(place, image);
  while (images.size > 4 * AHEAD) images.delete(images.keys().next().value);
  return image;
}

addEventListener("resize", () => {
  const [image] = stage.getElementsByTagName("img");
  if (image) fit(image);
});
