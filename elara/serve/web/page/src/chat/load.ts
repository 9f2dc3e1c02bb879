// Loads something for a panel: not there yet, there, or why not.

import { useEffect, useState } from "react";

import { problemOf } from "./ask";
import type { Problem } from "./answer";

type Loaded<T> = { value: T } | { problem: Problem } | null;

/** What `load` gives; it runs again whenever `name` changes, and `again` asks once more. */
export function useLoaded<T>(name: string, load: () => Promise<T>): [Loaded<T>, () => void] {
  const [loaded, setLoaded] = useState<{ name: string; result: Loaded<T> }>({ name, result: null });
  const [tries, setTries] = useState(0);
  useEffect(() => {
    let current = true;
    const settle = (result: Loaded<T>) => current && setLoaded({ name, result });
    settle(null);
    load().then(
      (value) => settle({ value }),
      (error) => settle({ problem: problemOf(error) }),
    );
    return () => {
      current = false;
    };
  }, [name, tries]);
  return [loaded.name === name ? loaded.result : null, () => setTries(tries + 1)];
}
