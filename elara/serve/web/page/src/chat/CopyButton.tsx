// Copies an answer as it came. Without TLS, browsers offer no clipboard: then that is said.

import { useState } from "react";

import { useAnnounce } from "./announce";
import { texts } from "./texts";

export function CopyButton({ text }: { text: string }) {
  const say = useAnnounce();
  const [told, setTold] = useState("");
  const tell = (what: string) => {
    setTold(what);
    say(what);
  };
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      tell(texts.copied);
    } catch {
      tell(texts.copyFailed);
    }
  };
  return (
    <>
      <button type="button" className="quiet" onClick={copy}>{texts.copy}</button>
      {told && <span className="soft small">{told}</span>}
    </>
  );
}
