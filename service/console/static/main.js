// The page: polls the service every two seconds and shows the model of the address.

import { h, say } from "./dom.js";
import { ask, remember, token } from "./api.js";
import { Drift } from "./drift.js";
import { Facts, Models, Versions } from "./standing.js";
import { Traffic } from "./traffic.js";
import { Trial } from "./trial.js";

const EVERY = 2000;
const place = (name) => document.getElementById(name);

const traffic = new Traffic();
const models = new Models(place("models"));
const facts = new Facts();
const versions = new Versions((version) => {
  location.hash = `#/${encodeURIComponent(shownName)}${version === shownLive ? "" : `@${version}`}`;
});
const drift = new Drift();
const trial = new Trial();
const whole = h("div", { class: "whole" }, facts.element, trial.element, versions.element, drift.element);

let state = null;
let shownName = null;
let shownLive = null;

function show() {
  const main = place("main");
  if (!state.models.length) {
    main.replaceChildren(h("div", { class: "card empty" },
      h("h2", {}, "No model yet"),
      h("p", {}, "Train one, and it appears here:"),
      h("pre", {}, "trainer fit builtin:digits --model digits")));
    place("models").replaceChildren();
    shownName = null;
    return;
  }
  const model = current();
  if (model.name !== shownName) {
    main.replaceChildren(whole);
    scrollTo(0, 0);
  } else if (model.live !== shownLive) {
    announce(`${model.name}: version ${model.live} is live`);
  }
  [shownName, shownLive] = [model.name, model.live];
  const shown = shownVersion(model);
  const tried = shown.version;
  document.title = `${model.name}${tried === model.live ? "" : ` version ${tried}`} · glassnet`;
  models.show(state.models, traffic, model);
  facts.show(model, shown, traffic.of(model.name, tried), state.now);
  versions.show(model, traffic, state.now, tried);
  drift.show(model.name, shown, state.drift_seconds).catch(fault);
  trial.show(model.name, tried).then(() => facts.describe(trial.about), fault);
}

// The address is #/NAME, which follows the live version, or #/NAME@VERSION.
const wanted = () => (location.hash.startsWith("#/") ? decoded(location.hash.slice(2)) : "").split("@");

const current = () => state.models.find(({ name }) => name === wanted()[0]) ?? state.models[0];

function shownVersion(model) {
  const asked = wanted()[0] === model.name ? Number(wanted()[1]) : NaN;
  return model.versions.find(({ version }) => version === asked)
    ?? model.versions.find(({ version }) => version === model.live);
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function announce(sentence) {
  say(place("status"), sentence);
  quietUntil = Date.now() + 6000;
}

let quietUntil = 0;

function status(sentence, isFine) {
  if (isFine && Date.now() < quietUntil) return;
  say(place("status"), sentence);
  place("status").className = isFine ? "fine" : "wrong";
}

function fault(error) {
  if (error.status === 401 || error.status === 403) {
    place("door").hidden = false;
    place("page").hidden = true;
    say(place("refused"), token() ? error.message : "");
    status("Locked", false);
  } else status(error.status ? error.message : "The service does not answer; retrying", false);
}

async function refresh() {
  if (document.hidden) return;
  try {
    if (!state) traffic.begin(await ask("console/history"));
    state = await ask("console/state");
    traffic.add(state);
    place("door").hidden = true;
    place("page").hidden = false;
    status(state.unready || `Ready · glassnet ${state.service}`, !state.unready);
    show();
  } catch (error) {
    fault(error);
  }
}

async function watch() {
  for (;;) {
    await refresh();
    await new Promise((resolve) => setTimeout(resolve, EVERY));
  }
}

place("door").addEventListener("submit", (event) => {
  event.preventDefault();
  remember(place("token").value.trim());
  place("token").value = "";
  refresh();
});
addEventListener("hashchange", () => { if (state) show(); });
document.addEventListener("visibilitychange", refresh);
watch();
