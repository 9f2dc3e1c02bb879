import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import "../theme.css";
import "./chat.css";
import { Announcer } from "./announce";
import { App } from "./App";
import { Failure } from "./Failure";
import { PanelProvider } from "./panel";
import { ServerProvider } from "./server";
import { startTheme } from "./theme";

startTheme();
createRoot(document.getElementById("page")!).render(
  <StrictMode>
    <Failure>
      <Announcer>
        <ServerProvider>
          <PanelProvider><App /></PanelProvider>
        </ServerProvider>
      </Announcer>
    </Failure>
  </StrictMode>,
);
