// A listening test in the browser: plays clips, takes answers, survives a reload.
"use strict";

const byId = (id) => document.getElementById(id);
const test = JSON.parse(byId("test").textContent);
const storageKey = `listening-test-${test.id}`;
const QUESTIONS = {
  preference: {
    question: "Which recording sounds more natural?",
    names: ["Play A", "Play B"],
    options: [["left", "A sounds more natural"], ["right", "B sounds more natural"], ["same", "No difference"]],
  },
  rating: {
    question: "How natural does this recording sound?",
    names: ["Play"],
    options: [[5, "5 – Excellent"], [4, "4 – Good"], [3, "3 – Fair"], [2, "2 – Poor"], [1, "1 – Bad"]],
  },
};

// ---- state, kept in the browser so that a reload loses nothing

function newState() {
  const asked = new URLSearchParams(location.search).get("plan") ?? "";
  const given = /^\d{1,6}$/.test(asked) ? Number(asked) : Math.floor(Math.random() * test.plans.length);
  const random = crypto.getRandomValues(new Uint8Array(16));
  return {
    listener: [...random].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    plan: given % test.plans.length,
    started: false, headphones: false, seconds: 0, sent: false,
    answers: [],
    plays: null, // of the question on the screen
    choice: null,
  };
}

function load() {
  try {
    return JSON.parse(localStorage.getItem(storageKey)) ?? newState();
  } catch {
    return newState(); // no storage here, or not ours
  }
}

function save() {
  try {
    localStorage.setItem(storageKey, JSON.stringify(state));
  } catch {
    // Private windows may have no storage; the test goes on without.
  }
}

const state = load();
const plan = test.plans[state.plan];
const player = new Audio();
let shownAt = performance.now();

// ---- playing

function play(clip, done) {
  player.onended = done;
  player.onerror = () => say("This recording cannot be played. Check your connection and play it again.");
  player.src = clip;
  player.play().catch((error) => {
    if (error.name !== "AbortError") say("This recording cannot be played. Play it again.");
  });
}

function say(text) {
  byId("status").textContent = text;
}

// ---- the three screens

function show(name) {
  for (const id of ["welcome", "trial", "end"]) byId(id).hidden = id !== name;
  byId(name).querySelector("h1").focus();
}

function showWelcome() {
  byId("total").textContent = plan.length;
  byId("headphones").checked = state.headphones;
  show("welcome");
}

function showTrial() {
  if (state.answers.length === plan.length) return showEnd();
  const trial = plan[state.answers.length];
  const { question, names, options } = QUESTIONS[trial.kind];
  state.plays ??= trial.clips.map(() => 0);
  byId("progress").max = plan.length;
  byId("progress").value = state.answers.length;
  byId("question").textContent = `${state.answers.length + 1} of ${plan.length}: ${question}`;
  byId("legend").textContent = "Your answer";
  byId("clips").replaceChildren(...trial.clips.map((clip, i) => clipButton(clip, i, names[i])));
  byId("options").replaceChildren(...options.map(([value, text]) => option(value, text)));
  say("");
  update();
  show("trial");
  shownAt = performance.now();
}

function clipButton(clip, i, name) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = name;
  button.addEventListener("click", () => {
    say("");
    play(clip, () => {
      state.plays[i] += 1;
      save();
      update();
      const left = state.plays.includes(0);
      say(left ? `${name.slice(5) || "Recording"} heard. Play the other one.` : "All heard. Please answer.");
    });
  });
  return button;
}

function option(value, text) {
  const label = document.createElement("label");
  const input = document.createElement("input");
  Object.assign(input, { type: "radio", name: "answer", value, checked: state.choice === value });
  input.addEventListener("change", () => {
    state.choice = value;
    save();
    update();
  });
  label.append(input, text);
  return label;
}

// Every clip has to be heard to its end before there is anything to answer.
function update() {
  const heard = !state.plays.includes(0);
  byId("choices").disabled = !heard;
  byId("next").setAttribute("aria-disabled", String(!heard || state.choice === null));
  [...byId("clips").children].forEach((button, i) => {
    button.classList.toggle("heard", state.plays[i] > 0);
  });
}

function next(event) {
  event.preventDefault();
  if (state.plays.includes(0)) return say("Please hear every recording to its end first.");
  if (state.choice === null) return say("Please choose an answer first.");
  player.pause();
  state.answers.push({ answer: state.choice, plays: state.plays });
  state.seconds += (performance.now() - shownAt) / 1000;
  state.plays = state.choice = null;
  save();
  showTrial();
}

// ---- the end

function result() {
  const { listener, plan, headphones, seconds, answers } = state;
  return JSON.stringify({ test: test.id, listener, plan, headphones, seconds, answers });
}

function showEnd() {
  show("end");
  const file = new Blob([result()], { type: "application/json" });
  byId("download").href = URL.createObjectURL(file);
  byId("download").download = `answers-${state.listener}.json`;
  send();
}

async function send() {
  const address = document.querySelector('meta[name="answers-address"]').content;
  const sent = byId("sent");
  byId("retry").hidden = true;
  if (!address) {
    sent.textContent = "Please download your answers and send the file to whoever asked you.";
  } else if (state.sent) {
    sent.textContent = "Your answers have been received.";
  } else {
    sent.textContent = "Sending your answers …";
    try {
      const reply = await fetch(address, { method: "POST", body: result(), headers: { "Content-Type": "application/json" } });
      if (!reply.ok && reply.status !== 409) throw new Error(`status ${reply.status}`); // 409: they are there already
      state.sent = true;
      save();
      sent.textContent = "Your answers have been received.";
    } catch (error) {
      sent.textContent = `Your answers could not be sent (${error.message}). Try again, or download them.`;
      byId("retry").hidden = false;
    }
  }
}

byId("sample").addEventListener("click", () => {
  play(test.sample, () => {});
});
byId("start").addEventListener("click", () => {
  player.pause();
  state.started = true;
  state.headphones = byId("headphones").checked;
  save();
  showTrial();
});
byId("form").addEventListener("submit", next);
byId("retry").addEventListener("click", send);
if (state.started) showTrial(); else showWelcome();
