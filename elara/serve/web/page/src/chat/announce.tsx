// Tells screen readers how things stand, in one polite place: never the words of an answer.

import { createContext, type ReactNode, useCallback, useContext, useState } from "react";

const Announce = createContext<(text: string) => void>(() => {});

export const useAnnounce = () => useContext(Announce);

export function Announcer({ children }: { children: ReactNode }) {
  const [said, setSaid] = useState({ text: "", times: 0 });
  const say = useCallback((text: string) => setSaid((old) => ({ text, times: old.times + 1 })), []);
  return (
    <Announce value={say}>
      {children}
      {/* The same words twice are only read twice if the element is new. */}
      <div role="status" aria-live="polite" className="hidden">
        <span key={said.times}>{said.text}</span>
      </div>
    </Announce>
  );
}
