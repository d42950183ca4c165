import { store } from "./store";

export type Theme = "auto" | "light" | "dark";
const KEPT = "tport.theme";

function first(): Theme {
  const kept = localStorage.getItem(KEPT);
  return kept === "light" || kept === "dark" ? kept : "auto";
}

export const theme = store<Theme>(first());

function apply(): void {
  if (theme.get() === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.get();
}

theme.watch(apply);
apply();

export function setTheme(next: Theme): void {
  localStorage.setItem(KEPT, next);
  theme.set(next);
}
