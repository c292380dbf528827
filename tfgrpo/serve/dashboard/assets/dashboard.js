// Draws the charts of a page: each is an element whose `data-chart` holds what is drawn. Nothing else is done here.
"use strict";
(() => {
  const drawn = new Map(); // element: its plot, and what it was drawn from
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const DASHES = [null, [6, 3], [2, 3], [8, 3, 2, 3]];

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const toned = (tone) => colour({ failed: "hopeless" }[tone] || tone || "ink");

  // A power of ten as a person reads it.
  const power = (exponent) => (Math.abs(exponent) <= 3 ? String(10 ** exponent) : `1e${exponent}`);
  const TELL = {
    count: (value) => value.toLocaleString("en"),
    percent: (value) => `${(100 * value).toFixed(1)}%`,
    log_e: (value) => Math.exp(value).toPrecision(3),
  };
  const TICK = {
    count: (value) => (Number.isInteger(value) ? value.toLocaleString("en") : ""),
    percent: (value) => `${Math.round(100 * value)}%`,
    log_e: (value) => power(Math.round(value / Math.LN10)),
  };

  function axes(chart) {
    const common = { stroke: colour("muted"), grid: { stroke: colour("rule"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const x = { ...common, grid: { show: false } };
    if (chart.time) {
      x.space = 72;
      x.values = [[86400, "{MM}-{DD}", null, null, null, null, null, null, 1], [3600, "{HH}:00", "\n{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1], [1, "{HH}:{mm}", "\n{MM}-{DD}", null, "\n{MM}-{DD}", null, null, null, 1]];
    } else {
      x.incrs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];
      x.values = (_, splits) => splits.map((value) => String(value + (chart.shift || 0)));
    }
    const y = { ...common, size: 56, values: (_, splits) => splits.map(TICK[chart.y]) };
    if (chart.y === "count") y.incrs = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6, 1e7];
    if (chart.y === "log_e") y.incrs = [1, 2, 4, 10, 20, 50, 100].map((tens) => tens * Math.LN10);
    return [x, y];
  }

  function range(chart) {
    return (_, low, high) => {
      const bars = (chart.thresholds || []).map((one) => one.value);
      if (chart.y === "count") return [0, Math.max(1, 1.1 * (high || 0))];
      if (chart.y === "log_e") return [Math.min(0, low || 0) - 0.4, Math.max(0, ...bars, high || 0) + 0.8];
      const middle = ((low || 0) + (high || 0)) / 2, half = Math.max(0.1, 0.6 * ((high || 0) - (low || 0)));
      return [Math.max(-0.03, middle - half), Math.min(1.03, middle + half)];
    };
  }

  // The lines that an e-value has to reach.
  function thresholds(chart) {
    return (plot) => {
      const { ctx, bbox } = plot, size = devicePixelRatio;
      for (const one of chart.thresholds || []) {
        const at = Math.round(plot.valToPos(one.value, "y", true));
        ctx.save();
        ctx.strokeStyle = ctx.fillStyle = toned(one.tone);
        ctx.lineWidth = size;
        ctx.setLineDash([6 * size, 4 * size]);
        ctx.beginPath();
        ctx.moveTo(bbox.left, at);
        ctx.lineTo(bbox.left + bbox.width, at);
        ctx.stroke();
        ctx.textAlign = "left";
        ctx.font = `${12 * size}px system-ui, sans-serif`;
        ctx.fillText(`${one.label} at ${Number(Math.exp(one.value).toPrecision(3))}`, bbox.left + 4 * size, at - 5 * size);
        ctx.restore();
      }
    };
  }

  function draw(element) {
    const source = element.dataset.chart, chart = JSON.parse(source);
    if (!chart.series) return;
    const before = drawn.get(element);
    if (before) before.plot.destroy();
    const few = chart.x.length <= 40;
    const series = chart.series.map((one, place) => ({
      label: one.label, stroke: toned(one.tone), width: 2, spanGaps: chart.y !== "count",
      dash: DASHES[chart.series.slice(0, place).filter((other) => other.tone === one.tone).length % DASHES.length] || undefined,
      points: { show: few, size: 6, fill: toned(one.tone) },
      value: (_, value) => (value == null ? "" : TELL[chart.y](value)),
    }));
    const shown = (value) => (chart.time ? new Date(1000 * value).toISOString().slice(0, 16).replace("T", " ") : String(value + (chart.shift || 0)));
    const options = {
      width: element.clientWidth, height: 210, series: [{ label: chart.time ? "UTC" : chart.of, value: (_, value) => (value == null ? "" : shown(value)) }, ...series],
      axes: axes(chart), hooks: { draw: [thresholds(chart)] }, cursor: { y: false, drag: { x: false, y: false } }, padding: [12, 22, 0, 0],
      scales: { x: { time: Boolean(chart.time) }, y: { range: range(chart) } }, tzDate: (seconds) => uPlot.tzDate(new Date(1000 * seconds), "Etc/UTC"),
    };
    const plot = new uPlot(options, [chart.x, ...chart.series.map((one) => one.values)], element);
    drawn.set(element, { plot, source, width: element.clientWidth });
  }

  function drawAll(anew) {
    for (const [element, { plot }] of drawn) {
      if (!element.isConnected) { plot.destroy(); drawn.delete(element); }
    }
    for (const element of document.querySelectorAll(".chart")) {
      if (anew || !drawn.has(element)) draw(element);
    }
  }

  let waiting = 0;
  addEventListener("resize", () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      for (const [element, { plot, width }] of drawn) {
        if (element.clientWidth !== width) {
          plot.setSize({ width: element.clientWidth, height: 210 });
          drawn.get(element).width = element.clientWidth;
        }
      }
    });
  });
  dark.addEventListener("change", () => drawAll(true));
  document.addEventListener("htmx:afterSwap", () => drawAll(false));
  drawAll(false);
})();
