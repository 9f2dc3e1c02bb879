import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// Two pages, in files that the server sends from /app. No script or style stands inside the HTML,
// and nothing is inlined as a data URL: the server's Content-Security-Policy says 'self'.
export default defineConfig({
  base: "./",
  plugins: [react()],
  build: {
    outDir: "../app",
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: { input: ["index.html", "admin.html"] },
  },
});
