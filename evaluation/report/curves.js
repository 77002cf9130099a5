// Interactive loss curves: zoom by dragging, buttons or keys, and read values at the cursor.
"use strict";
{
  const systems = JSON.parse(document.getElementById("curve-data").textContent);
  const [plot, part, readout] = ["plot", "part", "readout"].map((id) => document.getElementById(id));
  const COLOURS = ["#2b83ba", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#56a4d8", "#808080"];
  const DASHES = ["", "7 3", "9 3 2 3", "2 3"];
  const [LEFT, TOP, BOTTOM, HEIGHT] = [56, 12, 340, 380]; // of the plot area, in pixels
  let right; // right edge of the plot area, which fills the width of the page
  const updates = systems.flatMap((system) => system.losses.total.update);
  const whole = [Math.min(...updates), Math.max(...updates)];
  let shown = [...whole]; // updates at the left and right edges
  let cursor = whole[1];
  let hidden = new Set();
  let y; // lowest and highest visible loss

  const toX = (update) => LEFT + ((right - LEFT) * (update - shown[0])) / (shown[1] - shown[0]);
  const toUpdate = (x) => shown[0] + ((shown[1] - shown[0]) * (x - LEFT)) / (right - LEFT);
  const toY = (loss) => BOTTOM - ((BOTTOM - TOP) * (loss - y[0])) / (y[1] - y[0]);

  function add(parent, name, attributes, text = "") {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    parent.append(element);
    return element;
  }

  const visible = () => systems.map((system, i) => ({ ...system, i })).filter(({ i }) => !hidden.has(i));

  function ticks([low, high], most = 6) {
    const rough = (high - low) / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
    const count = Math.floor(high / step) - Math.ceil(low / step) + 1;
    return Array.from({ length: count }, (_, i) => (Math.ceil(low / step) + i) * step);
  }

  function draw() {
    plot.replaceChildren();
    right = plot.clientWidth - 20;
    plot.setAttribute("viewBox", `0 0 ${plot.clientWidth} ${HEIGHT}`);
    const inView = visible().flatMap(({ losses }) => {
      const curve = losses[part.value];
      return curve.update.flatMap((u, i) => (u >= shown[0] && u <= shown[1] ? [curve.low[i], curve.high[i]] : []));
    });
    y = inView.length ? [Math.min(...inView), Math.max(...inView)] : [0, 1];
    const margin = (y[1] - y[0]) * 0.05 || 0.01;
    y = [y[0] - margin, y[1] + margin];
    for (const update of ticks(shown, (right - LEFT) / 80)) {
      add(plot, "line", { x1: toX(update), x2: toX(update), y1: TOP, y2: BOTTOM, stroke: "#8884" });
      add(plot, "text", { x: toX(update), y: BOTTOM + 18, "text-anchor": "middle" }, String(Math.round(update)));
    }
    for (const loss of ticks(y)) {
      add(plot, "line", { x1: LEFT, x2: right, y1: toY(loss), y2: toY(loss), stroke: "#8884" });
      add(plot, "text", { x: LEFT - 6, y: toY(loss) + 4, "text-anchor": "end" }, loss.toPrecision(3));
    }
    add(plot, "text", { x: (LEFT + right) / 2, y: BOTTOM + 36, "text-anchor": "middle" }, "update");
    const clip = add(add(plot, "clipPath", { id: "inside" }), "rect", { x: LEFT, y: TOP, width: right - LEFT, height: BOTTOM - TOP });
    const lines = add(plot, "g", { "clip-path": `url(#${clip.parentNode.id})` });
    for (const { losses, i } of visible()) {
      const { update, mean, low, high } = losses[part.value];
      const points = (values) => values.map((value, k) => `${toX(update[k]).toFixed(1)},${toY(value).toFixed(1)}`);
      const colour = COLOURS[i % COLOURS.length];
      add(lines, "polygon", { points: [...points(high), ...points(low).reverse()].join(" "), fill: colour, opacity: 0.2 });
      add(lines, "polyline", { points: points(mean).join(" "), fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": DASHES[i % 4] });
    }
    add(lines, "line", { x1: toX(cursor), x2: toX(cursor), y1: TOP, y2: BOTTOM, stroke: "currentColor" });
    read();
  }

  function read() {
    // Losses exist only at validations: show the last one before the cursor.
    const values = visible().map(({ label, losses }) => {
      const { update, mean } = losses[part.value];
      const at = Math.max(0, update.findLastIndex((each) => each <= cursor));
      return `${label} ${mean[at].toFixed(4)} (update ${update[at]})`;
    });
    readout.textContent = `Loss ${part.value}: ${values.join("; ")}`;
  }

  function show(low, high) {
    const least = (whole[1] - whole[0]) / 100;
    const middle = (low + high) / 2;
    const half = Math.max(high - low, least) / 2;
    shown = [Math.max(whole[0], middle - half), Math.min(whole[1], middle + half)];
    cursor = Math.min(Math.max(cursor, shown[0]), shown[1]);
    draw();
  }

  function zoom(factor) {
    const half = ((shown[1] - shown[0]) * factor) / 2;
    show(cursor - half, cursor + half);
  }

  function move(steps) {
    cursor = Math.min(Math.max(cursor + (steps * (shown[1] - shown[0])) / 40, whole[0]), whole[1]);
    const width = shown[1] - shown[0];
    if (cursor < shown[0]) shown = [cursor, cursor + width];
    if (cursor > shown[1]) shown = [cursor - width, cursor];
    draw();
  }

  const everything = () => show(...whole);
  const keys = { "+": () => zoom(0.5), "-": () => zoom(2), ArrowLeft: () => move(-1), ArrowRight: () => move(1), Home: everything };
  plot.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });

  let start = null; // the update at which a drag began
  const pointed = (event) => toUpdate(event.clientX - plot.getBoundingClientRect().left);
  plot.addEventListener("pointerdown", (event) => { start = pointed(event); });
  plot.addEventListener("pointermove", (event) => {
    cursor = Math.min(Math.max(pointed(event), shown[0]), shown[1]);
    draw();
    if (start !== null) add(plot, "rect", { x: Math.min(toX(start), toX(cursor)), y: TOP, width: Math.abs(toX(cursor) - toX(start)), height: BOTTOM - TOP, fill: "currentColor", opacity: 0.15 });
  });
  window.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [low, high] = [start, pointed(event)].sort((a, b) => a - b);
    start = null;
    if (high - low > (shown[1] - shown[0]) / 50) show(low, high); else draw();
  });

  for (const name of Object.keys(systems[0].losses)) part.append(new Option(name, name));
  part.addEventListener("change", draw);
  document.getElementById("zoom-in").addEventListener("click", keys["+"]);
  document.getElementById("zoom-out").addEventListener("click", keys["-"]);
  document.getElementById("all").addEventListener("click", everything);
  systems.forEach(({ label }, i) => {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    box.addEventListener("change", () => { box.checked ? hidden.delete(i) : hidden.add(i); draw(); });
    const line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    line.setAttribute("width", 28);
    line.setAttribute("height", 6);
    line.setAttribute("aria-hidden", "true");
    add(line, "line", { x1: 0, x2: 28, y1: 3, y2: 3, stroke: COLOURS[i % COLOURS.length], "stroke-width": 3, "stroke-dasharray": DASHES[i % 4] });
    const choice = document.createElement("label");
    choice.append(box, line, label);
    document.getElementById("systems").append(choice);
  });
  new ResizeObserver(draw).observe(plot);
}
