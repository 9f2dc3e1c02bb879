import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import "../theme.css";
import "./chat.css";
import { startTheme } from "../theme";
import { Announcer } from "./announce";
import { App } from "./App";
import { Failure } from "./Failure";
import { PanelProvider } from "./panel";
import { ServerProvider } from "./server";

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
