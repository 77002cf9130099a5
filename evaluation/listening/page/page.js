// A listening test in the browser. It plays clips and collects answers; a reload loses nothing.
"use strict";

const byId = (id) => document.getElementById(id);
const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
const address = new URLSearchParams(location.search);
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

// ---- State, which the browser keeps over a reload

// The id that a crowdsourcing platform put into the page's address, or null.
function participantId() {
  const names = meta("participant-parameters").split(" ");
  return names.map((name) => address.get(name)).find((value) => value)?.slice(0, 200) ?? null;
}

function newState() {
  const asked = address.get("plan") ?? "";
  const given = /^\d{1,6}$/.test(asked) ? Number(asked) : Math.floor(Math.random() * test.plans.length);
  const random = crypto.getRandomValues(new Uint8Array(16));
  return {
    listener: [...random].map((byte) => byte.toString(16).padStart(2, "0")).join(""),
    participant: participantId(),
    plan: given % test.plans.length,
    started: false, headphones: false, seconds: 0, sent: false, completion: "",
    answers: [],
    plays: null, // how often each clip of the current question was heard
    choice: null,
  };
}

function load() {
  try {
    const saved = JSON.parse(localStorage.getItem(storageKey));
    const id = participantId();
    // Another participant in the same browser starts anew.
    return saved && (id === null || id === saved.participant) ? saved : newState();
  } catch {
    return newState(); // there is no storage, or it holds something else
  }
}

function save() {
  try {
    localStorage.setItem(storageKey, JSON.stringify(state));
  } catch {
    // Private windows may have no storage. The test then continues without it.
  }
}

const state = load();
const plan = test.plans[state.plan];
const player = new Audio();
let shownAt = performance.now();

// ---- Playing clips

function play(clip, done) {
  player.onended = done;
  player.onerror = () => say("This recording could not be played. Check your connection and try again.");
  player.src = clip;
  player.play().catch((error) => {
    if (error.name !== "AbortError") say("This recording could not be played. Please try again.");
  });
}

function say(text) {
  byId("status").textContent = text;
}

// ---- The three screens

function show(name) {
  for (const id of ["welcome", "trial", "end"]) byId(id).hidden = id !== name;
  byId(name).querySelector("h1").focus();
}

function showWelcome() {
  byId("total").textContent = plan.length;
  byId("headphones").checked = state.headphones;
  byId("participant").hidden = !state.participant;
  byId("participant").textContent = `Your participant ID is ${state.participant}. It is sent with your answers.`;
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
      say(left ? `You have heard ${name.slice(5)}. Now play the other recording.` : "Please choose your answer.");
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

// Answers can be chosen only when every clip has been heard to its end.
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
  if (state.plays.includes(0)) return say("Please listen to every recording to its end first.");
  if (state.choice === null) return say("Please choose an answer first.");
  player.pause();
  state.answers.push({ answer: state.choice, plays: state.plays });
  state.seconds += (performance.now() - shownAt) / 1000;
  state.plays = state.choice = null;
  save();
  showTrial();
}

// ---- The end

function result() {
  const { listener, participant, plan, headphones, seconds, answers } = state;
  return JSON.stringify({ test: test.id, listener, participant, plan, headphones, seconds, answers });
}

function showEnd() {
  show("end");
  const file = new Blob([result()], { type: "application/json" });
  byId("download").href = URL.createObjectURL(file);
  byId("download").download = `answers-${state.listener}.json`;
  send();
}

// The completion is a code to copy, or an address to return to.
function showCompletion() {
  const paragraph = byId("completion");
  paragraph.hidden = !state.completion;
  if (/^https?:/.test(state.completion)) {
    const link = document.createElement("a");
    Object.assign(link, { href: state.completion, className: "main", textContent: "Return to the study" });
    paragraph.replaceChildren(link);
  } else {
    paragraph.textContent = `Your completion code is ${state.completion}`;
  }
}

async function send() {
  const destination = meta("answers-address");
  const sent = byId("sent");
  byId("retry").hidden = true;
  if (!destination) {
    sent.textContent = "Please download your answers and send the file to the person who invited you.";
  } else if (state.sent) {
    sent.textContent = "Your answers have been received.";
    showCompletion();
  } else {
    sent.textContent = "Sending your answers …";
    try {
      const reply = await fetch(destination, { method: "POST", body: result(), headers: { "Content-Type": "application/json" } });
      // Status 409 means that an earlier attempt has already stored them.
      if (!reply.ok && reply.status !== 409) throw new Error(`status ${reply.status}`);
      state.completion = (await reply.json().catch(() => ({}))).completion ?? "";
      state.sent = true;
      save();
      sent.textContent = "Your answers have been received.";
      showCompletion();
    } catch (error) {
      sent.textContent = `Your answers could not be sent (${error.message}). Please send them again, or download them.`;
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
