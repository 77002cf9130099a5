// Loss curves drawn by uPlot. They start with the early part of training; drag, buttons or keys
// zoom, and the values at the cursor are written below the plot.
"use strict";
{
  const { systems, early } = JSON.parse(document.getElementById("curve-data").textContent);
  const [plot, component, readout] = ["plot", "component", "readout"].map((id) => document.getElementById(id));
  const updates = [...new Set(systems.flatMap(({ losses }) => losses.total.update))].sort((a, b) => a - b);
  const whole = [updates[0], updates.at(-1)];
  const hidden = new Set();
  let view = early; // updates at the left and right edges
  let cursor = early[1]; // an update
  let chart = null;

  // One row of values for each of mean, low and high of each system, aligned to all updates.
  function rows() {
    return systems.flatMap(({ losses }) => {
      const curve = losses[component.value];
      const place = new Map(curve.update.map((update, i) => [update, i]));
      return ["mean", "low", "high"].map((name) => updates.map((update) => curve[name][place.get(update)] ?? null));
    });
  }

  function draw() {
    chart?.destroy();
    const ink = getComputedStyle(document.body).color;
    const axis = { stroke: ink, grid: { stroke: "#8883" }, ticks: { stroke: "#8886" }, font: "12px system-ui" };
    const line = ({ colour, dash }) => ({ stroke: colour, width: 2, dash: dash ? dash.split(" ").map(Number) : [], spanGaps: true, points: { show: false } });
    const edge = { stroke: "transparent", spanGaps: true, points: { show: false } };
    chart = new uPlot({
      width: plot.clientWidth,
      height: 320,
      legend: { show: false },
      cursor: { y: false },
      scales: { x: { time: false } },
      axes: [{ ...axis, label: "update", labelSize: 20 }, { ...axis, size: 56 }],
      series: [{}, ...systems.flatMap((system, i) => [line(system), edge, edge].map((each) => ({ ...each, show: !hidden.has(i) })))],
      bands: systems.map(({ colour }, i) => ({ series: [3 * i + 3, 3 * i + 2], fill: colour + "30" })),
      hooks: {
        setScale: [(u, key) => { if (key === "x") keepView(u.scales.x.min, u.scales.x.max); }],
        setCursor: [(u) => { if (u.cursor.event) moveTo(updates[u.cursor.idx] ?? cursor); }],
      },
    }, [updates, ...rows()], plot);
    show(...view);
  }

  function keepView(low, high) {
    view = [low, high];
    [plot.dataset.from, plot.dataset.to] = view.map(Math.round);
    moveTo(Math.min(Math.max(cursor, low), high));
  }

  function show(low, high) {
    const least = (whole[1] - whole[0]) / 100;
    const [middle, half] = [(low + high) / 2, Math.max(high - low, least) / 2];
    chart.setScale("x", { min: Math.max(whole[0], middle - half), max: Math.min(whole[1], middle + half) });
    chart.setCursor({ left: chart.valToPos(cursor, "x"), top: 0 });
  }

  function moveTo(update) {
    cursor = update;
    // Losses exist only at validations: show the last one before the cursor.
    const values = systems.filter((_, i) => !hidden.has(i)).map(({ label, losses }) => {
      const curve = losses[component.value];
      const at = Math.max(0, curve.update.findLastIndex((each) => each <= cursor));
      return `${label} ${curve.mean[at].toFixed(4)} (update ${curve.update[at]})`;
    });
    readout.textContent = `Loss ${component.value}: ${values.join("; ")}`;
  }

  function zoom(factor) {
    const half = ((view[1] - view[0]) * factor) / 2;
    show(cursor - half, cursor + half);
  }

  function step(count) {
    const width = view[1] - view[0];
    moveTo(Math.min(Math.max(cursor + (count * width) / 40, whole[0]), whole[1]));
    if (cursor < view[0]) show(cursor, cursor + width);
    else if (cursor > view[1]) show(cursor - width, cursor);
    else show(...view);
  }

  const actions = {
    "+": () => zoom(0.5), "-": () => zoom(2), ArrowLeft: () => step(-1), ArrowRight: () => step(1),
    Home: () => show(...whole), e: () => show(...early),
  };
  plot.addEventListener("keydown", (event) => {
    if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  });
  for (const button of document.querySelectorAll("button[data-key]")) {
    button.addEventListener("click", () => actions[button.dataset.key]());
  }

  for (const name of Object.keys(systems[0].losses)) component.append(new Option(name, name));
  component.addEventListener("change", draw);
  systems.forEach(({ label, colour, dash }, i) => {
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    box.addEventListener("change", () => { box.checked ? hidden.delete(i) : hidden.add(i); draw(); });
    const choice = document.createElement("label");
    choice.innerHTML = `<svg class="swatch" viewBox="0 0 28 6" aria-hidden="true"><line x1="0" x2="28" y1="3" y2="3" stroke="${colour}" stroke-dasharray="${dash}"/></svg>`;
    choice.prepend(box);
    choice.append(label);
    document.getElementById("systems").append(choice);
  });
  draw();
  new ResizeObserver(() => chart.setSize({ width: plot.clientWidth, height: 320 })).observe(plot);
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", draw);
}
