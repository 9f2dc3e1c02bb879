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
  | { kind: "sources"; answer: Answer; n: number }
  | { kind: "trace"; question: string; answer: string }
  | { kind: "history" };

interface Panel {
  shown: Shown | null;
  open(panel: Shown): void;
  close(): void;
}

const Context = createContext<Panel | null>(null);

export const usePanel = () => useContext(Context)!;

export function PanelProvider({ children }: { children: ReactNode }) {
  const [shown, setShown] = useState<Shown | null>(null);
  const opener = useRef<Element | null>(null);

  const open = useCallback((panel: Shown) => {
    const from = document.activeElement;
    // Opened from within the panel, it still belongs to whatever opened it first.
    if (!from?.closest("aside")) opener.current = from;
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

  return <Context value={{ shown, open, close }}>{children}</Context>;
}

/** The frame of what is shown in it. Its heading takes the focus, so that it is read first. */
export function PanelFrame({ title, children }: { title: string; children: ReactNode }) {
  const { close } = usePanel();
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    heading.current?.focus();
  }, [title]);
  return (
    <aside className="panel" aria-label={title}>
      <div className="panel-head">
        <h2 ref={heading} tabIndex={-1}>{title}</h2>
        <button type="button" className="quiet" onClick={close}>{texts.close}</button>
      </div>
      <div className="panel-body" tabIndex={0} role="group" aria-label={title}>{children}</div>
    </aside>
  );
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
