import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import "../theme.css";
import "./admin.css";
import { startTheme } from "../theme";
import { AdminPage } from "./AdminPage";

startTheme();
createRoot(document.getElementById("page")!).render(<StrictMode><AdminPage /></StrictMode>);
