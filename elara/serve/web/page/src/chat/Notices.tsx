// What is always to be read, whatever else is open: that this is an AI, and how the server is.

import { useServer } from "./server";
import { texts } from "./texts";

export function Notices() {
  const { about, reach, failed } = useServer();
  return (
    <section className="notices" aria-label={texts.notices}>
      <p className="always">{texts.always}</p>
      {about?.emergency && (
        <p className="emergency">{about.emergency}</p>
      )}
      {about?.mode === "simulation" && <p className="simulation">{texts.simulation}</p>}
      {reach === "connecting" && <p>{texts.connecting}</p>}
      {reach === "lost" && <p className="lost">{texts.lostBanner}</p>}
      {reach === "back" && <p className="back">{texts.backAgain}</p>}
      {failed && <p className="lost">{texts.reason(failed)}</p>}
    </section>
  );
}
