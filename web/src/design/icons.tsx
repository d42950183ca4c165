// Line icons on a 16-pixel grid, drawn for this.
const paths = {
  server: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5h.01M5 11h.01",
  kube: "M8 1.8l5.4 2.6 1.3 5.8L11 14.5H5L1.3 10.2l1.3-5.8zM8 5.5v5M5.8 7l4.4 2M10.2 7L5.8 9",
  user: "M8 8a2.7 2.7 0 100-5.4A2.7 2.7 0 008 8zM2.8 13.6c.6-2.5 2.6-3.8 5.2-3.8s4.6 1.3 5.2 3.8",
  role: "M8 1.8l5 1.9v3.9c0 3-2 5.4-5 6.6-3-1.2-5-3.6-5-6.6V3.7zM5.8 8l1.6 1.6L10.4 6.5",
  token: "M10.3 9.6a3.6 3.6 0 10-3.6-3.6c0 .5.1.9.2 1.3L2.5 11.7v1.8h2.2v-1.4h1.5v-1.5h1.4l.9-.9c.5.3 1.1.4 1.8-.1zM11 5.3h.01",
  lock: "M3.5 7.2h9v6.3h-9zM5.4 7.2V5a2.6 2.6 0 015.2 0v2.2",
  live: "M8 9.4a1.4 1.4 0 100-2.8 1.4 1.4 0 000 2.8zM4.6 11.4a4.8 4.8 0 010-6.8M11.4 4.6a4.8 4.8 0 010 6.8M2.4 13.6a7.9 7.9 0 010-11.2M13.6 2.4a7.9 7.9 0 010 11.2",
  record: "M2 3.2h12v9.6H2zM6.7 5.9v4.2L10 8z",
  audit: "M3.5 1.8h9v12.4h-9zM5.8 5h4.4M5.8 8h4.4M5.8 11h2.6",
  account: "M8 10a2 2 0 100-4 2 2 0 000 4zM8 1.8v1.7M8 12.5v1.7M1.8 8h1.7M12.5 8h1.7M3.6 3.6l1.2 1.2M11.2 11.2l1.2 1.2M12.4 3.6l-1.2 1.2M4.8 11.2l-1.2 1.2",
  search: "M7 11.6a4.6 4.6 0 100-9.2 4.6 4.6 0 000 9.2zM10.4 10.4l3.4 3.4",
  copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
  check: "M3 8.5l3.2 3.2L13 4.8",
  close: "M3.8 3.8l8.4 8.4M12.2 3.8l-8.4 8.4",
  down: "M4 6.2l4 4 4-4",
  up: "M4 9.8l4-4 4 4",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  plus: "M8 3v10M3 8h10",
  out: "M6.5 2.5h-4v11h4M6.5 8h7M10.8 5.2L13.6 8l-2.8 2.8",
  term: "M2 3h12v10H2zM4.5 6l2 2-2 2M8.5 10h3",
  transfer: "M5 13V3M2.5 5.5L5 3l2.5 2.5M11 3v10M8.5 10.5L11 13l2.5-2.5",
  play: "M5 3l8 5-8 5z",
  pause: "M5 3.5v9M11 3.5v9",
  full: "M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10",
} as const;

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={paths[name]} />
    </svg>
  );
}
