// Who is signed in, what he may do (userAcl), and what this cluster is. Buttons follow it; the server checks again.
import { store } from "./store";

export interface Access {
  list: boolean;
  read: boolean;
  edit: boolean;
  create: boolean;
  remove: boolean;
}

export interface Context {
  userName: string;
  userAcl: Partial<Record<string, Access>>;
  roles: string[];
  cluster: { name: string; publicURL: string; version: string };
  motd: string;
  idleTimeout: number; // ms, 0: none
}

export const context = store<Context | null>(null);

const nothing: Access = { list: false, read: false, edit: false, create: false, remove: false };

export function acl(kind: string): Access {
  return context.get()?.userAcl[kind] ?? nothing;
}

export function site(path: string): string {
  return `/webapi/sites/${encodeURIComponent(context.get()?.cluster.name ?? "")}${path}`;
}

/** HOST or HOST:PORT as people type it; 443 goes without saying. */
export function proxy(): string {
  return context.get()?.cluster.publicURL ?? location.host;
}
