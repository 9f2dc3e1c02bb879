// All words of the chat page, in one place.

const s = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`;

export const texts = {
  name: "Elara",
  tagline: "Medical questions, with sources",
  always: "You are talking to an AI. Not medical advice.",
  notices: "Please note",
  skip: "Skip to your question",
  connecting: "Connecting to the server…",

  simulation: "Simulation: no model is loaded. The answers only show how the page works.",
  simulatedAnswer: "Simulated answer: no model wrote this.",
  baseAnswer: "Written by the base model, without the adapter.",

  newConversation: "New conversation",
  history: "History",
  compare: "Compare",
  administration: "Admin",

  emptyTitle: "What would you like to look up?",
  emptyText:
    "Ask about symptoms, causes, diagnosis or treatment. Each sentence of an answer is compared " +
    "with the passages that were found, and you can read them in their articles. Do not enter " +
    "names or anything else that identifies a person.",
  emptyVerdict: "What the evaluation found",

  conversation: "Conversation",
  yourQuestion: "Your question",
  answer: "Answer",
  questionLabel: "Question",
  placeholder: "Ask a medical question",
  keys: "Enter sends, Shift+Enter starts a new line, Escape stops.",
  send: "Send",
  stop: "Stop",
  edit: "Edit question",
  editLabel: "Edited question",
  cancel: "Cancel",
  ask: "Ask",
  copy: "Copy answer",
  copied: "Copied",
  copyFailed: "The browser does not allow copying here. Select the text instead.",
  regenerate: "Regenerate",
  versionBefore: "Previous version",
  versionAfter: "Next version",

  model: "Model",
  models: { serving: "Adapter in use", base: "Base model, no adapter", other: "Adapter" },
  specialty: "Specialty",
  anySpecialty: "All specialties",
  sourcesSwitch: "Use sources",
  noIndex: "This server has no index of articles: answers come without sources.",

  waiting: (seconds: number) => `The server is not ready. Asking again in ${s(seconds, "second")}.`,
  reason: (message: string) => `It says: ${message}`,
  writing: "Writing…",
  announce: {
    answering: "Answering",
    finished: (n: number) => `Answer finished, ${n === 0 ? "no sources" : s(n, "source")}`,
    stopped: "Stopped",
  },
  stoppedHere: "Stopped here.",
  cutHere: "The answer ends here because it reached its limit of tokens.",
  brokenHere: "The answer broke off here: the connection ended before the answer did.",
  brokenOff: (message: string) => `The answer broke off here. The server says: ${message}`,
  lost: "The server cannot be reached.",
  lostBanner: "The server cannot be reached. The page keeps looking for it.",
  backAgain: "The server is back. You can ask again.",
  askAgain: "Ask again",
  askAgainIn: (seconds: number) => `You may ask again in ${s(seconds, "second")}.`,
  unreadable: "The server sent something that is not an answer.",
  noAnswer: "This question has no answer: later ones do not send it along.",
  stillNotReady: "The server was asked many times and is still not ready.",

  sources: "Sources",
  sourceN: (n: number) => `Source ${n}`,
  sourceShown: (n: number, title: string) => `Source ${n}: ${title}`,
  openSources: (n: number) => s(n, "source"),
  supports: (n: number, score: string, cited: boolean) =>
    `Source ${n}, support score ${score}${cited ? ", cited by the model" : ""}`,
  cites: (n: number) => `Source ${n}, cited by the model`,
  noSource: "no source found",
  noSourceWhy: "No passage is close to this sentence",
  removed: (n: number) =>
    `${s(n, "reference")} to sources that do not exist ${n === 1 ? "was" : "were"} removed.`,
  supportScore: "Support score",
  notProof:
    "The score says how similar a sentence and a passage are in meaning, at most 1. Similarity " +
    "is not proof: read the passage.",
  notClosest: "No sentence of the answer is closest to this passage.",
  notCompared:
    "This answer has not been compared with its passages. That is done when it is finished.",
  searchScore: "Similarity to the question",
  licence: "Licence",
  journal: "Journal",
  published: "Published",
  section: "Section",
  openArticle: "Open the article at its publisher",
  article: "The article, with the passage marked",
  loadingArticle: "Loading the article…",
  articleGone: "The article is no longer available here, as after a retraction. The passage was:",
  passageMoved: "The article has changed since, and the passage is not where it was. It was:",

  trace: "What was this learned from?",
  traceTitle: "Training examples",
  traceText:
    "The training examples that are nearest to the question and its answer. Being near does not " +
    "prove that the model learned this from them.",
  tracing: "Looking for training examples…",
  traceNone: "No training example was found.",
  traceSeconds: (seconds: number) => `Found in ${seconds.toFixed(2)} seconds.`,
  withheld: "The text may not be passed on, so it is not shown here.",
  retracted: "The article was retracted.",
  similarity: "Similarity",
  split: "Part of the data",

  close: "Close",

  feedback: "Feedback",
  good: "Good answer",
  bad: "Bad answer",
  why: "What was good or wrong? (optional)",
  better: "A better answer (optional)",
  dangerous: "Following this answer could hurt somebody",
  feedbackKeeps:
    "Nothing is sent until you send it. The question, the answer and what you write are then " +
    "stored, with what may identify a person masked.",
  review: "Show what would be stored",
  sendFeedback: "Send feedback",
  stored: "Would be stored",
  thanks: "Thank you. Your feedback is stored.",
  deleteFeedback: "Delete my feedback",
  deletable: "You can delete it until you close this page.",
  feedbackDeleted: "Your feedback was deleted.",

  failure: {
    title: "The page failed",
    text: "Reload it to go on. What this browser kept is still there, under History.",
    reload: "Reload the page",
  },

  key: {
    title: "This server asks for a key",
    label: "Key",
    use: "Use this key",
    memory: "The key is kept in this page's memory only. Reloading the page forgets it.",
    wrong: "The server did not accept this key. Enter it again.",
    enter: "Enter a key to go on.",
  },

  image: {
    attach: "Attach an image",
    remove: "Remove the image",
    warning:
      "Names, dates and numbers are often burnt into medical images. Look at the picture, and " +
      "send none that identifies a person.",
    wrongKind: "Only PNG, JPEG and WebP images can be attached.",
    shown: "Attached image",
    unreadable: "The image could not be read.",
    notKept: "An image was sent here. Images are not kept in the history.",
  },

  kept: {
    where:
      "Kept in this browser only, on this device: the server stores no conversation. Keys and " +
      "images are not kept.",
    none: "No conversation is kept yet.",
    open: (title: string) => `Open: ${title}`,
    delete: (title: string) => `Delete: ${title}`,
    rename: (title: string) => `Rename: ${title}`,
    renameShort: "Rename",
    deleteShort: "Delete",
    renamePrompt: "New name",
    save: "Save",
    exportJson: "Export as JSON",
    exportMarkdown: "Export as Markdown",
    deleteAll: "Delete all",
    sure: "Delete all conversations? They cannot be brought back.",
    yes: "Delete them all",
    no: "Keep them",
    full: "The browser's storage is full: this conversation is not kept. Export or delete some.",
    blocked: "The browser allows no storage here: conversations are lost when the page closes.",
    damaged: (n: number) =>
      `${s(n, "kept conversation")} could not be read and ${n === 1 ? "is" : "are"} not listed.`,
    removeDamaged: "Delete what cannot be read",
  },

  side: {
    title: "Adapter and base, side by side",
    text:
      "One question, answered by both. Nothing of this view is kept in the history, and no " +
      "question before it is sent along.",
    adapter: "With the adapter",
    base: "Base model",
    ask: "Compare",
  },
};
