// The bytes of a recording, piece by piece: the server decides anew for each.
import { apiBytes } from "../api";
import { site } from "../context";

export interface Piece {
  bytes: Uint8Array<ArrayBuffer>;
  size: number; // of the whole recording, so far
  done: boolean;
}

async function piece(path: string, signal?: AbortSignal): Promise<Piece> {
  const { bytes, headers } = await apiBytes(site(path), signal);
  return { bytes, size: Number(headers.get("Recording-Size")), done: headers.get("Recording-Done") === "yes" };
}

const readPiece = (id: string, offset: number, signal?: AbortSignal) => piece(`/sessions/${encodeURIComponent(id)}/stream?offset=${offset}`, signal);

/** Of a session that runs; comes when there is something new, empty after a while. */
export const watchPiece = (id: string, offset: number, signal?: AbortSignal) => piece(`/sessions/${encodeURIComponent(id)}/watch?offset=${offset}`, signal);

/** All of it; take is called with each piece. A recording that is still growing ends with what is there now. */
export async function readAll(id: string, take: (piece: Piece, offset: number, end: boolean) => void, signal?: AbortSignal): Promise<void> {
  for (let offset = 0; ; ) {
    const piece = await readPiece(id, offset, signal);
    const end = piece.done || piece.bytes.length === 0;
    take(piece, offset, end);
    offset += piece.bytes.length;
    if (end) return;
  }
}
