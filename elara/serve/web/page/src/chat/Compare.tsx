// One question to the adapter and to its base at once, side by side, or stacked on a phone.

import { useEffect, useRef, useState } from "react";

import { useAnnounce } from "./announce";
import { type Answer, NOTHING } from "./answer";
import { ask } from "./ask";
import { AnswerView } from "./AnswerView";
import { BASE, type Choices, request, SERVING } from "./choices";
import { newId } from "./conversations";
import { useServer } from "./server";
import { texts } from "./texts";

interface Side {
  id: string;
  answer: Answer;
  stopped: boolean;
}

interface Props {
  choices: Choices;
  /** Is set to what stops the answers, so that Escape does the same as the button. */
  stopper: { stop?: () => void };
}

export function Compare({ choices, stopper }: Props) {
  const { about, report } = useServer();
  const say = useAnnounce();
  const [question, setQuestion] = useState("");
  const [asked, setAsked] = useState("");
  const [sides, setSides] = useState<(Side | null)[]>([null, null]);
  const [running, setRunning] = useState(false);
  const controller = useRef<AbortController | null>(null);

  const names = [texts.side.adapter, texts.side.base];
  const models = [choices.model === BASE ? SERVING : choices.model, BASE];

  const stop = () => controller.current?.abort();
  useEffect(() => stop, []);
  useEffect(() => {
    stopper.stop = running ? stop : undefined;
    return () => { stopper.stop = undefined; };
  }, [running, stopper]);

  const follow = async (at: number, text: string, signal: AbortSignal): Promise<Answer> => {
    const id = newId();
    let answer = NOTHING;
    const show = (side: Side) => setSides((old) => old.map((one, n) => (n === at ? side : one)));
    show({ id, answer, stopped: false });
    const messages = [{ role: "user" as const, content: text }];
    const body = request(messages, { ...choices, model: models[at]! }, about);
    for await (answer of ask(body, signal)) show({ id, answer, stopped: false });
    if (signal.aborted && answer.state !== "done") show({ id, answer, stopped: true });
    report(answer);
    return answer;
  };

  const start = async (which: number[], text: string) => {
    controller.current = new AbortController();
    const { signal } = controller.current;
    setAsked(text);
    setRunning(true);
    say(texts.announce.answering);
    const answers = await Promise.all(which.map((at) => follow(at, text, signal)));
    setRunning(false);
    const count = answers.reduce((sum, one) => sum + (one.told?.sources?.length ?? 0), 0);
    const problem = answers.find((one) => one.problem)?.problem;
    if (signal.aborted) say(texts.announce.stopped);
    else say(problem?.message ?? texts.announce.finished(count));
  };

  const send = () => {
    if (question.trim() && !running) void start([0, 1], question.trim());
  };

  return (
    <div className="compare">
      <h1>{texts.side.title}</h1>
      <p className="soft">{texts.side.text}</p>
      <form
        className="composer"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <label htmlFor="question" className="hidden">{texts.questionLabel}</label>
        <textarea
          id="question"
          rows={2}
          placeholder={texts.placeholder}
          aria-describedby="keys"
          value={question}
          onChange={(event) => setQuestion(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
            event.preventDefault();
            send();
          }}
        />
        <div className="row">
          <span id="keys" className="soft small">{texts.keys}</span>
          {running ? (
            <button type="button" className="main" onClick={stop}>{texts.stop}</button>
          ) : (
            <button type="submit" className="main" disabled={!question.trim()}>
              {texts.side.ask}
            </button>
          )}
        </div>
      </form>
      {asked && (
        <p className="question"><span className="hidden">{texts.yourQuestion}: </span>{asked}</p>
      )}
      <div className="sides">
        {sides.map((side, at) =>
          side ? (
            <section key={at} aria-label={names[at]}>
              <h2>{names[at]}</h2>
              <AnswerView {...side} retry={running ? null : () => void start([at], asked)} />
            </section>
          ) : null,
        )}
      </div>
    </div>
  );
}
