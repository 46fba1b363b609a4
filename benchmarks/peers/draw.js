// Draws captchas with a package of npm, in a folder with `node_modules`: `node draw.js PACKAGE`.
//
// Reads a seed from each line of stdin, and writes a line for it: the text, a space, and the file in
// base64. The same seed draws the same picture.

let state = 0;

// The generator "mulberry32".
Math.random = () => {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};
const any = (...values) => values[Math.floor(Math.random() * values.length)];
const below = (end, count) => Array.from({ length: count }, () => any(...Array(end).keys()));
require("crypto").randomBytes = (count, done) => done(null, Buffer.from(below(256, count)));

const load = (name) => require(require.resolve(name, { paths: [process.cwd()] }));
const name = process.argv[2];

const GENERATORS = {
  // The options are those that the package's page shows.
  "svg-captcha": async (captcha) => {
    const { text, data } = captcha.create({
      size: any(4, 5, 6), noise: any(1, 2, 3), color: any(false, true), ignoreChars: "0o1i",
    });
    return [text, Buffer.from(data)];
  },
  "trek-captcha": async (captcha) => {
    const { token, buffer } = await captcha();
    return [token, buffer];
  },
  // As the package's page shows it, with a text of 4 to 8 digits in place of 4.
  "captchapng": async (Captcha) => {
    const text = below(10, any(4, 5, 6, 7, 8)).join("");
    const picture = new Captcha(20 * text.length, 30, text);
    picture.color(0, 0, 0, 0);
    picture.color(80, 80, 80, 255);
    return [text, Buffer.from(picture.getBase64(), "base64")];
  },
};

(async () => {
  const draw = GENERATORS[name];
  const loaded = load(name);
  for await (const line of require("readline").createInterface({ input: process.stdin })) {
    state = Number(line);
    const [text, file] = await draw(loaded);
    console.log(`${text} ${file.toString("base64")}`);
  }
})();
