// The page: one stream of the run's newest state; a thing is changed in the document only where it is another.
import { showActors } from "./actors.js";
import { Marks } from "./marks.js";
import { Plots } from "./plots.js";
import { figures, made, number, percent, set, setText } from "./shown.js";

const at = (id) => document.getElementById(id);
const page = { viewer: "", state: null, contact: 0 };
const marks = new Marks(at("marks"), at("chosen"), page);
const plots = new Plots(at("plots"));

at("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  try { localStorage.setItem("theme", next); } catch { /* a browser that keeps nothing */ }
  plots.redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => plots.redraw());

function listen() {
  const live = new EventSource("/live");
  live.addEventListener("hello", (event) => { page.viewer = JSON.parse(event.data).viewer; heard(); });
  live.addEventListener("ping", heard);
  live.addEventListener("cameras", (event) => { heard(); pictures(JSON.parse(event.data)); });
  live.addEventListener("state", (event) => {
    heard();
    page.state = JSON.parse(event.data);
    show(page.state);
  });
  live.onerror = async () => {
    page.viewer = "";
    if (live.readyState !== EventSource.CLOSED) return;
    const answer = await fetch("/live").catch(() => null);
    if (answer && answer.status === 401) { location.reload(); return; }
    if (answer && answer.ok) answer.body.cancel();
    else lost(answer ? (await answer.json().catch(() => ({}))).refused : "");
    setTimeout(listen, 2000);
  };
}

function heard() {
  page.contact = Date.now();
  at("contact").hidden = true;
}

function lost(why) {
  page.viewer = "";
  setText(at("contact"), why || "No contact with the page's process: what is shown is old, and words do not count. The run goes on without it.");
  at("contact").hidden = false;
}

setInterval(() => { if (page.contact && Date.now() - page.contact > 7000) lost(""); }, 1000);

function show(state) {
  const { run, success } = state;
  document.title = `${success["20"] ? percent(success["20"].rate) : "–"} · ${run.name}`;
  setText(at("name"), run.name);
  setText(at("about"), [run.task, run.agents, run.phase === "warmup" ? "warm-up" : ""].filter(Boolean).join(" · "));
  const paused = state.actors.some((actor) => actor.doing === "paused");
  const words = run.stopping ? "stopping" : paused ? "paused" : run.state === "ended" && run.finished ? "finished" : run.state;
  setText(at("state"), words);
  at("state").className = `pill ${paused ? "paused" : run.state === "running" ? "running" : ""}`;
  showSuccess(success);
  showProgress(state);
  showAlarms([...state.alarms, ...run.notices.map((text) => ({ level: "look", text }))]);
  showLearner(state);
  showEvaluations(state.evaluations);
  showActors(at("actors"), state, page);
  setText(at("viewers"), `${state.viewers} of 8 viewers`);
  marks.follow(state);
  plots.follow(state);
}

function showSuccess(success) {
  const last = success["20"];
  setText(at("success"), last ? percent(last.rate) : "–");
  const helped = last && last.helped ? `, a hand helped in ${last.helped}` : "";
  setText(at("success-of"), last ? `of ${last.count} episodes${helped}` : "no episode yet");
  const rows = [["last 20", last, ""], ["last 100", success["100"], ""], ["warm-up", success.warm, "warm"]];
  set(at("scales"), JSON.stringify(rows), () => rows.filter(([, found]) => found).map((row) => scale(...row)));
}

function scale(name, found, kind) {
  const track = made("div", { class: "track" });
  if (found.low !== undefined) {
    const band = made("div", { class: "band" });
    band.style.left = `${100 * found.low}%`;
    band.style.width = `${100 * (found.high - found.low)}%`;
    track.append(band);
  }
  const point = made("div", { class: "point" });
  point.style.left = `${100 * found.rate}%`;
  track.append(point);
  const interval = found.low === undefined ? "" : ` (${percent(found.low)} to ${percent(found.high)})`;
  const words = made("div", { class: "words", title: "95 % interval (Wilson)" }, `${percent(found.rate)}${interval}`);
  return made("div", { class: `scale ${kind}`, title: found.how || "" }, made("div", {}, name), track, words);
}

function showProgress(state) {
  setText(at("steps"), number(state.steps));
  setText(at("total"), `${state.total ? `of ${number(state.total)} ` : ""}environment steps${state.left ? ` · ${state.left} left` : ""}`);
  at("progress").style.width = state.total ? `${Math.min(100, (100 * state.steps) / state.total)}%` : "0";
  const disk = state.disk, newest = state.evaluations.at(-1);
  figures(at("figures"), [
    ["return", number(state.return, 3)],
    ["interventions per episode", number(state.interventions, 2)],
    ["newest evaluation", newest ? percent(newest.rate) : "–", newest && newest.count ? `of ${newest.count}` : ""],
    ["updates", number(state.updates)],
    ["disk free", disk.total ? `${number(disk.free / 2 ** 30, 1)} GiB` : "–", "", disk.total && disk.free < 5 * 2 ** 30],
  ]);
}

function showLearner(state) {
  const it = state.learner;
  const share = (value) => (value === null || value === undefined ? "–" : percent(value));
  figures(at("learner"), [
    ["updates per second", number(it.updates_per_second, 1)],
    ["updates per step", number(it.utd, 2), it.utd_asked === null ? "" : `asked ${number(it.utd_asked, 2)}`],
    ["offline share", share(it.offline), it.offline_asked === null ? "" : `asked ${share(it.offline_asked)}`],
    ["critic's loss", number(it.critic_loss, 3)],
    ["policy's loss", number(it.actor_loss, 3)],
    ["mean Q", number(it.q, 3)],
    ["rows waiting", number(it.waiting)],
  ]);
}

function showAlarms(alarms) {
  set(at("alarms"), JSON.stringify(alarms.map((one) => [one.level, one.text])), () => alarms.map((one) =>
    made("li", { class: one.level }, made("span", {}, one.text))));
}

function showEvaluations(evaluations) {
  set(at("evaluations"), JSON.stringify(evaluations), () => (evaluations.length
    ? evaluations.slice(-6).reverse().map((one) => scale(`${number(one.steps)} steps`, one, ""))
    : [made("p", { class: "faint" }, "None yet: they come by actor.evaluate_every, or from an actor's button.")]));
}

const shown = new Map();

function pictures(numbers) {
  const views = at("views");
  views.hidden = !Object.keys(numbers).length;
  for (const [key, [figure]] of shown) if (!(key in numbers)) { figure.remove(); shown.delete(key); }
  for (const [key, newest] of Object.entries(numbers)) {
    if (!shown.has(key)) {
      const image = made("img", { alt: `Camera ${key}` });
      const caption = made("figcaption", {}, key.replace("/", ", "));
      const figure = made("figure", {}, image, caption);
      views.append(figure);
      shown.set(key, [figure, image, { loading: false, wanted: newest, had: -1 }]);
      image.addEventListener("load", () => { image.classList.toggle("small", image.naturalWidth < 100); next(key); });
      image.addEventListener("error", () => next(key));
    }
    shown.get(key)[2].wanted = newest;
    if (!shown.get(key)[2].loading) next(key);
  }
}

// The next picture is asked for when the last one is there: a slow line shows fewer, and never old ones.
function next(key) {
  if (!shown.has(key)) return;
  const [, image, now] = shown.get(key);
  now.loading = now.had !== now.wanted;
  if (!now.loading) return;
  now.had = now.wanted;
  image.src = `/camera/${key.split("/").map(encodeURIComponent).join("/")}?n=${now.had}`;
}

listen();
