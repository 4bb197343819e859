// Curves by uPlot, in the page's own colours, light or dark.
window.octavoCharts = (() => {
  "use strict";
  const most = 6;
  const first = ["loss", "accuracy", "ndcg@10", "hr@10", "nll"];
  const height = 180;
  const whole = Array.from({ length: 48 }, (_, place) => [1, 2, 5][place % 3] * 10 ** Math.floor(place / 3)); // there is no half step
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = (text) => (typeof text === "number" ? text : null); // NaN and infinities come as words: a gap

  function figure(value) {
    if (typeof value !== "number") return value ?? "–";
    const size = Math.abs(value);
    return size !== 0 && (size < 1e-4 || size >= 1e7) ? value.toExponential(3) : String(Number(value.toPrecision(5)));
  }

  // For the marks of an axis, which have little room.
  function short(value) {
    if (value == null) return "";
    const round = Number(value.toPrecision(4));
    const size = Math.abs(round);
    return size !== 0 && (size < 1e-4 || size >= 1e6) ? round.toExponential().replace("e+", "e") : String(round);
  }

  // train/loss and val/loss are two curves of one chart, loss.
  function quantity(name) {
    const cut = name.indexOf("/");
    return cut < 0 ? [name, name] : [name.slice(cut + 1), name.slice(0, cut)];
  }

  class Chart {
    constructor(place, title, axis) {
      this.title = title;
      this.axis = axis;
      this.curves = new Map();
      this.box = document.createElement("div");
      this.box.className = "chart";
      const heading = document.createElement("h3");
      heading.textContent = title;
      this.plot = document.createElement("div");
      this.plot.setAttribute("role", "img");
      this.box.append(heading, this.plot);
      place.append(this.box);
    }

    // What lies beyond came by an event while these were on their way.
    set(name, steps, values) {
      const curve = new Map();
      steps.forEach((step, index) => curve.set(step, number(values[index])));
      for (const [step, value] of this.curves.get(name) ?? []) if (step > (steps.at(-1) ?? -Infinity)) curve.set(step, value);
      this.curves.set(name, curve);
    }

    add(name, step, value) {
      if (!this.curves.has(name)) this.curves.set(name, new Map());
      this.curves.get(name).set(step, number(value));
    }

    data() {
      const steps = [...new Set([...this.curves.values()].flatMap((curve) => [...curve.keys()]))].sort((a, b) => a - b);
      return [steps, ...[...this.curves.values()].map((curve) => steps.map((step) => curve.get(step) ?? undefined))];
    }

    describe() {
      const last = [...this.curves].map(([name, curve]) => `${name} ${figure([...curve.values()].at(-1))}`);
      this.plot.setAttribute("aria-label", `Curve of ${this.title} over ${this.axis}s. Last: ${last.join(", ")}.`);
    }

    draw() {
      this.describe();
      const names = [...this.curves.keys()].join("\n");
      if (this.drawn && this.names === names) {
        this.drawn.setData(this.data());
        return;
      }
      this.names = names;
      this.drawn?.destroy();
      const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
      const series = [...this.curves].map(([name, curve], index) => ({
        label: name,
        stroke: colour(`--series-${(index % 6) + 1}`),
        width: 1.75,
        spanGaps: true,
        points: { show: curve.size < 40, size: 5 },
        value: (_, value) => figure(value),
      }));
      const options = {
        width: this.plot.clientWidth || 400,
        height,
        scales: { x: { time: false } },
        axes: [{ ...axis, incrs: whole }, { ...axis, size: 62, values: (_, ticks) => ticks.map(short) }],
        series: [{ label: this.axis, value: (_, value) => (value == null ? "–" : String(value)) }, ...series],
        cursor: { points: { size: 7 } },
      };
      this.drawn = new uPlot(options, this.data(), this.plot);
    }

    fit() {
      if (this.plot.clientWidth) this.drawn?.setSize({ width: this.plot.clientWidth, height });
    }
  }

  class Charts {
    // `titles`: of metrics whose names do not say enough; `axis`: what the steps are.
    constructor(place, titles = {}, axis = "step") {
      this.place = place;
      this.titles = titles;
      this.axis = axis;
      this.byTitle = new Map();
      new ResizeObserver(() => this.byTitle.forEach((chart) => chart.fit())).observe(place);
      dark.addEventListener("change", () => { this.byTitle.forEach((chart) => { chart.names = null; }); this.draw(); });
    }

    chartOf(name) {
      const title = this.titles[name] ?? quantity(name)[0];
      if (!this.byTitle.has(title)) {
        if (this.byTitle.size === 0) this.place.replaceChildren();
        this.byTitle.set(title, new Chart(this.place, title, this.axis));
      }
      return this.byTitle.get(title);
    }

    curveOf(name) { return name in this.titles ? "used" : quantity(name)[1]; }
    has(name) { return this.byTitle.get(this.titles[name] ?? quantity(name)[0])?.curves.has(this.curveOf(name)) ?? false; }
    set(name, steps, values) { this.chartOf(name).set(this.curveOf(name), steps, values); }
    add(name, step, value) { this.chartOf(name).add(this.curveOf(name), step, value); }

    // What people look for comes first: loss and accuracy, then what has several curves; the rest waits until it is
    // asked for.
    draw() {
      const charts = [...this.byTitle.values()];
      const place = (chart) => (first.includes(chart.title) ? first.indexOf(chart.title) - 100 : -chart.curves.size);
      charts.sort((a, b) => place(a) - place(b));
      const shown = charts.slice(0, most);
      const boxes = shown.map((chart) => chart.box);
      if (boxes.some((box, index) => this.place.children[index] !== box)) this.place.append(...boxes);
      shown.forEach((chart) => chart.draw());
      this.drawRest(charts.slice(most));
    }

    drawRest(charts) {
      if (charts.length === 0) return;
      if (!this.rest) {
        this.rest = document.createElement("details");
        this.rest.className = "fold rest";
        this.rest.append(document.createElement("summary"), document.createElement("div"));
        this.rest.lastChild.className = "charts";
        this.rest.addEventListener("toggle", () => this.draw());
        this.place.after(this.rest);
      }
      this.rest.firstChild.textContent = `${charts.length} more`;
      const boxes = charts.map((chart) => chart.box);
      if (boxes.some((box, index) => this.rest.lastChild.children[index] !== box)) this.rest.lastChild.append(...boxes);
      if (this.rest.open) charts.forEach((chart) => chart.draw());
    }
  }

  return { Charts, figure };
})();
