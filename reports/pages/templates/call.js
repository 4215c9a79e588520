"use strict";
(() => {
  const page = JSON.parse(document.getElementById("page").textContent);
  const axis = document.querySelector(".axis");
  const track = document.querySelector(".track");
  const cursor = document.querySelector(".cursor");
  const clock = document.getElementById("clock");
  const play = document.getElementById("play");
  const panel = document.getElementById("event");
  const audio = document.getElementById("audio");
  const figure = document.querySelector(".closer");
  const ROWS = 3, ROW_PX = 16, FIRST_ROW_PX = 16, MOST_ZOOM = 256;
  const says = [...document.querySelectorAll(".says button")];
  let zoom = 1, atMs = 0;

  // The audio is in the page; a Blob lets every browser seek in it.
  const embedded = document.getElementById("sound");
  let bytes = null;
  if (audio && embedded) {
    bytes = Uint8Array.from(atob(embedded.textContent.trim()), (c) => c.charCodeAt(0));
    audio.src = URL.createObjectURL(new Blob([bytes], { type: embedded.dataset.mime }));
  }

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  function show(ms) {
    atMs = clamp(ms, 0, page.length_ms);
    cursor.style.left = `${(100 * atMs) / page.length_ms}%`;
    clock.textContent = `${(atMs / 1000).toFixed(3)} s`;
    const said = says.findLast((line) => Number(line.dataset.ms) <= atMs);
    for (const line of says) {
      if (line === said) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    }
  }

  function follow() {
    const x = (atMs / page.length_ms) * track.clientWidth;
    if (x < axis.scrollLeft || x > axis.scrollLeft + axis.clientWidth) {
      axis.scrollLeft = x - axis.clientWidth / 4;
    }
  }

  function seek(ms, start) {
    show(ms);
    follow();
    if (!audio) return;
    audio.currentTime = Math.max(0, (atMs - page.recording_offset_ms) / 1000);
    if (start) audio.play().catch(() => {}); // a browser may refuse; the button still says Play
  }

  function toggle() {
    if (!audio) return;
    if (audio.paused) { seek(atMs >= page.length_ms ? 0 : atMs, true); } else { audio.pause(); }
  }

  function tell(index) {
    const mark = page.marks[index];
    for (const one of document.querySelectorAll(".event")) {
      if (Number(one.dataset.index) === index) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
    }
    panel.textContent = JSON.stringify(mark, null, 2);
  }

  // An edge is heard to the sample by Web Audio; a recording too long to be in the page, by its file.
  const AROUND_MS = 150;
  let context = null, decoded = null, heard = null;

  async function decode() {
    if (!bytes) return null;
    context ??= new AudioContext();
    decoded ??= await context.decodeAudioData(bytes.slice().buffer);
    return decoded;
  }

  async function hear(index) {
    const edge = page.edges[index];
    const at = edge.known_ms ?? edge.detected_ms;
    for (const one of document.querySelectorAll("[data-edge]")) {
      if (Number(one.dataset.edge) === index) one.setAttribute("aria-current", "true");
      else one.removeAttribute("aria-current");
    }
    audio.pause();
    show(at);
    follow();
    figure.hidden = false;
    const text = [edge.label];
    if (edge.known_ms !== null) text.push(`known ${(edge.known_ms / 1000).toFixed(4)} s`);
    text.push(edge.detected_ms !== null ? `detected ${(edge.detected_ms / 1000).toFixed(4)} s` : "not detected");
    if (edge.difference_ms !== null) text.push(`difference ${edge.difference_ms >= 0 ? "+" : "−"}${Math.abs(edge.difference_ms).toFixed(1)} ms`);
    document.getElementById("closer-text").textContent = text.join(" · ");
    const fromS = Math.max(0, (at - AROUND_MS - page.recording_offset_ms) / 1000);
    const sound = await decode();
    closer(sound, edge, at);
    heard?.stop();
    if (!sound) {
      audio.currentTime = fromS;
      audio.play().then(() => setTimeout(() => audio.pause(), 2 * AROUND_MS)).catch(() => {});
      return;
    }
    heard = new AudioBufferSourceNode(context, { buffer: sound });
    heard.connect(context.destination);
    heard.start(0, fromS, (2 * AROUND_MS) / 1000);
    document.documentElement.dataset.heard = `${fromS.toFixed(4)} ${(2 * AROUND_MS) / 1000}`;
  }

  function closer(sound, edge, at) {
    const canvas = document.getElementById("closer");
    const pen = canvas.getContext("2d");
    const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const { width, height } = canvas;
    const x = (ms) => ((ms - at + AROUND_MS) / (2 * AROUND_MS)) * width;
    pen.clearRect(0, 0, width, height);
    pen.font = "16px system-ui, sans-serif";
    if (sound) {
      const samples = sound.getChannelData(edge.channel);
      const first = ((at - AROUND_MS - page.recording_offset_ms) / 1000) * sound.sampleRate;
      const step = (2 * AROUND_MS * sound.sampleRate) / 1000 / width;
      pen.fillStyle = color(edge.channel ? "--ear" : "--mouth");
      for (let column = 0; column < width; column++) {
        let low = 0, high = 0;
        const past = Math.ceil(first + (column + 1) * step);
        for (let k = Math.max(0, Math.floor(first + column * step)); k < Math.min(past, samples.length); k++) {
          low = Math.min(low, samples[k]);
          high = Math.max(high, samples[k]);
        }
        const [top, bottom] = [high, -low].map((peak) => Math.sqrt(peak) * height / 2);
        pen.fillRect(column, height / 2 - top, 1, Math.max(1, top + bottom));
      }
    }
    pen.fillStyle = color("--soft");
    for (let ms = -AROUND_MS + 50; ms < AROUND_MS; ms += 50) pen.fillText(`${ms > 0 ? "+" : ""}${ms}`, x(at + ms) + 3, height - 6);
    const line = (ms, name, label, dash, y) => {
      if (ms === null) return;
      pen.strokeStyle = pen.fillStyle = color(name);
      pen.lineWidth = 2;
      pen.setLineDash(dash);
      pen.beginPath();
      pen.moveTo(x(ms), 0);
      pen.lineTo(x(ms), height);
      pen.stroke();
      const inside = clamp(x(ms), 0, width);
      pen.textAlign = inside > width - 100 ? "right" : "left";
      pen.fillText(label, inside + (inside > width - 100 ? -6 : 6), y);
      pen.textAlign = "left";
    };
    if (edge.difference_ms !== null) {
      pen.fillStyle = color("--beep");
      pen.fillRect(Math.min(x(edge.known_ms), x(edge.detected_ms)), 0, Math.abs(x(edge.known_ms) - x(edge.detected_ms)), height);
    }
    line(edge.known_ms, "--good", "known", [], 18);
    line(edge.detected_ms, "--warn", "detected", [7, 5], 38);
  }

  for (const button of document.querySelectorAll("[data-edge]")) {
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      hear(Number(button.dataset.edge));
    });
  }

  const widths = new Map([...document.querySelectorAll(".event b, .due")].map((label) => [label, label.offsetWidth]));

  // Labels that would run into one another are left out until there is room for them.
  function place() {
    const width = track.clientWidth;
    for (const lane of document.querySelectorAll(".events")) {
      const until = new Array(ROWS).fill(-Infinity);
      for (const event of lane.querySelectorAll(".event")) {
        const label = event.querySelector("b");
        const x = (parseFloat(event.style.left) / 100) * width;
        const length = widths.get(label) + 8;
        const flipped = x + length > width;
        const start = flipped ? x - length : x;
        const row = until.findIndex((end) => end <= start);
        const minor = event.classList.contains("minor") && zoom < 16;
        const shown = row >= 0 && !minor;
        event.classList.toggle("shown", shown);
        label.style.left = flipped ? "auto" : "";
        label.style.right = flipped ? "6px" : "";
        label.style.top = `${FIRST_ROW_PX + Math.max(0, row) * ROW_PX}px`;
        if (shown) until[row] = start + length;
      }
    }
  }

  function placeDue() {
    const until = {};
    for (const label of document.querySelectorAll(".due")) {
      const x = (parseFloat(label.style.left) / 100) * track.clientWidth;
      const start = label.classList.contains("inside") ? x - widths.get(label) : x;
      const row = label.style.getPropertyValue("--row");
      const shown = start >= (until[row] ?? -Infinity);
      label.style.visibility = shown ? "" : "hidden";
      if (shown) until[row] = start + widths.get(label);
    }
  }

  function setZoom(wanted, aroundMs) {
    const before = zoom;
    zoom = clamp(wanted, 1, MOST_ZOOM);
    if (zoom === before) return;
    const share = aroundMs / page.length_ms;
    const x = share * track.clientWidth - axis.scrollLeft;
    axis.style.setProperty("--zoom", zoom);
    axis.scrollLeft = share * track.clientWidth - x;
    placeDue();
    document.getElementById("zoom").textContent = `${zoom < 10 ? zoom.toFixed(1).replace(".0", "") : Math.round(zoom)}×`;
    place();
  }

  const msAt = (clientX) =>
    ((clientX - track.getBoundingClientRect().left) / track.clientWidth) * page.length_ms;

  track.addEventListener("click", (event) => {
    const mark = event.target.closest(".event");
    if (mark) tell(Number(mark.dataset.index));
    seek(mark ? page.marks[Number(mark.dataset.index)].ms : msAt(event.clientX), !mark);
  });
  axis.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    setZoom(zoom * (event.deltaY < 0 ? 1.25 : 0.8), msAt(event.clientX));
  }, { passive: false });

  for (const button of document.querySelectorAll("[data-ms]")) {
    button.addEventListener("click", () => seek(Number(button.dataset.ms), true));
  }
  for (const button of document.querySelectorAll("[data-index]:not(.event)")) {
    button.addEventListener("click", () => {
      tell(Number(button.dataset.index));
      seek(page.marks[Number(button.dataset.index)].ms, false);
    });
  }
  play?.addEventListener("click", toggle);
  document.getElementById("in").addEventListener("click", () => setZoom(zoom * 2, atMs));
  document.getElementById("out").addEventListener("click", () => setZoom(zoom / 2, atMs));
  document.getElementById("whole").addEventListener("click", () => setZoom(1, 0));

  const STEP_MS = 20;
  const keys = {
    " ": toggle, k: toggle,
    "+": () => setZoom(zoom * 2, atMs), "=": () => setZoom(zoom * 2, atMs),
    "-": () => setZoom(zoom / 2, atMs), 0: () => setZoom(1, 0),
    ArrowLeft: (e) => seek(atMs - STEP_MS * (e.shiftKey ? 50 : 1)),
    ArrowRight: (e) => seek(atMs + STEP_MS * (e.shiftKey ? 50 : 1)),
    Home: () => seek(0), End: () => seek(page.length_ms),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, select, textarea, summary")) return;
    if (event.key === " " && event.target.closest("button, a")) return;
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(event); }
  });

  if (audio) {
    const tick = () => {
      show(audio.currentTime * 1000 + page.recording_offset_ms);
      follow();
      if (!audio.paused) requestAnimationFrame(tick);
    };
    audio.addEventListener("play", () => { play.textContent = "Pause"; requestAnimationFrame(tick); });
    for (const name of ["pause", "ended"]) {
      audio.addEventListener(name, () => { play.textContent = "Play"; });
    }
  }
  new ResizeObserver(() => { place(); placeDue(); }).observe(axis);
  const PAPER_PX = 1020; // A4 on its side, less the margins that base.css gives it
  window.addEventListener("beforeprint", () => {
    setZoom(1, 0);
    axis.style.width = `${PAPER_PX}px`;
    place();
    placeDue();
  });
  window.addEventListener("afterprint", () => { axis.style.width = ""; });
  show(Number(/^#at=([\d.]+)$/.exec(location.hash)?.[1] ?? 0)); // as the page of all calls links
  follow();
  place();
  placeDue();
  document.documentElement.dataset.ready = "true";
})();
