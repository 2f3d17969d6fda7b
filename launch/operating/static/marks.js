// Every episode as a mark; a chosen one shows its numbers, its clip and its note. Arrow keys move the choice.
import { made, number, percent, post } from "./shown.js";

const KINDS = { success: "success", "no success": "none", failure: "failure", discarded: "dropped", "recorded again": "dropped", fault: "fault" };
const MOST = 400;

export class Marks {
  constructor(place, chosen, page) {
    Object.assign(this, { place, detail: chosen, page, after: -1, readings: 0, changes: -1, episodes: new Map(), choice: null, busy: false });
    place.addEventListener("click", (event) => {
      const mark = event.target.closest(".mark");
      if (mark) this.choose(Number(mark.dataset.id));
    });
    place.addEventListener("keydown", (event) => this.key(event));
  }

  async follow(state) {
    if (this.busy || state.changes === this.changes) return;
    this.busy = true;
    try {
      const answer = await fetch(`/episodes?after=${state.readings === this.readings ? this.after : -1}`);
      if (!answer.ok) return;
      const { readings, episodes } = await answer.json();
      if (readings !== this.readings) { this.place.replaceChildren(); this.episodes.clear(); this.after = -1; }
      this.readings = readings;
      this.changes = state.changes;
      this.add(episodes);
    } finally { this.busy = false; }
  }

  add(episodes) {
    if (!episodes.length) {
      if (!this.episodes.size) this.detail.replaceChildren(made("p", { class: "faint" }, "No episode has ended yet, or the run is older than the file that has a line for each."));
      return;
    }
    if (!this.episodes.size) this.detail.replaceChildren(made("p", { class: "faint" }, "Choose an episode for its numbers, its clip and a note. Its height is its length."));
    const atEnd = this.place.scrollLeft + this.place.clientWidth > this.place.scrollWidth - 40;
    for (const one of episodes) {
      this.episodes.set(one.id, one);
      this.after = Math.max(this.after, one.id);
    }
    const longest = Math.max(1, ...[...this.episodes.values()].map((one) => one.length));
    for (const one of episodes) this.place.append(this.mark(one));
    while (this.place.children.length > MOST) {
      this.episodes.delete(Number(this.place.firstChild.dataset.id));
      this.place.firstChild.remove();
    }
    for (const mark of this.place.children) {
      const height = `${Math.round(10 + 50 * Math.sqrt(this.episodes.get(Number(mark.dataset.id)).length / longest))}px`;
      if (mark.lastChild.style.height !== height) mark.lastChild.style.height = height;
    }
    if (atEnd || this.choice === null) this.place.scrollLeft = this.place.scrollWidth;
  }

  mark(one) {
    const hand = one.intervention_rate > 0;
    const classes = ["mark", KINDS[one.outcome] || "none", hand ? "hand" : "", one.note ? "noted" : ""].filter(Boolean).join(" ");
    const words = `${one.actor} episode ${one.number}: ${one.outcome}, ${one.length} steps${hand ? ", taken over" : ""}`;
    return made("div", { class: classes, id: `mark-${one.id}`, role: "option", "data-id": one.id, title: words, "aria-label": words, "aria-selected": "false" }, made("i"));
  }

  key(event) {
    const ids = [...this.episodes.keys()];
    const at = this.choice === null ? ids.length : ids.indexOf(this.choice);
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: ids.length - 1 }[event.key];
    if (to === undefined || !ids.length) return;
    event.preventDefault();
    this.choose(ids[Math.max(0, Math.min(ids.length - 1, to))]);
  }

  choose(id) {
    const one = this.episodes.get(id);
    if (!one) return;
    this.choice = id;
    for (const mark of this.place.querySelectorAll('[aria-selected="true"]')) mark.setAttribute("aria-selected", "false");
    const mark = document.getElementById(`mark-${id}`);
    mark.setAttribute("aria-selected", "true");
    this.place.setAttribute("aria-activedescendant", mark.id);
    mark.scrollIntoView({ block: "nearest", inline: "nearest" });
    const when = new Date(1000 * one.time).toLocaleTimeString();
    const hand = one.intervention_rate > 0 ? `, ${number(one.interventions)} interventions (${percent(one.intervention_rate)} of the steps)` : "";
    const policy = one.policy_version === undefined ? "" : one.policy_version < 0 ? ", random actions" : `, policy ${number(one.policy_version)}`;
    const total = one.return === undefined ? "" : `, return ${number(one.return, 3)}`;
    const clip = one.clip
      ? made("video", { src: `/clip/${encodeURIComponent(one.clip)}`, controls: true, muted: true, autoplay: true, loop: true, playsinline: true })
      : made("p", { class: "faint" }, "No clip: --save_video records evaluations, and episodes in which a hand acted.");
    this.detail.replaceChildren(
      made("p", {}, made("strong", {}, `${one.actor} episode ${one.number}: ${one.outcome}`), `${total}, ${number(one.length)} steps${hand}${policy}, ${when}`),
      clip, this.note(one, mark));
  }

  note(one, mark) {
    const text = made("input", { value: one.note || "", maxlength: 500, placeholder: "A note on this episode", "aria-label": "A note on this episode" });
    const told = made("span", { class: "faint", role: "status" });
    const form = made("form", {}, text, made("button", {}, "Keep"), told);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const refused = await post("/note", { actor: one.actor, number: one.number, text: text.value });
      told.textContent = refused || "kept";
      if (!refused) { one.note = text.value; mark.classList.toggle("noted", Boolean(text.value)); }
    });
    return form;
  }
}
