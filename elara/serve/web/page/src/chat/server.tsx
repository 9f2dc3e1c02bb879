// What the page knows of its server: what it is, whether it can be reached, whether it wants a key.

import { createContext, type ReactNode, useCallback, useContext, useEffect, useState } from "react";

import { type About, get, Refused, useKey as keepKey } from "../api";
import { useAnnounce } from "./announce";
import type { Answer } from "./answer";
import { problemOf } from "./ask";
import { texts } from "./texts";

type Reach = "connecting" | "ready" | "lost" | "back";

interface Server {
  about: About | null;
  models: string[];
  reach: Reach;
  key: "none" | "wanted" | "wrong";
  /** A reason, other than the network or a key, why the server tells nothing of itself. */
  failed: string;
  enter(key: string): void;
  /** An answer has come to its end, whatever that is. */
  report(answer: Pick<Answer, "state" | "problem">): void;
  refresh(): void;
}

const Context = createContext<Server | null>(null);

export const useServer = () => useContext(Context)!;

const SOON = 2_000; // milliseconds until a lost server is looked for again; then ever later
const LATE = 15_000;

export function ServerProvider({ children }: { children: ReactNode }) {
  const say = useAnnounce();
  const [about, setAbout] = useState<About | null>(null);
  const [models, setModels] = useState<string[]>([]);
  const [reach, setReach] = useState<Reach>("connecting");
  const [key, setKey] = useState<Server["key"]>("none");
  const [failed, setFailed] = useState("");

  const report = useCallback<Server["report"]>(({ state, problem }) => {
    if (state === "done") setReach("ready");
    else if (problem?.kind === "lost") setReach("lost");
    else if (problem?.kind === "key") setKey((now) => (now === "none" ? "wanted" : "wrong"));
  }, []);

  const refresh = useCallback(async () => {
    try {
      setAbout(await get<About>("app/about"));
      const listed = await get<{ data: { id: string }[] }>("v1/models");
      setModels(listed.data.map((model) => model.id));
      setKey("none");
      setFailed("");
      setReach((now) => (now === "lost" ? "back" : "ready"));
    } catch (error) {
      const problem = problemOf(error);
      report({ state: "failed", problem });
      if (problem.kind !== "lost" && problem.kind !== "key") setFailed(problem.message);
      if (problem.kind !== "lost") setReach((now) => (now === "lost" ? "back" : "ready"));
    }
  }, [report]);

  const enter = (value: string) => {
    keepKey(value);
    void refresh();
  };

  useEffect(() => void refresh(), [refresh]);

  useEffect(() => {
    if (reach !== "lost") return;
    let wait = SOON;
    let timer = 0;
    let looking = true;
    const look = async () => {
      // Whatever it answers, it can be reached; how it is otherwise, `refresh` finds out.
      const reached = await get("health").then(() => true, (error) => error instanceof Refused);
      if (reached && looking) await refresh();
      wait = Math.min(LATE, wait * 1.5);
      if (looking) timer = window.setTimeout(look, wait);
    };
    timer = window.setTimeout(look, wait);
    return () => {
      looking = false;
      clearTimeout(timer);
    };
  }, [reach, refresh]);

  useEffect(() => {
    if (reach === "lost") say(texts.lostBanner);
    if (reach === "back") say(texts.backAgain);
  }, [reach, say]);

  const server = { about, models, reach, key, failed, enter, report, refresh };
  return <Context value={server}>{children}</Context>;
}
