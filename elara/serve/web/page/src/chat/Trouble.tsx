// Why there is no whole answer, and the way out of it.

import { useState } from "react";

import type { Answer, Problem } from "./answer";
import { useSecondsUntil } from "./countdown";
import { texts } from "./texts";

export function Trouble({ problem, retry }: { problem: Problem; retry: (() => void) | null }) {
  // A wait counts from when it was told, which is when this is first drawn.
  const [until] = useState(() => Date.now() + 1000 * (problem.wait ?? 0));
  const left = useSecondsUntil(until);
  return (
    <div className="trouble">
      <p>{problem.message}</p>
      {left > 0 && <p>{texts.askAgainIn(left)}</p>}
      {retry && (
        <button type="button" onClick={retry} disabled={left > 0}>{texts.askAgain}</button>
      )}
    </div>
  );
}

/** The server is not ready, and will be asked again. */
export function Pause({ pause }: { pause: NonNullable<Answer["pause"]> }) {
  const left = useSecondsUntil(pause.until);
  return (
    <div className="trouble calm">
      <p>{texts.waiting(left)} {texts.reason(pause.message)}</p>
    </div>
  );
}
