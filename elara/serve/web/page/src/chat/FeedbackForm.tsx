// What a person thinks of an answer: shown as it would be stored, then sent, and deletable.

import { type ReactNode, useRef, useState } from "react";

import { post } from "../api";
import { useAnnounce } from "./announce";
import type { Problem, Turn } from "./answer";
import { problemOf } from "./ask";
import { texts } from "./texts";
import { Trouble } from "./Trouble";

interface Props {
  messages: Turn[];
  answer: string;
  receipt: string;
}

interface Masked {
  messages: { role: string; content: string }[];
  answer: string;
  comment: string;
  correction: string;
}

type Step = "closed" | "writing" | "review" | "stored" | "deleted";

// By receipt: what deletes feedback that was given since the page was opened.
const tokens = new Map<string, string>();

const EMPTY = { comment: "", correction: "", dangerous: false };

export function FeedbackForm({ messages, answer, receipt }: Props) {
  const say = useAnnounce();
  const [step, setStep] = useState<Step>(tokens.has(receipt) ? "stored" : "closed");
  const [thumb, setThumb] = useState<"up" | "down" | null>(null);
  const [words, setWords] = useState(EMPTY);
  const [masked, setMasked] = useState<Masked | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const root = useRef<HTMLDivElement>(null);

  // What was pressed is gone or was disabled for a while: the focus would be lost. Where a person
  // has meanwhile gone elsewhere, it stays there.
  const keepFocus = () => {
    const now = document.activeElement;
    if (now === document.body || root.current?.contains(now)) root.current?.focus();
  };

  const attempt = async (act: () => Promise<void>) => {
    setBusy(true);
    setProblem(null);
    await act().catch((error: unknown) => {
      setProblem(problemOf(error));
      say(problemOf(error).message);
    });
    setBusy(false);
    keepFocus();
  };

  const body = { messages, answer, receipt, thumb, ...words };
  const review = () =>
    attempt(async () => {
      setMasked(await post<Masked>("feedback/preview", body));
      setStep("review");
    });
  const send = () =>
    attempt(async () => {
      tokens.set(receipt, (await post<{ token: string }>("feedback", body)).token);
      setStep("stored");
      say(texts.thanks);
    });
  const remove = () =>
    attempt(async () => {
      await post("feedback/delete", { token: tokens.get(receipt) });
      tokens.delete(receipt);
      setStep("deleted");
      say(texts.feedbackDeleted);
    });

  const framed = (content: ReactNode) => (
    <div className="feedback" role="group" aria-label={texts.feedback} ref={root} tabIndex={-1}>
      {content}
      {problem && <Trouble problem={problem} retry={null} />}
    </div>
  );

  if (step === "deleted") return framed(<p className="soft small">{texts.feedbackDeleted}</p>);
  if (step === "stored") {
    return framed(
      <>
        <p>{texts.thanks} {texts.deletable}</p>
        <button type="button" onClick={remove} disabled={busy}>{texts.deleteFeedback}</button>
      </>,
    );
  }

  const choose = (next: "up" | "down") => {
    setThumb(next);
    setStep("writing");
  };
  // What was reviewed is what is sent: a change asks for another review.
  const change = (next: Partial<typeof EMPTY>) => {
    setWords({ ...words, ...next });
    setStep("writing");
  };
  return framed(
    <>
      <div className="row">
        <button
          type="button"
          className="quiet"
          aria-pressed={thumb === "up"}
          onClick={() => choose("up")}
        >
          {texts.good}
        </button>
        <button
          type="button"
          className="quiet"
          aria-pressed={thumb === "down"}
          onClick={() => choose("down")}
        >
          {texts.bad}
        </button>
      </div>
      {step !== "closed" && (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void (step === "review" ? send() : review());
          }}
        >
          <label>
            {texts.why}
            <textarea
              rows={2}
              maxLength={2000}
              value={words.comment}
              onChange={(event) => change({ comment: event.target.value })}
            />
          </label>
          <label>
            {texts.better}
            <textarea
              rows={2}
              value={words.correction}
              onChange={(event) => change({ correction: event.target.value })}
            />
          </label>
          <label className="switch">
            <input
              type="checkbox"
              checked={words.dangerous}
              onChange={(event) => change({ dangerous: event.target.checked })}
            />
            <span>{texts.dangerous}</span>
          </label>
          <p className="soft small">{texts.feedbackKeeps}</p>
          {step === "review" && masked && <Review masked={masked} />}
          <div className="row">
            <button type="submit" className="main" disabled={busy}>
              {step === "review" ? texts.sendFeedback : texts.review}
            </button>
            <button
              type="button"
              onClick={() => {
                setThumb(null);
                setStep("closed");
                keepFocus();
              }}
            >
              {texts.cancel}
            </button>
          </div>
        </form>
      )}
    </>,
  );
}

function Review({ masked }: { masked: Masked }) {
  const lines = [
    ...masked.messages.map((turn) => turn.content),
    masked.answer,
    masked.comment,
    masked.correction,
  ].filter(Boolean);
  return (
    <section aria-label={texts.stored} className="review" tabIndex={0}>
      <h3>{texts.stored}</h3>
      {lines.map((line, at) => <p key={at}>{line}</p>)}
    </section>
  );
}
