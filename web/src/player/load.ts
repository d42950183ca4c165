// The bytes of a recording, piece by piece: the server decides anew for each.
import { apiBytes } from "../api";
import { site } from "../context";

export interface Piece {
  bytes: Uint8Array<ArrayBuffer>;
  size: number; // of the whole recording, so far
  done: boolean;
}

export async function readPiece(id: string, offset: number, signal?: AbortSignal): Promise<Piece> {
  const { bytes, headers } = await apiBytes(site(`/sessions/${encodeURIComponent(id)}/stream?offset=${offset}`), signal);
  return { bytes, size: Number(headers.get("Recording-Size")), done: headers.get("Recording-Done") === "yes" };
}

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
