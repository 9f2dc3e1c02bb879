// One answer with all that is needed to judge it: what the server warns of, its end, its sources.

import { type ReactNode, useEffect } from "react";

import type { Answer } from "./answer";
import { AnswerText } from "./AnswerText";
import { usePanel } from "./panel";
import { texts } from "./texts";
import { Pause, Trouble } from "./Trouble";

interface Props {
  /** Of this answer alone, so that the panel can follow it. */
  id: string;
  answer: Answer;
  stopped: boolean;
  retry: (() => void) | null;
  children?: ReactNode;
}

export function AnswerView({ id, answer, stopped, retry, children }: Props) {
  const { told, state, problem } = answer;
  const { follow } = usePanel();
  useEffect(() => follow(id, answer), [follow, id, answer]);
  const waiting = !stopped && (state === "waiting" || state === "writing");
  return (
    <div className="answer" aria-busy={waiting}>
      {told?.mode === "simulation" && <p className="flag">{texts.simulatedAnswer}</p>}
      {told?.base && <p className="flag">{texts.baseAnswer}</p>}
      {told?.notice && <p className="flag">{told.notice}</p>}
      {told?.warnings.map((warning) => <p className="flag" key={warning}>{warning}</p>)}
      {answer.text && <AnswerText id={id} answer={answer} />}
      {waiting && answer.pause && <Pause pause={answer.pause} />}
      {waiting && !answer.pause && <p className="soft">{texts.writing}</p>}
      {stopped && <p className="ended">{texts.stoppedHere}</p>}
      {state === "done" && answer.cut && <p className="ended">{texts.cutHere}</p>}
      {problem && <Trouble problem={problem} retry={retry} />}
      {problem && !answer.text && <p className="soft small">{texts.noAnswer}</p>}
      {told && <Evidence id={id} answer={answer} />}
      {told && <p className="soft small">{told.disclaimer}</p>}
      {children}
    </div>
  );
}

function Evidence({ id, answer }: { id: string; answer: Answer }) {
  const { open } = usePanel();
  const sources = answer.told!.sources;
  const removed = answer.told!.removed_citations ?? 0;
  if (!sources) return null;
  return (
    <>
      {removed > 0 && <p className="soft small">{texts.removed(removed)}</p>}
      {sources.length > 0 && (
        <button
          type="button"
          className="quiet"
          onClick={() => open({ kind: "sources", id, answer, n: sources[0]!.n })}
        >
          {texts.openSources(sources.length)}
        </button>
      )}
    </>
  );
}
