// The page: a header, the conversation or the view side by side, and a panel beside it.

import {
  AssistantRuntimeProvider,
  ThreadPrimitive,
  useAui,
  useAuiState,
  useLocalRuntime,
} from "@assistant-ui/react";
import { useEffect, useRef, useState } from "react";

import { useAnnounce } from "./announce";
import { type Choices, ChoiceBar, FIRST, request, SERVING } from "./choices";
import { Compare } from "./Compare";
import { Composer } from "./Composer";
import { type Conversation, keep, newId } from "./conversations";
import { Header } from "./Header";
import { HistoryPanel } from "./HistoryPanel";
import { images } from "./images";
import { KeyForm } from "./KeyForm";
import { Messages } from "./Messages";
import { Notices } from "./Notices";
import { useCovering, usePanel } from "./panel";
import { useServer } from "./server";
import { SourcesPanel } from "./SourcesPanel";
import { texts } from "./texts";
import { adapter } from "./thread";
import { TracePanel } from "./TracePanel";

export function App() {
  const { about, models, report, refresh } = useServer();
  const say = useAnnounce();
  const [choices, setChoices] = useState(FIRST);

  const watcher: Parameters<typeof adapter>[0] = () => ({
    request: (turns) => request(turns, choices, about),
    began: () => say(texts.announce.answering),
    ended: (answer, stopped) => {
      if (stopped) say(texts.announce.stopped);
      else if (answer.problem) say(answer.problem.message);
      else say(texts.announce.finished(answer.told?.sources?.length ?? 0));
      report(answer);
      const serving = choices.model === SERVING;
      const known = serving ? answer.model === models[0] : models.includes(answer.model);
      if (answer.model && !known) refresh(); // the adapter was swapped
    },
  });
  const watch = useRef(watcher);
  watch.current = watcher;
  const [chat] = useState(() => adapter(() => watch.current()));
  const runtime = useLocalRuntime(chat, {
    adapters: about?.images ? { attachments: images } : {},
  });
  return (
    <AssistantRuntimeProvider runtime={runtime}>
      <Page choices={choices} change={setChoices} />
    </AssistantRuntimeProvider>
  );
}

function Page({ choices, change }: { choices: Choices; change(choices: Choices): void }) {
  const aui = useAui();
  const { shown, close } = usePanel();
  const covering = useCovering();
  const { key } = useServer();
  const [comparing, setComparing] = useState(false);
  const [id, setId] = useState(newId);
  const [stopper] = useState<{ stop?: () => void }>({});
  const unkept = useKeeping(id);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || event.defaultPrevented) return;
      if (shown) close();
      else if (stopper.stop) stopper.stop();
      else if (aui.thread.getState().isRunning) aui.thread.cancelRun();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [aui, shown, close, stopper]);

  const leave = () => {
    if (!aui.thread.getState().isRunning) return;
    aui.thread.cancelRun();
    keep(id, aui.thread.export());
  };
  const startNew = () => {
    leave();
    setComparing(false);
    setId(newId());
    aui.thread.reset();
    close();
  };
  const openKept = (one: Conversation) => {
    leave();
    setComparing(false);
    setId(one.id);
    aui.thread.import(one.thread);
    close();
  };
  const deleted = (ids: string[]) => {
    if (!ids.includes(id)) return;
    aui.thread.cancelRun();
    setId(newId());
    aui.thread.reset();
  };

  return (
    <div className={shown ? "page with-panel" : "page"}>
      <Notices />
      <div className="front" inert={covering}>
        {key === "none" && <a className="skip" href="#question">{texts.skip}</a>}
        <Header
          comparing={comparing}
          toggleCompare={() => setComparing(!comparing)}
          startNew={startNew}
        />
        {key !== "none" ? (
          <main><KeyForm /></main>
        ) : comparing ? (
          <main className="scroll">
            <ChoiceBar choices={choices} change={change} />
            <Compare choices={choices} stopper={stopper} />
          </main>
        ) : (
          <main className="chat">
            <ThreadPrimitive.Root className="thread">
              <ThreadPrimitive.Viewport
                className="scroll"
                tabIndex={0}
                role="region"
                aria-label={texts.conversation}
              >
                <div className="column">
                  <Welcome />
                  <Messages />
                </div>
              </ThreadPrimitive.Viewport>
              <div className="column foot">
                {unkept && <p className="flag">{texts.kept[unkept]}</p>}
                <Composer />
                <ChoiceBar choices={choices} change={change} />
              </div>
            </ThreadPrimitive.Root>
          </main>
        )}
      </div>
      {shown?.kind === "sources" && <SourcesPanel shown={shown} />}
      {shown?.kind === "trace" && <TracePanel question={shown.question} answer={shown.answer} />}
      {shown?.kind === "history" && (
        <HistoryPanel current={id} open={openKept} deleted={deleted} />
      )}
    </div>
  );
}

/** Keeps the conversation whenever a question was asked or an answer ended. */
function useKeeping(id: string): "full" | "blocked" | null {
  const aui = useAui();
  const running = useAuiState((state) => state.thread.isRunning);
  const last = useAuiState((state) => state.thread.messages.at(-1)?.id);
  const [unkept, setUnkept] = useState<"full" | "blocked" | null>(null);
  useEffect(() => {
    setUnkept(last ? keep(id, aui.thread.export()) : null);
  }, [aui, id, last, running]);
  return unkept;
}

function Welcome() {
  const { about } = useServer();
  const empty = useAuiState((state) => state.thread.isEmpty);
  if (!empty) return <h1 className="hidden">{texts.conversation}</h1>;
  return (
    <div className="welcome">
      <h1>{texts.emptyTitle}</h1>
      <p>{texts.emptyText}</p>
      {about && (
        <>
          <p className="soft small">{about.intended_use}</p>
          <p className="soft small"><strong>{texts.emptyVerdict}:</strong> {about.verdict}</p>
        </>
      )}
    </div>
  );
}
