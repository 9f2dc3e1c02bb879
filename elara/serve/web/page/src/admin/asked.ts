// Asks the server for something to show, again at an interval, and not while nobody looks.

import { useCallback, useEffect, useState } from "react";

import { call, Refused } from "../api";

// A wrong key stays wrong, and what is not there will not come: neither is asked for again.
const FINAL = new Set([401, 403, 404]);

export interface Asked<T> {
  /** What was told last; it stays while the server does not answer. */
  told: T | null;
  refused: Refused | null;
  again(): void;
}

/** Why there is no answer, in words. */
export function refusal(error: unknown): Refused {
  if (!(error instanceof Refused)) return new Refused(0, "The server cannot be reached.");
  return error.status === 404 ? new Refused(404, "Not available on this server.") : error;
}

/** What an address tells; `seconds` is the interval, 0 for once. */
export function useAsked<T>(path: string, seconds = 0, read = asJson<T>): Asked<T> {
  const [told, setTold] = useState<T | null>(null);
  const [refused, setRefused] = useState<Refused | null>(null);
  const [turn, setTurn] = useState(0);
  const again = useCallback(() => setTurn((before) => before + 1), []);

  useEffect(() => {
    const stopped = new AbortController();
    let timer = 0;
    let over = false;
    async function ask() {
      clearTimeout(timer);
      if (over || document.hidden) return;
      try {
        setTold(await read(await call(path, { signal: stopped.signal })));
        setRefused(null);
        over = seconds === 0;
      } catch (error) {
        if (stopped.signal.aborted) return;
        const why = refusal(error);
        setRefused(why);
        over = FINAL.has(why.status);
      }
      if (seconds > 0 && !over) timer = window.setTimeout(ask, seconds * 1000);
    }
    void ask();
    const looked = () => void ask();
    document.addEventListener("visibilitychange", looked);
    return () => {
      stopped.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", looked);
    };
  }, [path, seconds, read, turn]);

  return { told, refused, again };
}

export async function asJson<T>(response: Response): Promise<T> {
  return response.json();
}

export async function asText(response: Response): Promise<string> {
  return response.text();
}
