/** Text of others as it is, but for characters that make a line read otherwise than it is written: controls and overrides of
 *  the direction show as their code points. */
export function plain(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** What a resource may have at most, and the server takes no more. */
export const RESOURCE_MAX = 1024 * 1024;

/** Bytes of a text as it is sent. */
export function byteLength(text: string): number {
  return new TextEncoder().encode(text).length;
}
