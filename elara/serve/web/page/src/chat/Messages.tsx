// The questions and answers of a conversation, and what can be done with each.

import {
  ActionBarPrimitive,
  BranchPickerPrimitive,
  ComposerPrimitive,
  MessagePrimitive,
  ThreadPrimitive,
  useAui,
  useAuiState,
} from "@assistant-ui/react";

import { AnswerView } from "./AnswerView";
import { lostImages, textOf } from "./conversations";
import { CopyButton } from "./CopyButton";
import { FeedbackForm } from "./FeedbackForm";
import { usePanel } from "./panel";
import { useServer } from "./server";
import { texts } from "./texts";
import { answerOf, turns, wasStopped } from "./thread";

export function Messages() {
  return (
    <ThreadPrimitive.Messages>
      {({ message }) => {
        if (message.role === "assistant") return <Answered />;
        return message.composer.isEditing ? <EditedQuestion /> : <Question />;
      }}
    </ThreadPrimitive.Messages>
  );
}

function Question() {
  const message = useAuiState((state) => state.message);
  const text = textOf(message);
  const images = message.attachments?.flatMap((one) => one.content ?? []) ?? [];
  return (
    <MessagePrimitive.Root className="question">
      <h2 className="hidden">{texts.yourQuestion}</h2>
      {text && <p>{text}</p>}
      {images.map((part, at) =>
        part.type === "image" ? <img key={at} src={part.image} alt={texts.image.shown} /> : null,
      )}
      {lostImages(message) && <div className="soft small">{texts.image.notKept}</div>}
      <div className="row">
        <ActionBarPrimitive.Edit className="quiet">{texts.edit}</ActionBarPrimitive.Edit>
        <Versions />
      </div>
    </MessagePrimitive.Root>
  );
}

function EditedQuestion() {
  return (
    <MessagePrimitive.Root className="question">
      <ComposerPrimitive.Root className="composer">
        <ComposerPrimitive.Input aria-label={texts.editLabel} autoFocus />
        <div className="row">
          <ComposerPrimitive.Cancel>{texts.cancel}</ComposerPrimitive.Cancel>
          <ComposerPrimitive.Send className="main">{texts.ask}</ComposerPrimitive.Send>
        </div>
      </ComposerPrimitive.Root>
    </MessagePrimitive.Root>
  );
}

function Answered() {
  const aui = useAui();
  const { open } = usePanel();
  const { about, models } = useServer();
  const message = useAuiState((state) => state.message);
  const before = useAuiState((state) => state.thread.messages).slice(0, message.index);
  const running = useAuiState((state) => state.thread.isRunning);
  if (message.role !== "assistant") return null;
  const answer = answerOf(message);
  const ended = message.status.type !== "running";
  const last = before.at(-1);
  const question = last ? textOf(last) : "";
  // The server looks among the examples of the adapter that serves, whatever wrote the answer.
  const traced = answer.told?.mode === "model" && !answer.told.base && answer.model === models[0];
  const receipt = answer.told?.receipt;
  return (
    <MessagePrimitive.Root>
      <h2 className="hidden">{texts.answer}</h2>
      <AnswerView
        id={message.id}
        answer={answer}
        stopped={wasStopped(message)}
        retry={running ? null : () => aui.message.reload()}
      >
        {ended && (
          <div className="row">
            {answer.text && <CopyButton text={answer.text} />}
            <ActionBarPrimitive.Reload className="quiet">
              {texts.regenerate}
            </ActionBarPrimitive.Reload>
            {answer.text && traced && (
              <button
                type="button"
                className="quiet"
                onClick={() => open({ kind: "trace", question, answer: answer.text })}
              >
                {texts.trace}
              </button>
            )}
            <Versions />
          </div>
        )}
        {ended && about?.feedback && receipt && (
          <FeedbackForm
            key={receipt}
            messages={turns(before)}
            answer={answer.text}
            receipt={receipt}
          />
        )}
      </AnswerView>
    </MessagePrimitive.Root>
  );
}

function Versions() {
  return (
    <BranchPickerPrimitive.Root hideWhenSingleBranch className="versions">
      <BranchPickerPrimitive.Previous aria-label={texts.versionBefore} className="quiet">
        ‹
      </BranchPickerPrimitive.Previous>
      <span><BranchPickerPrimitive.Number /> / <BranchPickerPrimitive.Count /></span>
      <BranchPickerPrimitive.Next aria-label={texts.versionAfter} className="quiet">
        ›
      </BranchPickerPrimitive.Next>
    </BranchPickerPrimitive.Root>
  );
}
