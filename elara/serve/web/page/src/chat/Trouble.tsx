// Why there is no whole answer, and the way out of it.

import type { Answer, Problem } from "./answer";
import { useSecondsUntil } from "./countdown";
import { texts } from "./texts";

export function Trouble({ problem, retry }: { problem: Problem; retry: (() => void) | null }) {
  const left = useSecondsUntil(problem.until);
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
