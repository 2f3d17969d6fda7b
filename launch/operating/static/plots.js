// The curves, drawn by uPlot (uplot-LICENSE.txt).
import { made, number } from "./shown.js";

const TITLES = {
  success: "Success", return: "Return", interventions: "Interventions", losses: "Critic's loss", policy: "Policy's loss", values: "Value of the batch",
  pace: "Updates per step", offline: "Offline share", heldout: "Held-out episodes",
};
const LINES = ["--success", "--failure", "--third", "--hand"];
const DASHES = [[], [8, 4], [2, 4], [10, 4, 2, 4]];
const EVERY = 3000;

export class Plots {
  constructor(place) {
    Object.assign(this, { place, drawn: new Map(), changes: "", asked: 0, data: null });
    new ResizeObserver(() => this.resize()).observe(place);
  }

  async follow(state) {
    const changes = `${state.changes}/${state.readings}`;
    if (changes === this.changes || Date.now() - this.asked < EVERY) return;
    this.asked = Date.now();
    const answer = await fetch("/curves").catch(() => null);
    if (!answer || !answer.ok) return;
    this.changes = changes;
    this.data = await answer.json();
    this.draw();
  }

  redraw() {
    for (const plot of this.drawn.values()) plot.chart.destroy();
    for (const plot of this.drawn.values()) plot.card.remove();
    this.drawn.clear();
    if (this.data) this.draw();
  }

  draw() {
    for (const [name, columns] of Object.entries(this.data.plots)) {
      const names = Object.keys(columns).filter((key) => key !== "x");
      const data = [columns.x, ...names.map((key) => columns[key])];
      const known = this.drawn.get(name);
      if (known && known.names.join() === names.join()) { known.chart.setData(data); continue; }
      if (known) { known.chart.destroy(); known.card.remove(); }
      this.drawn.set(name, this.plot(name, names, data));
    }
  }

  plot(name, names, data) {
    const colour = (variable) => getComputedStyle(document.documentElement).getPropertyValue(variable).trim();
    const area = made("div");
    const card = made("figure", { class: "card plot" }, made("h2", {}, TITLES[name]), area);
    card.style.order = Object.keys(TITLES).indexOf(name); // wherever in time it is drawn
    this.place.append(card);
    const axis = { stroke: colour("--faint"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 }, font: "13px system-ui, sans-serif" };
    const low = names.indexOf("low") + 1, high = names.indexOf("high") + 1;
    const share = ["success", "offline"].includes(name);
    let line = 0;
    const options = {
      width: this.width(area), height: 240, cursor: { sync: { key: "run" }, y: false },
      scales: { x: { time: false }, y: share ? { range: [0, 1.02] } : {} },
      axes: [{ ...axis, label: this.data.axis, labelSize: 18, size: 34, labelFont: "13px system-ui, sans-serif", values: (_, ticks) => ticks.map((tick) => number(tick, 2)) },
        { ...axis, size: 62, values: (_, ticks) => ticks.map((tick) => number(tick, 3)) }],
      series: [{ label: this.data.axis, value: (_, value) => number(value) }, ...names.map((key) => {
        const hidden = key === "low" || key === "high";
        const stroke = hidden ? "transparent" : colour(LINES[line % LINES.length]);
        const dash = hidden ? [] : DASHES[line % DASHES.length];
        if (!hidden) line += 1;
        const evaluated = key === "evaluation";
        return {
          label: hidden ? `interval, ${key}` : key, class: hidden ? "silent" : undefined, stroke, dash, width: evaluated ? 0 : 2.2, spanGaps: true, value: (_, value) => number(value, 3),
          points: { show: evaluated, size: 9, width: 2, stroke, fill: colour("--card") },
        };
      })],
      bands: low && high ? [{ series: [high, low], fill: `${colour("--failure")}2e` }] : [],
    };
    return { chart: new uPlot(options, data, area), names, card, area };
  }

  width(area) { return Math.max(240, Math.floor(area.getBoundingClientRect().width)); }

  resize() {
    for (const { chart, area } of this.drawn.values()) {
      const width = this.width(area.parentElement.querySelector("h2"));
      if (width !== chart.width) chart.setSize({ width, height: 240 });
    }
  }
}
