// Show the contract: /openapi.json for any model, /openapi/M.json for one.

import { ask, remember } from "./api.js";
import { h, say } from "./dom.js";

const place = (id) => document.getElementById(id);
const json = (value) => JSON.stringify(value, null, 2);

async function show(model) {
  try {
    const index = await ask("openapi.json");
    const named = Object.hasOwn(index["x-models"], model);
    const contract = named ? await ask(`openapi/${encodeURIComponent(model)}.json`) : index;
    place("door").hidden = true;
    place("main").replaceChildren(choice(Object.keys(index["x-models"]), named ? model : ""), ...routes(contract));
    say(place("status"), `glassnet ${index.info.version}`);
  } catch (error) {
    place("door").hidden = error.status !== 401;
    say(place("status"), error.status ? error.message : "The service does not answer");
  }
}

function choice(models, chosen) {
  const select = h("select", { onchange: () => { location.hash = encodeURIComponent(select.value); } },
    h("option", { value: "" }, "any model"),
    models.map((name) => h("option", { value: name, selected: name === chosen }, name)));
  return h("label", {}, "Routes of ", select);
}

const routes = (contract) => Object.entries(contract.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => route(contract, path, method, operation)));

function route(contract, path, method, { summary, parameters = [], requestBody, responses }) {
  const body = requestBody?.content["application/json"];
  const reply = responses["200"].content;
  return h("details", { class: "card" },
    h("summary", {}, h("b", {}, `${method.toUpperCase()} ${path}`), " ", h("span", {}, summary)),
    parameters.map(({ name, schema }) => h("p", {}, `{${name}}: ${schema.enum?.join(", ") ?? schema.type}`)),
    body?.example === undefined ? null : part("Example", body.example),
    body ? part("Request", resolved(contract, body.schema)) : null,
    part("Reply", resolved(contract, reply["application/json"]?.schema ?? Object.keys(reply))));
}

const part = (title, value) => [h("h3", {}, title), h("pre", {}, json(value))];

// Put each schema in the place of a reference to it; none refers to itself.
function resolved(contract, value) {
  if (Array.isArray(value)) return value.map((each) => resolved(contract, each));
  if (value === null || typeof value !== "object") return value;
  if (value.$ref) return resolved(contract, contract.components.schemas[value.$ref.split("/").pop()]);
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, resolved(contract, each)]));
}

const chosen = () => decodeURIComponent(location.hash.slice(1));
place("door").addEventListener("submit", (event) => {
  event.preventDefault();
  remember(place("token").value.trim());
  show(chosen());
});
addEventListener("hashchange", () => show(chosen()));
show(chosen());
