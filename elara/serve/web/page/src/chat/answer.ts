// An answer as the page holds it, from its first piece to its end, whatever that end is.

import type { Sentence, Source } from "../api";

/** What the server says of an answer, beside its text. What is known only at the end comes last. */
export interface Told {
  disclaimer: string;
  mode: "model" | "simulation" | "upstream";
  adapter: string | null;
  notice: string;
  warnings: string[];
  receipt?: string;
  sources?: Source[];
  sentences?: Sentence[];
  removed_citations?: number;
  retrieval?: string;
  base?: boolean;
}

/** Why there is no answer, or only half of one. `until`: when it may be asked again, in ms. */
export interface Problem {
  kind: "key" | "limit" | "lost" | "broken" | "refused";
  message: string;
  until: number;
}

export interface Answer {
  state: "waiting" | "writing" | "done" | "failed";
  text: string;
  model: string;
  told: Told | null;
  /** The answer reached its limit of tokens. */
  cut: boolean;
  problem: Problem | null;
  /** While the server is not ready: what it says, and when it will be asked again. */
  pause: { message: string; until: number } | null;
}

export const NOTHING: Answer = {
  state: "waiting",
  text: "",
  model: "",
  told: null,
  cut: false,
  problem: null,
  pause: null,
};

export type Part =
  | { type: "text"; text: string }
  | { type: "image_url"; image_url: { url: string } };

export interface Turn {
  role: "user" | "assistant";
  content: string | Part[];
}

export interface Asked {
  model: string;
  messages: Turn[];
  stream: true;
  metadata?: { sources: "yes" | "no"; specialty?: string };
}
