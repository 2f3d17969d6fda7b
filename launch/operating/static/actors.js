// A card for each actor: how it is, and the words that it takes. Keys act only while the focus is within a card.
import { figures, made, number, post, setText } from "./shown.js";

const WORDS = [
  ["success", "Success", "s", "success"], ["failure", "Failure", "f", "failure"],
  ["discard", "Discard", "d", ""], ["rerecord", "Record again", "r", ""],
];
const cards = new Map();

export function showActors(place, state, page) {
  const names = state.actors.map((actor) => actor.name);
  for (const [name, card] of cards) if (!names.includes(name)) { card.element.remove(); cards.delete(name); }
  for (const actor of state.actors) {
    if (!cards.has(actor.name)) {
      cards.set(actor.name, new Card(actor.name, page));
      place.append(cards.get(actor.name).element);
    }
    cards.get(actor.name).show(actor, state);
  }
}

class Card {
  constructor(name, page) {
    this.name = name;
    this.page = page;
    this.last = 0;
    this.said = 0;
    this.doing = made("p", { class: "doing" });
    this.figures = made("dl", { class: "figures" });
    this.heard = made("p", { class: "heard", role: "status" });
    this.why = made("p", { class: "faint why" });
    this.buttons = Object.fromEntries(WORDS.map(([word, text, key, kind]) => [word, this.button(text, key, kind, () => this.say(word, text))]));
    this.buttons.pause = this.button("Pause after this episode", "p", "", () => this.say(this.paused ? "resume" : "pause", this.paused ? "Resume" : "Pause"));
    this.buttons.stop = this.button("Stop and save", "", "", () => this.stop());
    this.count = made("input", { type: "number", min: 1, max: 500, value: 10, "aria-label": "Episodes to evaluate" });
    this.buttons.evaluate = this.button("Evaluate", "", "", () => this.say("evaluate", "Evaluate", { episodes: Number(this.count.value) }));
    const words = made("div", { class: "words" }, ...WORDS.map(([word]) => this.buttons[word]));
    const evaluate = made("div", { class: "evaluate" }, this.count, this.buttons.evaluate);
    const more = made("div", { class: "more" }, this.buttons.pause, this.buttons.stop, evaluate);
    this.controls = made("div", { role: "group", "aria-label": `Words for ${name}` }, words, more, this.heard, this.why);
    this.element = made("section", { class: "card actor", "aria-label": name },
      made("div", { class: "row" }, made("h2", {}, name), this.doing), this.figures, this.controls);
    this.element.addEventListener("keydown", (event) => this.key(event));
  }

  button(text, key, kind, act) {
    const made_ = made("button", { type: "button", class: kind, "aria-keyshortcuts": key }, text, key ? made("kbd", {}, key.toUpperCase()) : "");
    made_.addEventListener("click", act);
    return made_;
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.target.tagName === "INPUT") return;
    const found = [...WORDS.map(([word, , key]) => [key, word]), ["p", "pause"]].find(([key]) => key === event.key.toLowerCase());
    if (!found || this.buttons[found[1]].disabled || this.controls.hidden) return;
    event.preventDefault();
    this.buttons[found[1]].click();
  }

  async say(word, text, more = {}) {
    this.said = Date.now() / 1000;
    this.tell(`${text}: sent …`);
    const refused = await post("/word", { viewer: this.page.viewer, actor: this.name, word, ...more });
    if (refused) this.tell(refused, true);
    else if (this.last < this.said) this.tell(`${text}: heard.`);
  }

  stop() {
    const dialog = document.getElementById("stopping");
    dialog.returnValue = "";
    dialog.onclose = () => { if (dialog.returnValue === "stop") this.say("stop", "Stop and save"); };
    dialog.showModal();
  }

  tell(words, refused = false) {
    setText(this.heard, words);
    this.heard.className = `heard ${refused ? "refused" : ""}`;
  }

  show(actor, state) {
    this.paused = actor.pause;
    const known = actor.known, silent = actor.silent || (actor.here ? 0 : known.silence_seconds);
    setText(this.doing, !actor.here ? (state.run.here && !actor.local ? "on another machine" : "not running") : silent ? "silent" : actor.task ? `${actor.doing} · ${actor.task}` : actor.doing);
    figures(this.figures, actor.here ? [
      ["episode", number(actor.episode), actor.step ? `step ${number(actor.step)}` : ""],
      ["reward", number(actor.reward, 2), actor.intervened ? "by hand" : ""],
      ["policy's lag", number(actor.lag), "updates"],
      ["rows waiting", number(actor.waiting), "to be sent"],
      ["not yet on disk", number(actor.held), "rows at the learner"],
      ["late steps", number(actor.late), actor.steps ? `of ${number(actor.steps)}` : "", actor.late > 0],
    ] : [
      ["episodes", number(known.episodes)], ["steps", number(known.steps)], ["policy's lag", number(known.policy_lag), "updates"],
      ["last heard of", known.silence_seconds === null ? "–" : `${number(known.silence_seconds, 1)} s`, "before", known.silence_seconds > 10],
    ]);
    this.controls.hidden = !actor.here;
    if (!actor.here) return;
    const whys = new Set();
    for (const [word, why] of Object.entries(actor.takes)) {
      this.buttons[word].disabled = Boolean(why);
      this.buttons[word].title = why;
      if (why) whys.add(why);
    }
    setText(this.why, [...whys].join(" "));
    const pause = this.buttons.pause, words = actor.pause ? (actor.doing === "paused" ? "Resume" : "Do not pause") : "Pause after this episode";
    if (pause.firstChild.textContent !== words) pause.firstChild.textContent = words;
    pause.classList.toggle("primary", actor.pause);
    if (actor.evaluation) this.tell(`Evaluates ${actor.evaluation} episodes after this one.`);
    const last = actor.last;
    if (last.time && last.time !== this.last) {
      this.last = last.time;
      if (last.signal && this.said) this.tell(`Episode ${last.episode}: ${last.outcome}, by a person's word.`);
    }
  }
}
