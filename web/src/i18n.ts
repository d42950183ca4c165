// Texts. English is the list of keys; a language that lacks one does not compile.
import { en } from "./i18n/en";
import { ko } from "./i18n/ko";
import { store, useStore } from "./store";

export type Key = keyof typeof en;
export type Texts = Record<Key, string>;
export type Language = "en" | "ko";

const languages: Record<Language, Texts> = { en, ko };
const KEPT = "tport.language";

function first(): Language {
  const kept = localStorage.getItem(KEPT);
  if (kept === "en" || kept === "ko") return kept;
  for (const wanted of navigator.languages) {
    if (wanted.startsWith("ko")) return "ko";
    if (wanted.startsWith("en")) return "en";
  }
  return "en";
}

export const language = store<Language>(first());
language.watch(apply);
apply();

function apply(): void {
  document.documentElement.lang = language.get();
}

export function setLanguage(next: Language): void {
  localStorage.setItem(KEPT, next);
  language.set(next);
}

/** Watches the language, for components that show texts. */
export function useLanguage(): Language {
  return useStore(language);
}

export function t(key: Key, values?: Record<string, string | number>): string {
  return fill(languages[language.get()][key], values);
}

export function has(key: string): key is Key {
  return Object.prototype.hasOwnProperty.call(en, key);
}

/** What follows the prefix in the names of texts. */
export function keysUnder(prefix: string): string[] {
  return Object.keys(en).flatMap((key) => (key.startsWith(prefix) ? key.slice(prefix.length) : []));
}

function fill(text: string, values?: Record<string, string | number>): string {
  return values ? text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole)) : text;
}

const locale = () => (language.get() === "ko" ? "ko-KR" : "en-GB");

export function dateTime(when: string | number | undefined): string {
  const date = new Date(when ?? NaN);
  return isNaN(date.getTime()) ? "" : date.toLocaleString(locale(), { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

/** Where seconds would only take room. */
export function dateMinute(when: string | number | undefined): string {
  const date = new Date(when ?? NaN);
  return isNaN(date.getTime()) ? "" : date.toLocaleString(locale(), { year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false });
}

export function shortTime(when: string | number | undefined): string {
  const date = new Date(when ?? NaN);
  return isNaN(date.getTime()) ? "" : date.toLocaleString(locale(), { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false });
}

/** "3 hours ago", "in 5 minutes". */
export function ago(when: string | number | undefined): string {
  const ms = new Date(when ?? NaN).getTime() - Date.now();
  if (isNaN(ms)) return "";
  const format = new Intl.RelativeTimeFormat(locale(), { numeric: "auto" });
  const seconds = Math.round(ms / 1000);
  const size = Math.abs(seconds);
  if (size < 60) return format.format(seconds, "second");
  if (size < 3600) return format.format(Math.round(seconds / 60), "minute");
  if (size < 86400) return format.format(Math.round(seconds / 3600), "hour");
  return format.format(Math.round(seconds / 86400), "day");
}

/** The first moment of a day ("2026-11-26") here, `more` days later. */
export function dayStart(day: string, more = 0): string {
  const date = new Date(`${day}T00:00:00`);
  date.setDate(date.getDate() + more);
  return isNaN(date.getTime()) ? "" : date.toISOString();
}

export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const two = (n: number) => String(n).padStart(2, "0");
  const hours = Math.floor(seconds / 3600);
  return hours > 0 ? `${hours}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}` : `${Math.floor(seconds / 60)}:${two(seconds % 60)}`;
}

export function bytes(n: number): string {
  const units = ["B", "KB", "MB", "GB"];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) {
    n /= 1024;
    at++;
  }
  return `${n.toLocaleString(locale(), { maximumFractionDigits: at === 0 ? 0 : 1 })} ${units[at]}`;
}
