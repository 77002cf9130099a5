// A listening test in the browser. It plays clips and collects answers; a reload loses nothing.
"use strict";

const byId = (id) => document.getElementById(id);
const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
const address = new URLSearchParams(location.search);
const test = JSON.parse(byId("test").textContent);
const storageKey = `listening-test-${test.id}`;
const RADIO = { // a group of options for a single answer
  preference: [["left", "A sounds more natural"], ["right", "B sounds more natural"], ["same", "No difference"]],
  rating: [[5, "5 – Excellent"], [4, "4 – Good"], [3, "3 – Fair"], [2, "2 – Poor"], [1, "1 – Bad"]],
};
const QUESTIONS = {
  preference: { question: "Which recording sounds more natural?" },
  rating: { question: "How natural does this recording sound?" },
  best_worst: { question: "Which recording sounds most natural, and which least?" },
  mushra: {
    question: "How good is each recording, compared with the reference?",
    hint: "One of the recordings is the reference itself, which gets 100.",
  },
};

function clipNames({ kind, clips }) {
  if (clips.length === 1) return ["Play"];
  return clips.map((_, i) => (kind === "mushra" && i === clips.length - 1 ? "Play reference" : `Play ${letter(i)}`));
}

function letter(i) {
  return String.fromCharCode(65 + i);
}

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
    screen: "welcome", headphones: false, consent: false, seconds: 0, sent: false, completion: "",
    answers: [],
    questionnaire: {},
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

// The line of the present screen that tells what happened or what is missing.
function say(text) {
  document.querySelector("section:not([hidden]) [role=status]").textContent = text;
}

function clipButtons(trial, heard) {
  return clipNames(trial).map((name, i) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", textContent: name });
    button.addEventListener("click", () => {
      say("");
      play(trial.clips[i], () => heard(i, button));
    });
    return button;
  });
}

// ---- The screens

function show(name) {
  for (const section of document.querySelectorAll("section")) section.hidden = section.id !== name;
  byId(name).querySelector("h1").focus();
  state.screen = name;
  save();
}

function showWelcome() {
  byId("total").textContent = plan.length;
  byId("headphones").checked = state.headphones;
  byId("participant").hidden = !state.participant;
  byId("participant").textContent = `Your participant ID is ${state.participant}. It is sent with your answers.`;
  byId("consent").hidden = !test.consent;
  byId("consent-text").textContent = test.consent;
  show("welcome");
}

function start() {
  if (test.consent && !byId("agree").checked) return say("Please read the text above and agree to it first.");
  player.pause();
  state.headphones = byId("headphones").checked;
  state.consent = Boolean(test.consent);
  showTraining();
}

function showTraining() {
  byId("examples").replaceChildren(...test.examples.map((example, number) => {
    const part = document.createElement("div");
    const [title, clips, text] = ["h2", "div", "p"].map((name) => document.createElement(name));
    title.textContent = `Example ${number + 1}: ${QUESTIONS[example.kind].question}`;
    clips.className = "clips";
    clips.setAttribute("role", "group");
    clips.setAttribute("aria-label", `Recordings of example ${number + 1}`);
    clips.append(...clipButtons(example, (i, button) => button.classList.add("heard")));
    text.textContent = example.text;
    part.append(title, clips, text);
    return part;
  }));
  show("training");
}

function begin() {
  if (byId("examples").querySelector("button:not(.heard)")) return say("Please play every recording to its end first.");
  player.pause();
  showTrial();
}

function showTrial() {
  if (state.answers.length === plan.length) return showQuestionnaire();
  const trial = plan[state.answers.length];
  const { question, hint } = QUESTIONS[trial.kind];
  state.plays ??= trial.clips.map(() => 0);
  state.choice ??= emptyChoice(trial);
  byId("progress").max = plan.length;
  byId("progress").value = state.answers.length;
  byId("question").textContent = `${state.answers.length + 1} of ${plan.length}: ${question}`;
  byId("hint").hidden = !hint;
  byId("hint").textContent = hint ?? "";
  byId("clips").replaceChildren(...clipButtons(trial, (i) => heard(trial, i)));
  byId("options").replaceChildren(...choices(trial));
  show("trial");
  say("");
  update();
  shownAt = performance.now();
}

function heard(trial, i) {
  state.plays[i] += 1;
  changed();
  const left = state.plays.includes(0);
  say(left ? `You have heard ${clipNames(trial)[i].slice(5)}. Now play the next recording.` : "Please choose your answer.");
}

// ---- Answers: a value, {best, worst}, or a list of scores; null where none is chosen yet

function emptyChoice({ kind, clips }) {
  if (kind === "mushra") return clips.slice(1).map(() => null);
  return kind === "best_worst" ? { best: null, worst: null } : { value: null };
}

function choices(trial) {
  if (trial.kind === "mushra") return [sliders(trial)];
  if (trial.kind !== "best_worst") return [radios("Your answer", "value", RADIO[trial.kind])];
  const options = trial.clips.map((_, i) => [i, letter(i)]);
  return [radios("Most natural", "best", options), radios("Least natural", "worst", options)];
}

function fieldset(title) {
  const [set, legend] = ["fieldset", "legend"].map((name) => document.createElement(name));
  legend.textContent = title;
  set.append(legend);
  return set;
}

function radios(title, name, options) {
  const set = fieldset(title);
  for (const [value, text] of options) {
    const [label, input] = ["label", "input"].map((each) => document.createElement(each));
    Object.assign(input, { type: "radio", name, value, checked: state.choice[name] === value });
    input.addEventListener("change", () => {
      state.choice[name] = value;
      changed();
    });
    label.append(input, text);
    set.append(label);
  }
  return set;
}

function sliders(trial) {
  const set = fieldset("Your scores");
  const scale = document.createElement("div");
  scale.className = "scale";
  scale.setAttribute("aria-hidden", "true");
  scale.append(...["Bad", "Poor", "Fair", "Good", "Excellent"].map((word) => {
    const span = document.createElement("span");
    span.textContent = word;
    return span;
  }));
  set.append(scale);
  for (const i of state.choice.keys()) {
    const [label, name, input, output] = ["label", "span", "input", "output"].map((each) => document.createElement(each));
    label.className = "slider";
    name.textContent = `Recording ${letter(i)}`;
    Object.assign(input, { type: "range", min: 0, max: 100, value: state.choice[i] ?? 50 });
    output.textContent = state.choice[i] ?? "–";
    const set_score = () => {
      state.choice[i] = Number(input.value);
      output.textContent = input.value;
      changed();
    };
    input.addEventListener("input", set_score);
    input.addEventListener("click", set_score); // the value in the middle is also an answer
    label.append(name, input, output);
    set.append(label);
  }
  return set;
}

function missing() {
  if (state.plays.includes(0)) return "Please listen to every recording to its end first.";
  if (Object.values(state.choice).includes(null)) {
    return Array.isArray(state.choice) ? "Please score every recording first." : "Please choose an answer first.";
  }
  if ("best" in state.choice && state.choice.best === state.choice.worst) {
    return "The most and the least natural recording cannot be the same.";
  }
  return "";
}

function changed() {
  save();
  update();
}

// Answers can be chosen only when every clip has been heard to its end.
function update() {
  for (const set of byId("options").children) set.disabled = state.plays.includes(0);
  byId("next").setAttribute("aria-disabled", String(missing() !== ""));
  [...byId("clips").children].forEach((button, i) => {
    button.classList.toggle("heard", state.plays[i] > 0);
  });
}

function next(event) {
  event.preventDefault();
  if (missing()) return say(missing());
  player.pause();
  const answer = "value" in state.choice ? state.choice.value : state.choice;
  state.answers.push({ answer, plays: state.plays });
  state.seconds += (performance.now() - shownAt) / 1000;
  state.plays = state.choice = null;
  showTrial();
}

// ---- The questionnaire

function showQuestionnaire() {
  if (!test.questionnaire.length) return showEnd();
  byId("questions").replaceChildren(...test.questionnaire.map(({ name, question, choices, optional }) => {
    const [line, label] = ["p", "label"].map((each) => document.createElement(each));
    const field = document.createElement(choices.length ? "select" : "input");
    if (choices.length) field.append(...["", ...choices].map((choice) => new Option(choice || "Please choose", choice)));
    else Object.assign(field, { type: "text", maxLength: 1000 });
    field.name = name;
    field.required = !optional;
    field.value = state.questionnaire[name] ?? "";
    field.addEventListener("input", () => {
      state.questionnaire[name] = field.value;
      save();
    });
    label.append(optional ? `${question} (optional)` : question, field);
    line.append(label);
    return line;
  }));
  show("questionnaire");
}

function finish(event) {
  event.preventDefault();
  for (const { name } of test.questionnaire) state.questionnaire[name] ??= "";
  const empty = test.questionnaire.some(({ name, optional }) => !optional && !state.questionnaire[name].trim());
  if (empty) return say("Please answer every question that is not optional.");
  showEnd();
}

// ---- The end

function result() {
  const { listener, participant, plan, headphones, seconds, answers, consent, questionnaire } = state;
  return JSON.stringify({ test: test.id, listener, participant, plan, headphones, seconds, answers, consent, questionnaire });
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
byId("start").addEventListener("click", start);
byId("begin").addEventListener("click", begin);
byId("form").addEventListener("submit", next);
byId("about").addEventListener("submit", finish);
byId("retry").addEventListener("click", send);
({ welcome: showWelcome, training: showTraining, trial: showTrial, questionnaire: showQuestionnaire, end: showEnd })[state.screen]();
