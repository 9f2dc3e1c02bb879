// The one panel of the page: beside the conversation, or over it on a phone.

import {
  createContext,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useRef,
  useState,
  useSyncExternalStore,
} from "react";

import type { Answer } from "./answer";
import { texts } from "./texts";

export type Shown =
  | { kind: "sources"; id: string; answer: Answer; n: number }
  | { kind: "trace"; question: string; answer: string }
  | { kind: "history" };

interface Panel {
  shown: Shown | null;
  /** How often it was opened from outside of it. */
  times: number;
  open(panel: Shown): void;
  close(): void;
  /** An answer has grown: if its sources are shown, they are those of what it is now. */
  follow(id: string, answer: Answer): void;
}

const Context = createContext<Panel | null>(null);

export const usePanel = () => useContext(Context)!;

export function PanelProvider({ children }: { children: ReactNode }) {
  const [shown, setShown] = useState<Shown | null>(null);
  const [times, setTimes] = useState(0);
  const opener = useRef<Element | null>(null);

  const open = useCallback((panel: Shown) => {
    const from = document.activeElement;
    // Opened from within the panel, it still belongs to whatever opened it first.
    if (!from?.closest(".panel")) {
      opener.current = from;
      setTimes((before) => before + 1);
    }
    setShown(panel);
  }, []);

  const close = useCallback(() => {
    setShown(null);
    const back = opener.current;
    opener.current = null;
    // After the page is drawn again: until then all but the panel may take no focus.
    requestAnimationFrame(() => {
      const there = back instanceof HTMLElement && back.isConnected && back !== document.body;
      (there ? back : document.getElementById("question"))?.focus();
    });
  }, []);

  const follow = useCallback((id: string, answer: Answer) => {
    setShown((now) => (now?.kind === "sources" && now.id === id ? { ...now, answer } : now));
  }, []);

  return <Context value={{ shown, times, open, close, follow }}>{children}</Context>;
}

/** The frame of what is shown in it. Its heading takes the focus, so that it is read first. */
export function PanelFrame({ title, children }: { title: string; children: ReactNode }) {
  const { times, close } = usePanel();
  const covering = useCovering();
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    heading.current?.focus();
  }, [title, times]);
  return (
    <div className="panel" role={covering ? "dialog" : "complementary"} aria-label={title}>
      <div className="panel-head">
        <h2 ref={heading} tabIndex={-1}>{title}</h2>
        <button type="button" className="quiet" onClick={close}>{texts.close}</button>
      </div>
      <div className="panel-body" tabIndex={0} role="group" aria-label={title}>{children}</div>
    </div>
  );
}

/** Give the focus to the panel's heading: what had it is about to go, and it would be lost. */
export function focusPanel(): void {
  document.querySelector<HTMLElement>(".panel h2")?.focus();
}

const narrow = matchMedia("(max-width: 899px)");

/** Whether the panel covers the page, so that what is under it must not be reached. */
export function useCovering(): boolean {
  const { shown } = usePanel();
  const small = useSyncExternalStore(
    (changed) => {
      narrow.addEventListener("change", changed);
      return () => narrow.removeEventListener("change", changed);
    },
    () => narrow.matches,
  );
  return small && shown !== null;
}
