// Addresses: /web/PAGE[/ITEM]?state. All state of a list is in the query, so that links and the back button work.
import { useEffect } from "preact/hooks";
import { store, useStore } from "./store";

export interface Place {
  page: string;
  item: string;
  query: URLSearchParams;
}

function here(): Place {
  const [, , page = "", item = ""] = location.pathname.split("/");
  return { page, item: safeDecode(item), query: new URLSearchParams(location.search) };
}

function safeDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const place = store<Place>(here());
addEventListener("popstate", () => place.set(here()));

export function usePlace(): Place {
  return useStore(place);
}

export function go(to: string, replace = false): void {
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  place.set(here());
}

/** Changes some values of the query; "" removes one. */
export function setQuery(values: Record<string, string>, replace = false): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(values)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  go(location.pathname + (text ? `?${text}` : ""), replace);
}

/** Plain clicks on our own links stay in this page; the player is a page of its own. */
export function useLinks(): void {
  useEffect(() => {
    const listener = (event: MouseEvent) => {
      if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const link = (event.target as Element | null)?.closest?.("a");
      if (!link || link.target || link.hasAttribute("download") || link.hash || link.origin !== location.origin) return;
      if (!/^\/web(\/(?!invite\/|reset\/|assets\/|player\/)|$)/.test(link.pathname)) return;
      event.preventDefault();
      go(link.pathname + link.search);
    };
    document.addEventListener("click", listener);
    return () => document.removeEventListener("click", listener);
  }, []);
}
