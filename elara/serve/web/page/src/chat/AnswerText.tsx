// An answer's words, with a number behind each sentence that a source supports.

import type { Sentence } from "../api";
import type { Answer } from "./answer";
import { Markdown } from "./Markdown";
import { usePanel } from "./panel";
import { positions } from "./positions";
import { texts } from "./texts";

export function AnswerText({ id, answer }: { id: string; answer: Answer }) {
  const { open } = usePanel();
  const place = positions(answer.text);
  const count = answer.told?.sources?.length ?? 0;
  const sentences = (answer.told?.sentences ?? []).map((sentence) => {
    return { ...sentence, start: place(sentence.start), end: place(sentence.end) };
  });

  const button = (n: number, label: string) => (
    <button
      type="button"
      className="cite"
      aria-label={label}
      title={label}
      onClick={() => open({ kind: "sources", id, answer, n })}
    >
      {n}
    </button>
  );

  const mark = ({ source, score, cited }: Sentence) =>
    source === null ? (
      <span className="unsupported" title={texts.noSourceWhy}> {texts.noSource}</span>
    ) : (
      button(source, texts.supports(source, score.toFixed(2), cited.includes(source)))
    );

  const cite = (n: number, at: number) => {
    if (n < 1 || n > count) return null;
    const within = sentences.find(({ start, end }) => start <= at && at < end);
    // The number behind the sentence says this already.
    return within?.source === n ? "" : button(n, texts.cites(n));
  };

  const marks = sentences.map((sentence) => ({ at: sentence.end, node: mark(sentence) }));
  return (
    <div className="words">
      <Markdown text={answer.text} marks={marks} cite={cite} />
    </div>
  );
}
