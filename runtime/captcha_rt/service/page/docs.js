// Shows the OpenAPI description as a page.

const place = document.getElementById("addresses");

function make(tag, text = "", ...children) {
  const made = document.createElement(tag);
  made.textContent = text;
  made.append(...children);
  return made;
}

/** One line on a parameter or an answer. */
function line(name, about) {
  return make("li", "", make("code", name), ` ${about}`);
}

function section(address, method, operation, components) {
  const title = make("h2", "", make("b", method.toUpperCase()), ` ${address}`);
  const made = make("section", "", title, make("p", operation.description ?? operation.summary));
  const resolve = (value) => (value.$ref ? components(value.$ref) : value);
  const parameters = (operation.parameters ?? []).map(resolve);
  if (parameters.length) {
    const lines = parameters.map(({ name, in: where, description }) =>
      line(name, `(${where}): ${description}`),
    );
    made.append(make("ul", "", ...lines));
  }
  if (operation["x-example"]) {
    const example = make("pre", operation["x-example"].replaceAll("HOST", location.origin));
    example.tabIndex = 0; // it may scroll
    made.append(example);
  }
  const answers = Object.entries(operation.responses).map(([status, value]) =>
    line(status, resolve(value).description),
  );
  made.append(make("ul", "", ...answers));
  return made;
}

const description = await (await fetch("openapi.json")).json();
const components = (reference) =>
  reference
    .slice(2)
    .split("/")
    .reduce((value, name) => value[name], description);
for (const [address, operations] of Object.entries(description.paths)) {
  for (const [method, operation] of Object.entries(operations)) {
    place.append(section(address, method, operation, components));
  }
}
