// Lines over days, drawn by uPlot; the colours are those of the page's theme.

import { h } from "./dom.js";
import { formatValue } from "./format.js";

const HEIGHT = 190;
const drawn = new Set();
const resizing = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const width = Math.floor(target.clientWidth);
    if (target.plot && width > 0 && width !== target.plot.width) target.plot.setSize({ width, height: HEIGHT });
  }
});

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** A box that draws the series once it is in the page; `label` says in words what can be seen. */
export function chart(series, label) {
  const box = h("div", { class: "plot", role: "img", "aria-label": label });
  box.series = series;
  drawn.add(box);
  return box;
}

/** Draw what is new in the page, forget what left it. */
export function drawCharts() {
  for (const box of drawn) {
    if (box.isConnected && !box.plot) draw(box);
    if (!box.isConnected && box.plot) {
      box.plot.destroy();
      resizing.unobserve(box);
      drawn.delete(box);
    }
  }
}

/** Again, in the colours of a new theme. */
export function redrawCharts() {
  for (const box of drawn) {
    box.plot?.destroy();
    box.plot = null;
  }
  drawCharts();
}

function draw(box) {
  const { x, values, comparison, unit } = box.series;
  const seconds = x.map((day) => Date.parse(`${day}T00:00:00Z`) / 1000);
  const short = (_, ticks) => ticks.map((tick) => formatValue(tick, unit, true));
  const axis = { stroke: colour("--muted"), font: "12px system-ui, sans-serif", ticks: { show: false } };
  const line = (label, stroke, more) => ({
    label,
    stroke,
    width: 2,
    points: { show: x.length < 2 },
    value: (_, value) => (value === null ? "–" : formatValue(value, unit)),
    ...more,
  });
  const options = {
    width: Math.max(200, Math.floor(box.clientWidth)),
    height: HEIGHT,
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    scales: { ...(x.length < 2 ? { x: { range: [seconds[0] - 86400, seconds[0] + 86400] } } : {}), y: { range: (_, low, high) => (low === high ? [Math.min(0, low), high || 1] : [Math.min(0, low), high * 1.05]) } },
    axes: [
      { ...axis, grid: { show: false }, space: 60, size: 30, values: (_, ticks) => ticks.map((at) => new Date(at * 1000).toISOString().slice(5, 10)), incrs: [1, 2, 3, 7, 14, 28, 56, 91, 182, 364].map((days) => days * 86400) },
      { ...axis, grid: { stroke: colour("--line"), width: 1 }, size: 64, values: short },
    ],
    series: [
      { label: "Day", value: (_, at) => (at === null ? "–" : new Date(at * 1000).toISOString().slice(0, 10)) },
      line("Now", colour("--accent"), { fill: colour("--accent-wash") }),
      ...(comparison ? [line("Compared", colour("--muted"), { dash: [4, 4], width: 1.5 })] : []),
    ],
    legend: { live: true },
    cursor: { y: false },
  };
  box.plot = new uPlot(options, [seconds, values, ...(comparison ? [comparison] : [])], box);
  for (const each of box.querySelectorAll("th, td")) each.setAttribute("role", "presentation");
  resizing.observe(box);
}
