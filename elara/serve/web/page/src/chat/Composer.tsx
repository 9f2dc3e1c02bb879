// Where a question is written, sent and stopped.

import { ComposerPrimitive, useAui, useAuiState } from "@assistant-ui/react";
import { useState } from "react";

import { useAnnounce } from "./announce";
import { KINDS } from "./images";
import { useServer } from "./server";
import { texts } from "./texts";

export function Composer() {
  const { about } = useServer();
  const running = useAuiState((state) => state.thread.isRunning);
  return (
    <ComposerPrimitive.Root className="composer">
      {about?.images && <Attachments />}
      <label htmlFor="question" className="hidden">{texts.questionLabel}</label>
      <ComposerPrimitive.Input
        id="question"
        rows={1}
        maxRows={10}
        placeholder={texts.placeholder}
        aria-describedby="keys"
        cancelOnEscape={false}
        addAttachmentOnPaste={about?.images ?? false}
        autoFocus
      />
      <div className="row">
        {about?.images && <Attach />}
        <span id="keys" className="soft small">{texts.keys}</span>
        {running ? (
          <ComposerPrimitive.Cancel className="main">{texts.stop}</ComposerPrimitive.Cancel>
        ) : (
          <ComposerPrimitive.Send className="main">{texts.send}</ComposerPrimitive.Send>
        )}
      </div>
    </ComposerPrimitive.Root>
  );
}

function Attach() {
  const aui = useAui();
  const say = useAnnounce();
  const [problem, setProblem] = useState("");
  return (
    <>
      <label className="button">
        {texts.image.attach}
        <input
          type="file"
          accept={KINDS}
          className="hidden"
          onChange={async ({ target }) => {
            const file = target.files?.[0];
            target.value = ""; // the same file can be chosen again
            setProblem("");
            if (!file) return;
            await aui.composer.addAttachment(file).catch((error: Error) => {
              setProblem(error.message);
              say(error.message);
            });
          }}
        />
      </label>
      {problem && <span className="small ended">{problem}</span>}
    </>
  );
}

function Attachments() {
  const aui = useAui();
  const attached = useAuiState((state) => state.composer.attachments);
  if (!attached.length) return null;
  return (
    <div className="attached">
      <p className="flag">{texts.image.warning}</p>
      {attached.map((one) => (
        <figure key={one.id}>
          {one.content?.map(
            (part, at) =>
              part.type === "image" && <img key={at} src={part.image} alt={texts.image.shown} />,
          )}
          <figcaption>
            {one.name}{" "}
            <button
              type="button"
              className="quiet"
              onClick={() => aui.composer.attachment({ id: one.id }).remove()}
            >
              {texts.image.remove}
            </button>
          </figcaption>
        </figure>
      ))}
    </div>
  );
}
