// What the server answers, and how it is asked. A key lives in this module's memory only.

export interface About {
  version: string;
  disclaimer: string;
  intended_use: string;
  verdict: string;
  mode: "model" | "simulation" | "upstream";
  keys_required: boolean;
  images: boolean;
  retrieval: { identity: string; passages: number; licences: string } | null;
  specialties: string[];
  emergency: string;
  feedback: boolean;
  max_new_tokens: number;
  base: boolean;
}

export interface Source {
  n: number;
  id: string;
  article_id: string;
  title: string;
  section: string;
  part: string;
  start: number;
  end: number;
  text: string;
  url: string;
  licence: string;
  score: number;
  journal: string;
  published: string;
}

export interface Sentence {
  start: number;
  end: number;
  source: number | null;
  score: number;
  cited: number[];
}

/** A refusal of the server, with what it said and when to ask again. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly retryAfter: number | null = null,
  ) {
    super(message);
  }
}

let key = "";

export function useKey(value: string): void {
  key = value.trim();
}

/** Ask the server at an address below its root, wherever a proxy puts that root. */
export async function call(path: string, options: RequestInit = {}): Promise<Response> {
  const headers = new Headers(options.headers);
  // No header can hold other characters, and fetch would take that for a lost network.
  if (/[^\x21-\x7e]/.test(key)) {
    throw new Refused(401, "This key holds a character that no key has. Enter it again.");
  }
  if (key) headers.set("Authorization", `Bearer ${key}`);
  if (options.body) headers.set("Content-Type", "application/json");
  const response = await fetch(`../${path}`, { ...options, headers });
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  const wait = Number(response.headers.get("Retry-After"));
  const detail = typeof told.detail === "string" ? told.detail : `Status ${response.status}.`;
  throw new Refused(response.status, detail, wait > 0 ? wait : null);
}

export async function get<T>(path: string): Promise<T> {
  return (await call(path)).json();
}

export async function post<T>(path: string, body: unknown): Promise<T> {
  return (await call(path, { method: "POST", body: JSON.stringify(body) })).json();
}
